//! The tenants of a run with their users: connecting, asking, hearing.

use serde_json::Value;

use super::{MARK, Run};
use crate::keys::Login;
use crate::model::{Tenant, User};
use crate::verify::expected::{may_publish, may_subscribe};
use crate::verify::wire::{Answer, Connection, Identity, Message, OpenError, Request};

/// The largest request that a run makes of JetStream. Bytes.
const REQUEST: u64 = 4 << 10;
/// Tenants with at least this much JetStream memory get memory-backed test streams. Bytes.
const ENOUGH: u64 = 4 << 20;

/// A tenant with its users.
pub struct TenantRun<'p> {
    /// Its place among the tenants.
    pub index: usize,
    /// What was declared of it.
    pub tenant: &'p Tenant,
    /// Tenants that it attacks by name: those it shares with, and the next few.
    pub neighbours: Vec<usize>,
    /// Its users.
    pub sessions: Vec<Session<'p>>,
}

/// A user, connected if it can be.
pub struct Session<'p> {
    /// Its tenant's place.
    pub tenant: usize,
    /// What was declared of it.
    pub user: &'p User,
    /// How it logs in, if that is known here.
    pub login: Option<Login>,
    /// Its connection, while there is one.
    pub connection: Option<Connection>,
    /// Whether it may subscribe to its inbox.
    pub can_ask: bool,
    inbox: String,
    /// The tenant's limit for one message. Bytes.
    payload: u64,
    refusal: Option<String>,
    /// Whether JetStream left a request of it unanswered once; it is not waited for again.
    is_mute: bool,
}

impl<'p> TenantRun<'p> {
    pub(super) fn new(run: &Run<'p>, index: usize) -> Self {
        let tenant = run.topology.tenant(index);
        let logins = run.logins.tenants[index].iter();
        let sessions = tenant.users.iter().zip(logins).map(|(user, login)| {
            let inbox = format!("{}.{}", user.inbox_prefix(), run.id);
            Session {
                tenant: index,
                user,
                login: login.clone(),
                connection: None,
                can_ask: may_subscribe(user, &format!("{inbox}.*")),
                inbox,
                payload: tenant.limits.payload.bytes(),
                refusal: None,
                is_mute: false,
            }
        });
        Self { index, tenant, neighbours: run.topology.neighbours(index), sessions: sessions.collect() }
    }

    /// Whether any of its users is connected.
    pub fn is_in(&self) -> bool {
        self.sessions.iter().any(|m| m.connection.is_some())
    }

    /// Connects every user.
    pub async fn connect(&mut self, run: &Run<'p>) {
        if self.tenant.jetstream.is_some()
            && self.sessions.iter().any(|m| m.is_granted_streams() && m.payload < REQUEST)
        {
            let why = format!(
                "JetStream is not tried: its messages are smaller than {REQUEST} bytes, and so are its requests"
            );
            run.ledger.not_run(self.index, why);
        }
        for session in &mut self.sessions {
            session.connect(run).await;
        }
    }

    /// Connects the user that manages the tenant's streams again, if it is not.
    pub async fn connect_manager(&mut self, run: &Run<'p>) {
        if let Some(manager) = self.sessions.iter_mut().find(|m| m.may_manage() && m.connection.is_none()) {
            manager.is_mute = false;
            manager.connect(run).await;
        }
    }

    /// The user that manages the tenant's streams, if one does.
    pub fn manager(&mut self) -> Option<&mut Session<'p>> {
        self.tenant.jetstream?;
        self.sessions.iter_mut().find(|m| m.manages())
    }

    /// A user for connections beside those that are open: one that may hear
    /// answers, and whose password is not hashed each time, where there is one.
    pub fn spare(&self) -> Option<&Session<'p>> {
        let usable = || self.sessions.iter().filter(|m| m.connection.is_some() && m.can_ask);
        usable().find(|m| m.is_cheap()).or_else(|| usable().next())
    }

    /// The tenant's streams are kept where it has room.
    pub fn storage(&self) -> &'static str {
        match self.tenant.jetstream {
            Some(js) if js.memory.bytes() >= ENOUGH => "memory",
            _ => "file",
        }
    }
}

