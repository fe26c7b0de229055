//! Validation of tenants: names, subject spaces and limits.

use super::super::START;
use super::super::defaults::{CONNECTIONS, MAX_CONNECTIONS, MAX_PAYLOAD, SYSTEM_ACCOUNT};
use super::super::raw::{Retired, Tenant};
use super::{RegistryContext, report_duplicates};
use crate::diag::{Diagnostic, Span};
use crate::model::units::Size;
use crate::registry::codes;
use crate::subject::{Subject, SubjectIndex};

/// Ensures that there is a tenant: with the system account alone, the server accepts
/// anonymous clients.
pub fn there_is_a_tenant(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    if cx.registry.tenant.says_nothing() && cx.whole {
        out.push(
            Diagnostic::error(codes::NO_TENANTS, START, "the registry has no tenant")
                .hint("begin one with [[tenant]] and its `name`, and give it a [[tenant.user]]"),
        );
    }
}

/// Ensures that account names are unique, ignoring letter case: they are folder names.
pub fn names_are_unique(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let system = cx.registry.system.get().and_then(|s| s.account.get());
    let system = system.map_or((SYSTEM_ACCOUNT, START), |name| (name.value.as_str(), name.span));
    let tenants = cx.registry.tenant.iter().map(|t| (t.name.value.as_str(), t.name.span));
    report_duplicates(
        std::iter::once(system).chain(tenants),
        "account",
        "give each tenant a name of its own, different from the system account's (default SYS)",
        out,
    );
}

/// Ensures that no declared tenant or user has a retired name, which would revive its
/// credentials and streams.
pub fn names_are_not_retired(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let system = cx
        .registry
        .system
        .get()
        .map_or(SYSTEM_ACCOUNT, |s| s.account.get().map_or(SYSTEM_ACCOUNT, |a| a.value.as_str()));
    for retired in &cx.registry.retired {
        let name = retired.tenant.value.as_str();
        let tenant = cx.tenants.get(name);
        let Some(user) = retired.user.get() else {
            if let Some(tenant) = tenant {
                out.push(retired_name(format!("tenant `{name}` was removed: its credentials and streams would come back"), tenant.name.span, retired)
                    .hint("choose another name; or, if it is the same tenant, delete the [[retired]] entry and give its users a higher `generation` (`tenantry up` says which)"));
            }
            continue;
        };
        let of_tenant =
            tenant.into_iter().flat_map(|t| &t.user).map(|u| (&u.name, &u.generation, &u.public_key, &u.password_env));
        let of_system = cx.registry.system.get().into_iter().filter(|_| name == system).flat_map(|s| &s.user);
        let of_system = of_system.map(|u| (&u.name, &u.generation, &u.public_key, &u.password_env));
        let last = retired.generation.get().map_or(1, |g| g.value.0);
        for (name, generation, public_key, password_env) in of_tenant.chain(of_system) {
            let derives = public_key.is_absent() && password_env.is_absent();
            if name.value == user.value && derives && generation.get().map_or(1, |g| g.value.0) <= last {
                out.push(
                    retired_name(
                        format!("user `{}` was removed: its old secret would work again", name.value),
                        name.span,
                        retired,
                    )
                    .hint(format!("give it a new one: `generation = {}`", last + 1)),
                );
            }
        }
    }
}

fn retired_name(message: String, span: Span, retired: &Retired) -> Diagnostic {
    Diagnostic::error(codes::RETIRED_NAME, span, message).related(retired.span, "given up here")
}

/// Ensures that no tenant's subjects overlap the server's reserved spaces.
pub fn subjects_are_outside_reserved_spaces(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let Some(subjects) = tenant.subjects.get() else { continue };
        if subjects.says_nothing() {
            out.push(
                Diagnostic::error(
                    codes::NO_SUBJECTS,
                    tenant.span,
                    format!("tenant `{}` has no subjects", tenant.name.value),
                )
                .hint(format!("leave `subjects` out for the default, [\"{}.>\"]", tenant.name.value)),
            );
        }
        for subject in subjects.iter().filter(|s| s.touches_reserved_space()) {
            out.push(
                Diagnostic::error(
                    codes::RESERVED_SUBJECT,
                    subject.span,
                    format!("`{}` reaches into subjects that the server keeps for itself", subject.value),
                )
                .label("overlaps `$SYS.>`, `$JS.>`, `_INBOX.>` or the like")
                .hint(format!("begin with a word of the tenant's own: \"{}.>\"", tenant.name.value)),
            );
        }
    }
}

/// Ensures that no two tenants' subjects overlap.
pub fn subjects_belong_to_one_tenant(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let mut index: SubjectIndex<(&Tenant, Subject, Span)> = SubjectIndex::default();
    for tenant in &cx.registry.tenant {
        let subjects = tenant.subjects();
        for (subject, span) in &subjects {
            let others = index.overlapping(subject).into_iter();
            let clash = others.into_iter().find(|(other, ..)| other.name.value != tenant.name.value);
            if let Some((other, other_subject, other_span)) = clash {
                out.push(
                    Diagnostic::error(
                        codes::OVERLAPPING_SUBJECTS,
                        *span,
                        format!("subjects of `{}` and `{}` overlap", tenant.name.value, other.name.value),
                    )
                    .label(format!("`{subject}`"))
                    .related(*other_span, "overlaps this")
                    .hint(apart(subject, other_subject, tenant.name.value.as_str())),
                );
            }
        }
        for (subject, span) in &subjects {
            index.insert(subject, (tenant, subject.clone(), *span));
        }
    }
}

