//! Whether the requests that `apply` makes fit the tenant's own payload limit: the
//! server closes a connection that publishes more.

use crate::diag::{Diagnostic, Span};
use crate::model::Tenant;
use crate::model::jetstream::difference::{STREAM, consumer_request};
use crate::model::jetstream::{Stream, StreamKind};
use crate::model::units::Size;
use crate::registry::codes;

/// What an update may carry beyond the declared keys: those that the server added. Bytes.
const SERVER_KEYS: u64 = 512;

/// Reports a payload limit below the largest request, with the smallest limit that works.
pub(super) fn fit_the_payload(tenant: &Tenant, place: Span, out: &mut Vec<Diagnostic>) {
    let requests = tenant.streams.iter().flat_map(|stream| {
        let own = (declared_name(stream), STREAM.request(&stream.config, None));
        let consumers = stream.consumers.iter().map(|consumer| {
            let name = format!("consumer {}/{}", stream.name, consumer.name);
            (name, consumer_request(stream.name.as_str(), consumer, "create", None))
        });
        std::iter::once(own).chain(consumers)
    });
    let sizes = requests.map(|(name, body)| (body.to_string().len() as u64 + SERVER_KEYS, name));
    let Some((needed, name)) = sizes.max() else { return };
    let limit = tenant.limits.payload;
    if limit.bytes() < needed {
        let message = format!(
            "`{}` may publish {limit} at a time, and a request for {name} takes up to {needed} bytes",
            tenant.name
        );
        let hint = format!("set `payload = \"{}\"` or more under [tenant.limits]", Size(needed.next_multiple_of(64)));
        out.push(Diagnostic::error(codes::PAYLOAD_TOO_SMALL, place, message).hint(hint));
    }
}

/// What the registry calls it: a bucket's stream has a prefix on the server.
fn declared_name(stream: &Stream) -> String {
    let name = stream.name.as_str();
    match stream.kind {
        StreamKind::Stream => format!("stream {name}"),
        StreamKind::Bucket => format!("bucket {}", name.strip_prefix("KV_").unwrap_or(name)),
        StreamKind::ObjectStore => format!("object store {}", name.strip_prefix("OBJ_").unwrap_or(name)),
    }
}

#[cfg(test)]
mod tests {
    use crate::registry::load;

    fn found(payload: &str, more: &str) -> Vec<(&'static str, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tenants.toml");
        let text = format!(
            "version = 1\n[server.jetstream]\nstorage = \"1GiB\"\n[keys]\nroot = \"development\"\n[[tenant]]\nname = \"T\"\n\
             [tenant.limits]\npayload = \"{payload}\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"u\"\n{more}"
        );
        std::fs::write(&path, text).expect("write");
        let loaded = load(&path).expect("readable");
        loaded.diagnostics.into_iter().map(|d| (d.rule, d.hint.unwrap_or_default())).collect()
    }

    #[test]
    fn a_limit_below_our_own_requests_is_refused_with_the_smallest_that_works() {
        let bucket = "[[tenant.bucket]]\nname = \"b\"\n";
        let [(code, hint)] = found("266B", bucket).try_into().expect("one finding");
        assert_eq!(code, "payload-too-small");
        let smallest = hint.split('"').nth(1).expect("a size").to_owned();
        assert_eq!(found(&smallest, bucket), [], "{smallest}");
        assert_eq!(found("266B", ""), [], "without streams nothing is requested");
    }
}
