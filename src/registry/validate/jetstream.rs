//! Validation of JetStream: what tenants reserve, and the streams they declare.

use super::super::decode::{Key, List};
use super::super::defaults;
use super::super::raw::{JetStream, Share, Source, Stream, Tenant};
use super::{RegistryContext, report_duplicates};
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::model::Storage;
use crate::model::names::StreamName;
use crate::model::units::Size;
use crate::registry::codes;
use crate::subject::{Subject, SubjectIndex};

/// Ensures that JetStream is enabled, with a non-zero limit, wherever it is used.
pub fn is_on_where_it_is_used(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let server_has_it = cx.registry.server.get().is_some_and(|s| !s.jetstream.is_absent());
    for tenant in &cx.registry.tenant {
        let name = &tenant.name.value;
        if let Some(jetstream) = tenant.jetstream.get() {
            if !server_has_it {
                out.push(
                    Diagnostic::error(
                        codes::JETSTREAM_OFF,
                        jetstream.span,
                        format!("`{name}` has JetStream, the server has not"),
                    )
                    .hint("add [server.jetstream] with `storage = \"2GiB\"`"),
                );
            }
            if is_zero(jetstream) {
                out.push(
                    Diagnostic::error(
                        codes::JETSTREAM_OFF,
                        jetstream.span,
                        format!("`{name}` has JetStream but no room in it"),
                    )
                    .hint("set `storage = \"512MiB\"`, `memory = \"64MiB\"`, or both"),
                );
            }
        } else if tenant.jetstream.is_absent()
            && let Some((what, span)) = first_use(tenant)
        {
            out.push(
                Diagnostic::error(
                    codes::JETSTREAM_OFF,
                    span,
                    format!("{what} needs JetStream, which `{name}` has not"),
                )
                .hint("add [tenant.jetstream] with `storage = \"512MiB\"`"),
            );
        }
    }
}

fn is_zero(jetstream: &JetStream) -> bool {
    let none = |key: &Key<Spanned<Size>>| match key.get() {
        Some(size) => size.bytes() == 0,
        None => key.is_absent(),
    };
    none(&jetstream.memory) && none(&jetstream.storage)
}

fn first_use(tenant: &Tenant) -> Option<(&'static str, Span)> {
    let stream = tenant.stream.first().map(|s| ("a stream", s.name.span));
    let bucket = tenant.bucket.first().map(|b| ("a bucket", b.name.span));
    let store = tenant.object_store.first().map(|o| ("an object store", o.name.span));
    stream.or(bucket).or(store)
}

/// Ensures that the sums of all tenants' storage and memory fit the server. Otherwise it
/// refuses to start; on reload it cuts off tenants that did nothing wrong.
pub fn sums_fit_the_server(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(server) = cx.registry.server.get().and_then(|s| s.jetstream.get()) else { return };
    let sum_of = |pick: fn(&JetStream) -> Option<Size>| -> u128 {
        cx.registry
            .tenant
            .iter()
            .filter_map(|t| t.jetstream.get())
            .filter_map(pick)
            .map(|s| u128::from(s.bytes()))
            .sum()
    };
    let storage = (sum_of(|j| j.storage.get().map(|s| s.value)), server.storage.value, server.storage.span, "storage");
    let memory_limit = server.memory.get().map_or((Size(0), server.span), |m| (m.value, m.span));
    let memory = (sum_of(|j| j.memory.get().map(|m| m.value)), memory_limit.0, memory_limit.1, "memory");
    for (sum, limit, span, what) in [storage, memory] {
        if sum <= u128::from(limit.bytes()) || (what == "memory" && matches!(server.memory, Key::Invalid)) {
            continue;
        }
        let sum = Size(u64::try_from(sum).unwrap_or(u64::MAX));
        out.push(
            Diagnostic::error(
                codes::JETSTREAM_OVERSUBSCRIBED,
                span,
                format!("the tenants' {what} adds up to {sum}, the server has {limit}"),
            )
            .label("too little for all tenants together")
            .hint(format!("set `{what} = \"{sum}\"` or more here, or lower the tenants'")),
        );
    }
}

