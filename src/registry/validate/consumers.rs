//! Validation of consumers against their stream.

use super::super::defaults;
use super::super::raw::{Consumer, Stream};
use super::RegistryContext;
use super::conflicts::is_work_queue;
use crate::diag::Diagnostic;
use crate::registry::codes;
use crate::subject::Subject;

/// Ensures that consumers filter on subjects of their stream, and that their number is
/// within the tenant's limit.
pub fn consumers_fit_their_stream(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let jetstream = tenant.jetstream.get();
        let allowed = jetstream.and_then(|j| j.consumers.get()).map_or(defaults::CONSUMERS, |c| c.value.0);
        for stream in &tenant.stream {
            let consumers = stream.consumer.len() + cx.copies_of(tenant, stream);
            // Without a limit of its own: the tenant's.
            let own = stream.max_consumers.get().filter(|own| (1..allowed).contains(&own.value.0));
            let most = own.map_or(allowed, |own| own.value.0);
            if consumers > most as usize {
                let message =
                    format!("stream `{}` declares {consumers} consumers and may have {most}", stream.name.value);
                let finding = Diagnostic::error(codes::TOO_MANY_CONSUMERS, stream.name.span, message);
                out.push(match own {
                    Some(own) => finding.related(own.span, "its own limit").hint("raise its `max_consumers`; each tenant that copies it has one"),
                    None => finding.hint("raise `consumers` under [tenant.jetstream]: the limit is for each stream, and each tenant that copies it has one"),
                });
            }
            if let Some(most) = stream.max_consumers.get().filter(|most| most.value.0 > allowed) {
                let message =
                    format!("stream `{}` may have {} consumers, its tenant {allowed}", stream.name.value, most.value.0);
                out.push(
                    Diagnostic::error(codes::TOO_MANY_CONSUMERS, most.span, message)
                        .hint("lower `max_consumers`, or raise `consumers` under [tenant.jetstream]"),
                );
            }
            for filter in stream.consumer.iter().flat_map(Consumer::filters) {
                // What `split` and `slice` make has any number of tokens.
                let splits = stream.subject_transform.get().is_some_and(|transform| {
                    ["split", "slice"]
                        .iter()
                        .any(|function| transform.dest.value.text.to_lowercase().contains(function))
                });
                let takes_more = !stream.source.is_empty() || splits;
                if !takes_more && !stream.subjects().is_empty() && !stored(stream).any(|s| s.overlaps(&filter.value)) {
                    out.push(
                        Diagnostic::error(
                            codes::FOREIGN_SUBJECT,
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

/// The subjects under which a stream stores what it captures: a transform renames them.
fn stored(stream: &Stream) -> impl Iterator<Item = &Subject> {
    let transform = stream.subject_transform.get();
    let is_renamed = move |subject: &Subject| {
        transform.is_some_and(|t| t.src.get().map_or(t.src.is_absent(), |src| src.value.contains(subject)))
    };
    let kept = stream.subjects().iter().map(|subject| &subject.value).filter(move |subject| !is_renamed(subject));
    kept.chain(transform.map(|transform| &transform.dest.value.covers))
}

/// Ensures that no consumer delivers to a subject of its own stream (server error 10081).
pub fn deliveries_leave_their_stream(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for stream in cx.registry.tenant.iter().flat_map(|t| &t.stream) {
        stream.consumer.iter().for_each(|consumer| delivery_leads_out(stream, consumer, out));
    }
}

fn delivery_leads_out(stream: &Stream, consumer: &Consumer, out: &mut Vec<Diagnostic>) {
    let Some(deliver) = consumer.deliver_subject.get() else { return };
    let Some(captured) = stream.subjects().iter().find(|s| s.value.overlaps(&deliver.value)) else { return };
    let message = format!("stream `{}` would store what it delivers, without an end", stream.name.value);
    out.push(
        Diagnostic::error(codes::DELIVERY_LOOP, deliver.span, message)
            .related(captured.span, "captured here")
            .hint("deliver to a subject that the stream does not capture"),
    );
}

/// Ensures that each message of a work queue goes to one consumer: the server refuses two
/// that would both get it (errors 10099, 10100).
pub fn work_is_given_once(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let streams = cx.registry.tenant.iter().flat_map(|t| &t.stream);
    streams.filter(|s| is_work_queue(s)).for_each(|stream| consumers_share_no_work(stream, out));
}

fn consumers_share_no_work(stream: &Stream, out: &mut Vec<Diagnostic>) {
    let takes = |c: &Consumer, other: &Consumer| {
        let (mut own, others) = (c.filters().peekable(), || other.filters());
        own.peek().is_none() || others().next().is_none() || own.any(|f| others().any(|o| o.value.overlaps(&f.value)))
    };
    for (i, consumer) in stream.consumer.iter().enumerate() {
        if let Some(first) = stream.consumer[..i].iter().find(|first| takes(consumer, first)) {
            out.push(
                Diagnostic::error(
                    codes::SAME_WORK,
                    consumer.name.span,
                    format!("`{}` and `{}` would both get the same work", first.name.value, consumer.name.value),
                )
                .related(first.name.span, "this one gets it")
                .hint("give them filters that do not overlap, or let several clients use one consumer"),
            );
        }
    }
}
