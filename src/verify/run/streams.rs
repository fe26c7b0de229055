//! The streams of a live server, as its operator lists them: which would store what a run asks, and
//! which let another tenant answer, replace or forge in its place.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::cleanup::is_ours;
use super::{Captured, Run, TenantRun};
use crate::model::names::AccountName;
use crate::model::{ShareKind, StreamCopy};
use crate::subject::Subject;
use crate::verify::probes;
use crate::verify::wire::Request;

/// In the evidence of a stream that acknowledges what its tenant imports.
pub const ACKNOWLEDGES: &str = "acknowledges each message on a subject that the publisher chooses";

/// In the evidence of a stream in which another tenant's message may replace others, or write some.
pub const ROLLS_UP: &str = "lets the headers of a message replace others there, or write them";

/// A stream of a tenant.
struct Stream {
    account: String,
    name: String,
    subjects: Vec<Subject>,
    config: Json,
}

impl Stream {
    /// Reads one of the answer to JSZ. `None`: it is of a run.
    fn read(account: &Json, stream: &Json) -> Option<Self> {
        let name = stream["name"].as_str().unwrap_or_default();
        // Streams of a killed run are removed before anything is tried.
        let subjects = stream["config"]["subjects"].as_array().into_iter().flatten();
        (!is_ours(name)).then(|| Self {
            account: account["name"].as_str().unwrap_or_default().to_owned(),
            name: name.to_owned(),
            subjects: subjects.filter_map(|s| Subject::as_the_server_reads(s.as_str()?)).collect(),
            config: stream["config"].clone(),
        })
    }

    /// Whether it answers to messages. Batches are answered whatever `no_ack` says.
    fn answers(&self) -> bool {
        self.config["no_ack"] != true || self.config["allow_batched"] == true
    }

    /// Whether headers of a message purge it, or have messages written to it.
    fn obeys_headers(&self) -> bool {
        ["allow_rollup_hdrs", "allow_msg_schedules"].iter().any(|key| self.config[*key] == true)
    }

    /// What it copies.
    fn sources(&self) -> impl Iterator<Item = &Json> {
        self.config["sources"].as_array().into_iter().flatten().chain([&self.config["mirror"]])
    }

    /// The stream itself, and those of its own account that it copies, directly or by others of them.
    fn with_origins<'s>(&'s self, all: &'s [Self]) -> Vec<&'s Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(stream) = found.get(next).copied() {
            next += 1;
            let own = stream.sources().filter(|source| source["external"].is_null());
            for name in own.filter_map(|source| source["name"].as_str()) {
                let origin = all.iter().find(|other| other.account == self.account && other.name == name);
                found.extend(origin.filter(|origin| !found.iter().any(|known| known.name == origin.name)));
            }
        }
        found
    }

    /// Whether it copies a stream of this account.
    fn copies(&self, from: &str) -> bool {
        let sources = self.sources();
        let subjects =
            |source: &Json| [source["external"]["api"].clone(), source["consumer"]["deliver_subject"].clone()];
        let line = format!("JS.{from}.");
        sources.flat_map(subjects).any(|subject| subject.as_str().is_some_and(|text| text.starts_with(&line)))
    }
}

/// The bytes of a kind of storage that an account uses, or that its streams reserve, by the answer to JSZ.
fn bytes_taken(account: &Json, streams: &[&Json], kind: &str) -> u64 {
    let number = |value: &Json| value.as_u64().unwrap_or_default();
    let of_kind = streams.iter().map(|stream| &stream["config"]).filter(|config| config["storage"] == kind);
    let used = if kind == "memory" { &account["memory"] } else { &account["storage"] };
    number(used).max(of_kind.map(|config| number(&config["max_bytes"])).sum())
}