/// Ensures that a tenant's streams fit its limits: their number, and the bytes they reserve.
pub fn streams_fit_the_tenant(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let Some(jetstream) = tenant.jetstream.get() else { continue };
        let declared = tenant.stream.len() + tenant.bucket.len() + tenant.object_store.len();
        let allowed = jetstream.streams.get().map_or(defaults::STREAMS, |s| s.value.0);
        if declared > allowed as usize {
            out.push(
                Diagnostic::error(
                    codes::TOO_MANY_STREAMS,
                    jetstream.streams.get().map_or(jetstream.span, |s| s.span),
                    format!(
                        "`{}` declares {declared} streams, buckets and object stores, and may have {allowed}",
                        tenant.name.value
                    ),
                )
                .hint(format!("set `streams = {declared}` or more")),
            );
        }
        reserved_bytes_fit(tenant, jetstream, out);
    }
}

fn reserved_bytes_fit(tenant: &Tenant, jetstream: &JetStream, out: &mut Vec<Diagnostic>) {
    let streams = tenant.stream.iter().map(|s| (s.name.span, &s.storage, &s.max_bytes));
    let buckets = tenant.bucket.iter().map(|b| (b.name.span, &b.storage, &b.max_bytes));
    let stores = tenant.object_store.iter().map(|o| (o.name.span, &o.storage, &o.max_bytes));
    let (mut file, mut memory) = (0u128, 0u128);
    for (span, storage, max_bytes) in streams.chain(buckets).chain(stores) {
        let bytes = max_bytes.get().map_or(0, |b| u128::from(b.bytes()));
        let in_memory = storage.get().is_some_and(|s| s.value == Storage::Memory);
        let (sum, key, limit) = if in_memory {
            (&mut memory, "memory", &jetstream.memory)
        } else {
            (&mut file, "storage", &jetstream.storage)
        };
        if matches!(limit, Key::Invalid) {
            continue;
        }
        let before = *sum;
        *sum += bytes;
        let limit = limit.get().map_or(0, |l| l.bytes());
        if limit == 0 {
            out.push(
                Diagnostic::error(codes::NO_ROOM, span, format!("`{}` has no {key} for this", tenant.name.value))
                    .hint(format!("set `{key}` under [tenant.jetstream]")),
            );
        } else if *sum > u128::from(limit) && before <= u128::from(limit) {
            let total = Size(u64::try_from(*sum).unwrap_or(u64::MAX));
            out.push(
                Diagnostic::error(
                    codes::NO_ROOM,
                    span,
                    format!(
                        "up to here the streams of `{}` reserve {total} of {} {key}",
                        tenant.name.value,
                        Size(limit)
                    ),
                )
                .hint(format!("lower max_bytes, or raise `{key}` under [tenant.jetstream]")),
            );
        }
    }
}

/// Ensures that names of streams, buckets, object stores and consumers are unique, and that
/// no stream has a name reserved for the stream behind a bucket or an object store.
pub fn stream_names_are_unique(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let remedy = "give each one of a tenant a name of its own";
        report_duplicates(tenant.stream.iter().map(|s| (s.name.value.as_str(), s.name.span)), "stream", remedy, out);
        report_duplicates(tenant.bucket.iter().map(|b| (b.name.value.as_str(), b.name.span)), "bucket", remedy, out);
        let stores = tenant.object_store.iter().map(|o| (o.name.value.as_str(), o.name.span));
        report_duplicates(stores, "object store", remedy, out);
        for stream in &tenant.stream {
            let consumers = stream.consumer.iter().map(|c| (c.name.value.as_str(), c.name.span));
            report_duplicates(consumers, "consumer", "give each consumer of a stream a name of its own", out);
            let upper = stream.name.value.as_str().to_ascii_uppercase();
            if upper.starts_with("KV_") || upper.starts_with("OBJ_") {
                out.push(
                    Diagnostic::error(
                        codes::RESERVED_NAME,
                        stream.name.span,
                        "streams named KV_ and OBJ_ belong to buckets and object stores",
                    )
                    .hint("declare a [[tenant.bucket]] or [[tenant.object_store]], or choose another name"),
                );
            }
        }
    }
}

