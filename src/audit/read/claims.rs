//! JWTs as nats-server reads them: their signature, and what the claims of operators, accounts
//! and activations say. The claims are those of nats-io/jwt, versions 1 and 2.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::model::ShareKind;

/// The `nats` object of one type of claims.
pub trait Content: for<'d> Deserialize<'d> {
    /// The `type` of the claims.
    const KIND: &'static str;
}

/// A decoded JWT, signed by `iss` about `sub`.
#[derive(Debug, Deserialize)]
pub struct Claims<T> {
    /// Public key of the issuer.
    pub iss: String,
    /// Public key of the subject.
    pub sub: String,
    /// Seconds since 1970 at which it was issued.
    #[serde(default)]
    pub iat: i64,
    /// The second from which it is valid. 0: always.
    #[serde(default)]
    nbf: i64,
    /// The second until which it is valid. 0: for ever.
    #[serde(default)]
    exp: i64,
    /// The exporter of an activation of version 1.
    #[serde(default)]
    issuer_account: String,
    /// Name, for people.
    #[serde(default)]
    pub name: String,
    /// The claims about `sub`.
    pub nats: T,
}

/// The claims of an operator's JWT.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Operator {
    /// Further keys that sign its accounts.
    pub signing_keys: Vec<String>,
    /// Whether only those keys may sign accounts.
    pub strict_signing_key_usage: bool,
    /// Public key of the system account.
    pub system_account: String,
    /// Where accounts are fetched from, unless the configuration has a resolver.
    pub account_server_url: String,
}

/// The claims of an account's JWT.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Its exports.
    pub exports: Vec<Export>,
    /// Its imports.
    pub imports: Vec<Import>,
    /// Its limits.
    pub limits: Limits,
    /// Further keys that sign its users and activations.
    #[serde(deserialize_with = "signing_keys")]
    pub signing_keys: Vec<SigningKey>,
    /// The permissions of users that have none of their own.
    pub default_permissions: Permissions,
    /// Its mappings.
    pub mappings: HashMap<String, Vec<Destination>>,
    /// Its auth callout.
    pub authorization: Authorization,
    /// Where its messages are traced.
    pub trace: Option<Trace>,
    /// Whose connections carry the traffic of its streams' replicas.
    pub cluster_traffic: String,
    /// Its description.
    #[serde(flatten)]
    pub info: Info,
}

/// The description of an account or an export, for people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// A description.
    pub description: String,
    /// A page about it.
    pub info_url: String,
}

/// Where messages are traced.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The subject of the traces.
    pub dest: String,
    /// Percent of the messages. 0: all.
    pub sampling: i64,
}

/// An export.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Export {
    /// The exported subjects.
    pub subject: String,
    /// A stream or a service.
    pub r#type: Option<ShareKind>,
    /// Whether an import needs an activation.
    pub token_req: bool,
    /// Activations that no longer count: the importer's key or `*`, with the last second.
    pub revocations: HashMap<String, i64>,
    /// 1-based position of the token that must be the importer's key. 0: no such token.
    pub account_token_position: u64,
    /// `Singleton`, `Stream` or `Chunked`. Empty: `Singleton`.
    pub response_type: String,
    /// Nanoseconds in which a service answers.
    pub response_threshold: i64,
    /// The measuring of latency.
    pub service_latency: Option<Latency>,
    /// Whether traces pass.
    pub allow_trace: bool,
    /// Its description.
    #[serde(flatten)]
    pub info: Info,
}

/// The measuring of a service's latency.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// The subject of the reports.
    pub results: String,
    /// How many requests are measured.
    pub sampling: Sampling,
}

/// Percent of the requests. 0: those whose headers ask for it.
#[derive(Debug, Default)]
pub struct Sampling(pub i64);

impl<'de> Deserialize<'de> for Sampling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text.eq_ignore_ascii_case("headers") => Ok(Self(0)),
            Value::Number(number) if number.is_i64() => Ok(Self(number.as_i64().unwrap_or_default())),
            _ => Err(D::Error::custom("neither a percentage nor `headers`")),
        }
    }
}

/// An import.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Import {
    /// The subject in the exporter's account; of a service without `local_subject` the local one.
    pub subject: String,
    /// Public key of the exporter.
    pub account: String,
    /// The activation.
    pub token: String,
    /// The old form of `local_subject`: prefix of a stream, the exporter's subject of a service.
    pub to: String,
    /// The subject in the importer's account.
    pub local_subject: String,
    /// A stream or a service.
    pub r#type: Option<ShareKind>,
    /// Whether the exporter learns who asks.
    pub share: bool,
    /// Whether traces pass.
    pub allow_trace: bool,
}

