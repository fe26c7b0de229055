//! What keeps a server that is in use as it was: looking before anything is said,
//! and removing what was made. Nothing that a run did not make is ever removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CANARY_LENGTH, MARK, Run, Session, TenantRun, each};
use crate::model::Tenant;
use crate::subject::Subject;
use crate::verify::expected::concrete;
use crate::verify::wire::Request;

/// Streams of runs that were killed are removed after this long.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

impl<'p> Run<'p> {
    /// Removes what this run made, or what runs that were killed left behind.
    pub async fn clean(&self, tenant_runs: &mut [TenantRun<'p>], earlier: bool) {
        if self.throwaway {
            return;
        }
        each(tenant_runs, 8, async |tenant_run| {
            let (index, ours) = (tenant_run.index, self.subjects_of_run(tenant_run.tenant));
            let Some(manager) = tenant_run.manager() else { return };
            let names = manager.ask_one(self, Request::empty("$JS.API.STREAM.NAMES")).await.json();
            for name in names["streams"].as_array().into_iter().flatten().filter_map(|n| n.as_str()) {
                let is_gone = match is_ours(name) {
                    true if earlier => !manager.is_left_behind(self, name).await || manager.delete(self, name).await,
                    true => !name.contains(&self.id) || manager.delete(self, name).await,
                    false => earlier || manager.purge(self, name, &ours).await,
                };
                if !is_gone {
                    self.ledger.not_run(index, format!("something is left behind in stream {name}"));
                }
            }
        })
        .await;
    }

    /// The subjects on which a run publishes in a tenant, as a stream that
    /// captures them sees them.
    fn subjects_of_run(&self, tenant: &Tenant) -> Vec<String> {
        let shared = tenant.exports.iter().map(|e| &e.subject).chain(tenant.imports.iter().map(|i| &i.subject));
        let copied = tenant
            .stream_imports
            .iter()
            .filter_map(|c| self.topology.place(&c.from))
            .flat_map(|p| &self.topology.tenant(p).subjects);
        let rewritten = tenant.streams.iter().flat_map(|s| &s.rewritten);
        let spaces = tenant.subjects.iter().chain(shared).chain(copied).chain(rewritten);
        let spaces = spaces.filter(|s| s.has_wildcard());
        let subjects = spaces.map(|s| concrete(s, &self.token()));
        subjects.flat_map(|subject| [format!("{subject}.>"), subject]).collect()
    }

    /// On a server that is in use: which streams would lose something, or hand it
    /// to workers, if something were said on the subjects that they capture?
    pub async fn find_full_streams(&self, tenant_runs: &mut [TenantRun<'p>]) {
        if self.throwaway {
            return;
        }
        each(tenant_runs, 8, async |tenant_run| {
            let (index, spaces) = (tenant_run.index, tenant_run.tenant.subjects.clone());
            let has_jetstream = tenant_run.tenant.jetstream.is_some();
            let Some(manager) = tenant_run.manager() else {
                if has_jetstream {
                    self.topology.add_full_streams(index, spaces);
                    self.ledger.not_run(
                        index,
                        "no user of it may see its streams, so nothing is said where they may capture it",
                    );
                }
                return;
            };
            let (mut offset, mut busy) = (0, Vec::new());
            loop {
                let page = manager.api(self, "STREAM.LIST", json!({ "offset": offset })).await;
                let streams = page["streams"].as_array().cloned().unwrap_or_default();
                busy.extend(streams.iter().filter(|s| !has_room(s)).cloned());
                offset += streams.len();
                if streams.is_empty() || page["total"].as_u64().is_none_or(|total| offset as u64 >= total) {
                    break;
                }
            }
            for stream in busy {
                let subjects = stream["config"]["subjects"].as_array().cloned().unwrap_or_default();
                let subjects: Vec<Subject> =
                    subjects.iter().filter_map(|s| Subject::as_the_server_reads(s.as_str()?)).collect();
                let touched = |s: &Subject| {
                    self.subjects_of_run(tenant_run.tenant)
                        .iter()
                        .any(|own| Subject::as_the_server_reads(own).is_some_and(|own| own.overlaps(s)))
                };
                if subjects.iter().any(touched) {
                    let name = stream["config"]["name"].as_str().unwrap_or_default();
                    self.ledger.not_run(
                        index,
                        format!("nothing is said where stream {name} captures it: it has no room to spare, or workers"),
                    );
                }
                self.topology.add_full_streams(index, subjects);
            }
        })
        .await;
    }
}

impl<'p> Session<'p> {
    /// Whether a stream of an earlier run is old enough to be nobody's any more.
    async fn is_left_behind(&mut self, run: &Run<'p>, name: &str) -> bool {
        let info = self.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
        is_old(info["created"].as_str().unwrap_or_default())
    }

    async fn delete(&mut self, run: &Run<'p>, name: &str) -> bool {
        self.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await["success"] == true
    }

    /// Takes what a stream of the tenant captured of this run out of it again.
    async fn purge(&mut self, run: &Run<'p>, name: &str, subjects: &[String]) -> bool {
        for subject in subjects {
            let purged = self.api(run, &format!("STREAM.PURGE.{name}"), json!({ "filter": subject })).await;
            if purged["success"] != true {
                return false;
            }
        }
        true
    }
}

/// Whether a stream takes some more small messages without dropping any, and
/// gives them to nobody to work on.
fn has_room(stream: &Value) -> bool {
    let (config, state) = (&stream["config"], &stream["state"]);
    let room = |limit: &str, used: &str, needed: i64| {
        let limit = config[limit].as_i64().filter(|n| *n > 0);
        limit.is_none_or(|n| state[used].as_i64().unwrap_or(0) + needed <= n)
    };
    config["retention"] == "limits"
        && config["deny_purge"] != true
        && room("max_msgs", "messages", 256)
        && room("max_bytes", "bytes", 128 << 10)
}

/// Whether a stream's name is one that a run gives.
fn is_ours(name: &str) -> bool {
    let name = ["KV_", "OBJ_"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let Some(rest) = name.strip_prefix(MARK) else { return false };
    let (run, more) = rest.split_at_checked(CANARY_LENGTH).unwrap_or((rest, ""));
    let is_random =
        |text: &str| text.len() == CANARY_LENGTH && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    let Some((phase, canary)) =
        more.strip_prefix('_').map(|m| m.split_once('_').map_or((m, None), |(p, c)| (p, Some(c))))
    else {
        return false;
    };
    is_random(run) && phase.parse::<u32>().is_ok() && canary.is_none_or(|c| c == "BIG" || is_random(c))
}

/// Whether a server's time (RFC 3339) is longer ago than runs take.
fn is_old(created: &str) -> bool {
    let then = humantime::parse_rfc3339_weak(created.get(..19).unwrap_or_default()).ok();
    then.and_then(|t| t.elapsed().ok()).is_some_and(|age| age > LEFT_BEHIND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::run::unguessable;

    /// Whatever else a tenant calls its streams is never removed.
    #[test]
    fn only_names_of_runs_are_ours() {
        let (run, canary) = (unguessable(), unguessable());
        let names = [format!("{MARK}{run}_7"), format!("{MARK}{run}_12_{canary}"), format!("{MARK}{run}_3_BIG")];
        for name in names.iter().flat_map(|n| [n.clone(), format!("KV_{n}"), format!("OBJ_{n}")]) {
            assert!(is_ours(&name), "{name}");
        }
        for name in
            ["TENANTRY_EVENTS", "TENANTRY_", "KV_TENANTRY_conf", "EVENTS", "TENANTRY_abcdefghijklmno1", "XTENANTRY_"]
        {
            assert!(!is_ours(name), "{name}");
        }
        assert!(
            !is_ours(&format!("{MARK}{run}"))
                && !is_ours(&format!("{MARK}{run}_mine"))
                && !is_ours(&format!("MY_{MARK}{run}"))
        );
    }
}