/// Warns of a placement, which one server ignores.
pub fn placement_has_an_effect(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let streams = tenant.stream.iter().map(|s| &s.placement);
        let others = tenant.bucket.iter().map(|b| &b.placement).chain(tenant.object_store.iter().map(|o| &o.placement));
        for placement in streams.chain(others).filter_map(Key::get) {
            out.push(
                Diagnostic::warning(
                    codes::NO_EFFECT,
                    placement.span,
                    "a placement chooses among the servers of a cluster, and this is one server",
                )
                .label("ignored")
                .hint("remove `placement`"),
            );
        }
    }
}

/// Ensures that streams capture, and publish to, their tenant's subjects only.
pub fn stream_subjects_are_the_tenants(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in cx.registry.tenant.iter().filter(|tenant| !tenant.stream.is_empty()) {
        let (own, offered) = (tenant.subjects(), cx.offered_services(tenant));
        for stream in &tenant.stream {
            let has_origin = !stream.mirror.is_absent() || !stream.source.is_empty() || !stream.source.is_whole();
            let is_empty = stream.subjects.is_absent() || stream.subjects.get().is_some_and(List::says_nothing);
            if is_empty && !has_origin {
                out.push(
                    Diagnostic::error(
                        codes::NO_SUBJECTS,
                        stream.name.span,
                        format!("stream `{}` captures nothing", stream.name.value),
                    )
                    .hint(format!("add `subjects = [\"{}.>\"]`", tenant.name.value)),
                );
            }
            let shared = cx.imported_streams(tenant);
            let is_own = |s: &Subject| !tenant.is_foreign(s);
            let is_shared = |s: &Subject| shared.iter().any(|i| i.contains(s));
            for subject in stream.subjects().iter().filter(|s| !is_own(&s.value) && !is_shared(&s.value)) {
                out.push(foreign(&subject.value, subject.span, tenant, &own));
            }
            let answers = stream.no_ack.get().is_none_or(|n| !n.value);
            let captured = stream.subjects().iter().find(|s| !is_own(&s.value) && is_shared(&s.value));
            if let Some(subject) = captured.filter(|_| answers) {
                out.push(
                    Diagnostic::error(
                        codes::ANSWERED_SHARE,
                        subject.span,
                        format!("stream `{}` would answer to messages of another tenant", stream.name.value),
                    )
                    .label("shared by another tenant")
                    .hint("add `no_ack = true`: an acknowledgement goes where the sender likes, inside this account"),
                );
            }
            let asked = stream.subjects().iter().find(|s| offered.iter().any(|service| service.overlaps(&s.value)));
            if let Some(subject) = asked.filter(|_| answers) {
                out.push(
                    Diagnostic::warning(
                        codes::ANSWERED_SHARE,
                        subject.span,
                        format!(
                            "stream `{}` answers requests to a service of `{}`, often before who serves it does",
                            stream.name.value, tenant.name.value
                        ),
                    )
                    .label("a shared service is in it")
                    .hint("keep the service's subject out of the stream, or add `no_ack = true`"),
                );
            }
            // A stream or consumer that publishes must stay inside the tenant's subjects as well.
            let transformed = stream.subject_transform.get().map(|t| (&t.dest.value.covers, t.dest.span));
            let republished = stream.republish.get().map(|r| (&r.dest.value.covers, r.dest.span));
            let taken =
                stream.origins().flat_map(|s| &s.subject_transforms).map(|t| (&t.dest.value.covers, t.dest.span));
            let delivered = stream.consumer.iter().filter_map(|c| c.deliver_subject.get()).map(|s| (&s.value, s.span));
            let published = transformed.into_iter().chain(republished).chain(taken).chain(delivered);
            for (subject, span) in published.filter(|(s, _)| !is_own(s)) {
                out.push(foreign(subject, span, tenant, &own));
            }
        }
    }
}

