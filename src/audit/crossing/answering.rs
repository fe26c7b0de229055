//! Answers to the requests of a service import: users give them, or a stream that captures the requests and acknowledges. Both
//! go to the reply subject, which the requester chooses.

use super::carriers::{SERVER_REQUESTS, answers, may_capture, users_decide};
use super::requests::heard;
use crate::audit::reach::{self, Carried};
use crate::audit::system::{Account, Import, System};
use crate::subject::Subject;

/// The users and streams that answer requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answering<'s> {
    /// Whether users may, or the server does.
    pub by_users: bool,
    /// An account whose users may make a stream that does.
    pub by_streams_of: Option<&'s Account>,
    /// An account whose streams from earlier, which nobody may make any more, do so if they are there.
    pub by_earlier_of: Option<&'s Account>,
}

impl Answering<'_> {
    /// Whether somebody does for certain, as far as the file says it.
    pub fn is_sure(&self) -> bool {
        self.by_users || self.by_streams_of.is_some()
    }
}

/// Finds the users and streams that answer the requests of an import, in every account that the requests come to.
pub fn answering<'s>(system: &'s System, account: &'s Account, import: &'s Import) -> Answering<'s> {
    let anybody = Answering { by_users: true, ..Answering::default() };
    let Some(exporter) = system.account(&import.from.0) else { return anybody };
    if import.subject.first_token() == "$JS" {
        return anybody;
    }
    let asked = reach::request(&Carried::new(account, &import.local), import, exporter);
    let mut found = Answering::default();
    let is_complete = reach::follow(system, heard(exporter, asked.as_slice()), |carried| {
        let at = carried.account;
        let hears = |user| carried.received_by(user).is_some();
        found.by_users |= system.is_system(at)
            || is_for_the_server(system, carried)
            || !users_decide(system, at)
            || at.users.iter().any(|user| answers(at, user) && hears(user));
        if at.jetstream.is_some() {
            let of = if may_capture(at) { &mut found.by_streams_of } else { &mut found.by_earlier_of };
            *of = Some(at);
        }
    });
    found.by_users |= !is_complete;
    found
}

/// Whether the server answers a request itself.
fn is_for_the_server(system: &System, request: &Carried<'_>) -> bool {
    let comes_to = |text: &&str| Subject::as_the_server_reads(text).is_some_and(|s| request.within(&s).is_some());
    request.account.jetstream.is_some() && comes_to(&"$JS.API.>")
        || !system.server.no_system_account && SERVER_REQUESTS.iter().any(comes_to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    /// Measured on nats-server 2.15.1: the acknowledgement of a stream of S arrives in A at the reply subject.
    #[test]
    fn who_hears_a_request_answers_it_and_a_stream_acknowledges_it() {
        let found = |of_s: &str, user: &str| {
            let system = system(&format!(
                "jetstream {{}}\naccounts {{ S {{ {of_s} users: [{{ user: s, {user} }}], exports: [{{ service: svc }}] }}\n\
                 A {{ users: [{{ user: a }}], imports: [{{ service: {{ account: S, subject: svc }} }}] }} }}"
            ));
            let a = system.account("A").expect("A");
            let Answering { by_users, by_streams_of, by_earlier_of } = answering(&system, a, &a.imports[0]);
            (by_users, by_streams_of.is_some(), by_earlier_of.is_some())
        };
        let lists = |publish: &str, subscribe: &str| {
            format!("permissions {{ publish: \"{publish}\", subscribe: \"{subscribe}\" }}")
        };
        assert_eq!(found("", &lists("_R_.>", "svc")), (true, false, false));
        assert_eq!(found("", &lists("_R_.>", "other")), (false, false, false));
        assert_eq!(found("", &lists("x", "svc")), (false, false, false));
        assert_eq!(found("jetstream: enabled,", &lists("x", "svc")), (false, false, true));
        assert_eq!(found("jetstream: enabled,", &lists("$JS.API.>", "i.>")), (false, true, false));
        assert_eq!(found("mappings { svc: work },", &lists("_R_.>", "svc")), (false, false, false));
        assert_eq!(found("mappings { svc: work },", &lists("_R_.>", "work")), (true, false, false));
        assert!(found("jetstream: enabled, mappings { svc: \"$JS.API.INFO\" },", &lists("x", "y")).0, "the server");
        assert!(found("mappings { svc: \"$SYS.REQ.USER.INFO\" },", &lists("x", "y")).0, "the server");
    }
}