/// Limits of an account. -1: none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Imports.
    pub imports: i64,
    /// Exports.
    pub exports: i64,
    /// Whether exports may have wildcards.
    pub wildcards: bool,
    /// Connections.
    pub conn: i64,
    /// Subscriptions of a connection.
    pub subs: i64,
    /// Bytes of a message.
    pub payload: i64,
    /// Leaf nodes.
    pub leaf: i64,
    /// JetStream, of an account without tiers.
    #[serde(flatten)]
    pub jetstream: JetStream,
    /// JetStream by number of replicas.
    pub tiered_limits: HashMap<String, JetStream>,
}

/// Limits of JetStream. -1: none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JetStream {
    /// Bytes of memory.
    pub mem_storage: i64,
    /// Bytes on disk.
    pub disk_storage: i64,
    /// Number of streams.
    pub streams: i64,
    /// Number of consumers.
    pub consumer: i64,
}

/// The public keys of signing keys: alone, or with the scope of what their users may do.
/// A key that signs users of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The public key.
    pub key: String,
    /// The template of the permissions of the users that it signs, as text. `None`: they have permissions of their own.
    pub template: Option<String>,
}

fn signing_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SigningKey>, D::Error> {
    let mut keys = Vec::new();
    for entry in Vec::<Value>::deserialize(deserializer)? {
        match entry {
            Value::String(key) => keys.push(SigningKey { key, template: None }),
            Value::Object(scope) if scope.get("kind") == Some(&Value::from("user_scope")) => {
                let key = scope.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
                let template = scope.get("template").map(ToString::to_string).unwrap_or_default();
                keys.push(SigningKey { key, template: Some(template) });
            }
            Value::Object(_) => return Err(D::Error::custom("a signing key of an unknown kind")),
            _ => {}
        }
    }
    Ok(keys)
}

/// Permissions to publish and to subscribe.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Its permissions to publish.
    pub r#pub: Side,
    /// Its permissions to subscribe.
    pub sub: Side,
}

/// A destination of a mapping.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The subject.
    pub subject: String,
    /// Percent of the messages. 0: 100.
    pub weight: u8,
    /// The cluster in which it counts. Empty: everywhere.
    pub cluster: String,
}

impl Destination {
    /// Percent of the messages.
    pub fn percent(&self) -> u32 {
        if self.weight == 0 { 100 } else { u32::from(self.weight) }
    }
}

/// An auth callout of an account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Authorization {
    /// The users that log in without it.
    pub auth_users: Vec<String>,
    /// The accounts into which it may put users, or `*`.
    pub allowed_accounts: Vec<String>,
    /// The key that encrypts its requests.
    pub xkey: String,
}

impl Authorization {
    /// Whether there is one.
    pub fn is_callout(&self) -> bool {
        !self.auth_users.is_empty()
    }
}

/// The claims of an activation, by which an account may import.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activation {
    /// The subjects that may be imported.
    pub subject: String,
    /// A stream or a service.
    pub kind: Option<ShareKind>,
    /// The same in version 1; the kind of the claims in version 2.
    r#type: String,
    /// The exporter, where a signing key of it has signed.
    issuer_account: String,
}

/// The claims of a user's JWT that decide whether it can be a sentinel.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Whether the JWT alone logs in.
    pub bearer_token: bool,
    /// Its account, where a signing key has signed.
    pub issuer_account: String,
    /// Its permissions.
    #[serde(flatten)]
    pub permissions: Permissions,
}

/// One side of permissions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Side {
    /// The only subjects. Empty: all.
    pub allow: Vec<String>,
    /// The subjects that are not allowed.
    pub deny: Vec<String>,
}

impl Side {
    /// Whether it is not given.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

impl Content for Operator {
    const KIND: &'static str = "operator";
}
impl Content for Account {
    const KIND: &'static str = "account";
}
impl Content for Activation {
    const KIND: &'static str = "activation";
}
impl Content for User {
    const KIND: &'static str = "user";
}

impl Claims<Activation> {
    /// Whether a stream or a service is activated.
    pub fn activated(&self) -> Option<ShareKind> {
        self.nats.kind.or(match self.nats.r#type.as_str() {
            "stream" => Some(ShareKind::Stream),
            "service" => Some(ShareKind::Service),
            _ => None,
        })
    }

