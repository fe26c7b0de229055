//! The tenants of a run and their users: connecting, sending requests, receiving messages.

use serde_json::Value;

use super::{Run, is_full};
use crate::keys::Login;
use crate::model::jetstream::keys::stream::{MAX_BYTES, STORAGE};
use crate::model::{Tenant, User};
use crate::subject::Subject;
use crate::verify::endpoint::OpenError;
use crate::verify::expected::{manages_streams, may_subscribe};
use crate::verify::wire::{Answer, Connection, Identity, Message, Request};

/// Upper bound of the size of a JetStream request that a run sends. Bytes.
const REQUEST: u64 = 4 << 10;
/// Tenants with at least this much JetStream memory get memory-backed test streams. Bytes.
const ENOUGH: u64 = 4 << 20;

/// A tenant with its users.
pub struct TenantRun<'p> {
    /// The index of the tenant in the model.
    pub index: usize,
    /// The tenant as the registry declares it.
    pub tenant: &'p Tenant,
    /// Indices of the tenants that it attacks by name: those it shares with, and the next few.
    pub neighbours: Vec<usize>,
    /// One session per user, in the model's order.
    pub sessions: Vec<Session<'p>>,
    /// Why its storage has no room for streams of the run. `None`: it has, as far as is known.
    pub no_room: Option<String>,
}

/// A user of a tenant, and its connection.
pub struct Session<'p> {
    /// The index of the user's tenant in the model.
    pub tenant: usize,
    /// The user as the registry declares it.
    pub user: &'p User,
    /// The user's credential; `None` if its secret is not known here.
    pub login: Option<Login>,
    /// Whether the run does without this user, whose secret is not known.
    pub is_accepted: bool,
    /// The user's connection; `None` if it failed or was lost.
    pub connection: Option<Connection>,
    /// Whether the user may subscribe to its inbox, and so receive replies.
    pub can_ask: bool,
    inbox: String,
    /// Whether its role lets it create, read and delete streams, and publish to them.
    is_manager: bool,
    /// The tenant's limit of one payload. Bytes.
    payload: u64,
    /// Why the connection failed. `None` if it did not, or was not tried.
    refusal: Option<OpenError>,
    /// Whether JetStream left a request of this user unanswered. `manages` is then false, so
    /// that the run does not wait for it again and again.
    is_mute: bool,
}

impl<'p> TenantRun<'p> {
    pub(super) fn new(run: &Run<'p>, index: usize) -> Self {
        let tenant = run.topology.tenant(index);
        let logins = run.logins.tenants[index].iter();
        let sessions = tenant.users.iter().zip(logins).enumerate().map(|(i, (user, login))| {
            // Users may have the same prefix, and each hears the answers to itself only.
            let inbox = format!("{}.{}-{i}u", user.inbox_prefix(), run.id);
            Session {
                tenant: index,
                user,
                login: login.clone(),
                is_accepted: run.logins.accepted.contains(&format!("{}/{}", tenant.name, user.name)),
                connection: None,
                can_ask: may_subscribe(user, &format!("{inbox}.*")),
                inbox,
                is_manager: manages_streams(tenant, user),
                payload: tenant.limits.payload.bytes(),
                refusal: None,
                is_mute: false,
            }
        });
        let neighbours = run.topology.neighbours(index);
        Self { index, tenant, neighbours, sessions: sessions.collect(), no_room: None }
    }

    /// Whether at least one user is connected.
    pub fn is_in(&self) -> bool {
        self.sessions.iter().any(|m| m.connection.is_some())
    }

    /// Connects every user, one after the other.
    pub async fn connect(&mut self, run: &Run<'p>) {
        if self.tenant.jetstream.is_some()
            && self.sessions.iter().any(|m| m.is_granted_streams() && m.payload < REQUEST)
        {
            let why = format!(
                "JetStream is not tried: its messages are smaller than {REQUEST} bytes, and so are its requests"
            );
            run.ledger.not_tried(self.index, why);
        } else if self.tenant.jetstream.is_some() && !self.sessions.iter().any(Session::is_granted_streams) {
            // Nobody of the tenant could do what the attacks do either; for the rest there are the static
            // proof of what the server confirms to run, and a throwaway server.
            let what = format!(
                "JetStream of {}: no user whose secret is known may make, read and delete streams and publish to them; `tenantry verify` without \
                 --server tries it on a server of its own",
                self.tenant.name
            );
            run.ledger.not_tried(self.index, what);
        }
        for session in &mut self.sessions {
            session.connect(run).await;
        }
    }

