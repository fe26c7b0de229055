//! Validation of shares, the only channel between tenants.

use std::collections::{HashMap, HashSet};

use super::super::decode::List;
use super::super::defaults::SYSTEM_ACCOUNT;
use super::super::raw::{Retention, Share, Tenant};
use super::RegistryContext;
use super::jetstream::{foreign, unknown_stream};
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::model::names::{AccountName, StreamName};
use crate::model::{ShareKind, StreamCopy};
use crate::registry::codes;
use crate::subject::{Subject, SubjectIndex};

/// The share's kind and subject. `None` unless it has exactly one of `stream` and `service`,
/// and no `jetstream`.
fn offer(share: &Share) -> Option<(ShareKind, &Spanned<Subject>)> {
    let is_absent = |kind: &str| offer_keys(share).iter().all(|(key, is_there, _)| *key == kind || !is_there);
    match (share.stream.get(), share.service.get()) {
        (Some(stream), None) if is_absent("stream") => Some((ShareKind::Stream, stream)),
        (None, Some(service)) if is_absent("service") => Some((ShareKind::Service, service)),
        _ => None,
    }
}

/// The keys of which a share must have exactly one: name, whether it is written, and its
/// span if it is readable.
fn offer_keys(share: &Share) -> [(&'static str, bool, Option<Span>); 3] {
    [
        ("stream", !share.stream.is_absent(), share.stream.get().map(|s| s.span)),
        ("service", !share.service.is_absent(), share.service.get().map(|s| s.span)),
        ("jetstream", !share.jetstream.is_absent(), share.jetstream.get().map(|s| s.span)),
    ]
}

/// Ensures that a share offers one thing, from an existing tenant, to other existing tenants.
pub fn have_both_ends(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for share in &cx.registry.share {
        tenant_exists(cx, &share.from, out);
        if share.to.is_absent() || share.to.get().is_some_and(List::says_nothing) {
            out.push(
                Diagnostic::error(codes::SHARE_TO_NOBODY, share.span, "the share is to nobody")
                    .hint("name the tenants that get it: `to = [\"TENANT_B\"]`; there is no share to everybody"),
            );
        }
        for (i, to) in share.to().iter().enumerate() {
            if to.value == share.from.value {
                out.push(
                    Diagnostic::error(codes::SHARE_TO_ITSELF, to.span, format!("`{}` shares with itself", to.value))
                        .hint("inside a tenant nothing needs to be shared: remove it"),
                );
            } else if share.to()[..i].iter().any(|t| t.value == to.value) {
                out.push(
                    Diagnostic::error(codes::DUPLICATE_SHARE, to.span, format!("`{}` is named twice", to.value))
                        .hint("remove one"),
                );
            } else {
                tenant_exists(cx, to, out);
            }
        }
        let keys = offer_keys(share);
        let there: Vec<_> = keys.iter().filter_map(|(key, _, span)| Some((*key, (*span)?))).collect();
        if let [(first, first_span), (second, span), ..] = there.as_slice() {
            let message = format!("a share is one thing, not a {first} and a {second}");
            out.push(
                Diagnostic::error(codes::CONFLICTING_KEYS, *span, message)
                    .related(*first_span, format!("the {first}"))
                    .hint("write two [[share]]"),
            );
        } else if keys.iter().all(|(_, is_there, _)| !is_there) {
            out.push(
                Diagnostic::error(codes::MISSING_KEY, share.span, "a share has no `stream`, `service` or `jetstream`").hint(
                    "add `stream = \"...\"` for messages that flow out, `service = \"...\"` for requests that come in, or `jetstream = \"...\"` for a stream that is copied",
                ),
            );
        }
        if let Some(filter) = share.filter.get().filter(|_| share.jetstream.is_absent()) {
            out.push(
                Diagnostic::error(codes::CONFLICTING_KEYS, filter.span, "`filter` is for a stream that is copied")
                    .hint("name the stream with `jetstream`, or put the subjects into `stream` itself"),
            );
        }
    }
}

fn tenant_exists(cx: &RegistryContext<'_>, name: &Spanned<AccountName>, out: &mut Vec<Diagnostic>) {
    if !cx.whole || !cx.registry.tenant.is_whole() || cx.tenants.contains_key(name.value.as_str()) {
        return;
    }
    let system =
        cx.registry.system.get().and_then(|s| s.account.get()).map_or(SYSTEM_ACCOUNT, |account| account.value.as_str());
    if name.value.as_str() == system {
        out.push(
            Diagnostic::error(codes::UNKNOWN_TENANT, name.span, "the system account takes no part in shares")
                .hint("its users see the whole system already; tenants get nothing of it"),
        );
        return;
    }
    let hint = match nearest(name.value.as_str(), cx.tenants.keys().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it as a [[tenant]], or remove it".to_owned(),
    };
    out.push(
        Diagnostic::error(codes::UNKNOWN_TENANT, name.span, format!("there is no tenant `{}`", name.value)).hint(hint),
    );
}

/// Ensures that a tenant shares only its own subjects.
pub fn offer_what_is_theirs(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for share in &cx.registry.share {
        let (Some((_, subject)), Some(tenant)) = (offer(share), cx.tenants.get(share.from.value.as_str())) else {
            continue;
        };
        if tenant.is_foreign(&subject.value) {
            out.push(foreign(&subject.value, subject.span, tenant, &tenant.subjects()));
        }
    }
}

/// Ensures that no tenant imports the same subject twice: the server refuses it.
pub fn are_declared_once(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
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
                        codes::DUPLICATE_SHARE,
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

/// Ensures that shared streams exist, and that copying one takes nothing away from the
/// exporter's own consumers and subjects.
pub fn copied_streams_are_there(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<(&str, &str, &str), Span> = HashMap::new();
    for share in &cx.registry.share {
        let Some(name) = share.jetstream.get() else { continue };
        let from = share.from.value.as_str();
        for to in share.to() {
            if let Some(first) = seen.insert((from, name.value.as_str(), to.value.as_str()), name.span) {
                let message = format!("`{}` may copy `{}` of `{from}` already", to.value, name.value);
                out.push(
                    Diagnostic::error(codes::DUPLICATE_SHARE, name.span, message)
                        .related(first, "by this share")
                        .hint("keep one; `filter` may have wildcards"),
                );
            }
        }
        let ends = std::iter::once(&share.from).chain(share.to()).filter_map(|t| cx.tenants.get(t.value.as_str()));
        for (subject, span) in ends.flat_map(|tenant| tenant.subjects()).filter(|(s, _)| s.first_token() == "JS") {
            out.push(
                Diagnostic::error(
                    codes::RESERVED_SUBJECT,
                    span,
                    format!("`{subject}` is where copies of streams pass"),
                )
                .related(name.span, "such a copy")
                .hint("no user may speak or listen there: give the tenant `subjects` that do not begin with `JS.`"),
            );
        }
        let Some(tenant) = cx.tenants.get(from) else { continue };
        let Some(stream) = tenant.stream.iter().find(|s| s.name.value == name.value) else {
            if !tenant.stream.is_whole() {
                continue;
            }
            let otherwise = "declare it as a [[tenant.stream]]; buckets and object stores cannot be shared";
            out.push(unknown_stream(tenant, name, otherwise));
            continue;
        };
        let taken = |copy: StreamCopy| {
            stream.consumer.iter().find(|c| c.name.value.as_str().eq_ignore_ascii_case(copy.consumer().as_str()))
        };
        for consumer in share.copies().filter_map(taken) {
            let message = format!("consumer `{}` is the one that feeds the copy", consumer.name.value);
            out.push(
                Diagnostic::error(codes::DUPLICATE_NAME, consumer.name.span, message)
                    .related(name.span, "shared here")
                    .hint("give this one another name"),
            );
        }
        if let Some(retention) = stream.retention.get().filter(|r| r.value != Retention::Limits) {
            let message = format!("how long stream `{}` keeps a message would be for its copy to decide", name.value);
            out.push(
                Diagnostic::error(codes::CONFLICTING_KEYS, name.span, message)
                    .related(retention.span, "until it is acknowledged")
                    .hint("share a stream with `limits`, from which this one may take its messages too"),
            );
        }
        let captured = stream.subjects();
        if let Some(filter) = share.filter.get()
            && let Some(first) = captured.first()
            && stream.source.is_empty()
            && !captured.iter().any(|s| s.value.overlaps(&filter.value))
        {
            let message = format!("stream `{}` has nothing on `{}`", name.value, filter.value);
            out.push(
                Diagnostic::error(codes::FOREIGN_SUBJECT, filter.span, message)
                    .related(first.span, "the stream's subjects")
                    .hint("filter on subjects that the stream captures"),
            );
        }
    }
}

/// Ensures that a copied stream is shared with the tenant that copies it, and is copied
/// once: one consumer feeds one stream.
pub fn copies_are_shared(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let given = cx.registry.share.iter().flat_map(Share::copies).map(|copy| (copy.from, copy.stream, copy.to));
    let given: HashSet<(AccountName, StreamName, AccountName)> = given.collect();
    for tenant in &cx.registry.tenant {
        let mut copied: HashMap<(&str, &str), Span> = HashMap::new();
        for stream in &tenant.stream {
            for origin in stream.origins() {
                let Some(from) = origin.from.get() else { continue };
                let (name, to) = (origin.name.value.as_str(), tenant.name.value.as_str());
                let exporter = cx.tenants.get(from.value.as_str());
                let has_it = |t: &&Tenant| t.stream.iter().any(|s| s.name.value == origin.name.value);
                let share = (from.value.clone(), origin.name.value.clone(), tenant.name.value.clone());
                if from.value == tenant.name.value {
                    let message = format!("`{name}` is in the same tenant");
                    out.push(Diagnostic::error(codes::SHARE_TO_ITSELF, from.span, message).hint("remove `from`"));
                } else if exporter.is_none() {
                    tenant_exists(cx, from, out);
                } else if let Some(exporter) = exporter.filter(|t| !has_it(t)) {
                    // It may be one that is unreadable.
                    if exporter.stream.is_whole() {
                        out.push(unknown_stream(exporter, &origin.name, "its tenant has to declare it first"));
                    }
                } else if cx.whole && cx.registry.share.is_whole() && !given.contains(&share) {
                    let message = format!("`{}` does not share the stream `{name}` with `{to}`", from.value);
                    let keys = format!("from = \"{}\", to = [\"{to}\"], jetstream = \"{name}\"", from.value);
                    out.push(
                        Diagnostic::error(codes::UNSHARED_STREAM, from.span, message)
                            .hint(format!("below a [[share]] of the main registry, each on a line: {keys}")),
                    );
                }
                if let Some(first) = copied.insert((from.value.as_str(), name), origin.name.span) {
                    let message = format!("`{name}` of `{}` is copied already: a share feeds one stream", from.value);
                    out.push(
                        Diagnostic::error(codes::DUPLICATE_SHARE, origin.name.span, message)
                            .related(first, "here")
                            .hint("let this stream take its messages from that one"),
                    );
                }
                let start = origin.opt_start_seq.get().map(|s| s.span);
                let start = start.or(origin.opt_start_time.get().map(|t| t.span));
                if let Some(span) = origin.filter.get().map(|f| f.span).or(start) {
                    out.push(
                        Diagnostic::error(
                            codes::CONFLICTING_KEYS,
                            span,
                            "what is copied of another tenant is for the share to say",
                        )
                        .hint("put `filter` into the [[share]]; a copy begins with the oldest message"),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_added;
    use crate::registry::testing::{codes_with, load_text};

    const COPY: &str = "[[tenant.stream]]\nname = \"C\"\nmax_bytes = \"1MiB\"\n[[tenant.stream.source]]\nname = \"THEIRS\"\nfrom = \"OTHER\"\n";

    #[test]
    fn each_mistake_of_a_share_is_found_alone_and_gone_when_corrected() {
        check_added(&[
            (
                "share-to-itself",
                "[[share]]\nfrom = \"T\"\nto = [\"T\"]\nstream = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
            ),
            (
                "share-to-nobody",
                "[[share]]\nfrom = \"T\"\nstream = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
            ),
            (
                "share-to-nobody",
                "[[share]]\nfrom = \"T\"\nto = []\nservice = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.x\"\n",
            ),
            (
                "duplicate-share",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\", \"OTHER\"]\nstream = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
            ),
            (
                "duplicate-share",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.>\"\n[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.>\"\n[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.x\"\n",
            ),
            (
                "unknown-tenant",
                "[[share]]\nfrom = \"T\"\nto = [\"OHTER\"]\nstream = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
            ),
            (
                "unknown-tenant",
                "[[share]]\nfrom = \"SYS\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
            ),
            (
                "foreign-subject",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"X.x\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n",
            ),
            (
                "conflicting-keys",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\nservice = \"T.y\"\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.y\"\n",
            ),
            (
                "conflicting-keys",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\nfilter = \"T.x\"\n",
                "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\nfilter = \"OTHER.s.x\"\n",
            ),
            (
                "missing-key",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\n",
                "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.>\"\n",
            ),
        ]);
    }

    #[test]
    fn each_mistake_of_a_shared_stream_is_found_alone_and_gone_when_corrected() {
        const GOOD: &str = "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\n";
        check_added(&[
            ("unknown-stream", "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIR\"\n", GOOD),
            (
                "duplicate-share",
                "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\n[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\nfilter = \"OTHER.s.a\"\n",
                GOOD,
            ),
            (
                "foreign-subject",
                "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\nfilter = \"OTHER.x\"\n",
                GOOD,
            ),
            (
                "conflicting-keys",
                "[[tenant.stream]]\nname = \"W\"\nsubjects = [\"T.w\"]\nretention = \"workqueue\"\n[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\njetstream = \"W\"\n",
                "[[tenant.stream]]\nname = \"W\"\nsubjects = [\"T.w\"]\nretention = \"limits\"\n[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\njetstream = \"W\"\n",
            ),
        ]);
    }

    #[test]
    fn a_stream_is_copied_only_if_it_is_shared_and_only_once() {
        let share = "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\n";
        assert_eq!(codes_with(COPY), ["unshared-stream"]);
        assert_eq!(codes_with(&format!("{COPY}{share}")), [""; 0]);
        let twice = COPY.replace("\"C\"", "\"D\"");
        assert_eq!(codes_with(&format!("{COPY}{twice}{share}")), ["duplicate-share"]);
        let filtered = format!("{COPY}filter = \"OTHER.s.a\"\n{share}");
        assert_eq!(codes_with(&filtered), ["conflicting-keys"]);
        let own = COPY.replace("from = \"OTHER\"", "from = \"T\"");
        assert!(codes_with(&format!("{own}{share}")).contains(&"share-to-itself"));
    }

    #[test]
    fn an_unknown_tenant_is_not_reported_while_a_tenant_is_unreadable() {
        let text = "version = 1\n[[tenant]]\nname = \"A A\"\n[[tenant.user]]\nname = \"u\"\n[[tenant]]\nname = \"B\"\n\
            [[tenant.user]]\nname = \"u\"\n[[share]]\nfrom = \"B\"\nto = [\"A\"]\nstream = \"B.x\"\n";
        let codes = |text: &str| load_text(text).diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>();
        assert_eq!(codes(text), ["invalid-name"]);
        assert_eq!(codes(&text.replace("A A", "AA")), ["unknown-tenant"], "the control");
    }
}