    /// The exporter for which a signing key has signed. Empty: the issuer is the exporter.
    pub fn exporter(&self) -> &str {
        if self.nats.issuer_account.is_empty() { &self.issuer_account } else { &self.nats.issuer_account }
    }
}

impl<T> Claims<T> {
    /// Whether it is valid at this moment.
    pub fn is_current(&self) -> bool {
        let now = now();
        (self.exp == 0 || now < self.exp) && self.nbf <= now
    }
}

/// Seconds since 1970. Allowed here because the server decides by the clock as well.
#[allow(clippy::disallowed_types)]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

/// Decodes a JWT and checks its signature, not whether its issuer is trusted. `None`: the server
/// rejects it too.
pub fn decode<T: Content>(jwt: &str) -> Option<Claims<T>> {
    let mut parts = jwt.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let json = |text: &str| Some(as_go_reads(serde_json::from_slice(&bytes(text)?).ok()?));
    let fields = json(header)?;
    let says = |field: &str, words: &[&str]| {
        fields[field].as_str().is_some_and(|text| words.iter().any(|word| text.eq_ignore_ascii_case(word)))
    };
    if !says("typ", &["JWT"]) || !says("alg", &["ed25519", "ed25519-nkey"]) {
        return None;
    }
    let mut text = json(payload)?;
    let old_kind = text["type"].as_str().filter(|kind| !kind.is_empty());
    let is_old = old_kind.is_some() || text["nats"]["version"] == 1;
    if old_kind.or(text["nats"]["type"].as_str()) != Some(T::KIND) || !is_old && text["nats"]["version"] != 2 {
        return None;
    }
    if is_old {
        forget_what_is_newer(&mut text["nats"]);
    }
    let claims: Claims<T> = serde_json::from_value(text).ok()?;
    let issuer = KeyPair::from_public_key(&claims.iss).ok()?;
    let signed = if is_old { payload } else { &jwt[..header.len() + 1 + payload.len()] };
    issuer.verify(signed.as_bytes(), &bytes(signature)?).ok()?;
    Some(claims)
}

/// Leaves the claims that version 1 knows: what others a JWT of it has, the server ignores.
fn forget_what_is_newer(nats: &mut Value) {
    const NEWER: &[&str] =
        &["default_permissions", "mappings", "authorization", "trace", "cluster_traffic", "description", "info_url"];
    let Some(claims) = nats.as_object_mut() else { return };
    claims.retain(|name, _| !NEWER.contains(&name.as_str()));
    if let Some(limits) = claims.get_mut("limits").and_then(Value::as_object_mut) {
        limits.retain(|name, _| {
            ["imports", "exports", "wildcards", "conn", "subs", "payload", "leaf"].contains(&name.as_str())
        });
    }
}

/// JSON as Go reads it into structures: names of fields in any case, and null as nothing. The names in
/// maps of mappings and revocations are data, and stay.
fn as_go_reads(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_data = |name: &str| matches!(name, "mappings" | "revocations" | "tiered_limits");
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
                let name = name.to_lowercase();
                let value = match value {
                    Value::Object(map) if is_data(&name) => {
                        let kept = map.into_iter().filter(|(_, value)| !value.is_null());
                        Value::Object(kept.map(|(key, value)| (key, as_go_reads(value))).collect())
                    }
                    // Go keeps a null in a list of structures, and the server rejects it.
                    Value::Array(items) if matches!(name.as_str(), "imports" | "exports") => {
                        let shares = items.into_iter().map(|item| if item.is_null() { json!({}) } else { item });
                        Value::Array(shares.map(as_go_reads).collect())
                    }
                    other => as_go_reads(other),
                };
                (name, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| !item.is_null()).map(as_go_reads).collect())
        }
        other => other,
    }
}

