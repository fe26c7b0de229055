//! A user's credential in the forms that other tools take: secret stores, container engines, environments.

use serde_json::{Map, Value as Json, json};

use super::Holder;
use super::credentials::ClientSecret;
use crate::error::Error;
use crate::keys::Secret;

/// What a client needs to connect, as environment variables; those that the user does not have are left out.
pub struct Variables<'h> {
    holder: Holder<'h>,
    list: Vec<(&'static str, String)>,
}

impl<'h> Variables<'h> {
    /// Of a user. `supplied` finds a password that tenantry does not keep, by its environment variable.
    pub fn new(holder: Holder<'h>, url: &str, supplied: impl Fn(&str) -> Option<Secret>) -> Result<Self, Error> {
        let Holder { account, user, secret } = holder;
        let mut list = vec![("NATS_URL", url.to_owned())];
        let mut password = |text: &str| {
            list.push(("NATS_USER", user.name.to_string()));
            list.push(("NATS_PASSWORD", text.to_owned()));
        };
        match secret {
            ClientSecret::Seed(seed) => list.push(("NATS_NKEY_SEED", seed.expose().to_owned())),
            ClientSecret::Password(text) => password(text.expose()),
            ClientSecret::FromEnv(variable) => match supplied(variable) {
                Some(text) => password(text.expose()),
                None => {
                    return Err(Error::usage(
                        format!(
                            "the password of `{account}/{}` is supplied by {variable}, which is not set",
                            user.name
                        ),
                        format!("set {variable} and run it again: tenantry does not keep the password"),
                    ));
                }
            },
            ClientSecret::Own(public) => {
                return Err(Error::usage(
                    format!("`{account}/{}` brought the public key {public}: tenantry never had its seed", user.name),
                    "whoever made the key pair has it; --as env prints everything else",
                ));
            }
        }
        list.push(("NATS_INBOX_PREFIX", user.inbox_prefix()));
        Ok(Self { holder, list })
    }

    fn map(&self) -> Map<String, Json> {
        self.list.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect()
    }

    /// A dotenv file: values in double quotes.
    pub fn dotenv(&self) -> String {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        self.list.iter().map(|(name, value)| format!("{name}=\"{}\"\n", quoted(value))).collect()
    }

    /// A file for `docker run --env-file`, which takes quotes for a part of the value.
    pub fn docker(&self) -> String {
        self.list.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    /// A Kubernetes Secret, in YAML.
    pub fn k8s(&self) -> String {
        let Holder { account, user, .. } = self.holder;
        let label = |text: &str| {
            let kept = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
            text.chars().map(kept).collect::<String>().trim_matches('-').to_owned()
        };
        let name = format!("nats-{}-{}", label(account), label(user.name.as_str()));
        let mut text = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: Opaque\nstringData:\n");
        self.list.iter().for_each(|(name, value)| text += &format!("  {name}: {}\n", Json::from(value.as_str())));
        text
    }

    /// YAML for `sops encrypt`.
    pub fn sops(&self) -> String {
        self.list.iter().map(|(name, value)| format!("{name}: {}\n", Json::from(value.as_str()))).collect()
    }

    /// JSON for `vault kv put PATH -`.
    pub fn vault(&self) -> String {
        pretty(&Json::Object(self.map()))
    }

    /// An item for `op item create -`.
    pub fn op(&self) -> String {
        let Holder { account, user, .. } = self.holder;
        let field = |(name, value): &(&'static str, String)| {
            let is_secret = matches!(*name, "NATS_PASSWORD" | "NATS_NKEY_SEED");
            json!({ "id": name, "label": name, "type": if is_secret { "CONCEALED" } else { "STRING" }, "value": value })
        };
        let fields: Vec<Json> = self.list.iter().map(field).collect();
        pretty(
            &json!({ "title": format!("NATS {account}/{}", user.name), "category": "API_CREDENTIAL", "fields": fields }),
        )
    }
}

fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::User;
    use crate::project::tests::model;

    fn user() -> User {
        model("[[tenant]]\nname = \"T_1\"\n[[tenant.user]]\nname = \"app\"\n").tenants[0].users[0].clone()
    }

    fn variables<'h>(user: &'h User, secret: &'h ClientSecret) -> Result<Variables<'h>, Error> {
        let supplied = |variable: &str| (variable == "SET").then(|| Secret::new("from outside".to_owned()));
        Variables::new(Holder { account: "T_1", user, secret }, "nats://h:4222", supplied)
    }

    #[test]
    fn each_form_has_the_values_as_they_are() {
        let (user, secret) = (user(), ClientSecret::Password(Secret::new("a\"b$c\\d".to_owned())));
        let variables = variables(&user, &secret).expect("known");
        let rest = |quote: &str| format!("NATS_INBOX_PREFIX={quote}_INBOX_app{quote}\n");
        let begins = "NATS_URL=\"nats://h:4222\"\nNATS_USER=\"app\"\n";
        assert_eq!(variables.dotenv(), format!("{begins}NATS_PASSWORD=\"a\\\"b\\$c\\\\d\"\n{}", rest("\"")));
        let plain = "NATS_URL=nats://h:4222\nNATS_USER=app\nNATS_PASSWORD=a\"b$c\\d\n";
        assert_eq!(variables.docker(), format!("{plain}{}", rest("")));
        let yaml = "NATS_URL: \"nats://h:4222\"\nNATS_USER: \"app\"\nNATS_PASSWORD: \"a\\\"b$c\\\\d\"\nNATS_INBOX_PREFIX: \"_INBOX_app\"\n";
        assert_eq!(variables.sops(), yaml);
        let k8s = variables.k8s();
        assert!(k8s.contains("  name: nats-t-1-app\n") && k8s.ends_with(&yaml.replace("NATS_", "  NATS_")), "{k8s}");
        let vault: Json = serde_json::from_str(&variables.vault()).expect("JSON");
        assert_eq!(vault["NATS_PASSWORD"], "a\"b$c\\d");
        let op: Json = serde_json::from_str(&variables.op()).expect("JSON");
        assert_eq!((&op["title"], &op["fields"][2]["type"]), (&json!("NATS T_1/app"), &json!("CONCEALED")));
        assert_eq!(op["fields"][2]["value"], "a\"b$c\\d");
    }

    #[test]
    fn a_secret_that_is_not_here_says_where_it_is() {
        let user = user();
        let found = |secret: ClientSecret| variables(&user, &secret).map(|found| found.docker());
        let seed = found(ClientSecret::Seed(Secret::new("SUAX".to_owned()))).expect("known");
        assert!(seed.contains("NATS_NKEY_SEED=SUAX\n") && !seed.contains("NATS_USER"), "{seed}");
        assert!(found(ClientSecret::FromEnv("SET".to_owned())).is_ok_and(|f| f.contains("PASSWORD=from outside\n")));
        let error = |secret| found(secret).expect_err("not here").to_string();
        assert!(error(ClientSecret::FromEnv("UNSET".to_owned())).contains("supplied by UNSET"));
        assert!(error(ClientSecret::Own("UABC".to_owned())).contains("brought the public key UABC"));
    }
}
