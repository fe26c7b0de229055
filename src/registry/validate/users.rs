//! Validation of users: names, credentials and roles.

use std::collections::HashMap;

use super::super::decode::Key;
use super::super::raw::{AuthKind, AuthMode, EnvName, PublicKey, User};
use super::{RegistryContext, report_duplicates};
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::model::names::RoleName;
use crate::model::roles::{BuiltIn, PROVISIONER};
use crate::registry::codes;
use crate::subject::Subject;

/// Ensures that every tenant has a user: an account without users locks its tenant out,
/// and a server without any user accepts anonymous clients.
pub fn every_tenant_has_a_user(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in cx.registry.tenant.iter().filter(|t| t.user.says_nothing()) {
        out.push(
            Diagnostic::error(codes::NO_USERS, tenant.name.span, format!("tenant `{}` has no user", tenant.name.value))
                .hint("add [[tenant.user]] with a `name` below it, or remove the tenant"),
        );
    }
}

/// Ensures that user names are unique inside their account, ignoring letter case: they are
/// file names and inbox prefixes.
pub fn names_are_unique(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let names = tenant.user.iter().map(|u| (u.name.value.as_str(), u.name.span));
        report_duplicates(names, "user", "give each user of a tenant a name of its own", out);
    }
    if let Some(system) = cx.registry.system.get() {
        let names = system.user.iter().map(|u| (u.name.value.as_str(), u.name.span));
        report_duplicates(names, "user", "give each system user a name of its own", out);
    }
}

/// Ensures that only a provisioner is named `provisioner`: another user of that name would
/// have the same derived key as the implied provisioner.
pub fn the_provisioners_name_is_its_own(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for user in cx.registry.tenant.iter().flat_map(|t| &t.user) {
        let is_one = user.role.get().is_some_and(|role| role.value.as_str() == PROVISIONER);
        if user.name.value.as_str().eq_ignore_ascii_case(PROVISIONER) && !is_one {
            out.push(
                Diagnostic::error(
                    codes::RESERVED_NAME,
                    user.name.span,
                    "`provisioner` is the user that makes the streams",
                )
                .hint("add `role = \"provisioner\"` if it is that user, or give it another name"),
            );
        }
    }
}

/// Ensures that names of password users are unique on the server, which does not qualify
/// them by account.
pub fn password_names_are_unique_everywhere(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let system = cx.registry.system.get().into_iter().flat_map(|s| &s.user);
    let system = system.filter(|u| is_password(&u.auth)).map(|u| ("the system account", &u.name));
    let tenants = cx
        .registry
        .tenant
        .iter()
        .flat_map(|t| t.user.iter().filter(|u| is_password(&u.auth)).map(|u| (t.name.value.as_str(), &u.name)));
    let mut seen: HashMap<&str, (&str, Span)> = HashMap::new();
    for (account, name) in system.chain(tenants) {
        match seen.get(name.value.as_str()) {
            None => {
                seen.insert(name.value.as_str(), (account, name.span));
            }
            // Inside one account it is a duplicate name, reported as such.
            Some((other, _)) if *other == account => {}
            Some((other, span)) => out.push(
                Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    name.span,
                    format!("password user `{}` exists in {other} already", name.value),
                )
                .label("declared again")
                .related(*span, "first declared here")
                .hint("the server tells password users apart by name alone: rename one, or use `auth = \"nkey\"`"),
            ),
        }
    }
}

fn is_password(auth: &Key<Spanned<AuthKind>>) -> bool {
    auth.get().is_some_and(|a| a.value == AuthKind::Password)
}

/// The keys with which a user declares its credential.
struct Claim<'r> {
    auth: &'r Key<Spanned<AuthKind>>,
    password_env: Option<&'r Spanned<EnvName>>,
    public_key: Option<&'r Spanned<PublicKey>>,
    generation: Option<Span>,
}

fn claims<'r>(cx: &RegistryContext<'r>) -> Vec<Claim<'r>> {
    let system = cx.registry.system.get().into_iter().flat_map(|s| &s.user).map(|u| Claim {
        auth: &u.auth,
        password_env: u.password_env.get(),
        public_key: u.public_key.get(),
        generation: u.generation.get().map(|g| g.span),
    });
    let users = cx.registry.tenant.iter().flat_map(|t| &t.user).map(|u: &User| Claim {
        auth: &u.auth,
        password_env: u.password_env.get(),
        public_key: u.public_key.get(),
        generation: u.generation.get().map(|g| g.span),
    });
    system.chain(users).collect()
}