/// Ensures that a copy holds no other messages: the exporter chooses the subjects of its
/// messages, which might be the tenant's own.
pub fn copies_are_kept_apart(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let copies: Vec<&str> = tenant.stream.iter().filter(|s| s.is_copy()).map(|s| s.name.value.as_str()).collect();
        for stream in &tenant.stream {
            let name = stream.name.value.as_str();
            let mixes = !stream.subjects().is_empty() || stream.origins().count() > 1;
            if mixes && copies.iter().any(|origin| leads_back(tenant, name, origin)) {
                out.push(
                    Diagnostic::error(
                        codes::FOREIGN_SUBJECT,
                        stream.name.span,
                        format!(
                            "stream `{name}` mixes another tenant's messages with others, under subjects of its choice"
                        ),
                    )
                    .hint("a copy, and what takes its messages from one, has one source and no `subjects`"),
                );
            }
        }
    }
}

/// Ensures that another tenant's message cannot purge a stream, have it answer batches, or fill all storage: the
/// sender of a message writes its headers and its reply subject.
pub fn what_others_send_does_no_harm(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in cx.registry.tenant.iter().filter(|tenant| !tenant.stream.is_empty()) {
        let (own, shared, offered) = (tenant.subjects(), cx.imported_streams(tenant), cx.offered_services(tenant));
        let is_imported = |s: &Subject| !own.iter().any(|(o, _)| o.contains(s)) && shared.iter().any(|i| i.contains(s));
        let is_others = |s: &Subject| is_imported(s) || offered.iter().any(|service| service.overlaps(s));
        let captures = |s: &Stream| s.subjects().iter().any(|s| is_others(&s.value));
        let foreign: Vec<&str> =
            tenant.stream.iter().filter(|s| captures(s) || s.is_copy()).map(|s| s.name.value.as_str()).collect();
        for stream in &tenant.stream {
            let enabling = [
                ("allow_rollup_hdrs", stream.allow_rollup_hdrs.get().filter(|b| b.value).map(|b| b.span)),
                ("allow_msg_schedules", stream.allow_msg_schedules.get().filter(|b| b.value).map(|b| b.span)),
                ("subject_delete_marker_ttl", stream.subject_delete_marker_ttl.get().map(|t| t.span)),
            ];
            let name = &stream.name.value;
            if stream.max_bytes.is_absent() && (captures(stream) || stream.is_copy()) {
                out.push(
                    Diagnostic::warning(
                        codes::UNBOUNDED_SHARE,
                        stream.name.span,
                        format!(
                            "stream `{name}` keeps what another tenant sends, up to all storage of `{}`",
                            tenant.name.value
                        ),
                    )
                    .hint("set `max_bytes`: what others send then leaves room for the tenant's own streams"),
                );
            }
            // Batches are answered whatever `no_ack` says. What copies and sources bring is no batch.
            if let Some(batched) = stream.allow_batched.get().filter(|b| b.value && captures(stream)) {
                out.push(
                    Diagnostic::error(
                        codes::ANSWERED_SHARE,
                        batched.span,
                        format!("stream `{name}` would answer to batches of another tenant, with `no_ack`, too"),
                    )
                    .hint("remove `allow_batched`: an answer goes where the sender likes"),
                );
            }
            let Some((key, span)) = enabling.into_iter().find_map(|(key, span)| Some((key, span?))) else { continue };
            let Some(origin) = foreign.iter().find(|origin| leads_back(tenant, stream.name.value.as_str(), origin))
            else {
                continue;
            };
            let through = if *origin == name.as_str() { String::new() } else { format!(", through `{origin}`") };
            out.push(
                Diagnostic::error(
                    codes::FOREIGN_ROLLUP,
                    span,
                    format!("stream `{name}` keeps messages of another tenant{through}, which could purge it"),
                )
                .hint(format!("remove `{key}`: with it a message's header purges the stream, or its subject")),
            );
        }
    }
}