    /// Asks nothing as users of the tenant if a stream of it stores what the run asks or is answered, or the
    /// server's advisories of that. `streams`: each with what it captures.
    pub(super) fn leave_alone(&mut self, run: &Run<'p>, streams: &[(String, Subject)]) {
        // What the run publishes without saying which stream may store it, and what the server does for it.
        const ASKED: [&str; 8] =
            ["$JS.EVENT.>", "$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$JSC.>", "_R_.>", "$SRV.>", "$SYS.>"];
        let inboxes = self.sessions.iter().map(|session| format!("{}.>", session.inbox));
        let asked: Vec<Subject> = ASKED
            .map(str::to_owned)
            .into_iter()
            .chain(inboxes)
            .filter_map(|text| Subject::as_the_server_reads(&text))
            .collect();
        let stores = |captured: &Subject| asked.iter().any(|subject| subject.overlaps(captured));
        let Some((stream, captured)) = streams.iter().find(|(_, captured)| stores(captured)) else { return };
        let why = format!(
            "requests and JetStream are not tried: the stream {stream} captures `{captured}`, and would store what is asked, answered or announced"
        );
        run.ledger.not_run(self.index, why);
        for session in &mut self.sessions {
            (session.is_mute, session.can_ask) = (true, false);
        }
    }

    /// Reconnects a user that may manage the tenant's streams, if one is not connected.
    pub async fn connect_manager(&mut self, run: &Run<'p>) {
        if let Some(manager) = self.sessions.iter_mut().find(|m| m.may_manage() && m.connection.is_none()) {
            manager.is_mute = false;
            manager.connect(run).await;
        }
    }

    /// A connected user that may manage the tenant's streams. `None` if there is none, or
    /// the tenant has no JetStream.
    pub fn manager(&mut self) -> Option<&mut Session<'p>> {
        if self.no_room.is_some() {
            return None;
        }
        self.cleaner()
    }

    /// The same, whether or not there is room for streams of the run.
    pub(super) fn cleaner(&mut self) -> Option<&mut Session<'p>> {
        self.tenant.jetstream?;
        self.sessions.iter_mut().find(|m| m.manages())
    }

    /// Notes whether the tenant has room for streams of the run. `taken`: the bytes of a kind of storage that are used or
    /// reserved. `streams`: how many it has.
    pub(super) fn look_for_room(&mut self, taken: impl Fn(&str) -> u64, streams: usize) {
        /// What the streams of a probe need at a time. Bytes.
        const ROOM: u64 = 256 << 10;
        /// How many they are, and one that stays free for the applications.
        const STREAMS: u64 = 3;
        let (Some(js), kind) = (self.tenant.jetstream, self.storage()) else { return };
        let limit = if kind == "memory" { js.memory.bytes() } else { js.storage.bytes() };
        let left = limit.saturating_sub(taken(kind));
        let streams = u64::from(js.streams).saturating_sub(streams as u64);
        self.no_room = if left < ROOM {
            Some(format!("JetStream: {left} bytes of its {kind} storage are left, and the attack needs {ROOM}"))
        } else if streams < STREAMS {
            Some(format!("JetStream: it may make {streams} more streams, and the attack needs 2 and leaves one"))
        } else {
            None
        };
    }

    /// Why no user can manage the tenant's streams.
    pub fn lacks_manager(&self) -> &str {
        if let Some(why) = &self.no_room {
            return why;
        }
        let manages = |m: &Session<'_>| !m.is_accepted && m.login.is_some() && m.is_manager;
        match self.sessions.iter().any(manages) {
            true => "the user that may manage streams could not be used: `setting` says why",
            false => "no user whose secret is known may make, read and delete streams and publish to them",
        }
    }

    /// A user for additional connections, which must be able to receive replies. Prefers an
    /// nkey user, because the server hashes a password with bcrypt at every login.
    pub fn spare(&self) -> Option<&Session<'p>> {
        let usable = || self.sessions.iter().filter(|m| m.connection.is_some() && m.can_ask);
        usable().find(|m| m.is_cheap()).or_else(|| usable().next())
    }

    /// Why there is no room for a test stream beside the declared ones. `None`: there is.
    pub fn lacks_room(&self) -> Option<String> {
        let js = self.tenant.jetstream?;
        let kind = self.storage();
        let limit = if kind == "memory" { js.memory.bytes() } else { js.storage.bytes() };
        let of_kind = self.tenant.streams.iter().filter(|s| s.config.get(STORAGE.name) == kind);
        let reserved: u64 = of_kind.filter_map(|s| s.config.get(MAX_BYTES.name).as_u64()).sum();
        let why = match reserved {
            0 => format!("JetStream: there is no room for a stream in its {limit} bytes of {kind} storage"),
            _ => "JetStream: its streams reserve all of its storage, and leave none for another".to_owned(),
        };
        (reserved + ENOUGH > limit).then_some(why)
    }

    /// The storage type for test streams: `memory` or `file`.
    pub fn storage(&self) -> &'static str {
        match self.tenant.jetstream {
            Some(js) if js.memory.bytes() >= ENOUGH || js.memory.bytes() > js.storage.bytes() => "memory",
            _ => "file",
        }
    }
}

