//! Tenants and their users on the stage: connecting, asking, hearing.

use serde_json::Value;

use super::{ENOUGH, MARK, Member, REQUEST, Side, Stage};
use crate::keys::Login;
use crate::verify::expected::may_publish;
use crate::verify::wire::{Answer, Connection, Identity, Message, OpenError, Request};

impl<'p> Side<'p> {
    /// Whether any of its users is connected.
    pub fn is_in(&self) -> bool {
        self.members.iter().any(|m| m.connection.is_some())
    }

    /// Connects every user.
    pub async fn connect(&mut self, stage: &Stage<'p>) {
        if self.tenant.jetstream.is_some() && self.members.iter().any(|m| m.is_granted_streams() && m.payload < REQUEST)
        {
            let why = format!(
                "JetStream is not tried: its messages are smaller than {REQUEST} bytes, and so are its requests"
            );
            stage.not_run(self.index, why);
        }
        for member in &mut self.members {
            member.connect(stage).await;
        }
    }

    /// Connects the user that manages the tenant's streams again, if it is not.
    pub async fn connect_manager(&mut self, stage: &Stage<'p>) {
        if let Some(manager) = self.members.iter_mut().find(|m| m.may_manage() && m.connection.is_none()) {
            manager.is_mute = false;
            manager.connect(stage).await;
        }
    }

    /// The user that manages the tenant's streams, if one does.
    pub fn manager(&mut self) -> Option<&mut Member<'p>> {
        self.tenant.jetstream?;
        self.members.iter_mut().find(|m| m.manages())
    }

    /// A user for connections beside those that are open: one that may hear
    /// answers, and whose password is not hashed each time, where there is one.
    pub fn spare(&self) -> Option<&Member<'p>> {
        let usable = || self.members.iter().filter(|m| m.connection.is_some() && m.can_ask);
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

impl<'p> Member<'p> {
    async fn connect(&mut self, stage: &Stage<'p>) {
        let who = format!("{}/{}", stage.tenant(self.tenant).name, self.user.name);
        let opened = match &self.login {
            Some(_) => self.another(stage).await.map_err(|e| e.to_string()),
            None => Err("its secret is not known here".to_owned()),
        };
        match opened {
            Ok(mut connection) => {
                stage.info.borrow_mut().get_or_insert_with(|| connection.info.clone());
                if self.can_ask {
                    connection.listen_for_answers();
                }
                self.connection = Some(connection);
                self.settle(stage).await;
                for words in self.refused() {
                    self.can_ask = false;
                    stage.not_run(self.tenant, format!("{who} may not listen to its own inbox: {words}"));
                }
            }
            Err(words) => {
                let hint = if words.contains("Authorization") {
                    "; does the server run this registry? `tenantry up`"
                } else {
                    ""
                };
                stage.not_run(self.tenant, format!("{who} is not connected: {words}{hint}"));
                self.absent = Some(words);
            }
        }
    }

    /// Whether logging in costs the server little.
    pub fn is_cheap(&self) -> bool {
        matches!(self.login, Some(Login::Seed(_)))
    }

    /// One more connection of this user.
    pub async fn another(&self, stage: &Stage<'p>) -> Result<Connection, OpenError> {
        let login = self.login.clone().ok_or_else(|| OpenError::Broken("its secret is not known here".into()))?;
        Connection::open(stage.address, &Identity::User(login), &self.inbox, &stage.canary(self.tenant)).await
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

    fn lost(&mut self, stage: &Stage<'p>, words: &str) {
        self.connection = None;
        stage.not_run(self.tenant, format!("{}'s connection was lost: {words}", self.user.name));
    }

    /// Waits until the server has dealt with everything. False if there is no
    /// connection, which is said.
    pub async fn settle(&mut self, stage: &Stage<'p>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        match connection.settle().await {
            Ok(()) => true,
            Err(lost) => {
                self.lost(stage, &lost.0);
                false
            }
        }
    }

    /// Judges what was heard and gives it.
    pub fn heard(&mut self, stage: &Stage<'p>) -> Vec<Message> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let heard = std::mem::take(&mut connection.heard);
        for message in &heard {
            stage.judge_message(self.tenant, self.user.name.as_str(), message);
        }
        heard
    }

    /// What the server refused since somebody asked.
    pub fn refused(&mut self) -> Vec<String> {
        self.connection.as_mut().map(|c| std::mem::take(&mut c.refused)).unwrap_or_default()
    }

    /// Asks, and judges the answers. Without a connection there are none: that it
    /// is lost was said, and says nothing about what was asked.
    pub async fn ask(&mut self, stage: &Stage<'p>, requests: &[Request]) -> Vec<Answer> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        match connection.ask(requests).await {
            Ok(answers) => {
                for (request, answer) in requests.iter().zip(&answers) {
                    if let Answer::Message(message) = answer {
                        stage.judge_answer(self.tenant, self.user.name.as_str(), &request.subject, message);
                    }
                }
                answers
            }
            Err(lost) => {
                self.lost(stage, &lost.0);
                Vec::new()
            }
        }
    }

    /// Asks once.
    pub async fn ask_one(&mut self, stage: &Stage<'p>, request: Request) -> Answer {
        self.ask(stage, &[request]).await.pop().unwrap_or(Answer::Silence)
    }

    /// Asks the JetStream API; null if it does not answer.
    pub async fn api(&mut self, stage: &Stage<'p>, what: &str, body: Value) -> Value {
        let answer = self.ask_one(stage, Request::json(format!("$JS.API.{what}"), &body)).await;
        if matches!(answer, Answer::Silence) && !self.is_mute {
            self.is_mute = true;
            stage.not_run(self.tenant, format!("JetStream did not answer {what}; what needs it is not tried"));
        }
        answer.json()
    }

    /// The next message that is wanted, which must come before long.
    pub async fn next(&mut self, stage: &Stage<'p>, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let connection = self.connection.as_mut()?;
        match connection.next_message(wanted).await {
            Ok(message) => {
                let message = message?;
                stage.judge_message(self.tenant, self.user.name.as_str(), &message);
                Some(message)
            }
            Err(lost) => {
                self.lost(stage, &lost.0);
                None
            }
        }
    }

    /// The next message of a consumer.
    pub async fn pull(&mut self, stage: &Stage<'p>, stream: &str, consumer: &str) -> Option<Message> {
        let reply = self.reply_to("pulled");
        let acknowledged = format!("$JS.ACK.{stream}.{consumer}.");
        let connection = self.connection.as_mut()?;
        connection.heard.retain(|m| m.reply.as_deref().is_none_or(|r| !r.starts_with(&acknowledged)));
        connection.publish(&format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"), Some(&reply), b"1");
        self.next(stage, |m| m.reply.as_deref().is_some_and(|r| r.starts_with(&acknowledged))).await
    }

    /// Where its answers to this are expected.
    pub fn reply_to(&self, name: &str) -> String {
        format!("{}.{name}", self.inbox)
    }
}