pub(super) fn foreign(subject: &Subject, span: Span, tenant: &Tenant, own: &[(Subject, Span)]) -> Diagnostic {
    let list = own.iter().map(|(s, _)| format!("`{s}`")).collect::<Vec<_>>().join(", ");
    Diagnostic::error(
        codes::FOREIGN_SUBJECT,
        span,
        format!("`{subject}` is not inside the subjects of `{}`", tenant.name.value),
    )
    .label(format!("not inside {list}"))
    .hint("stay inside the tenant's subjects, or add to them")
}

/// Ensures that no two streams of an account capture the same subject: the server
/// refuses the second (error 10065).
pub fn streams_do_not_overlap(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let mut index: SubjectIndex<(&Stream, Span)> = SubjectIndex::default();
        for stream in &tenant.stream {
            for subject in stream.subjects() {
                if let Some((other, span)) = index.overlapping(&subject.value).first() {
                    let message = if std::ptr::eq(*other, stream) {
                        format!("subjects of stream `{}` overlap", stream.name.value)
                    } else {
                        format!("streams `{}` and `{}` overlap", stream.name.value, other.name.value)
                    };
                    out.push(
                        Diagnostic::error(codes::OVERLAPPING_STREAMS, subject.span, message)
                            .related(*span, "overlaps this")
                            .hint(
                                "a subject is captured by one stream of an account (the server's error 10065): let one \
                                 capture it, and the other take its part of it with [[tenant.stream.source]] name and filter",
                            ),
                    );
                }
                index.insert(&subject.value, (stream, subject.span));
            }
        }
    }
}

/// Ensures that the streams that a stream sources from exist, without a cycle.
pub fn origins_exist(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        for stream in &tenant.stream {
            let own = |origin: &&Source| origin.from.is_absent();
            for origin in stream.origins().filter(own) {
                let name = origin.name.value.as_str();
                if tenant.stream.is_whole() && !tenant.stream.iter().any(|s| s.name.value == origin.name.value) {
                    let unknown = unknown_stream(tenant, &origin.name, "declare it first");
                    let mut copies = cx.registry.share.iter().flat_map(Share::copies);
                    let shared = copies.find(|copy| copy.stream == origin.name.value && copy.to == tenant.name.value);
                    out.push(match shared {
                        Some(copy) => unknown.hint(format!("`{0}` shares one: add `from = \"{0}\"`", copy.from)),
                        None => unknown,
                    });
                } else if leads_back(tenant, name, stream.name.value.as_str()) {
                    let message = format!("`{}` takes its own messages from `{name}`", stream.name.value);
                    let hint = "messages flow one way: remove one of them";
                    out.push(Diagnostic::error(codes::ORIGIN_CYCLE, origin.name.span, message).hint(hint));
                }
            }
        }
    }
}

/// Reports that a tenant has no such stream, and suggests the nearest name.
pub(super) fn unknown_stream(tenant: &Tenant, name: &Spanned<StreamName>, otherwise: &str) -> Diagnostic {
    let near = nearest(name.value.as_str(), tenant.stream.iter().map(|s| s.name.value.as_str()));
    let hint = near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"));
    let message = format!("`{}` has no stream `{}`", tenant.name.value, name.value);
    Diagnostic::error(codes::UNKNOWN_STREAM, name.span, message).hint(hint)
}

