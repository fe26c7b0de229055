//! Validation of tenants: names, subject spaces and limits.

use super::super::START;
use super::super::defaults::{CONNECTIONS, MAX_CONNECTIONS, MAX_PAYLOAD, SYSTEM_ACCOUNT};
use super::super::raw::{Retired, Tenant};
use super::{Context, report_duplicates};
use crate::diag::{Diagnostic, Span};
use crate::model::units::Size;
use crate::registry::codes;
use crate::subject::SubjectIndex;

/// Ensures that there is a tenant: with the system account alone, the server accepts
/// anonymous clients.
pub fn there_is_a_tenant(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    if cx.registry.tenant.is_empty() && cx.whole {
        out.push(
            Diagnostic::error(codes::NO_TENANTS, START, "the registry has no tenant")
                .hint("begin one with [[tenant]] and its `name`, and give it a [[tenant.user]]"),
        );
    }
}

/// Ensures that account names are unique, ignoring letter case: they are folder names.
pub fn names_are_unique(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
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
pub fn names_are_not_retired(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
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
                    .hint("choose another name; or delete the [[retired]] entry, if whoever had its credentials may read its data"));
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
pub fn subjects_are_outside_reserved_spaces(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
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
pub fn subjects_belong_to_one_tenant(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let mut index: SubjectIndex<(&Tenant, Span)> = SubjectIndex::default();
    for tenant in &cx.registry.tenant {
        let subjects = tenant.subjects();
        for (subject, span) in &subjects {
            let clash = index.overlapping(subject).into_iter().find(|(other, _)| other.name.value != tenant.name.value);
            if let Some((other, other_span)) = clash {
                out.push(
                    Diagnostic::error(
                        codes::OVERLAPPING_SUBJECTS,
                        *span,
                        format!("subjects of `{}` and `{}` overlap", tenant.name.value, other.name.value),
                    )
                    .label(format!("`{subject}`"))
                    .related(*other_span, "overlaps this")
                    .hint("give each tenant a first token of its own; to pass messages between tenants, declare a [[share]]"),
                );
            }
        }
        for (subject, span) in &subjects {
            index.insert(subject, (tenant, *span));
        }
    }
}

/// Ensures that a tenant's limits do not exceed the server's. Warns if all tenants together
/// may open more connections than the server accepts.
pub fn limits_fit_the_server(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
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