/// Ensures that each user has one kind of credential, which the auth mode supports.
pub fn credentials_are_of_one_kind(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let operator = cx.registry.auth.get().and_then(|a| a.mode.get()).is_some_and(|m| m.value == AuthMode::Operator);
    for claim in claims(cx) {
        let auth = claim.auth.get();
        if let Some(auth) = auth.filter(|a| a.value == AuthKind::Creds && !operator) {
            out.push(
                Diagnostic::error(
                    codes::UNSUPPORTED_CREDENTIAL,
                    auth.span,
                    "creds are JWTs, which static mode does not have",
                )
                .hint("use `auth = \"nkey\"`: as strong, and the server never sees the secret"),
            );
        }
        if let (Some(variable), false) = (claim.password_env, is_password(claim.auth)) {
            out.push(
                Diagnostic::error(codes::CONFLICTING_KEYS, variable.span, "password_env without `auth = \"password\"`")
                    .hint("add `auth = \"password\"`, or remove password_env"),
            );
        }
        if let Some(variable) = claim.password_env.filter(|v| v.span.file != cx.registry.span.file) {
            out.push(
                Diagnostic::error(
                    codes::FOREIGN_SECRET,
                    variable.span,
                    "an included file may not name environment variables",
                )
                .hint(
                    "declare this tenant in the main registry, or let its password be generated: remove password_env",
                ),
            );
        }
        let Some(public_key) = claim.public_key else { continue };
        if let Some(auth) = auth.filter(|a| a.value != AuthKind::Nkey) {
            out.push(
                Diagnostic::error(codes::CONFLICTING_KEYS, public_key.span, "a user with a public key is an nkey user")
                    .related(auth.span, "says otherwise")
                    .hint("remove `auth`, or remove `public_key`"),
            );
        }
        if let Some(generation) = claim.generation {
            out.push(
                Diagnostic::error(
                    codes::CONFLICTING_KEYS,
                    generation,
                    "generation has no effect on a user's own public key",
                )
                .related(public_key.span, "the user holds this key's secret")
                .hint("to replace the key, replace `public_key`"),
            );
        }
    }
}

/// Ensures that no two users have the same secret.
pub fn secrets_are_not_shared(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<(&str, &str), Span> = HashMap::new();
    for claim in claims(cx) {
        let key = claim.public_key.map(|k| ("public key", k.value.0.as_str(), k.span));
        let variable = claim.password_env.map(|v| ("environment variable", v.value.0.as_str(), v.span));
        for (what, text, span) in key.into_iter().chain(variable) {
            match seen.get(&(what, text)) {
                None => {
                    seen.insert((what, text), span);
                }
                Some(first) => out.push(
                    Diagnostic::error(codes::DUPLICATE_SECRET, span, format!("two users have the same {what}"))
                        .label("used again")
                        .related(*first, "first used here")
                        .hint("each user needs a secret of its own: whoever holds a shared one is both"),
                ),
            }
        }
    }
}

/// Ensures that every user's role exists.
pub fn roles_exist(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let declared = cx.registry.role.0.iter().map(|(name, _)| name.value.as_str());
    let known: Vec<&str> = BuiltIn::ALL.iter().map(|(name, _)| *name).chain(declared).collect();
    for role in cx.registry.tenant.iter().flat_map(|t| &t.user).filter_map(|u| u.role.get()) {
        let name = role.value.as_str();
        if known.contains(&name) {
            continue;
        }
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known roles: {}; declare others as [role.{name}]", known.join(", ")),
        };
        out.push(Diagnostic::error(codes::UNKNOWN_ROLE, role.span, format!("there is no role `{name}`")).hint(hint));
    }
}

/// Ensures that declared roles have valid names, do not shadow a built-in role, and grant
/// at least one subject.
pub fn declared_roles_are_usable(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for (name, role) in &cx.registry.role.0 {
        if let Err(why) = RoleName::parse(&name.value) {
            out.push(
                Diagnostic::error(codes::INVALID_NAME, name.span, format!("`{}` is not a valid role name", name.value))
                    .label(why.to_string())
                    .hint(crate::model::names::GRAMMAR),
            );
        }
        if BuiltIn::named(&name.value).is_some() {
            out.push(
                Diagnostic::error(codes::BUILTIN_ROLE, name.span, format!("the role `{}` is built in", name.value))
                    .hint("choose another name; what the built-in roles allow is the same in every registry"),
            );
        }
        if role.publish.says_nothing() && role.subscribe.says_nothing() {
            out.push(
                Diagnostic::error(codes::EMPTY_ROLE, name.span, format!("the role `{}` allows nothing", name.value))
                    .hint("list subjects under `publish`, `subscribe` or both"),
            );
        }
    }
}