impl<'p> Session<'p> {
    async fn connect(&mut self, run: &Run<'p>) {
        let who = format!("{}/{}", run.topology.tenant(self.tenant).name, self.user.name);
        let opened = match &self.login {
            Some(_) => self.another(run).await.map_err(|e| e.to_string()),
            None => Err("its secret is not known here".to_owned()),
        };
        match opened {
            Ok(mut connection) => {
                run.info.borrow_mut().get_or_insert_with(|| connection.info.clone());
                if self.can_ask {
                    connection.listen_for_answers();
                }
                self.connection = Some(connection);
                self.settle(run).await;
                for words in self.refused() {
                    self.can_ask = false;
                    run.ledger.not_run(self.tenant, format!("{who} may not listen to its own inbox: {words}"));
                }
            }
            Err(words) => {
                let hint = if words.contains("Authorization") {
                    "; does the server run this registry? `tenantry up`"
                } else {
                    ""
                };
                run.ledger.not_run(self.tenant, format!("{who} is not connected: {words}{hint}"));
                self.refusal = Some(words);
            }
        }
    }

    /// Why it is not connected, if it was tried.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.clone()
    }

    /// Whether logging in costs the server little.
    pub fn is_cheap(&self) -> bool {
        matches!(self.login, Some(Login::Seed(_)))
    }

    /// One more connection of this user.
    pub async fn another(&self, run: &Run<'p>) -> Result<Connection, OpenError> {
        let login = self.login.clone().ok_or_else(|| OpenError::Broken("its secret is not known here".into()))?;
        Connection::open(run.address, &Identity::User(login), &self.inbox, &run.canary(self.tenant)).await
    }

    /// Whether it may make and delete streams, and hear about it.
    pub fn manages(&self) -> bool {
        self.connection.is_some() && !self.is_mute && self.may_manage()
    }

    fn may_manage(&self) -> bool {
        // A request has to fit into a message.
        self.is_granted_streams() && self.payload >= REQUEST
    }

    fn is_granted_streams(&self) -> bool {
        let may = |verb: &str| may_publish(self.user, &format!("$JS.API.STREAM.{verb}.{MARK}x"));
        // A provisioner makes streams and cannot look into them: that is not enough here.
        self.can_ask && may("CREATE") && may("DELETE") && may("INFO") && may("MSG.GET")
    }

    fn lost(&mut self, run: &Run<'p>, words: &str) {
        self.connection = None;
        run.ledger.not_run(self.tenant, format!("{}'s connection was lost: {words}", self.user.name));
    }

    /// Waits until the server has dealt with everything. False if there is no
    /// connection, which is said.
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

    /// Judges what was heard and gives it.
    pub fn heard(&mut self, run: &Run<'p>) -> Vec<Message> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let heard = std::mem::take(&mut connection.heard);
        for message in &heard {
            run.detect_in_message(self.tenant, self.user.name.as_str(), message);
        }
        heard
    }

    /// What the server refused since somebody asked.
    pub fn refused(&mut self) -> Vec<String> {
        self.connection.as_mut().map(|c| std::mem::take(&mut c.refused)).unwrap_or_default()
    }

    /// Asks, and judges the answers. Without a connection there are none: that it
    /// is lost was said, and says nothing about what was asked.
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

    /// Asks once.
    pub async fn ask_one(&mut self, run: &Run<'p>, request: Request) -> Answer {
        self.ask(run, &[request]).await.pop().unwrap_or(Answer::Silence)
    }

    /// Asks the JetStream API; null if it does not answer.
    pub async fn api(&mut self, run: &Run<'p>, what: &str, body: Value) -> Value {
        let answer = self.ask_one(run, Request::json(format!("$JS.API.{what}"), &body)).await;
        if matches!(answer, Answer::Silence) && !self.is_mute {
            self.is_mute = true;
            run.ledger.not_run(self.tenant, format!("JetStream did not answer {what}; what needs it is not tried"));
        }
        answer.json()
    }

    /// The next message that is wanted, which must come before long.
    pub async fn next(&mut self, run: &Run<'p>, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let connection = self.connection.as_mut()?;
        match connection.next_message(wanted).await {
            Ok(message) => {
                let message = message?;
                run.detect_in_message(self.tenant, self.user.name.as_str(), &message);
                Some(message)
            }
            Err(lost) => {
                self.lost(run, &lost.0);
                None
            }
        }
    }

    /// The next message of a consumer.
    pub async fn pull(&mut self, run: &Run<'p>, stream: &str, consumer: &str) -> Option<Message> {
        let reply = self.reply_to("pulled");
        let acknowledged = format!("$JS.ACK.{stream}.{consumer}.");
        let connection = self.connection.as_mut()?;
        connection.heard.retain(|m| m.reply.as_deref().is_none_or(|r| !r.starts_with(&acknowledged)));
        connection.publish(&format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"), Some(&reply), b"1");
        self.next(run, |m| m.reply.as_deref().is_some_and(|r| r.starts_with(&acknowledged))).await
    }

    /// Where its answers to this are expected.
    pub fn reply_to(&self, name: &str) -> String {
        format!("{}.{name}", self.inbox)
    }
}
