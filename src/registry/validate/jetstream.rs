//! JetStream: what tenants reserve, and the streams they declare.

use super::super::raw::{JetStream, Stream, Tenant};
use super::{Context, report_duplicates, subjects_of};
use crate::diag::{Diagnostic, Span};
use crate::model::Storage;
use crate::model::units::Size;
use crate::subject::{Subject, SubjectIndex};

/// Ensure JetStream is on, with room, wherever something needs it.
pub fn is_on_where_it_is_used(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let server_has_it = cx.registry.server.get().is_some_and(|s| !s.jetstream.is_absent());
    for tenant in &cx.registry.tenant {
        let name = &tenant.name.value;
        if let Some(jetstream) = tenant.jetstream.get() {
            if !server_has_it {
                out.push(
                    Diagnostic::error(
                        "jetstream-off",
                        jetstream.span,
                        format!("`{name}` has JetStream, the server has not"),
                    )
                    .hint("add [server.jetstream] with `storage = \"2GiB\"`"),
                );
            }
            if is_zero(jetstream) {
                out.push(
                    Diagnostic::error(
                        "jetstream-off",
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
                Diagnostic::error("jetstream-off", span, format!("{what} needs JetStream, which `{name}` has not"))
                    .hint("add [tenant.jetstream] with `storage = \"512MiB\"`"),
            );
        }
    }
}

fn is_zero(jetstream: &JetStream) -> bool {
    let none = |key: &super::super::decode::Key<crate::diag::Spanned<Size>>| match key.get() {
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

/// Ensure all tenants' storage and memory fit the server. It refuses to start
/// otherwise; on reload it cuts off tenants that did nothing wrong.
pub fn sums_fit_the_server(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let Some(server) = cx.registry.server.get().and_then(|s| s.jetstream.get()) else { return };
    let of = |pick: fn(&JetStream) -> Option<Size>| -> u128 {
        cx.registry
            .tenant
            .iter()
            .filter_map(|t| t.jetstream.get())
            .filter_map(pick)
            .map(|s| u128::from(s.bytes()))
            .sum()
    };
    let storage = (of(|j| j.storage.get().map(|s| s.value)), server.storage.value, server.storage.span, "storage");
    let memory_limit = server.memory.get().map_or((Size(0), server.span), |m| (m.value, m.span));
    let memory = (of(|j| j.memory.get().map(|m| m.value)), memory_limit.0, memory_limit.1, "memory");
    for (sum, limit, span, what) in [storage, memory] {
        if sum <= u128::from(limit.bytes())
            || (what == "memory" && matches!(server.memory, super::super::decode::Key::Invalid))
        {
            continue;
        }
        let sum = Size(u64::try_from(sum).unwrap_or(u64::MAX));
        out.push(
            Diagnostic::error(
                "jetstream-oversubscribed",
                span,
                format!("the tenants' {what} adds up to {sum}, the server has {limit}"),
            )
            .label("too little for all tenants together")
            .hint(format!("set `{what} = \"{sum}\"` or more here, or lower the tenants'")),
        );
    }
}

/// Ensure what a tenant declares fits what it may have.
pub fn streams_fit_the_tenant(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let Some(jetstream) = tenant.jetstream.get() else { continue };
        let declared = tenant.stream.len() + tenant.bucket.len() + tenant.object_store.len();
        let allowed = jetstream.streams.get().map_or(super::super::lower::STREAMS, |s| s.value.0);
        if declared > allowed as usize {
            out.push(
                Diagnostic::error(
                    "too-many-streams",
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
        let before = *sum;
        *sum += bytes;
        let limit = limit.get().map_or(0, |l| l.bytes());
        if limit == 0 {
            out.push(
                Diagnostic::error("no-room", span, format!("`{}` has no {key} for this", tenant.name.value))
                    .hint(format!("set `{key}` under [tenant.jetstream]")),
            );
        } else if *sum > u128::from(limit) && before <= u128::from(limit) {
            let total = Size(u64::try_from(*sum).unwrap_or(u64::MAX));
            out.push(
                Diagnostic::error(
                    "no-room",
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

/// Ensure stream, bucket and consumer names are unique, and no stream takes
/// the name of the one behind a bucket.
pub fn stream_names_are_unique(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
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
                        "reserved-name",
                        stream.name.span,
                        "streams named KV_ and OBJ_ belong to buckets and object stores",
                    )
                    .hint("declare a [[tenant.bucket]] or [[tenant.object_store]], or choose another name"),
                );
            }
        }
    }
}

/// Ensure streams capture only what is their tenant's.
pub fn stream_subjects_are_the_tenants(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let own = subjects_of(tenant);
        for stream in &tenant.stream {
            if stream.subjects.is_absent() || stream.subjects.get().is_some_and(Vec::is_empty) {
                out.push(
                    Diagnostic::error(
                        "no-subjects",
                        stream.name.span,
                        format!("stream `{}` captures nothing", stream.name.value),
                    )
                    .hint(format!("add `subjects = [\"{}.>\"]`", tenant.name.value)),
                );
            }
            for subject in
                stream.subjects().iter().filter(|s| !own.is_empty() && !own.iter().any(|(o, _)| o.contains(&s.value)))
            {
                out.push(foreign(&subject.value, subject.span, tenant, &own));
            }
        }
    }
}

pub(super) fn foreign(subject: &Subject, span: Span, tenant: &Tenant, own: &[(Subject, Span)]) -> Diagnostic {
    let list = own.iter().map(|(s, _)| format!("`{s}`")).collect::<Vec<_>>().join(", ");
    Diagnostic::error(
        "foreign-subject",
        span,
        format!("`{subject}` is not inside the subjects of `{}`", tenant.name.value),
    )
    .label(format!("not inside {list}"))
    .hint("stay inside the tenant's subjects, or add to them")
}

/// Ensure no two streams of an account capture the same subject: the server
/// refuses the second (10065).
pub fn streams_do_not_overlap(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
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
                        Diagnostic::error("overlapping-streams", subject.span, message)
                            .related(*span, "overlaps this")
                            .hint("the server lets one stream of an account capture a subject (error 10065)"),
                    );
                }
                index.insert(&subject.value, (stream, subject.span));
            }
        }
    }
}

/// Ensure consumers take what their stream has, and are not too many.
pub fn consumers_fit_their_stream(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let jetstream = tenant.jetstream.get();
        let allowed = jetstream.and_then(|j| j.consumers.get()).map_or(super::super::lower::CONSUMERS, |c| c.value.0);
        for stream in &tenant.stream {
            if stream.consumer.len() > allowed as usize {
                out.push(
                    Diagnostic::error(
                        "too-many-consumers",
                        stream.name.span,
                        format!(
                            "stream `{}` declares {} consumers and may have {allowed}",
                            stream.name.value,
                            stream.consumer.len()
                        ),
                    )
                    .hint("raise `consumers` under [tenant.jetstream]: the limit is for each stream"),
                );
            }
            for filter in stream.consumer.iter().filter_map(|c| c.filter.get()) {
                if !stream.subjects().is_empty() && !stream.subjects().iter().any(|s| s.overlaps(&filter.value)) {
                    out.push(
                        Diagnostic::error(
                            "foreign-subject",
                            filter.span,
                            format!("stream `{}` has nothing on `{}`", stream.name.value, filter.value),
                        )
                        .related(stream.subjects()[0].span, "the stream's subjects")
                        .hint("filter on subjects that the stream captures"),
                    );
                }
            }
        }
    }
}