impl<'p> Session<'p> {
    async fn connect(&mut self, run: &Run<'p>) {
        let user_name = format!("{}/{}", run.topology.tenant(self.tenant).name, self.user.name);
        if self.is_accepted {
            let what = format!(
                "{user_name} is left out (--accept-unknown): its secret is not known, so nothing was tried as this user"
            );
            return run.ledger.not_tried(self.tenant, what);
        }
        match self.another(run).await {
            Ok(mut connection) => {
                run.info.borrow_mut().get_or_insert_with(|| connection.info.clone());
                if self.can_ask {
                    connection.listen_for_answers();
                }
                self.connection = Some(connection);
                self.settle(run).await;
                for words in self.refused() {
                    self.can_ask = false;
                    run.ledger.not_run(self.tenant, format!("{user_name} may not listen to its own inbox: {words}"));
                }
            }
            Err(refusal) if self.user.is_provisioner() && is_full(&refusal) => {
                let what = format!(
                    "the provisioner finds no connection beside those of {}'s users",
                    run.topology.tenant(self.tenant).name
                );
                run.ledger.not_tried(self.tenant, what);
                self.refusal = Some(refusal);
            }
            Err(refusal) => {
                let hint = if refusal.to_string().contains("Authorization") {
                    "; does the server run this registry? `tenantry up`"
                } else {
                    ""
                };
                run.ledger.not_run(self.tenant, format!("{user_name} is not connected: {refusal}{hint}"));
                self.refusal = Some(refusal);
            }
        }
    }

    /// Why the connection failed. `None` if it did not, or was not tried.
    pub fn refusal(&self) -> Option<&OpenError> {
        self.refusal.as_ref()
    }

    /// Whether a login costs the server little CPU time: with an nkey, no bcrypt.
    pub fn is_cheap(&self) -> bool {
        matches!(self.login, Some(Login::Seed(_)))
    }

    /// Opens an additional connection of this user.
    pub async fn another(&self, run: &Run<'p>) -> Result<Connection, OpenError> {
        let login = self.login.clone().ok_or_else(|| OpenError::Broken("its secret is not known here".into()))?;
        let opened = Connection::open(run.endpoint, &Identity::User(login), &self.inbox, &run.signs(self.tenant)).await;
        opened.inspect(|connection| run.note_server(connection))
    }

    /// Whether the user is connected and may create, read and delete the run's streams.
    pub fn manages(&self) -> bool {
        self.connection.is_some() && !self.is_mute && self.may_manage()
    }

    fn may_manage(&self) -> bool {
        // A request has to fit into the tenant's payload limit.
        self.is_granted_streams() && self.payload >= REQUEST
    }

    fn is_granted_streams(&self) -> bool {
        !self.is_accepted && self.can_ask && self.is_manager
    }

    fn lost(&mut self, run: &Run<'p>, words: &str) {
        self.connection = None;
        run.ledger.not_run(self.tenant, format!("{}'s connection was lost: {words}", self.user.name));
    }