fn leads_back(tenant: &Tenant, from: &str, to: &str) -> bool {
    let (mut open, mut seen) = (vec![from], std::collections::HashSet::new());
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            let streams = tenant.stream.iter().filter(|s| s.name.value.as_str() == name);
            let origins = streams.flat_map(Stream::origins).filter(|o| o.from.is_absent());
            open.extend(origins.map(|o| o.name.value.as_str()));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_added;
    use crate::registry::testing::{TWO_TENANTS, codes_of, codes_with};

    #[test]
    fn each_mistake_of_a_stream_is_found_alone_and_gone_when_corrected() {
        check_added(&[
            (
                "duplicate-name",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream]]\nname = \"s\"\nsubjects = [\"T.b\"]\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream]]\nname = \"s2\"\nsubjects = [\"T.b\"]\n",
            ),
            (
                "duplicate-name",
                "[[tenant.bucket]]\nname = \"b\"\n[[tenant.bucket]]\nname = \"B\"\n",
                "[[tenant.bucket]]\nname = \"b\"\n[[tenant.object_store]]\nname = \"B\"\n",
            ),
            (
                "reserved-name",
                "[[tenant.stream]]\nname = \"kv_x\"\nsubjects = [\"T.a\"]\n",
                "[[tenant.stream]]\nname = \"kvx\"\nsubjects = [\"T.a\"]\n",
            ),
            (
                "no-subjects",
                "[[tenant.stream]]\nname = \"S\"\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n",
            ),
            (
                "foreign-subject",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"OTHER.a\"]\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n",
            ),
            (
                "foreign-subject",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\nrepublish = { dest = \"OTHER.a\" }\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\nrepublish = { dest = \"T.b\" }\n",
            ),
            (
                "overlapping-streams",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.*\"]\n[[tenant.stream]]\nname = \"R\"\nsubjects = [\"T.a\"]\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.*\"]\n[[tenant.stream]]\nname = \"R\"\nsubjects = [\"T.a.b\"]\n",
            ),
            (
                "overlapping-streams",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.>\", \"T.a\"]\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.b\", \"T.a\"]\n",
            ),
            (
                "unknown-stream",
                "[[tenant.stream]]\nname = \"S\"\nmirror = { name = \"O\" }\n",
                "[[tenant.stream]]\nname = \"S\"\nmirror = { name = \"O\" }\n[[tenant.stream]]\nname = \"O\"\nsubjects = [\"T.a\"]\n",
            ),
            (
                "delivery-loop",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream.consumer]]\nname = \"c\"\ndeliver_subject = \"T.a\"\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream.consumer]]\nname = \"c\"\ndeliver_subject = \"T.b\"\n",
            ),
            (
                "foreign-subject",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream.consumer]]\nname = \"c\"\nfilter = \"T.b\"\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream.consumer]]\nname = \"c\"\nfilter = \"T.*\"\n",
            ),
            (
                "same-work",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.*\"]\nretention = \"workqueue\"\n[[tenant.stream.consumer]]\nname = \"c\"\n[[tenant.stream.consumer]]\nname = \"d\"\nfilter = \"T.a\"\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.*\"]\nretention = \"workqueue\"\n[[tenant.stream.consumer]]\nname = \"c\"\nfilter = \"T.b\"\n[[tenant.stream.consumer]]\nname = \"d\"\nfilter = \"T.a\"\n",
            ),
            (
                "no-room",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\nstorage = \"memory\"\n",
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\nstorage = \"file\"\n",
            ),
            (
                "no-room",
                "[[tenant.bucket]]\nname = \"a\"\nmax_bytes = \"256MiB\"\n[[tenant.object_store]]\nname = \"b\"\nmax_bytes = \"268435457B\"\n",
                "[[tenant.bucket]]\nname = \"a\"\nmax_bytes = \"256MiB\"\n[[tenant.object_store]]\nname = \"b\"\nmax_bytes = \"256MiB\"\n",
            ),
        ]);
    }

    #[test]
    fn a_cycle_of_sources_is_reported_for_each_of_its_streams() {
        let sourced = |name: &str, from: &str| {
            format!("[[tenant.stream]]\nname = \"{name}\"\n[[tenant.stream.source]]\nname = \"{from}\"\n")
        };
        assert_eq!(codes_with(&[sourced("A", "B"), sourced("B", "A")].concat()), ["origin-cycle"; 2]);
        let end = "[[tenant.stream]]\nname = \"B\"\nsubjects = [\"T.b\"]\n";
        assert_eq!(codes_with(&[sourced("A", "B"), end.to_owned()].concat()), [""; 0]);
    }

    #[test]
    fn the_sums_of_storage_and_memory_fit_the_server_up_to_the_last_byte() {
        // OTHER has 256 MiB of the server's 1 GiB, and T the rest.
        let with = |storage: &str, memory: &str| {
            let keys = format!("storage = \"{storage}\"\nmemory = \"{memory}\"");
            codes_of(&TWO_TENANTS.replacen("storage = \"512MiB\"", &keys, 1))
        };
        assert_eq!(with("768MiB", "64MiB"), [""; 0]);
        assert_eq!(with("805306369B", "64MiB"), ["jetstream-oversubscribed"]);
        assert_eq!(with("768MiB", "67108865B"), ["jetstream-oversubscribed"]);
        assert_eq!(with("805306369B", "67108865B"), ["jetstream-oversubscribed"; 2]);
    }

    #[test]
    fn jetstream_is_on_with_room_wherever_it_is_used() {
        let tenant = |keys: &str| codes_of(&format!("version = 1\n{keys}[[tenant.user]]\nname = \"u\"\n"));
        let on = "[server.jetstream]\nstorage = \"1GiB\"\n[[tenant]]\nname = \"T\"\n";
        assert_eq!(tenant(&format!("{on}[tenant.jetstream]\nstorage = \"1B\"\n")), [""; 0]);
        assert_eq!(tenant(&format!("{on}[tenant.jetstream]\nstorage = \"0B\"\n")), ["jetstream-off"]);
        assert_eq!(tenant(&format!("{on}[tenant.jetstream]\n")), ["jetstream-off"]);
        assert_eq!(tenant(&format!("{on}[[tenant.bucket]]\nname = \"b\"\n")), ["jetstream-off"]);
        let off = "[[tenant]]\nname = \"T\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n";
        assert_eq!(tenant(off), ["jetstream-off"]);
    }

    #[test]
    fn the_numbers_of_streams_and_consumers_fit_the_tenant_at_the_border() {
        let with = |limits: &str, streams: usize, consumers: usize| {
            let text = TWO_TENANTS.replacen("storage = \"512MiB\"", &format!("storage = \"512MiB\"\n{limits}"), 1);
            let consumers: String =
                (0..consumers).map(|n| format!("[[tenant.stream.consumer]]\nname = \"c{n}\"\n")).collect();
            let stream = |n| format!("[[tenant.stream]]\nname = \"S{n}\"\nsubjects = [\"T.{n}\"]\n{consumers}");
            codes_of(&(text + &(0..streams).map(stream).collect::<String>()))
        };
        assert_eq!(with("streams = 2", 2, 0), [""; 0]);
        assert_eq!(with("streams = 2", 3, 0), ["too-many-streams"]);
        assert_eq!(with("consumers = 2", 1, 2), [""; 0]);
        assert_eq!(with("consumers = 2", 1, 3), ["too-many-consumers"]);
    }

    #[test]
    fn a_stream_may_have_no_more_consumers_than_its_tenant() {
        let with = |limits: &str, most: u32| {
            let stream = format!("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\nmax_consumers = {most}\n");
            let keys = format!("storage = \"512MiB\"\n{limits}");
            codes_of(&(TWO_TENANTS.replacen("storage = \"512MiB\"", &keys, 1) + &stream))
        };
        assert_eq!(with("", 20), [""; 0]);
        assert_eq!(with("", 21), ["too-many-consumers"]);
        assert_eq!(with("consumers = 21", 21), [""; 0]);
        let two = |most: u32| {
            let stream = format!("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\nmax_consumers = {most}\n");
            let consumers = "[[tenant.stream.consumer]]\nname = \"a\"\n[[tenant.stream.consumer]]\nname = \"b\"\n";
            codes_of(&format!("{TWO_TENANTS}{stream}{consumers}"))
        };
        assert_eq!(two(1), ["too-many-consumers"], "its own limit");
        assert_eq!(two(2), [""; 0]);
    }

    #[test]
    fn a_tenant_that_may_copy_a_stream_takes_one_of_its_consumers() {
        let stream =
            "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.a\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n";
        let share = "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\njetstream = \"S\"\n";
        let with = |consumers: u32| {
            let keys = format!("storage = \"512MiB\"\nconsumers = {consumers}");
            codes_of(&(TWO_TENANTS.replacen("storage = \"512MiB\"", &keys, 1) + stream + share))
        };
        assert_eq!(with(1), ["too-many-consumers"]);
        assert_eq!(with(2), [""; 0]);
    }

    const BOUND: &str = "max_bytes = \"1MiB\"\n";

    #[test]
    fn a_stream_captures_shared_subjects_without_answering_or_rolling_up() {
        let with = |keys: &str| {
            codes_with(&format!(
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"OTHER.x\"]\n{BOUND}{keys}\n\
                 [[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\nstream = \"OTHER.x\"\n"
            ))
        };
        assert_eq!(with(""), ["answered-share"]);
        assert_eq!(with("no_ack = true"), [""; 0]);
        assert_eq!(with("no_ack = true\nallow_rollup_hdrs = true"), ["foreign-rollup"]);
        assert_eq!(with("no_ack = true\nallow_msg_schedules = true"), ["foreign-rollup"]);
        // Measured on nats-server 2.15.1: a message with a reply subject of the form of a batch is answered there.
        assert_eq!(with("no_ack = true\nallow_batched = true"), ["answered-share"]);
        assert_eq!(with("no_ack = true\nallow_atomic = true"), [""; 0]);
        assert_eq!(with("no_ack = true\nallow_rollup_hdrs = false"), [""; 0]);
    }

    /// Measured on nats-server 2.15.1: one request with `Nats-Rollup: all` left nothing else in the stream, and most
    /// requests were answered by its acknowledgement.
    #[test]
    fn a_stream_that_captures_an_offered_service_does_not_answer_and_rolls_nothing_up() {
        let with = |subject: &str, keys: &str| {
            codes_with(&format!(
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"{subject}\"]\n{BOUND}{keys}\n\
                 [[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.svc.>\"\n"
            ))
        };
        assert_eq!(with("T.>", ""), ["answered-share"]);
        assert_eq!(with("T.>", "no_ack = true"), [""; 0]);
        assert_eq!(with("T.events.>", "allow_rollup_hdrs = true"), [""; 0]);
        assert_eq!(with("T.svc.x", "no_ack = true\nallow_batched = true"), ["answered-share"]);
        assert_eq!(with("T.events.>", "allow_batched = true"), [""; 0]);
        for key in ["allow_rollup_hdrs = true", "allow_msg_schedules = true", "subject_delete_marker_ttl = \"10s\""] {
            assert_eq!(with("T.*.x", &format!("no_ack = true\n{key}")), ["foreign-rollup"], "{key}");
        }
    }

    #[test]
    fn a_copy_is_not_mixed_with_other_messages() {
        let share = "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\n";
        let copy = |keys: &str| {
            let source = "[[tenant.stream.source]]\nname = \"THEIRS\"\nfrom = \"OTHER\"\n";
            codes_with(&format!("[[tenant.stream]]\nname = \"C\"\n{keys}{source}{share}"))
        };
        assert_eq!(copy(""), ["unbounded-share"], "another tenant may fill all storage");
        let copy = |keys: &str| copy(&format!("{BOUND}{keys}"));
        assert_eq!(copy(""), [""; 0]);
        assert_eq!(copy("subjects = [\"T.a\"]\n"), ["foreign-subject"]);
        assert_eq!(copy("allow_rollup_hdrs = true\n"), ["foreign-rollup"]);
    }
}
