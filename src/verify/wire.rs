//! A NATS connection as an attacker needs it. Client libraries hide what a proof
//! is made of: the server's own words of refusal, and the PONG after which nothing
//! that was sent before is still on its way. Nothing here knows about tenants.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nkeys::KeyPair;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::keys::{Login, Secret};

/// How long a server may say nothing at all when it has been asked something.
const STALL: Duration = Duration::from_secs(10);
/// How long an answer may take that somebody else gives, such as JetStream.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest line a server sends.
const LINE: u64 = 1 << 20;
/// How messages begin that only take up room.
pub const FILLER: &[u8] = b"tenantry filler ";
/// The largest message a server sends.
const PAYLOAD: usize = 64 << 20;

/// What a server says of itself before anybody is known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Its version.
    pub version: String,
    /// Its name.
    pub server_name: String,
    /// Its identity.
    pub server_id: String,
    /// To be signed by an nkey.
    pub nonce: String,
    /// Whether it wants TLS.
    pub tls_required: bool,
    /// Largest message.
    pub max_payload: u64,
}

/// Who a connection claims to be.
#[derive(Clone)]
pub enum Identity {
    /// Nobody.
    Anonymous,
    /// A user with its own credential.
    User(Login),
    /// Another user's public key, with a signature made by a key of one's own.
    Borrowed {
        /// The key that is claimed.
        public_key: String,
        /// What signs.
        seed: Secret,
    },
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The server said no, in these words.
    #[error("{0}")]
    Refused(String),
    /// There is no server, or it does not behave like one.
    #[error("{0}")]
    Broken(String),
}

/// A connection that is no more, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// On which subject.
    pub subject: String,
    /// Where an answer goes.
    pub reply: Option<String>,
    /// Its headers.
    pub headers: Vec<u8>,
    /// Its content.
    pub payload: Vec<u8>,
}

impl Message {
    /// The JSON it holds.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to.
    pub subject: String,
    /// What.
    pub body: Vec<u8>,
}

impl Request {
    /// With a JSON body.
    pub fn json(subject: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { subject: subject.into(), body: body.to_string().into_bytes() }
    }

    /// With nothing in it.
    pub fn empty(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), body: Vec::new() }
    }
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Somebody answered.
    Message(Message),
    /// The server refused it, in these words.
    Refused(String),
    /// Nobody listens there.
    Nobody,
    /// Somebody listens there, and did not answer.
    Silence,
}

impl Answer {
    /// The JSON that was answered; null if none was.
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

/// A connection. Nothing is read until it is asked for, and what is asked for is
/// read to its end.
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    out: Vec<u8>,
    next: u64,
    inbox: String,
    answers: VecDeque<Message>,
    /// What the server said before anybody was known.
    pub info: Info,
    /// Messages that arrived and nobody has looked at.
    pub heard: Vec<Message>,
    /// What the server refused since somebody looked.
    pub refused: Vec<String>,
}

enum Line {
    Message(Message),
    Error(String),
    Ping,
    Pong,
    Other,
}

/// Says hello to whatever is at an address.
async fn greet(address: &str) -> Result<(BufReader<OwnedReadHalf>, OwnedWriteHalf, Info), OpenError> {
    let broken = |e: &dyn std::fmt::Display| OpenError::Broken(format!("{address}: {e}"));
    let stream = timeout(STALL, TcpStream::connect(address))
        .await
        .map_err(|_| broken(&"nothing answers"))?
        .map_err(|e| broken(&e))?;
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(16 << 10, reader);
    let line = match timeout(STALL, line_of(&mut reader)).await {
        Err(_) => return Err(broken(&format!("it said nothing within {} s", STALL.as_secs()))),
        Ok(Err(lost)) => return Err(broken(&lost)),
        Ok(Ok(line)) => line,
    };
    let text = String::from_utf8_lossy(&line);
    let info = text.strip_prefix("INFO ").and_then(|text| serde_json::from_str::<Info>(text.trim()).ok());
    let info = info.ok_or_else(|| {
        let start: String = text.trim().chars().take(60).collect();
        broken(&format!("it is not a NATS server: it began with {start:?}"))
    })?;
    if info.tls_required {
        return Err(broken(&"it wants TLS, which this version does not speak"));
    }
    Ok((reader, writer, info))
}

async fn line_of(reader: &mut BufReader<OwnedReadHalf>) -> Result<Vec<u8>, Lost> {
    let mut line = Vec::new();
    let read = reader.take(LINE).read_until(b'\n', &mut line).await.map_err(|e| Lost(e.to_string()))?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ if read == 0 => Err(Lost("the server closed the connection".into())),
        _ => Err(Lost("the server stopped in the middle of a line".into())),
    }
}