impl<'p> Run<'p> {
    /// Leaves alone the tenants whose streams would store what the run asks, and records what the streams let others
    /// do. The server is asked for the streams as its operator, because what a tenant's user asks may be stored.
    pub async fn spare(&self, tenant_runs: &mut [TenantRun<'p>]) {
        const AT_ONCE: usize = 256;
        if self.throwaway {
            return;
        }
        let Some(mut operator) = self.operator().await else { return };
        let (mut streams, mut taken) = (Vec::new(), HashMap::new());
        for offset in (0..=self.model.tenants.len()).step_by(AT_ONCE) {
            let body = json!({ "accounts": true, "streams": true, "config": true, "limit": AT_ONCE, "offset": offset });
            let answers = operator.ask_all(Request::json("$SYS.REQ.SERVER.PING.JSZ", &body)).await.unwrap_or_default();
            for answer in &answers {
                let jsz = answer.json()["data"].take();
                for account in jsz["account_details"].as_array().into_iter().flatten() {
                    let of_account = account["stream_detail"].as_array().into_iter().flatten();
                    // What a killed run has left goes before anything is made.
                    let is_left = |stream: &&Json| is_ours(stream["name"].as_str().unwrap_or_default());
                    let of_account: Vec<&Json> = of_account.filter(|stream| !is_left(stream)).collect();
                    let name = account["name"].as_str().unwrap_or_default().to_owned();
                    let bytes = ["memory", "file"].map(|kind| bytes_taken(account, &of_account, kind));
                    taken.insert(name, (bytes, of_account.len()));
                    streams.extend(of_account.into_iter().filter_map(|stream| Stream::read(account, stream)));
                }
            }
        }
        let mut captured = Captured::new();
        for stream in &streams {
            let known = captured.entry(stream.account.clone()).or_default();
            known.extend(stream.subjects.iter().map(|subject| (stream.name.clone(), subject.clone())));
        }
        for tenant_run in &mut *tenant_runs {
            let of = captured.get(tenant_run.tenant.name.as_str()).map(Vec::as_slice).unwrap_or_default();
            tenant_run.leave_alone(self, of);
            let ([memory, file], streams) = taken.get(tenant_run.tenant.name.as_str()).copied().unwrap_or_default();
            tenant_run.look_for_room(|kind| if kind == "memory" { memory } else { file }, streams);
        }
        *self.captured.borrow_mut() = Some(captured);
        for stream in &streams {
            self.find_acknowledged_shares(stream);
            self.find_foreign_headers(stream, &streams);
        }
    }

    /// Records that a stream captures what its tenant imports, and acknowledges it: the exporter chooses the subject.
    fn find_acknowledged_shares(&self, stream: &Stream) {
        let Some(index) = self.tenant_named(&stream.account).filter(|_| stream.answers()) else {
            return;
        };
        let imports = self.topology.tenant(index).imports.iter().filter(|import| import.kind == ShareKind::Stream);
        for import in imports {
            let Some(subject) = stream.subjects.iter().find(|s| s.overlaps(&import.subject)) else { continue };
            let evidence = format!(
                "the stream {} of {} captures `{subject}` of {} and {ACKNOWLEDGES}",
                stream.name, stream.account, import.from
            );
            self.ledger.leak_of(probes::ANSWERS, self.topology.place(&import.from), Some(index), &evidence);
        }
    }

    /// Records that a stream keeps what another tenant sends, imported, asked of a service or copied, and does what
    /// the headers of a message say. What it copies of another stream of its account has these headers still.
    fn find_foreign_headers(&self, stream: &Stream, all: &[Stream]) {
        let Some(index) = self.tenant_named(&stream.account).filter(|_| stream.obeys_headers()) else { return };
        let tenant = self.topology.tenant(index);
        let imported = tenant.imports.iter().filter(|import| import.kind == ShareKind::Stream);
        let imported = imported.map(|import| (&import.from, &import.subject));
        let services = tenant.exports.iter().filter(|export| export.kind == ShareKind::Service);
        let asked = services.flat_map(|export| export.to.iter().map(|to| (to, &export.subject)));
        // What a copy delivers, and what commands the exporter's consumer, without what `copies` finds below.
        let way = |copy: &StreamCopy, kind: ShareKind| -> Vec<Subject> {
            let ways = copy.ways().into_iter().filter(|(of, ..)| *of == kind);
            ways.filter_map(|(_, exported, _)| Subject::as_the_server_reads(&exported)).collect()
        };
        let delivered = tenant.stream_imports.iter().map(|copy| (&copy.from, way(copy, ShareKind::Stream)));
        let commanded = tenant.stream_exports.iter().map(|copy| (&copy.to, way(copy, ShareKind::Service)));
        let lines: Vec<(&AccountName, Vec<Subject>)> = delivered.chain(commanded).collect();
        let lines = lines.iter().flat_map(|(other, subjects)| subjects.iter().map(|subject| (*other, subject)));
        for (other, sent) in imported.chain(asked).chain(lines) {
            let Some(subject) = stream.subjects.iter().find(|s| s.overlaps(sent)) else { continue };
            let evidence = format!(
                "the stream {} of {} captures `{subject}` of {other} and {ROLLS_UP}",
                stream.name, stream.account
            );
            self.ledger.leak_of(probes::DESTRUCTION, self.topology.place(other), Some(index), &evidence);
        }
        for copy in &tenant.stream_imports {
            let origins = stream.with_origins(all);
            let Some(origin) = origins.into_iter().find(|origin| origin.copies(copy.from.as_str())) else { continue };
            let by = if origin.name == stream.name { String::new() } else { format!(" through {}", origin.name) };
            let evidence = format!(
                "the stream {} of {} copies {} of {}{by} and {ROLLS_UP}",
                stream.name, stream.account, copy.stream, copy.from
            );
            self.ledger.leak_of(probes::DESTRUCTION, self.topology.place(&copy.from), Some(index), &evidence);
        }
    }

    fn tenant_named(&self, account: &str) -> Option<usize> {
        AccountName::parse(account).ok().and_then(|name| self.topology.place(&name))
    }

    /// Whether a stream of the tenant captures a subject, as its operator knows. `None`: nobody knows.
    pub fn is_captured(&self, tenant: usize, subject: &Subject) -> Option<bool> {
        let captured = self.captured.borrow();
        let of = captured.as_ref()?.get(self.topology.tenant(tenant).name.as_str());
        Some(of.into_iter().flatten().any(|(_, captured)| captured.overlaps(subject)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_the_origins_of_those_that_it_copies() {
        let stream = |account: &str, name: &str, sources: Json| Stream {
            account: account.to_owned(),
            name: name.to_owned(),
            subjects: Vec::new(),
            config: json!({ "sources": sources, "mirror": { "name": "M" } }),
        };
        let all = [
            stream("A", "TOP", json!([{ "name": "MIDDLE" }])),
            stream("A", "MIDDLE", json!([{ "name": "TOP" }, { "name": "FAR", "external": { "api": "JS.B.API" } }])),
            stream("A", "FAR", json!([])),
            stream("B", "M", json!([])),
        ];
        let names: Vec<&str> = all[0].with_origins(&all).iter().map(|stream| stream.name.as_str()).collect();
        assert_eq!(names, ["TOP", "MIDDLE"]);
        assert!(all[1].copies("B") && !all[0].copies("B"));
    }

    #[test]
    fn used_and_reserved_bytes_are_taken() {
        let account = json!({ "memory": 7, "storage": 100 });
        let stream = |storage: &str, most: i64| json!({ "config": { "storage": storage, "max_bytes": most } });
        let streams = [stream("file", 60), stream("file", -1), stream("memory", 5), stream("file", 50)];
        let streams: Vec<&Json> = streams.iter().collect();
        assert_eq!(bytes_taken(&account, &streams, "file"), 110);
        assert_eq!(bytes_taken(&account, &streams, "memory"), 7);
        assert_eq!(bytes_taken(&account, &[], "file"), 100);
        assert_eq!(bytes_taken(&json!({}), &[], "file"), 0, "an account without streams is not listed");
    }

    #[test]
    fn what_a_stream_does_for_others_is_in_its_configuration() {
        let stream = |config: Json| Stream { account: "A".into(), name: "S".into(), subjects: Vec::new(), config };
        assert!(stream(json!({})).answers() && !stream(json!({ "no_ack": true })).answers());
        assert!(stream(json!({ "no_ack": true, "allow_batched": true })).answers());
        assert!(stream(json!({ "allow_rollup_hdrs": true })).obeys_headers());
        assert!(stream(json!({ "allow_msg_schedules": true })).obeys_headers());
        assert!(!stream(json!({ "allow_rollup_hdrs": false, "allow_direct": true })).obeys_headers());
        let copy = json!({ "sources": [{ "name": "S", "external": { "api": "JS.MILL.API" } }] });
        assert!(stream(copy.clone()).copies("MILL") && !stream(copy).copies("OTHER"));
        assert!(stream(json!({ "mirror": { "consumer": { "deliver_subject": "JS.MILL.S.to.A" } } })).copies("MILL"));
    }
}