/// Ensures that the server does not let a declared role subscribe to more than it lists: to it `a.*` allows `a.>`, which
/// is closed by a deny of `a.*.>` unless the role lists subjects below `a.*`, too.
pub fn declared_roles_are_not_widened(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for (name, role) in &cx.registry.role.0 {
        let listed: Vec<(Span, Subject)> =
            role.subscribe.iter().filter_map(|p| Some((p.span, p.value.0.example()?))).collect();
        for (span, below) in listed.iter().filter_map(|(span, subject)| Some((span, subject.below_wildcard()?))) {
            if listed.iter().any(|(_, other)| other.contains(&below)) {
                continue;
            }
            let Some((other, _)) = listed.iter().find(|(_, other)| other.overlaps(&below)) else { continue };
            out.push(
                Diagnostic::error(
                    codes::WIDENED_ROLE,
                    *span,
                    format!("with this, the server lets the role `{}` subscribe to all that lies below it", name.value),
                )
                .related(*other, "which cannot be denied, because this lies there")
                .hint("end it with `>` if all of it is meant, or list no subject below it"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_added;
    use crate::registry::testing::{TWO_TENANTS, codes_of};

    #[test]
    fn each_mistake_of_a_user_is_found_alone_and_gone_when_corrected() {
        check_added(&[
            ("no-users", "[[tenant]]\nname = \"X\"\n", "[[tenant]]\nname = \"X\"\n[[tenant.user]]\nname = \"u\"\n"),
            ("duplicate-name", "[[tenant.user]]\nname = \"APP\"\n", "[[tenant.user]]\nname = \"app2\"\n"),
            (
                "reserved-name",
                "[[tenant.user]]\nname = \"Provisioner\"\n",
                "[[tenant.user]]\nname = \"Provisioner\"\nrole = \"provisioner\"\n",
            ),
            ("unsupported-credential", "auth = \"creds\"\n", "auth = \"nkey\"\n"),
            ("conflicting-keys", "password_env = \"P\"\n", ""),
            (
                "conflicting-keys",
                "auth = \"password\"\npublic_key = \"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"\n",
                "auth = \"nkey\"\npublic_key = \"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"\n",
            ),
            (
                "conflicting-keys",
                "generation = 2\npublic_key = \"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"\n",
                "public_key = \"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"\n",
            ),
            ("unknown-role", "role = \"amdin\"\n", "role = \"admin\"\n"),
            ("unknown-role", "role = \"r\"\n", "role = \"r\"\n[role.r]\npublish = [\"{subject}\"]\n"),
            ("empty-role", "[role.r]\npublish = []\n", "[role.r]\nsubscribe = [\"{inbox}\"]\n"),
            (
                "widened-role",
                "[role.r]\nsubscribe = [\"{tenant}.a.*\", \"{tenant}.a.b.{user}\"]\n",
                "[role.r]\nsubscribe = [\"{tenant}.a.*\", \"{tenant}.a.b\"]\n",
            ),
            (
                "widened-role",
                "[role.r]\nsubscribe = [\"{tenant}.a.*\", \"{tenant}.a.*.b\"]\n",
                "[role.r]\nsubscribe = [\"{tenant}.a.*\", \"{tenant}.a.>\"]\n",
            ),
            ("builtin-role", "[role.app]\npublish = [\"T.x\"]\n", "[role.app2]\npublish = [\"T.x\"]\n"),
            ("invalid-name", "[role.\"a b\"]\npublish = [\"T.x\"]\n", "[role.\"a_b\"]\npublish = [\"T.x\"]\n"),
        ]);
    }

    #[test]
    fn names_of_password_users_are_unique_across_accounts() {
        let with = |other: &str, own: &str| {
            let text = TWO_TENANTS.replacen("name = \"other\"", &format!("name = \"app\"\n{other}"), 1);
            codes_of(&format!("{text}{own}\n"))
        };
        assert_eq!(with("auth = \"password\"", "auth = \"password\""), ["duplicate-name"]);
        assert_eq!(with("auth = \"nkey\"", "auth = \"password\""), [""; 0]);
        assert_eq!(with("", ""), [""; 0], "nkey users are known by their key");
    }

    #[test]
    fn two_users_may_not_have_one_public_key_or_one_variable() {
        let with = |keys: &str, second: &str| {
            codes_of(&format!("{TWO_TENANTS}{keys}\n[[tenant.user]]\nname = \"second\"\n{second}\n"))
        };
        let key = "public_key = \"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"";
        let variable = "auth = \"password\"\npassword_env = \"P\"";
        assert_eq!(with(key, key), ["duplicate-secret"]);
        assert_eq!(with(variable, variable), ["duplicate-secret"]);
        assert_eq!(with(key, variable), [""; 0]);
        assert_eq!(with(variable, "auth = \"password\"\npassword_env = \"Q\""), [""; 0]);
    }
}