impl Connection {
    /// Connects and waits until the server has said yes or no. Answers arrive
    /// below `inbox`; the server tells some people the connection's `name`.
    pub async fn open(address: &str, identity: &Identity, inbox: &str, name: &str) -> Result<Self, OpenError> {
        let (reader, writer, info) = greet(address).await?;
        let hello = hello(identity, &info.nonce, name)?;
        let mut connection = Self {
            reader,
            writer,
            out: Vec::new(),
            next: 0,
            inbox: inbox.to_owned(),
            answers: VecDeque::new(),
            info,
            heard: Vec::new(),
            refused: Vec::new(),
        };
        connection.write(&format!("CONNECT {hello}"));
        match connection.settle().await {
            Ok(()) => Ok(connection),
            Err(lost) => match connection.refused.pop() {
                Some(words) => Err(OpenError::Refused(words)),
                None => Err(OpenError::Broken(format!("{address}: {lost}"))),
            },
        }
    }

    fn write(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Subscribes with the next settling; refusals are in `refused` then.
    pub fn subscribe(&mut self, subject: &str, queue: Option<&str>) {
        self.next += 1;
        let sid = self.next;
        match queue {
            Some(queue) => self.write(&format!("SUB {subject} {queue} {sid}")),
            None => self.write(&format!("SUB {subject} {sid}")),
        }
    }

    /// Begins to listen where answers arrive.
    pub fn listen_for_answers(&mut self) {
        let subject = format!("{}.*", self.inbox);
        self.subscribe(&subject, None);
    }

    /// Publishes with the next settling; refusals are in `refused` then.
    pub fn publish(&mut self, subject: &str, reply: Option<&str>, body: &[u8]) {
        let reply = reply.map_or_else(String::new, |r| format!("{r} "));
        self.write(&format!("PUB {subject} {reply}{}", body.len()));
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The same, with headers (`Name: value` lines).
    pub fn publish_with(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut block = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            block += &format!("{name}: {value}\r\n");
        }
        block += "\r\n";
        self.write(&format!("HPUB {subject} {} {}", block.len(), block.len() + body.len()));
        self.out.extend_from_slice(block.as_bytes());
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends what is to be sent and waits until the server has dealt with it:
    /// whatever it had for this connection by then has arrived.
    pub async fn settle(&mut self) -> Result<(), Lost> {
        self.write("PING");
        self.flush().await?;
        loop {
            match self.line(STALL).await? {
                Line::Pong => return Ok(()),
                Line::Message(message) if message.subject.starts_with(&self.inbox) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        let out = std::mem::take(&mut self.out);
        match timeout(STALL, self.writer.write_all(&out)).await {
            Err(_) => Err(Lost(format!("the server took nothing for {} s", STALL.as_secs()))),
            // What it said before it closed says more.
            Ok(Err(e)) => Err(self.last_words().await.unwrap_or_else(|| Lost(e.to_string()))),
            Ok(Ok(())) => Ok(()),
        }
    }

    async fn last_words(&mut self) -> Option<Lost> {
        while let Ok(line) = self.line(Duration::from_secs(1)).await {
            if let Line::Error(words) = line {
                self.refused.push(words.clone());
                return Some(Lost(words));
            }
        }
        None
    }

    async fn note(&mut self, line: Line) -> Result<(), Lost> {
        match line {
            // Filler is many megabytes and says nothing.
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

    /// Sends requests and waits for what becomes of each.
    pub async fn ask(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Lost> {
        let first = self.next + 1;
        for request in requests {
            self.next += 1;
            let reply = format!("{}.{}", self.inbox, self.next);
            self.publish(&request.subject, Some(&reply), &request.body);
        }
        let mut found: Vec<Option<Answer>> = vec![None; requests.len()];
        let prefix = format!("{}.", self.inbox);
        let refused_before = self.refused.len();
        self.settle().await?;
        // A refusal comes before the PONG, whoever would have answered.
        for words in self.refused.split_off(refused_before) {
            let open = |(i, r): (usize, &Request)| found[i].is_none() && is_about(&words, &r.subject);
            match requests.iter().enumerate().position(open) {
                Some(i) => found[i] = Some(Answer::Refused(words)),
                None => self.refused.push(words),
            }
        }
        loop {
            while let Some(message) = self.answers.pop_front() {
                let of = message.subject.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok());
                let slot = of.and_then(|n| n.checked_sub(first)).and_then(|i| usize::try_from(i).ok());
                match slot.and_then(|i| found.get_mut(i)) {
                    Some(slot @ None) => *slot = Some(answer(message)),
                    _ => self.heard.push(message),
                }
            }
            if found.iter().all(Option::is_some) {
                break;
            }
            // Waiting for the first byte can be given up; reading a line cannot.
            if timeout(PATIENCE, self.reader.fill_buf()).await.is_err() {
                break;
            }
            match self.line(STALL).await? {
                Line::Message(message) if message.subject.starts_with(&prefix) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
        Ok(found.into_iter().map(|a| a.unwrap_or(Answer::Silence)).collect())
    }

    /// What arrived below the inbox and answers nothing that is still open.
    pub fn late_answers(&mut self) -> Vec<Message> {
        self.answers.drain(..).collect()
    }

    /// The next message that is wanted, wherever it arrives; nothing if it does
    /// not come before long.
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
            let left = PATIENCE.saturating_sub(start.elapsed());
            if timeout(left, self.reader.fill_buf()).await.is_err() {
                return Ok(None);
            }
            match self.line(STALL).await? {
                Line::Message(message) if message.subject.starts_with(&self.inbox) => self.answers.push_back(message),
                line => self.note(line).await?,
            }
        }
    }

    /// One request.
    pub async fn ask_one(&mut self, request: Request) -> Result<Answer, Lost> {
        let mut answers = self.ask(&[request]).await?;
        Ok(answers.pop().unwrap_or(Answer::Silence))
    }

    async fn line(&mut self, patience: Duration) -> Result<Line, Lost> {
        match timeout(patience, self.read_line()).await {
            Err(_) => Err(Lost(format!("the server said nothing for {} s", patience.as_secs()))),
            Ok(Err(lost)) => Err(match self.refused.last() {
                Some(words) => Lost(words.clone()),
                None => lost,
            }),
            Ok(line) => line,
        }
    }

    async fn read_line(&mut self) -> Result<Line, Lost> {
        let line = line_of(&mut self.reader).await?;
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split_ascii_whitespace();
        let strange = || Lost("the server does not speak NATS".into());
        Ok(match words.next().unwrap_or_default() {
            "PING" => Line::Ping,
            "PONG" => Line::Pong,
            "-ERR" => Line::Error(text[4..].trim().trim_matches('\'').to_owned()),
            // The last two are what leaf nodes are told.
            "INFO" | "+OK" | "LS+" | "LS-" => Line::Other,
            kind @ ("MSG" | "HMSG") => {
                let fields: Vec<&str> = words.collect();
                let sizes = if kind == "HMSG" { 2 } else { 1 };
                let (head, tail) = fields.split_at_checked(fields.len().saturating_sub(sizes)).ok_or_else(strange)?;
                let numbers: Vec<usize> = tail.iter().filter_map(|n| n.parse().ok()).collect();
                let (subject, reply) = match head {
                    [subject, _sid] => (subject, None),
                    [subject, _sid, reply] => (subject, Some((*reply).to_owned())),
                    _ => return Err(strange()),
                };
                let (header_size, size) = match numbers.as_slice() {
                    [size] => (0, *size),
                    [header, size] if header <= size => (*header, *size),
                    _ => return Err(strange()),
                };
                if size > PAYLOAD {
                    return Err(strange());
                }
                let subject = (*subject).to_owned();
                let mut headers = vec![0; size + 2];
                self.reader.read_exact(&mut headers).await.map_err(|e| Lost(e.to_string()))?;
                headers.truncate(size);
                let payload = headers.split_off(header_size);
                Line::Message(Message { subject, reply, headers, payload })
            }
            _ => return Err(strange()),
        })
    }
}

/// Whether the server's words are about this subject.
pub fn is_about(words: &str, subject: &str) -> bool {
    words.split('"').nth(1).is_some_and(|named| named == subject)
}

fn answer(message: Message) -> Answer {
    if message.payload.is_empty() && message.headers.starts_with(b"NATS/1.0 503") {
        return Answer::Nobody;
    }
    Answer::Message(message)
}

/// Without `lang`: by that, listeners for others than clients know a client.
fn hello(identity: &Identity, nonce: &str, name: &str) -> Result<serde_json::Value, OpenError> {
    let mut hello = json!({
        "verbose": false, "pedantic": false, "tls_required": false, "headers": true, "no_responders": true,
        "echo": true, "protocol": 1, "name": name, "version": env!("CARGO_PKG_VERSION"),
    });
    match identity {
        Identity::Anonymous => {}
        Identity::User(Login::Password(user, password)) => {
            hello["user"] = user.as_str().into();
            hello["pass"] = password.expose().into();
        }
        Identity::User(Login::Seed(seed)) => {
            let (public, signature) = sign(seed, nonce)?;
            hello["nkey"] = public.into();
            hello["sig"] = signature.into();
        }
        Identity::Borrowed { public_key, seed } => {
            hello["nkey"] = public_key.as_str().into();
            hello["sig"] = sign(seed, nonce)?.1.into();
        }
    }
    Ok(hello)
}

fn sign(seed: &Secret, nonce: &str) -> Result<(String, String), OpenError> {
    let broken = |e: nkeys::error::Error| OpenError::Broken(format!("the seed cannot sign: {e}"));
    let pair = KeyPair::from_seed(seed.expose()).map_err(broken)?;
    let signature = pair.sign(nonce.as_bytes()).map_err(broken)?;
    Ok((pair.public_key(), data_encoding::BASE64URL_NOPAD.encode(&signature)))
}
