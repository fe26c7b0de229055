//! Keeps a server in use as it was: finds the streams that a message would harm before any
//! message is published, and removes what the run created. Nothing else is removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CANARY_LENGTH, MARK, Run, Session, TenantRun, each};
use crate::model::Tenant;
use crate::subject::Subject;
use crate::verify::expected::concrete;
use crate::verify::wire::Request;

/// Age at which a stream of another run is taken to be left over from a killed run.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

impl<'p> Run<'p> {
    /// Removes what this run created, or, if `earlier`, what killed runs left behind. Does
    /// nothing on a throwaway server.
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

    /// The subjects that a run publishes to in a tenant, as they are captured by its streams.
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

    /// Finds the streams that have no room: a new message would make them drop another, or
    /// would be handed to a worker. The run does not publish to the subjects that they
    /// capture. Does nothing on a throwaway server.
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
            let (mut offset, mut full) = (0, Vec::new());
            loop {
                let page = manager.api(self, "STREAM.LIST", json!({ "offset": offset })).await;
                let streams = page["streams"].as_array().cloned().unwrap_or_default();
                full.extend(streams.iter().filter(|s| !has_room(s)).cloned());
                offset += streams.len();
                if streams.is_empty() || page["total"].as_u64().is_none_or(|total| offset as u64 >= total) {
                    break;
                }
            }
            for stream in full {
                let subjects = stream["config"]["subjects"].as_array().cloned().unwrap_or_default();
                let subjects: Vec<Subject> =
                    subjects.iter().filter_map(|s| Subject::as_the_server_reads(s.as_str()?)).collect();
                let overlaps_run = |s: &Subject| {
                    self.subjects_of_run(tenant_run.tenant)
                        .iter()
                        .any(|own| Subject::as_the_server_reads(own).is_some_and(|own| own.overlaps(s)))
                };
                if subjects.iter().any(overlaps_run) {
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
    /// Whether a stream of another run is so old that the run must have been killed.
    async fn is_left_behind(&mut self, run: &Run<'p>, name: &str) -> bool {
        let info = self.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
        is_old(info["created"].as_str().unwrap_or_default())
    }

    async fn delete(&mut self, run: &Run<'p>, name: &str) -> bool {
        self.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await["success"] == true
    }

    /// Purges the messages of this run from a stream of the tenant. False if the server did
    /// not confirm it.
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

/// Whether a stream (from STREAM.LIST) has room for the messages of a run: 256 messages of
/// 128 KiB in total, which can be purged afterwards and are not handed to workers.
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

/// Whether a stream's name has the form that only runs use, in this run or another.
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

/// Whether a time (RFC 3339, in UTC) is more than `LEFT_BEHIND` ago. False if it cannot be read.
fn is_old(created: &str) -> bool {
    let then = humantime::parse_rfc3339_weak(created.get(..19).unwrap_or_default()).ok();
    then.and_then(|t| t.elapsed().ok()).is_some_and(|age| age > LEFT_BEHIND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::run::unguessable;

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

    #[test]
    fn a_name_with_a_wrong_length_alphabet_or_phase_is_not_ours() {
        let (run, canary) = ("abcdefghijklmn27", "27abcdefghijklmn");
        assert!(is_ours(&format!("{MARK}{run}_1_{canary}")), "the control");
        for name in [
            format!("{MARK}{}_1", &run[1..]),
            format!("{MARK}{run}a_1"),
            format!("{MARK}{}_1", run.to_uppercase()),
            format!("{MARK}{}_1", run.replace('2', "1")),
            format!("{MARK}{run}_"),
            format!("{MARK}{run}_-1"),
            format!("{MARK}{run}_4294967296"),
            format!("{MARK}{run}_1_"),
            format!("{MARK}{run}_1_{}", &canary[1..]),
            format!("{MARK}{run}_1_BIGGER"),
            format!("{MARK}{run}_1_{canary}_2"),
            format!("KV_KV_{MARK}{run}_1"),
            format!("tenantry_{run}_1"),
            format!("{MARK}abcdefghijklmn\u{e4}_1"),
        ] {
            assert!(!is_ours(&name), "{name}");
        }
    }

    #[test]
    fn a_stream_has_room_up_to_each_limit_and_not_beyond() {
        let stream = |config: Value, messages: u64, bytes: u64| {
            let mut stream = json!({
                "config": { "retention": "limits", "max_msgs": -1, "max_bytes": -1, "deny_purge": false },
                "state": { "messages": messages, "bytes": bytes },
            });
            for (key, value) in config.as_object().into_iter().flatten() {
                stream["config"][key] = value.clone();
            }
            stream
        };
        let room = 128 << 10;
        for (config, messages, bytes, expected) in [
            (json!({}), 1 << 40, 1 << 50, true),
            (json!({ "max_msgs": 0, "max_bytes": 0 }), 1 << 40, 1 << 50, true),
            (json!({ "max_msgs": 1000 }), 744, 0, true),
            (json!({ "max_msgs": 1000 }), 745, 0, false),
            (json!({ "max_msgs": 255 }), 0, 0, false),
            (json!({ "max_msgs": 256 }), 0, 0, true),
            (json!({ "max_bytes": 1 << 20 }), 0, (1 << 20) - room, true),
            (json!({ "max_bytes": 1 << 20 }), 0, (1 << 20) - room + 1, false),
            (json!({ "max_msgs": 1000, "max_bytes": 1 << 20 }), 0, 1 << 20, false),
            (json!({ "max_msgs": 1000, "max_bytes": 1 << 20 }), 1000, 0, false),
            (json!({ "retention": "workqueue" }), 0, 0, false),
            (json!({ "retention": "interest" }), 0, 0, false),
            (json!({ "deny_purge": true }), 0, 0, false),
        ] {
            assert_eq!(has_room(&stream(config.clone(), messages, bytes)), expected, "{config} {messages} {bytes}");
        }
        assert!(!has_room(&Value::Null), "an unknown stream");
    }

    /// Ages, so the time of day is needed.
    #[allow(clippy::disallowed_types)]
    #[test]
    fn a_stream_is_old_after_ten_minutes() {
        let created = |ago: u64| {
            let then = std::time::SystemTime::now() - Duration::from_secs(ago);
            // As the server writes it, in nanoseconds.
            humantime::format_rfc3339_nanos(then).to_string()
        };
        for (ago, expected) in [(0, false), (590, false), (602, true), (86_400, true)] {
            assert_eq!(is_old(&created(ago)), expected, "{ago} s");
        }
        for text in
            ["", "0001-01-01", "yesterday, that is long ago", "2999-01-01T00:00:00Z", "2020-01-01T00:00:0\u{e4}"]
        {
            assert!(!is_old(text), "{text}");
        }
    }
}
