//! Keeps a server in use as it was: removes the streams that a run created, and nothing else.
//! Messages of a run are in no other stream: each names the only stream that may store it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::canary::LENGTH;
use super::{MARK, Run, Session, TenantRun, each};
use crate::verify::wire::Request;

/// Age at which a stream of another run is taken to be left over from a killed run, where the
/// server does not tell which runs are connected.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

impl<'p> Run<'p> {
    /// Removes what this run created, or, if `earlier`, what killed runs left behind. Does
    /// nothing on a throwaway server.
    pub async fn clean(&self, tenant_runs: &mut [TenantRun<'p>], earlier: bool) {
        if self.throwaway {
            return;
        }
        let running = self.running().await;
        if running.as_ref().is_some_and(|ids| ids.iter().any(|id| *id != self.id)) {
            self.ledger
                .not_run_for_anybody("another proof attacks this server at the same time: wait until it has ended");
        }
        each(tenant_runs, 8, async |tenant_run| {
            let index = tenant_run.index;
            let Some(manager) = tenant_run.cleaner() else { return };
            let names = manager.ask_one(self, Request::empty("$JS.API.STREAM.NAMES")).await.json();
            let names = names["streams"].as_array().into_iter().flatten().filter_map(|n| n.as_str());
            for name in names.filter(|name| is_ours(name)) {
                let is_due = match (earlier, &running) {
                    (false, _) => name.contains(&self.id),
                    (true, Some(running)) => {
                        !running.iter().any(|id| name.contains(id)) && manager.is_of_a_run(self, name, false).await
                    }
                    (true, None) => manager.is_of_a_run(self, name, true).await,
                };
                if is_due && !manager.delete(self, name).await {
                    self.ledger.not_run(index, format!("something is left behind in stream {name}"));
                }
            }
        })
        .await;
    }
}

impl<'p> Run<'p> {
    /// The ids of all runs with a connection of the operator, this one included: what tenants call their connections
    /// says nothing. `None`: the server cannot be asked, or has more connections than it names.
    async fn running(&self) -> Option<HashSet<String>> {
        const MOST: u64 = 16_384;
        let mut operator = self.operator().await?;
        let request = Request::json(
            "$SYS.REQ.SERVER.PING.CONNZ",
            &json!({ "acc": self.model.system.account, "auth": true, "limit": MOST }),
        );
        let answers = operator.ask_all(request).await.ok()?;
        let mut ids = HashSet::new();
        for answer in &answers {
            let connz = answer.json()["data"].take();
            if connz["total"].as_u64()? > MOST {
                return None;
            }
            let account = self.model.system.account.as_str();
            let of_operators = connz["connections"].as_array()?.iter().filter(|c| c["account"] == account);
            let names = of_operators.filter_map(|connection| connection["name"].as_str());
            ids.extend(names.filter_map(|name| Some(name.strip_prefix("tenantry/")?.split('/').next()?.to_owned())));
        }
        ids.contains(&self.id).then_some(ids)
    }
}

impl<'p> Session<'p> {
    /// Whether a stream is one of another run: it has a canary of it in its metadata, not only a name like
    /// it. With `by_age`, whether it is so old, too, that the run must have been killed.
    async fn is_of_a_run(&mut self, run: &Run<'p>, name: &str, by_age: bool) -> bool {
        let info = self.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
        let id = name.split_once(MARK).and_then(|(_, rest)| rest.get(..LENGTH)).unwrap_or_default();
        let canary = info["config"]["metadata"]["canary"].as_str().unwrap_or_default();
        canary.starts_with(&format!("tenantry/{id}/"))
            && (!by_age || is_old(info["created"].as_str().unwrap_or_default()))
    }

    async fn delete(&mut self, run: &Run<'p>, name: &str) -> bool {
        self.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await["success"] == true
    }
}

/// Whether a stream's name has the form that only runs use, in this run or another.
pub(super) fn is_ours(name: &str) -> bool {
    let name = ["KV_", "OBJ_"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let Some(rest) = name.strip_prefix(MARK) else { return false };
    let (run, more) = rest.split_at_checked(LENGTH).unwrap_or((rest, ""));
    let is_random = |text: &str| text.len() == LENGTH && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
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
