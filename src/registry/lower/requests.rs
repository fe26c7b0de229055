//! Whether the requests that `apply` makes fit the tenant's own payload limit: the
//! server closes a connection that publishes more.

use serde_json::json;

use crate::diag::Diagnostic;
use crate::model::Tenant;
use crate::model::jetstream::difference::{STREAM, consumer_request};
use crate::model::jetstream::{Stream, StreamKind};
use crate::model::units::Size;
use crate::registry::{codes, raw};

/// Reports tenants whose payload limit is below the largest request, with the smallest
/// limit that works. A limit that is the server's is reported once.
pub(super) fn fit_the_payload(registry: &raw::Registry, tenants: &[Tenant], out: &mut Vec<Diagnostic>) {
    let server = registry.server.get().and_then(|s| s.max_payload.get());
    let mut server_needs: Option<(u64, String)> = None;
    for (raw, tenant) in registry.tenant.iter().zip(tenants) {
        let Some((needed, name)) =
            largest_request(tenant).filter(|(needed, _)| *needed > tenant.limits.payload.bytes())
        else {
            continue;
        };
        let what = format!("a request for {name} takes {needed} bytes");
        match raw.limits.get().and_then(|l| l.payload.get()) {
            Some(own) => {
                let message = format!("`{}` may publish {} at a time, and {what}", tenant.name, tenant.limits.payload);
                let hint = format!("set `payload = \"{}\"` or more under [tenant.limits]", Size(needed));
                out.push(Diagnostic::error(codes::PAYLOAD_TOO_SMALL, own.span, message).hint(hint));
            }
            None => server_needs = server_needs.max(Some((needed, format!("{what} in `{}`", tenant.name)))),
        }
    }
    if let (Some((needed, what)), Some(server)) = (server_needs, server) {
        let message = format!("clients may publish {} at a time, and {what}", server.value);
        let hint = format!("set `max_payload = \"{}\"` or more under [server]", Size(needed));
        out.push(Diagnostic::error(codes::PAYLOAD_TOO_SMALL, server.span, message).hint(hint));
    }
}

/// The size of the largest request that makes something of the tenant, and what it makes.
fn largest_request(tenant: &Tenant) -> Option<(u64, String)> {
    let requests = tenant.streams.iter().flat_map(|stream| {
        let own = (declared_name(stream), STREAM.request(&stream.config, None));
        let consumers = stream.consumers.iter().map(|consumer| {
            let name = format!("consumer {}/{}", stream.name, consumer.name);
            (name, consumer_request(stream.name.as_str(), consumer, "create", None))
        });
        std::iter::once(own).chain(consumers)
    });
    let list = tenant.jetstream.map(|_| ("the list of streams".to_owned(), json!({ "offset": 0 })));
    list.into_iter().chain(requests).map(|(name, body)| (body.to_string().len() as u64, name)).max()
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
        found_in("", &format!("[tenant.limits]\npayload = \"{payload}\"\n"), more)
    }

    fn found_in(server: &str, limits: &str, more: &str) -> Vec<(&'static str, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tenants.toml");
        let text = format!(
            "version = 1\n{server}[server.jetstream]\nstorage = \"1GiB\"\n[keys]\nroot = \"development\"\n[[tenant]]\nname = \"T\"\n\
             {limits}[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"u\"\n{more}"
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
        assert_eq!(found("12B", ""), [], "without streams only their list is requested");
        assert!(matches!(&found("11B", "")[..], [("payload-too-small", hint)] if hint.contains("12B")));
    }

    #[test]
    fn a_limit_that_is_the_servers_is_reported_there() {
        let server = |payload: &str| format!("[server]\nmax_payload = \"{payload}\"\n");
        let bucket = "[[tenant.bucket]]\nname = \"b\"\n";
        let [(code, hint)] = found_in(&server("266B"), "", bucket).try_into().expect("one finding");
        assert_eq!(code, "payload-too-small");
        assert!(hint.contains("under [server]"), "{hint}");
        let smallest = hint.split('"').nth(1).expect("a size").to_owned();
        assert_eq!(found_in(&server(&smallest), "", bucket), [], "{smallest}");
    }
}
