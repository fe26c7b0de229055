//! Shares: the only way between tenants.

use std::collections::HashMap;

use super::super::raw::Share;
use super::jetstream::foreign;
use super::{Context, subjects_of};
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::model::ShareKind;
use crate::model::names::AccountName;
use crate::subject::{Subject, SubjectIndex};

/// What the share offers, if it says so in exactly one way.
fn offer(share: &Share) -> Option<(ShareKind, &Spanned<Subject>)> {
    match (share.stream.get(), share.service.get()) {
        (Some(stream), None) if share.service.is_absent() => Some((ShareKind::Stream, stream)),
        (None, Some(service)) if share.stream.is_absent() => Some((ShareKind::Service, service)),
        _ => None,
    }
}

/// Ensure a share is of one thing, from a tenant, to other tenants.
pub fn have_both_ends(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    for share in &cx.registry.share {
        tenant_exists(cx, &share.from, out);
        if share.to.is_absent() || share.to.get().is_some_and(Vec::is_empty) {
            out.push(
                Diagnostic::error("share-to-nobody", share.span, "the share is to nobody")
                    .hint("name the tenants that get it: `to = [\"TENANT_B\"]`; there is no share to everybody"),
            );
        }
        for (i, to) in share.to().iter().enumerate() {
            if to.value == share.from.value {
                out.push(
                    Diagnostic::error("share-to-itself", to.span, format!("`{}` shares with itself", to.value))
                        .hint("inside a tenant nothing needs to be shared: remove it"),
                );
            } else if share.to()[..i].iter().any(|t| t.value == to.value) {
                out.push(
                    Diagnostic::error("duplicate-share", to.span, format!("`{}` is named twice", to.value))
                        .hint("remove one"),
                );
            } else {
                tenant_exists(cx, to, out);
            }
        }
        match (share.stream.get(), share.service.get()) {
            (Some(stream), Some(service)) => out.push(
                Diagnostic::error("conflicting-keys", service.span, "a share is a stream or a service, not both")
                    .related(stream.span, "the stream")
                    .hint("write two [[share]]"),
            ),
            (None, None) if share.stream.is_absent() && share.service.is_absent() => out.push(
                Diagnostic::error("missing-key", share.span, "a share has neither `stream` nor `service`").hint(
                    "add `stream = \"...\"` for messages that flow out, or `service = \"...\"` for requests that come in",
                ),
            ),
            _ => {}
        }
    }
}

fn tenant_exists(cx: &Context<'_>, name: &Spanned<AccountName>, out: &mut Vec<Diagnostic>) {
    if !cx.whole || cx.tenants.contains_key(name.value.as_str()) {
        return;
    }
    let system = cx.registry.system.get().and_then(|s| s.account.get()).map_or("SYS", |account| account.value.as_str());
    if name.value.as_str() == system {
        out.push(
            Diagnostic::error("unknown-tenant", name.span, "the system account takes no part in shares")
                .hint("its users see the whole system already; tenants get nothing of it"),
        );
        return;
    }
    let hint = match nearest(name.value.as_str(), cx.tenants.keys().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it as a [[tenant]], or remove it".to_owned(),
    };
    out.push(Diagnostic::error("unknown-tenant", name.span, format!("there is no tenant `{}`", name.value)).hint(hint));
}

/// Ensure nobody offers another's subjects.
pub fn offer_what_is_theirs(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    for share in &cx.registry.share {
        let (Some((_, subject)), Some(tenant)) = (offer(share), cx.tenants.get(share.from.value.as_str())) else {
            continue;
        };
        let own = subjects_of(tenant);
        if !own.is_empty() && !own.iter().any(|(o, _)| o.contains(&subject.value)) {
            out.push(foreign(&subject.value, subject.span, tenant, &own));
        }
    }
}

/// Ensure no tenant gets the same subject twice: the server refuses it.
pub fn are_declared_once(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let mut by_importer: HashMap<(&str, ShareKind), SubjectIndex<Span>> = HashMap::new();
    for share in &cx.registry.share {
        let Some((kind, subject)) = offer(share) else { continue };
        let mut reported = false;
        for to in share.to() {
            let index = by_importer.entry((to.value.as_str(), kind)).or_default();
            if let Some(first) = index.overlapping(&subject.value).first().filter(|first| ***first != subject.span)
                && !std::mem::replace(&mut reported, true)
            {
                out.push(
                    Diagnostic::error(
                        "duplicate-share",
                        subject.span,
                        format!("`{}` gets `{}` from another share already", to.value, subject.value),
                    )
                    .related(**first, "overlaps this")
                    .hint("keep the wider one"),
                );
            }
            index.insert(&subject.value, subject.span);
        }
    }
}