    /// Sends what is buffered and waits until the server has processed it. False if there
    /// is no connection; one that is lost here is reported in the ledger.
    pub async fn settle(&mut self, run: &Run<'p>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        match connection.settle().await {
            Ok(()) => true,
            Err(lost) => {
                self.lost(run, &lost.0);
                false
            }
        }
    }

    /// Takes the messages that arrived, and looks for other tenants' canaries in each.
    pub fn heard(&mut self, run: &Run<'p>) -> Vec<Message> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let messages = std::mem::take(&mut connection.heard);
        messages.iter().for_each(|message| self.detect_in(run, message));
        messages
    }

    /// Looks for other tenants' canaries in a message that the user received.
    fn detect_in(&self, run: &Run<'p>, message: &Message) {
        let is_in_inbox = message.subject.strip_prefix(self.inbox.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if is_in_inbox {
            run.detect_in_inbox(self.tenant, self.user.name.as_str(), message);
        } else {
            run.detect_in_message(self.tenant, self.user.name.as_str(), message);
        }
    }

    /// Whether the server does anything with what is sent on this connection: it delivers a message that the user publishes to
    /// itself, or refuses one of both. A connection that is lost is reported by itself.
    pub async fn is_at_work(&mut self, run: &Run<'p>) -> bool {
        let subject = format!("{}.at-work", run.token());
        if let Some(connection) = &mut self.connection {
            connection.subscribe(&subject, None);
            connection.publish_stored_by(&run.common(), &subject, None, b"");
        }
        let is_lost = !self.settle(run).await;
        is_lost || !self.refused().is_empty() || self.heard(run).iter().any(|message| message.subject == subject)
    }

    /// Takes the server's errors since the last call.
    pub fn refused(&mut self) -> Vec<String> {
        self.connection.as_mut().map(|c| std::mem::take(&mut c.refused)).unwrap_or_default()
    }

    /// Sends requests, and looks for other tenants' canaries in the replies. Returns an empty
    /// list if there is no connection: the loss is already in the ledger, and is no evidence
    /// about the requests.
    pub async fn ask(&mut self, run: &Run<'p>, requests: &[Request]) -> Vec<Answer> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        match connection.ask(requests).await {
            Ok(answers) => {
                for (request, answer) in requests.iter().zip(&answers) {
                    if let Answer::Message(message) = answer {
                        run.detect_in_answer(self.tenant, self.user.name.as_str(), &request.subject, message);
                    }
                }
                answers
            }
            Err(lost) => {
                self.lost(run, &lost.0);
                Vec::new()
            }
        }
    }

    /// Sends one request. `Silence` if there is no connection.
    pub async fn ask_one(&mut self, run: &Run<'p>, request: Request) -> Answer {
        self.ask(run, &[request]).await.pop().unwrap_or(Answer::Silence)
    }

    /// Sends a request to the JetStream API, on `$JS.API.<verb>`; null if there is no reply.
    pub async fn api(&mut self, run: &Run<'p>, verb: &str, body: Value) -> Value {
        let answer = self.ask_one(run, Request::json(format!("$JS.API.{verb}"), &body)).await;
        if matches!(answer, Answer::Silence) && !self.is_mute {
            self.is_mute = true;
            run.ledger.not_run(self.tenant, format!("JetStream did not answer {verb}; what needs it is not tried"));
        }
        answer.json()
    }

    /// Waits for a message that `wanted` accepts. `None` if none arrives in time, or there
    /// is no connection.
    pub async fn next(&mut self, run: &Run<'p>, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let connection = self.connection.as_mut()?;
        match connection.next_message(wanted).await {
            Ok(message) => {
                let message = message?;
                self.detect_in(run, &message);
                Some(message)
            }
            Err(lost) => {
                self.lost(run, &lost.0);
                None
            }
        }
    }

    /// Pulls the next message of a consumer, without acknowledging it.
    pub async fn pull(&mut self, run: &Run<'p>, stream: &str, consumer: &str) -> Option<Message> {
        let reply = self.reply_to("pulled");
        let is_of_it = |m: &Message| m.reply.as_deref().is_some_and(|reply| is_ack_of(reply, stream, consumer));
        let connection = self.connection.as_mut()?;
        connection.heard.retain(|m| !is_of_it(m));
        connection.publish(&format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"), Some(&reply), b"1");
        self.next(run, is_of_it).await
    }

    /// A subject under the user's inbox.
    pub fn reply_to(&self, name: &str) -> String {
        format!("{}.{name}", self.inbox)
    }
}

/// Whether a subject acknowledges messages of a consumer: `$JS.ACK.<stream>.<consumer>.>`, with the domain and the
/// account before the stream where the server has the feature flag `js_ack_fc_v2`.
pub fn is_ack_of(subject: &str, stream: &str, consumer: &str) -> bool {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens.as_slice() {
        ["$JS", "ACK", first, second, _, ..] if (*first, *second) == (stream, consumer) => true,
        ["$JS", "ACK", _, _, first, second, _, ..] => (*first, *second) == (stream, consumer),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_name_their_consumer_with_or_without_account() {
        for (subject, is_it) in [
            ("$JS.ACK.S.c.1.1.1.0.0", true),
            ("$JS.ACK._.bL55bHnm.S.c.1.1.1.0.0", true),
            ("$JS.ACK.S.d.1.1.1.0.0", false),
            ("$JS.ACK.T.c.1.1.1.0.0", false),
            ("$JS.FC.S.c.x", false),
        ] {
            assert_eq!(is_ack_of(subject, "S", "c"), is_it, "{subject}");
        }
    }
}
