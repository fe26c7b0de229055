//! A NATS client connection for attacks. Client libraries hide what a proof needs: the
//! text of the server's errors, and the PONG, before which the server has processed
//! everything that the client sent. Nothing here knows about tenants.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::endpoint::{Endpoint, Info, Lost, OpenError, Reader, Silence, Writer, connected, read_bytes_of_line};
use crate::keys::{Login, Secret, sign_nonce};

/// How long after the last reply another one may come, where several are asked.
const QUIET: Duration = Duration::from_millis(500);
/// Payload prefix of messages that only take up space; they are dropped on arrival.
pub const FILLER: &[u8] = b"tenantry filler ";
/// Header that names the only stream that may store a message.
const STORED_BY: &str = "Nats-Expected-Stream";
/// The largest message that is accepted, headers included. Bytes.
const PAYLOAD: usize = 64 << 20;

/// The credentials of a connection.
#[derive(Clone)]
pub enum Identity {
    /// No credentials.
    Anonymous,
    /// A user with its own credential.
    User(Login),
    /// A forged nkey login: another user's public key with a signature by a different seed.
    Borrowed {
        /// The public key that is claimed.
        public_key: String,
        /// The seed that signs the nonce.
        seed: Secret,
    },
}

/// A message that the server delivered.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject it was delivered on.
    pub subject: String,
    /// The reply subject; `None` if the sender set none.
    pub reply: Option<String>,
    /// The header block as sent, `NATS/1.0` line included. Empty if there is none.
    pub headers: Vec<u8>,
    /// The payload without the headers.
    pub payload: Vec<u8>,
}

impl Message {
    /// The headers and the payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&[self.headers.as_slice(), &self.payload].concat()).into_owned()
    }

    /// The payload as JSON; null if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// A request: a message that is published with a reply subject.
#[derive(Debug, Clone)]
pub struct Request {
    /// The subject to publish to.
    pub subject: String,
    /// The payload.
    pub body: Vec<u8>,
    /// The only stream that may store it. `None`: any that captures its subject.
    pub stored_by: Option<String>,
}

impl Request {
    /// A request with a JSON payload.
    pub fn json(subject: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { subject: subject.into(), body: body.to_string().into_bytes(), stored_by: None }
    }

    /// A request with an empty payload.
    pub fn empty(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), body: Vec::new(), stored_by: None }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A reply.
    Message(Message),
    /// The server denied the publish. Holds the text of its error.
    Refused(String),
    /// No responders: the subject has no subscribers (status 503).
    Nobody,
    /// No reply within `PATIENCE`, although the subject has subscribers.
    Silence,
}

impl Answer {
    /// The reply as JSON; null if there is no reply, or it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Message(message) => message.json(),
            _ => serde_json::Value::Null,
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(_) => f.write_str("answered"),
            Self::Refused(words) => f.write_str(words),
            Self::Nobody => f.write_str("nobody is there"),
            Self::Silence => f.write_str("no answer"),
        }
    }
}

/// A client connection. It reads from the socket only while a method waits for the
/// server, and always whole protocol messages.
pub struct Connection {
    reader: Reader,
    writer: Writer,
    out: Vec<u8>,
    next: u64,
    inbox: String,
    answers: VecDeque<Message>,
    silence: Silence,
    /// The server's INFO.
    pub info: Info,
    /// Messages that arrived and were not taken yet.
    pub heard: Vec<Message>,
    /// Errors (`-ERR`) that arrived and were not taken yet.
    pub refused: Vec<String>,
}

enum Line {
    Message(Message),
    Error(String),
    Ping,
    Pong,
    Other,
}

impl Connection {
    /// Connects, and waits until the server has accepted or rejected the login. Replies
    /// arrive under `inbox`. The server reports the connection's `name` to others, in
    /// message traces for example.
    pub async fn open(endpoint: &Endpoint, identity: &Identity, inbox: &str, name: &str) -> Result<Self, OpenError> {
        let begin = Instant::now();
        let opened = Self::log_in(endpoint, identity, inbox, name).await;
        endpoint.silence.tried(opened.is_ok(), begin.elapsed());
        opened
    }