/// How to write a subject so that it does not overlap another tenant's.
fn apart(subject: &Subject, other: &Subject, tenant: &str) -> String {
    let share = "to pass messages between tenants, declare a [[share]]";
    let tokens = subject.as_str().split('.').zip(other.as_str().split('.'));
    let mut same: Vec<&str> =
        tokens.take_while(|(one, other)| one == other && !matches!(*one, "*" | ">")).map(|(one, _)| one).collect();
    // One of them ends there.
    let length = |subject: &Subject| subject.as_str().split('.').count();
    same.truncate(length(subject).min(length(other)) - 1);
    if same.is_empty() {
        return format!("give each tenant a first token of its own; {share}");
    }
    let own = |name: &str| format!("{}.{name}.>", same.join("."));
    format!("below `{}.` give each tenant a token of its own: `{}`; {share}", same.join("."), own(tenant))
}

/// Ensures that a tenant's limits do not exceed the server's. Warns if all tenants together
/// may open more connections than the server accepts.
pub fn limits_fit_the_server(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let server = cx.registry.server.get();
    let payload = server.and_then(|s| s.max_payload.get()).map_or(MAX_PAYLOAD, |p| p.value);
    let connections = server.and_then(|s| s.max_connections.get()).map_or(MAX_CONNECTIONS, |c| c.value.0);
    let mut sum = 0u64;
    for tenant in &cx.registry.tenant {
        let limits = tenant.limits.get();
        sum += u64::from(limits.and_then(|l| l.connections.get()).map_or(CONNECTIONS, |c| c.value.0));
        if let Some(own) = limits.and_then(|l| l.payload.get()) {
            if own.value == Size(0) {
                out.push(Diagnostic::error(
                    codes::OUT_OF_RANGE,
                    own.span,
                    "a payload of 0B would refuse every message",
                ));
            } else if own.value > payload {
                out.push(
                    Diagnostic::error(
                        codes::LIMIT_EXCEEDS_SERVER,
                        own.span,
                        format!("payload {} is more than the server's max_payload, {payload}", own.value),
                    )
                    .hint("raise server.max_payload, or lower this"),
                );
            }
        }
        if let Some(own) = limits.and_then(|l| l.connections.get()).filter(|c| c.value.0 > connections) {
            out.push(
                Diagnostic::error(
                    codes::LIMIT_EXCEEDS_SERVER,
                    own.span,
                    format!("connections {} is more than the server's max_connections, {connections}", own.value.0),
                )
                .hint("raise server.max_connections, or lower this"),
            );
        }
    }
    if sum > u64::from(connections) {
        let span = server.map_or(START, |s| s.max_connections.get().map_or(s.span, |c| c.span));
        out.push(
            Diagnostic::warning(
                codes::CONNECTIONS_OVERSUBSCRIBED,
                span,
                format!("the tenants may open {sum} connections together, the server takes {connections}"),
            )
            .label("one tenant's connections can keep another's out")
            .hint(format!("set `max_connections = {sum}` or more under [server]")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_added, check_replaced};
    use crate::registry::testing::{TWO_TENANTS, codes_of};

    const USER: &str = "[[tenant.user]]\nname = \"u\"\n";

    fn with_tenant(keys: &str) -> Vec<&'static str> {
        codes_of(&format!("{TWO_TENANTS}[[tenant]]\n{keys}\n{USER}"))
    }

    #[test]
    fn a_registry_without_tenants_is_refused() {
        assert_eq!(codes_of("version = 1\n"), ["no-tenants"]);
        assert_eq!(codes_of(&format!("version = 1\n[[tenant]]\nname = \"T\"\n{USER}")), [""; 0]);
    }

    #[test]
    fn what_a_misspelt_key_may_hold_is_not_reported_as_missing() {
        assert_eq!(codes_of("version = 1\n[[tenants]]\nname = \"T\"\n"), ["unknown-key"]);
        assert_eq!(codes_of("version = 1\n[[tenant]]\nname = \"T\"\nusers = []\n"), ["unknown-key"]);
        let foreign = "[[tenant.stream]]\nname = \"s\"\nsubjects = [\"x.a\"]\n[tenant.jetstream]\nstorage = \"1MiB\"";
        let storage = "[server.jetstream]\nstorage = \"1GiB\"\n";
        let with = |keys: &str| {
            codes_of(&format!("version = 1\n{storage}[[tenant]]\nname = \"T\"\n{keys}\n{USER}{foreign}\n"))
        };
        assert_eq!(with("subject = [\"x.>\"]"), ["unknown-key"]);
        assert_eq!(with("subjects = []\nlimts = 1"), ["no-subjects", "unknown-key"], "another key is meant");
        assert_eq!(with("subjects = [\"y.>\", \"x..\"]"), ["invalid-subject"]);
        assert_eq!(with("subjects = [\"y.>\"]"), ["foreign-subject"], "the control");

        // OTHER has a stream.
        let misspelt = |key: &str, wrong: &str| codes_of(&TWO_TENANTS.replace(key, wrong));
        assert_eq!(
            misspelt("storage =", "storrage ="),
            ["unknown-key"; 3],
            "its stream lacking room is no second mistake"
        );
        assert_eq!(misspelt("name = \"OTHER\"", "named = \"OTHER\""), ["unknown-key"], "a required key");
        assert_eq!(misspelt("subjects =", "subject ="), ["unknown-key"]);
        let headers = "version = 1\n[[tenants]]\nname = \"T\"\n[tenant.limits]\nconnections = 1\n";
        assert_eq!(codes_of(headers), ["unknown-key"], "[tenant.limits] is below it");
    }

    #[test]
    fn subjects_are_compared_although_another_one_is_unreadable() {
        assert_eq!(
            with_tenant("name = \"C\"\nsubjects = [\"T.x\", \"c..\"]"),
            ["overlapping-subjects", "invalid-subject"]
        );
    }

    #[test]
    fn account_names_are_unique_in_any_letter_case() {
        assert_eq!(with_tenant("name = \"t\"\nsubjects = [\"x.>\"]"), ["duplicate-name"]);
        assert_eq!(with_tenant("name = \"sys\"\nsubjects = [\"x.>\"]"), ["duplicate-name"]);
        assert_eq!(with_tenant("name = \"t2\"\nsubjects = [\"x.>\"]"), [""; 0]);
    }

    #[test]
    fn subjects_of_two_tenants_may_not_overlap() {
        for overlapping in ["T.a", "T.>", "T.*.x", "OTHER.>"] {
            let found = with_tenant(&format!("name = \"X\"\nsubjects = [\"{overlapping}\"]"));
            assert_eq!(found, ["overlapping-subjects"], "{overlapping}");
        }
        // Subjects are case sensitive, and `T.>` does not match `T`.
        for separate in ["X.>", "t.>", "T", "TT.>"] {
            assert_eq!(with_tenant(&format!("name = \"X\"\nsubjects = [\"{separate}\"]")), [""; 0], "{separate}");
        }
    }

    #[test]
    fn reserved_and_empty_subject_spaces_are_refused() {
        for reserved in ["$SYS.>", "$JS.API.>", "_INBOX.>", "_INBOX_x.>", "_R_.>", "_GR_.>"] {
            assert_eq!(with_tenant(&format!("name = \"X\"\nsubjects = [\"{reserved}\"]")), ["reserved-subject"]);
        }
        assert_eq!(with_tenant("name = \"X\"\nsubjects = []"), ["no-subjects"]);
        assert_eq!(with_tenant("name = \"X\"\nsubjects = [\"X_INBOX.>\"]"), [""; 0]);
    }

    #[test]
    fn each_limit_is_held_against_the_server_at_the_border() {
        check_added(&[
            (
                "limit-exceeds-server",
                "[tenant.limits]\npayload = \"1025KiB\"\n",
                "[tenant.limits]\npayload = \"1MiB\"\n",
            ),
            ("out-of-range", "[tenant.limits]\npayload = \"0B\"\n", "[tenant.limits]\npayload = \"12B\"\n"),
            (
                "connections-oversubscribed",
                "[tenant.limits]\nconnections = 925\n",
                "[tenant.limits]\nconnections = 924\n",
            ),
        ]);
        check_replaced(&[(
            "[server.jetstream]",
            (
                "connections-oversubscribed",
                "[server]\nmax_connections = 199\n[server.jetstream]",
                "[server]\nmax_connections = 200\n[server.jetstream]",
            ),
        )]);
        let above = codes_of(&format!("{TWO_TENANTS}[tenant.limits]\nconnections = 1025\n"));
        assert!(above.contains(&"limit-exceeds-server"), "{above:?}");
    }

    #[test]
    fn a_retired_name_is_refused_until_its_generation_is_raised() {
        let with = |retired: &str, user: &str| codes_of(&format!("{TWO_TENANTS}{user}[[retired]]\n{retired}\n"));
        assert_eq!(with("tenant = \"T\"", ""), ["retired-name"]);
        assert_eq!(with("tenant = \"GONE\"", ""), [""; 0]);
        assert_eq!(with("tenant = \"T\"\nuser = \"app\"", ""), ["retired-name"]);
        assert_eq!(with("tenant = \"T\"\nuser = \"gone\"", ""), [""; 0]);
        assert_eq!(with("tenant = \"OTHER\"\nuser = \"app\"", ""), [""; 0]);
        let last = "tenant = \"T\"\nuser = \"app\"\ngeneration = 2";
        assert_eq!(with(last, "generation = 2\n"), ["retired-name"]);
        assert_eq!(with(last, "generation = 3\n"), [""; 0]);
        // A secret that is not derived cannot come back.
        assert_eq!(with(last, "public_key = \"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"\n"), [""; 0]);
    }
}