/// The JWT in a file that may be decorated with lines of dashes.
pub fn undecorated(text: &str) -> &str {
    let is_jwt = |line: &&str| line.starts_with("ey") && line.contains('.');
    text.lines().map(str::trim).find(is_jwt).unwrap_or_else(|| text.trim())
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A JWT with these claims, signed by `issuer`.
    pub(crate) fn signed(issuer: &KeyPair, subject: &str, name: &str, nats: &serde_json::Value) -> String {
        let mut nats = nats.clone();
        nats["version"] = 2.into();
        if nats["type"].is_null() {
            nats["type"] = "account".into();
        }
        let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let claims = serde_json::json!({
            "iss": issuer.public_key(), "sub": subject, "name": name, "iat": 1_700_000_000, "nats": nats,
        });
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()));
        let signature = issuer.sign(signed.as_bytes()).expect("a pair of keys signs");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_is_decoded_if_its_issuer_has_signed_it() {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let jwt = testing::signed(&operator, &account.public_key(), "A", &json!({ "limits": { "conn": 7 } }));
        let claims: Claims<Account> = decode(&jwt).expect("it is signed");
        assert_eq!((claims.name.as_str(), claims.nats.limits.conn), ("A", 7));
        assert_eq!((claims.iss, claims.sub), (operator.public_key(), account.public_key()));
        let other = testing::signed(&operator, &account.public_key(), "B", &json!({}));
        let (claims, signature) = (other.rsplit_once('.').expect("dots").0, jwt.rsplit_once('.').expect("dots").1);
        assert!(decode::<Account>(&format!("{claims}.{signature}")).is_none(), "another's signature");
        for broken in ["", "ey", "ey.ey.ey", &jwt[..jwt.len() - 4], &format!("{jwt}.x")] {
            assert!(decode::<Account>(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn names_of_fields_have_any_case_and_null_is_nothing() {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let of = |nats| decode::<Account>(&testing::signed(&operator, &account.public_key(), "A", &nats));
        let read = of(json!({
            "Exports": [{ "SUBJECT": "x.Y", "Type": "stream", "revocations": null, "service_latency": null }],
            "imports": null, "signing_keys": null, "authorization": null, "limits": null,
            "mappings": { "Q.*": [{ "Subject": "r" }], "z": null },
        }));
        let nats = read.expect("as Go reads it").nats;
        let exports = nats.exports;
        assert_eq!(
            (exports.len(), exports[0].subject.as_str(), exports[0].r#type),
            (1, "x.Y", Some(ShareKind::Stream))
        );
        let with_null = of(json!({ "exports": [null] })).expect("as Go reads it").nats;
        assert_eq!(with_null.exports[0].r#type, None, "which the server rejects");
        assert_eq!(nats.mappings.keys().collect::<Vec<_>>(), ["Q.*"], "keys of maps are data");
        for refused in [
            json!({ "type": "user" }),
            json!({ "exports": [{ "type": "Stream" }] }),
            json!({ "exports": [{ "type": "foo" }] }),
        ] {
            assert!(of(refused.clone()).is_none(), "{refused}");
        }
    }

    #[test]
    fn an_activation_of_version_1_says_its_kind_in_another_place() {
        let (issuer, account) = (KeyPair::new_account(), KeyPair::new_account());
        let claims = json!({ "iss": issuer.public_key(), "sub": account.public_key(), "type": "activation",
                             "nats": { "subject": "x.*", "type": "stream" } });
        let payload = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
        let signature = BASE64URL_NOPAD.encode(&issuer.sign(payload.as_bytes()).expect("a signature"));
        let header = BASE64URL_NOPAD.encode(br#"{"typ":"jwt","alg":"ed25519"}"#);
        let read: Claims<Activation> = decode(&format!("{header}.{payload}.{signature}")).expect("version 1");
        assert_eq!((read.activated(), read.exporter()), (Some(ShareKind::Stream), ""));
        assert!(decode::<Account>(&format!("{header}.{payload}.{signature}")).is_none(), "another kind");
    }

    #[test]
    fn a_decorated_file_holds_a_jwt() {
        let text = "-----BEGIN NATS OPERATOR JWT-----\neyJ0.eyJ1.x\n------END NATS OPERATOR JWT------\n";
        assert_eq!(undecorated(text), "eyJ0.eyJ1.x");
        assert_eq!(undecorated(" eyJ0.eyJ1.x\n"), "eyJ0.eyJ1.x");
    }

    #[test]
    fn signing_keys_stand_alone_or_in_a_scope() {
        let account: Account = serde_json::from_value(
            json!({ "signing_keys": ["AA", { "kind": "user_scope", "key": "AB", "template": {} }] }),
        )
        .expect("both forms");
        let keys = account.signing_keys.into_iter().map(|key| (key.key, key.template.is_some())).collect::<Vec<_>>();
        assert_eq!(keys, [("AA".to_owned(), false), ("AB".to_owned(), true)]);
    }
}