    async fn log_in(endpoint: &Endpoint, identity: &Identity, inbox: &str, name: &str) -> Result<Self, OpenError> {
        let (reader, writer, info) = connected(endpoint).await?;
        let options = connect_options(identity, &info.nonce, name)?;
        let mut connection = Self {
            reader,
            writer,
            out: Vec::new(),
            next: 0,
            inbox: inbox.to_owned(),
            answers: VecDeque::new(),
            silence: endpoint.silence.clone(),
            info,
            heard: Vec::new(),
            refused: Vec::new(),
        };
        connection.write(&format!("CONNECT {options}"));
        match connection.settle().await {
            Ok(()) => Ok(connection),
            Err(lost) => match connection.refused.pop() {
                Some(words) => Err(OpenError::Refused(words)),
                None => Err(OpenError::Broken(format!("{}: {lost}", endpoint.address))),
            },
        }
    }

    fn write(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Subscribes. Sent by the next `settle`, after which `refused` holds a denial.
    pub fn subscribe(&mut self, subject: &str, queue: Option<&str>) {
        self.next += 1;
        let sid = self.next;
        match queue {
            Some(queue) => self.write(&format!("SUB {subject} {queue} {sid}")),
            None => self.write(&format!("SUB {subject} {sid}")),
        }
    }

    /// Subscribes to the subjects under the inbox, where replies arrive.
    pub fn listen_for_answers(&mut self) {
        let subject = format!("{}.*", self.inbox);
        self.subscribe(&subject, None);
    }

    /// Publishes. Sent by the next `settle`, after which `refused` holds a denial.
    pub fn publish(&mut self, subject: &str, reply: Option<&str>, body: &[u8]) {
        let reply = reply.map_or_else(String::new, |r| format!("{r} "));
        self.write(&format!("PUB {subject} {reply}{}", body.len()));
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Publishes a message that subscribers receive and that no stream stores but the named one:
    /// a stream refuses a message that expects another stream.
    pub fn publish_stored_by(&mut self, stream: &str, subject: &str, reply: Option<&str>, body: &[u8]) {
        self.publish_with(subject, reply, &[(STORED_BY, stream)], body);
    }

    /// Publishes a message with headers, given as names and values.
    pub fn publish_with(&mut self, subject: &str, reply: Option<&str>, headers: &[(&str, &str)], body: &[u8]) {
        let mut block = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            block += &format!("{name}: {value}\r\n");
        }
        block += "\r\n";
        let reply = reply.map_or_else(String::new, |r| format!("{r} "));
        self.write(&format!("HPUB {subject} {reply}{} {}", block.len(), block.len() + body.len()));
        self.out.extend_from_slice(block.as_bytes());
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends what is buffered and a PING, and reads until the PONG. The server has then
    /// processed all of it, and everything it had for this connection has arrived.
    pub async fn settle(&mut self) -> Result<(), Lost> {
        self.write("PING");
        self.flush().await?;
        // A server that only pings says nothing, and one that says other things without end does not answer.
        let start = Instant::now();
        let mut last = start;
        loop {
            let stall = self.silence.stall();
            if !stall.is_zero() && start.elapsed() > stall * 2 {
                return Err(self.silence.give_up());
            }
            let line = self.line(stall.saturating_sub(last.elapsed())).await?;
            if matches!(line, Line::Message(_) | Line::Error(_)) {
                last = Instant::now();
            }
            match line {
                Line::Pong => return Ok(()),
                Line::Message(message) if message.subject.starts_with(&self.inbox) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        let out = std::mem::take(&mut self.out);
        let silence = self.silence.clone();
        let written = async {
            self.writer.write_all(&out).await?;
            self.writer.flush().await
        };
        match silence.wait(silence.stall(), written).await {
            None => Err(silence.lost()),
            // The server's last error explains more than a broken pipe.
            Some(Err(e)) => Err(self.read_last_error().await.unwrap_or_else(|| Lost(e.to_string()))),
            Some(Ok(())) => Ok(()),
        }
    }

    async fn read_last_error(&mut self) -> Option<Lost> {
        while let Ok(Ok(line)) = timeout(Duration::from_secs(1), self.read_line()).await {
            if let Line::Error(words) = line {
                self.refused.push(words.clone());
                return Some(Lost(words));
            }
        }
        None
    }

    async fn note(&mut self, line: Line) -> Result<(), Lost> {
        match line {
            // Filler adds up to many megabytes and is no evidence, so it is dropped.
            Line::Message(message) if message.payload.starts_with(FILLER) => {}
            Line::Message(message) => self.heard.push(message),
            Line::Error(words) => self.refused.push(words),
            Line::Ping => {
                self.write("PONG");
                self.flush().await?;
            }
            Line::Pong | Line::Other => {}
        }
        Ok(())
    }

    /// Sends requests and waits for the outcome of each, in the order of the requests.
    pub async fn ask(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Lost> {
        let first = self.next + 1;
        for request in requests {
            self.next += 1;
            let reply = format!("{}.{}", self.inbox, self.next);
            match &request.stored_by {
                Some(stream) => self.publish_stored_by(stream, &request.subject, Some(&reply), &request.body),
                None => self.publish(&request.subject, Some(&reply), &request.body),
            }
        }
        let mut outcomes: Vec<Option<Answer>> = vec![None; requests.len()];
        let prefix = format!("{}.", self.inbox);
        let refused_before = self.refused.len();
        self.settle().await?;
        // The server itself denies a publish, so the denial comes before the PONG.
        for words in self.refused.split_off(refused_before) {
            let is_open = |(i, r): (usize, &Request)| outcomes[i].is_none() && is_about(&words, &r.subject);
            match requests.iter().enumerate().position(is_open) {
                Some(i) => outcomes[i] = Some(Answer::Refused(words)),
                None => self.refused.push(words),
            }
        }
        // Pings of the server are no answers.
        let mut last = Instant::now();
        loop {
            while let Some(message) = self.answers.pop_front() {
                last = Instant::now();
                let number = message.subject.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok());
                let place = number.and_then(|n| n.checked_sub(first)).and_then(|i| usize::try_from(i).ok());
                match place.and_then(|i| outcomes.get_mut(i)) {
                    Some(outcome @ None) => *outcome = Some(classify_reply(message)),
                    _ => self.heard.push(message),
                }
            }
            if outcomes.iter().all(Option::is_some) {
                break;
            }
            // Only the wait for the first byte may time out: a line that is read in part
            // would be lost.
            let left = self.silence.patience().saturating_sub(last.elapsed());
            if timeout(left, self.reader.fill_buf()).await.is_err() {
                break;
            }
            match self.line(self.silence.stall()).await? {
                Line::Message(message) if message.subject.starts_with(&prefix) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
        if !requests.is_empty() {
            self.silence.answered(outcomes.iter().any(Option::is_some));
        }
        Ok(outcomes.into_iter().map(|a| a.unwrap_or(Answer::Silence)).collect())
    }

    /// Takes the messages that arrived under the inbox outside a request.
    pub fn late_answers(&mut self) -> Vec<Message> {
        self.answers.drain(..).collect()
    }

    /// Takes the first message that `wanted` accepts, on the inbox or elsewhere, and waits
    /// for it. `None` if none arrives within `PATIENCE`.
    pub async fn next_message(&mut self, wanted: impl Fn(&Message) -> bool) -> Result<Option<Message>, Lost> {
        self.settle().await?;
        let start = Instant::now();
        loop {
            if let Some(at) = self.heard.iter().position(&wanted) {
                return Ok(Some(self.heard.remove(at)));
            }
            if let Some(message) = self.answers.iter().position(&wanted).and_then(|at| self.answers.remove(at)) {
                return Ok(Some(message));
            }
            let left = self.silence.patience().saturating_sub(start.elapsed());
            if timeout(left, self.reader.fill_buf()).await.is_err() {
                return Ok(None);
            }
            match self.line(self.silence.stall()).await? {
                Line::Message(message) if message.subject.starts_with(&self.inbox) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
    }

    /// Sends one request that several may answer, and takes all replies until none comes for
    /// `QUIET`.
    pub async fn ask_all(&mut self, request: Request) -> Result<Vec<Message>, Lost> {
        self.next += 1;
        let reply = format!("{}.{}", self.inbox, self.next);
        self.publish(&request.subject, Some(&reply), &request.body);
        self.settle().await?;
        let start = Instant::now();
        let mut replies = Vec::new();
        loop {
            let (found, others): (VecDeque<_>, VecDeque<_>) =
                self.answers.drain(..).partition(|message| message.subject == reply);
            self.answers = others;
            replies.extend(found);
            if start.elapsed() > self.silence.patience() || timeout(QUIET, self.reader.fill_buf()).await.is_err() {
                return Ok(replies);
            }
            match self.line(self.silence.stall()).await? {
                Line::Message(message) if message.subject.starts_with(&self.inbox) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
    }

    /// Sends one request and waits for its outcome.
    pub async fn ask_one(&mut self, request: Request) -> Result<Answer, Lost> {
        let mut answers = self.ask(&[request]).await?;
        Ok(answers.pop().unwrap_or(Answer::Silence))
    }

    async fn line(&mut self, left: Duration) -> Result<Line, Lost> {
        let silence = self.silence.clone();
        match silence.wait(left, self.read_line()).await {
            None => Err(silence.lost()),
            Some(Err(lost)) => Err(match self.refused.last() {
                Some(words) => Lost(words.clone()),
                None => lost,
            }),
            Some(line) => line,
        }
    }

    async fn read_line(&mut self) -> Result<Line, Lost> {
        let line = read_bytes_of_line(&mut self.reader).await?;
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split_ascii_whitespace();
        let malformed = || Lost("the server does not speak NATS".into());
        Ok(match words.next().unwrap_or_default() {
            "PING" => Line::Ping,
            "PONG" => Line::Pong,
            "-ERR" => Line::Error(text[4..].trim().trim_matches('\'').to_owned()),
            // LS+ and LS- are sent to leaf nodes.
            "INFO" | "+OK" | "LS+" | "LS-" => Line::Other,
            kind @ ("MSG" | "HMSG") => {
                let fields: Vec<&str> = words.collect();
                let sizes = if kind == "HMSG" { 2 } else { 1 };
                let (head, tail) = fields.split_at_checked(fields.len().saturating_sub(sizes)).ok_or_else(malformed)?;
                let numbers: Vec<usize> = tail.iter().filter_map(|n| n.parse().ok()).collect();
                let (subject, reply) = match head {
                    [subject, _sid] => (subject, None),
                    [subject, _sid, reply] => (subject, Some((*reply).to_owned())),
                    _ => return Err(malformed()),
                };
                let (header_size, size) = match numbers.as_slice() {
                    [size] => (0, *size),
                    [header, size] if header <= size => (*header, *size),
                    _ => return Err(malformed()),
                };
                if size > PAYLOAD {
                    return Err(malformed());
                }
                let subject = (*subject).to_owned();
                let mut headers = vec![0; size + 2];
                self.reader.read_exact(&mut headers).await.map_err(|e| Lost(e.to_string()))?;
                headers.truncate(size);
                let payload = headers.split_off(header_size);
                Line::Message(Message { subject, reply, headers, payload })
            }
            _ => return Err(malformed()),
        })
    }
}

/// Whether an error of the server names this subject: the first text in double quotes.
/// In the error of a queue subscription the queue's name follows, and is not compared.
pub fn is_about(words: &str, subject: &str) -> bool {
    words.split('"').nth(1).is_some_and(|named| named == subject)
}

fn classify_reply(message: Message) -> Answer {
    if message.payload.is_empty() && message.headers.starts_with(b"NATS/1.0 503") {
        return Answer::Nobody;
    }
    Answer::Message(message)
}

/// The options of CONNECT. Omits `lang`: the leaf node and route listeners use it to
/// recognise, and reject, a client.
fn connect_options(identity: &Identity, nonce: &str, name: &str) -> Result<serde_json::Value, OpenError> {
    let mut options = json!({
        "verbose": false, "pedantic": false, "tls_required": false, "headers": true, "no_responders": true,
        "echo": true, "protocol": 1, "name": name, "version": env!("CARGO_PKG_VERSION"),
    });
    match identity {
        Identity::Anonymous => {}
        Identity::User(Login::Password(user, password)) => {
            options["user"] = user.as_str().into();
            options["pass"] = password.expose().into();
        }
        Identity::User(Login::Seed(seed)) => {
            let (public, signature) = sign(seed, nonce)?;
            options["nkey"] = public.into();
            options["sig"] = signature.into();
        }
        Identity::Borrowed { public_key, seed } => {
            options["nkey"] = public_key.as_str().into();
            options["sig"] = sign(seed, nonce)?.1.into();
        }
    }
    Ok(options)
}

fn sign(seed: &Secret, nonce: &str) -> Result<(String, String), OpenError> {
    sign_nonce(seed, nonce).map_err(|e| OpenError::Broken(format!("the seed cannot sign: {e}")))
}

#[cfg(test)]
mod tests {
    use nkeys::KeyPair;

    use super::*;
    use crate::verify::fixtures::{INFO, Reply, connect, serve};

    const PONG: &str = "PONG\r\n";

    /// A script that writes `text` before the PONG to the second PING, that is, to the first one
    /// after the login.
    fn before_pong(text: &str) -> impl FnMut(&str) -> Reply + Send + 'static {
        after_login(format!("{text}{PONG}"))
    }

    fn after_login(text: String) -> impl FnMut(&str) -> Reply + Send + 'static {
        let mut pings = 0;
        move |line| {
            pings += usize::from(line == "PING");
            if line == "PING" && pings == 2 { Reply::Write(text.clone()) } else { Reply::Default }
        }
    }

    fn requests(subjects: &[&str]) -> Vec<Request> {
        subjects.iter().map(|s| Request::empty(*s)).collect()
    }

    async fn outcomes(connection: &mut Connection, subjects: &[&str]) -> Vec<String> {
        connection.ask(&requests(subjects)).await.expect("a connection").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_error_is_about_the_first_subject_that_it_quotes_and_no_other() {
        let publish = r#"Permissions Violation for Publish to "a.b""#;
        let queue = r#"Permissions Violation for Subscription to "a.b" using queue "q""#;
        for (error, subject, expected) in [
            (publish, "a.b", true),
            (publish, "a", false),
            (publish, "a.b.c", false),
            (publish, "", false),
            (queue, "a.b", true),
            (queue, "q", false),
            ("Authorization Violation", "a.b", false),
            ("Authorization Violation", "", false),
        ] {
            assert_eq!(is_about(error, subject), expected, "{error}: {subject}");
        }
    }

    #[tokio::test]
    async fn a_message_is_read_with_its_reply_subject_headers_and_payload() {
        let mut connection = connect(before_pong(
            "MSG a.b 7 5\r\nhello\r\n\
             MSG a.b 7 to.me 2\r\n\r\n\r\n\
             HMSG a.c 8 21 24\r\nNATS/1.0\r\nName: v\r\n\r\n123\r\n\
             +OK\r\nINFO {}\r\n",
        ))
        .await;
        connection.settle().await.expect("a connection");
        let heard: Vec<_> = connection
            .heard
            .iter()
            .map(|m| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (m.subject.as_str(), m.reply.as_deref(), text(&m.headers), text(&m.payload))
            })
            .collect();
        let block = "NATS/1.0\r\nName: v\r\n\r\n".to_owned();
        assert_eq!(
            heard,
            [
                ("a.b", None, String::new(), "hello".into()),
                ("a.b", Some("to.me"), String::new(), "\r\n".into()),
                ("a.c", None, block.clone(), "123".into()),
            ]
        );
    }

    #[tokio::test]
    async fn a_malformed_line_ends_the_connection() {
        for line in [
            "HELLO\r\n",
            "MSG a.b 7\r\n",
            "MSG a.b 7 x\r\n",
            "MSG a.b 7 reply more 5\r\nhello\r\n",
            "HMSG a.b 7 9 5\r\nhello\r\n",
            "MSG a.b 7 67108865\r\n",
        ] {
            let mut connection = connect(before_pong(line)).await;
            let lost = connection.settle().await.expect_err(line);
            assert_eq!(lost.0, "the server does not speak NATS", "{line}");
        }
    }

    #[tokio::test]
    async fn a_line_and_a_message_that_arrive_in_parts_are_read_whole() {
        let mut pings = 0;
        let mut connection = connect(move |line| {
            pings += usize::from(line == "PING");
            match (line, pings) {
                ("PING", 2) => Reply::WriteInParts(vec!["MS", "G a.b 7 5\r", "\nhe", "llo\r\nPO", "NG\r\n"]),
                _ => Reply::Default,
            }
        })
        .await;
        connection.settle().await.expect("a connection");
        assert_eq!(connection.heard.len(), 1);
        assert_eq!(connection.heard[0].payload, b"hello");
    }

    #[tokio::test]
    async fn a_server_that_closes_in_a_line_or_between_lines_is_reported_as_such() {
        for (text, expected) in [
            ("", "the server closed the connection"),
            ("PON", "the server stopped in the middle of a line"),
            ("-ERR 'Slow Consumer'\r\n", "Slow Consumer"),
        ] {
            let mut pings = 0;
            let mut connection = connect(move |line| {
                pings += usize::from(line == "PING");
                if pings == 2 { Reply::Close(text) } else { Reply::Default }
            })
            .await;
            assert_eq!(connection.settle().await.expect_err(text).0, expected);
        }
    }

    #[tokio::test]
    async fn a_denial_is_the_outcome_of_the_request_that_it_names() {
        let denied = |subject: &str| format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n");
        let reply = "MSG _INBOX.t.1 1 3\r\nyes\r\n";
        let script = format!("{}{}{reply}", denied("b"), denied("elsewhere"));
        let mut connection = connect(before_pong(&script)).await;
        assert_eq!(
            outcomes(&mut connection, &["a", "b"]).await,
            ["answered", "Permissions Violation for Publish to \"b\""]
        );
        assert_eq!(connection.refused, ["Permissions Violation for Publish to \"elsewhere\""]);
    }

    #[tokio::test]
    async fn two_requests_to_one_subject_need_two_denials() {
        let denied = "-ERR 'Permissions Violation for Publish to \"a\"'\r\n";
        let mut connection = connect(before_pong(&denied.repeat(2))).await;
        assert!(outcomes(&mut connection, &["a", "a"]).await.iter().all(|o| o.starts_with("Permissions")));
        let mut connection = connect(before_pong(denied)).await;
        assert_eq!(outcomes(&mut connection, &["a", "a"]).await[1], "no answer");
    }

    #[tokio::test]
    async fn an_earlier_denial_is_not_taken_for_one_of_a_request() {
        let mut connection = connect(before_pong("MSG _INBOX.t.1 1 3\r\nyes\r\n")).await;
        connection.refused.push("Permissions Violation for Publish to \"a\"".into());
        assert_eq!(outcomes(&mut connection, &["a"]).await, ["answered"]);
        assert_eq!(connection.refused.len(), 1);
    }

    #[tokio::test]
    async fn replies_are_matched_by_number_in_whatever_order_they_arrive() {
        let late = "MSG _INBOX.t.2 1 6\r\nsecond\r\nMSG _INBOX.t.1 1 5\r\nfirst\r\n";
        let mut connection = connect(after_login(format!("{PONG}{late}"))).await;
        let answers = connection.ask(&requests(&["a", "b"])).await.expect("a connection");
        let texts: Vec<&[u8]> =
            answers.iter().map(|a| if let Answer::Message(m) = a { &m.payload[..] } else { b"" }).collect();
        assert_eq!(texts, [&b"first"[..], b"second"]);
    }

    #[tokio::test]
    async fn a_second_reply_and_one_to_no_request_are_kept_apart_from_the_answers() {
        let reply = "MSG _INBOX.t.1 1 5\r\nfirst\r\nMSG _INBOX.t.1 1 5\r\nagain\r\nMSG _INBOX.t.x 1 5\r\nother\r\n";
        let mut connection = connect(before_pong(reply)).await;
        assert_eq!(outcomes(&mut connection, &["a"]).await, ["answered"]);
        let heard: Vec<_> = connection.heard.iter().map(|m| m.payload.as_slice()).collect();
        assert_eq!(heard, [b"again", b"other"]);
    }

    #[tokio::test]
    async fn no_responders_is_an_empty_reply_with_status_503() {
        let status = |code: &str, payload: &str| {
            let block = format!("NATS/1.0 {code}\r\n\r\n");
            format!("HMSG _INBOX.t.1 1 {} {}\r\n{block}{payload}\r\n", block.len(), block.len() + payload.len())
        };
        for (reply, expected) in [
            (status("503", ""), "nobody is there"),
            (status("503", "x"), "answered"),
            (status("404", ""), "answered"),
            ("MSG _INBOX.t.1 1 0\r\n\r\n".into(), "answered"),
        ] {
            let mut connection = connect(before_pong(&reply)).await;
            assert_eq!(outcomes(&mut connection, &["a"]).await, [expected], "{reply:?}");
        }
    }

    #[tokio::test]
    async fn a_request_without_a_reply_ends_in_silence_and_the_connection_stays_usable() {
        let mut connection = connect(|_| Reply::Default).await;
        assert_eq!(outcomes(&mut connection, &["a"]).await, ["no answer"]);
        connection.settle().await.expect("a connection");
    }

    #[tokio::test]
    async fn the_next_message_is_the_first_one_that_is_wanted_and_leaves_the_others() {
        let script = "MSG a 1 1\r\n1\r\nMSG _INBOX.t.pulled 1 1\r\n2\r\nMSG a 1 1\r\n3\r\n";
        let mut connection = connect(before_pong(script)).await;
        let mut next = async |payload: &'static [u8]| {
            connection.next_message(|m| m.payload == payload).await.expect("a connection").is_some()
        };
        assert!(next(b"3").await && next(b"2").await);
        assert!(!next(b"3").await, "it was taken");
        assert_eq!(connection.heard.len(), 1);
    }

    #[tokio::test]
    async fn filler_is_dropped_and_a_ping_of_the_server_is_answered() {
        let mut pings = 0;
        let mut connection = connect(move |line| {
            pings += usize::from(line == "PING");
            match (line, pings) {
                ("PING", 2) => Reply::Write("MSG a 1 17\r\ntenantry filler x\r\nPING\r\n".into()),
                ("PONG", 2) => Reply::Write(format!("MSG a 1 4\r\nkept\r\n{PONG}")),
                _ => Reply::Default,
            }
        })
        .await;
        connection.settle().await.expect("a connection");
        assert_eq!(connection.heard.iter().map(|m| m.payload.as_slice()).collect::<Vec<_>>(), [b"kept"]);
    }

    #[tokio::test]
    async fn a_rejected_login_is_told_apart_from_a_server_that_is_no_nats_server() {
        let open = async |address: String| {
            let endpoint = Endpoint::plain(address.clone());
            let opened = Connection::open(&endpoint, &Identity::Anonymous, "_INBOX.t", "a test").await;
            match opened {
                Ok(_) => "open".to_owned(),
                Err(OpenError::Refused(words)) => format!("refused: {words}"),
                Err(OpenError::Broken(words)) => format!("broken: {}", words.replace(&address, "ADDRESS")),
            }
        };
        let at_login =
            |text: &'static str| move |line: &str| if line == "PING" { Reply::Close(text) } else { Reply::Default };
        let rejected = serve(INFO, at_login("-ERR 'Authorization Violation'\r\n")).await;
        assert_eq!(open(rejected).await, "refused: Authorization Violation");
        let closed = serve(INFO, at_login("")).await;
        assert_eq!(open(closed).await, "broken: ADDRESS: the server closed the connection");
        let ssh = serve("SSH-2.0-OpenSSH\r\n", |_| Reply::Default).await;
        assert_eq!(open(ssh).await, "broken: ADDRESS: it is not a NATS server: it began with \"SSH-2.0-OpenSSH\"");
        let tls = serve("INFO {\"tls_required\":true}\r\n", |_| Reply::Default).await;
        let eof = "broken: ADDRESS: TLS: tls handshake eof; --ca names who signed its certificate";
        assert_eq!(open(tls).await, eof, "it is asked for TLS, and nothing is sent in clear");
        assert_eq!(open(serve(INFO, |_| Reply::Default).await).await, "open");
    }

    #[tokio::test]
    async fn what_is_sent_has_the_sizes_and_the_order_of_the_calls() {
        let (sender, lines) = std::sync::mpsc::channel();
        let mut connection = connect(move |line| {
            let _ = sender.send(line.to_owned());
            Reply::Default
        })
        .await;
        connection.listen_for_answers();
        connection.subscribe("a.>", Some("q"));
        connection.publish("a.b", Some("to.me"), b"hello");
        connection.publish_with("a.c", None, &[("Name", "v")], b"123");
        connection.settle().await.expect("a connection");
        let sent: Vec<String> = lines.try_iter().collect();
        assert_eq!(
            sent[2..],
            ["SUB _INBOX.t.* 1", "SUB a.> q 2", "PUB a.b to.me 5", "HPUB a.c 21 24", "PING"],
            "after CONNECT and PING"
        );
    }

    #[test]
    fn an_nkey_login_shows_its_own_key_and_a_forged_one_anothers() {
        let (own, other) = (KeyPair::new_user(), KeyPair::new_user());
        let seed = || Secret::new(own.seed().expect("a seed"));
        let options = |identity: &Identity| connect_options(identity, "abc", "a test").unwrap_or_default();
        let signature = |options: &serde_json::Value| {
            data_encoding::BASE64URL_NOPAD
                .decode(options["sig"].as_str().unwrap_or_default().as_bytes())
                .unwrap_or_default()
        };
        let honest = options(&Identity::User(Login::Seed(seed())));
        assert_eq!(honest["nkey"], own.public_key());
        assert!(own.verify(b"abc", &signature(&honest)).is_ok());
        let forged = options(&Identity::Borrowed { public_key: other.public_key(), seed: seed() });
        assert_eq!(forged["nkey"], other.public_key());
        assert!(own.verify(b"abc", &signature(&forged)).is_ok() && other.verify(b"abc", &signature(&forged)).is_err());
        let anonymous = options(&Identity::Anonymous);
        assert!(["user", "pass", "nkey", "sig", "lang"].iter().all(|key| anonymous[*key].is_null()));
    }
}
