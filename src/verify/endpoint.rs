//! Where a server is, and how a connection to it begins: in clear or by TLS. Nothing but the server's INFO is read
//! in clear where either side asks for TLS, so that no secret is ever sent in clear by mistake.

use std::cell::Cell;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// The reading side of a connection, in clear or by TLS.
pub type Reader = BufReader<Box<dyn AsyncRead + Unpin>>;
/// The writing side.
pub type Writer = Box<dyn AsyncWrite + Unpin>;

/// The longest protocol line that is accepted. Bytes.
const LINE: u64 = 1 << 20;
/// Size of what is read at a time. Bytes.
const BUFFER: usize = 16 << 10;

/// Timeout for the server itself: for connecting, for a line and for the PONG to a PING. Shorter in
/// unit tests, which wait for it.
const STALL: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(10) };
/// The same for a server that was silent before.
const STALL_AGAIN: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(3) };

/// How long a server that was asked for by `tls://` may take to say anything in clear, before TLS is begun.
const HANDSHAKE_FIRST: Duration = if cfg!(test) { Duration::from_millis(100) } else { Duration::from_secs(1) };

/// Timeout for replies that come from a responder, such as JetStream, and not from the
/// server's protocol. Shorter in unit tests, which wait for it.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(5) };
/// The same where many replies have not come.
const IMPATIENCE: Duration = Duration::from_millis(250);

/// The server's INFO, which it sends before the client authenticates.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The version of nats-server.
    pub version: String,
    /// The configured name of the server.
    pub server_name: String,
    /// The server's id, new at every start.
    pub server_id: String,
    /// This connection's id on the server.
    pub client_id: u64,
    /// The challenge that an nkey signs. Empty if the server accepts no nkeys.
    pub nonce: String,
    /// Whether the server requires TLS.
    pub tls_required: bool,
    /// Whether it offers TLS.
    pub tls_available: bool,
    /// The largest payload that a client may publish. Bytes.
    pub max_payload: u64,
}

impl Info {
    /// Whether the server speaks TLS.
    fn wants_tls(&self) -> bool {
        self.tls_required || self.tls_available
    }
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The server rejected the login. Holds the text of its error.
    #[error("{0}")]
    Refused(String),
    /// No nats-server answers at the address, or it needs what is not supported here.
    #[error("{0}")]
    Broken(String),
}

/// The connection was lost. Holds the reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// A server.
#[derive(Clone)]
pub struct Endpoint {
    /// Its address, as `host:port`.
    pub address: String,
    /// Whether TLS is required of it.
    pub is_tls: bool,
    /// Whether it has stopped talking, which all connections to it share.
    pub silence: Silence,
    tls: Arc<ClientConfig>,
}

/// The files of TLS. `None`: not given.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// The authorities that the server's certificate is checked against. `None`: those of this machine.
    pub ca: Option<PathBuf>,
    /// The certificate of this client.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Endpoint {
    /// A server in clear, unless it asks for TLS itself.
    pub fn plain(address: impl Into<String>) -> Self {
        let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Self { address: address.into(), is_tls: false, silence: Silence::default(), tls: Arc::new(tls) }
    }

    /// Parses `nats://host:port`, `tls://host:port`, `host:port` or `host`; the default port is 4222.
    /// Any other scheme, and credentials, are an error.
    pub fn parse(url: &str, files: &TlsFiles) -> Result<Self, Error> {
        let (address, is_tls) = address(url)?;
        // Whoever gives certificates does not want to log in in clear.
        let is_tls = is_tls || files.ca.is_some() || files.cert.is_some();
        let builder = ClientConfig::builder().with_root_certificates(authorities(files.ca.as_deref())?);
        let tls = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                let refused = |e| Error::usage(format!("{}: {e}", cert.display()), "a certificate and its key");
                builder.with_client_auth_cert(certificates(cert)?, key).map_err(refused)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { address, is_tls, silence: Silence::default(), tls: Arc::new(tls) })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "tls" } else { "nats" }, self.address)
    }

    /// What makes a connection one of TLS, and the name that the server's certificate must have.
    fn connector(&self) -> Result<(TlsConnector, ServerName<'static>), Lost> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|e| Lost(e.to_string()))?;
        Ok((TlsConnector::from(self.tls.clone()), name))
    }
}

/// Connects, reads the server's INFO, and goes on by TLS if either side wants that. A server that says nothing in clear to
/// `tls://` may want TLS first (`handshake_first`): then its INFO comes by TLS.
pub async fn connected(endpoint: &Endpoint) -> Result<(Reader, Writer, Info), OpenError> {
    let Endpoint { address, silence, .. } = endpoint;
    let broken = |e: &dyn std::fmt::Display| OpenError::Broken(format!("{address}: {e}"));
    let stream = silence.wait(silence.stall(), TcpStream::connect(address)).await;
    let stream = stream.ok_or_else(|| broken(&"nothing answers"))?.map_err(|e| broken(&e))?;
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    let wait = HANDSHAKE_FIRST.min(silence.stall());
    if endpoint.is_tls && (silence.0.is_tls_first.get() || timeout(wait, reader.fill_buf()).await.is_err()) {
        let (mut reader, writer) = secured(endpoint, reader.into_inner()).await?;
        let info = read_info(endpoint, &mut reader).await?;
        silence.0.is_tls_first.set(true);
        return Ok((reader, writer, info));
    }
    let info = read_info(endpoint, &mut reader).await?;
    let more = reader.buffer().to_vec();
    let stream = reader.into_inner();
    match endpoint.is_tls || info.wants_tls() {
        false => {
            let (reader, writer) = stream.into_split();
            let reader: Box<dyn AsyncRead + Unpin> = Box::new(Cursor::new(more).chain(reader));
            Ok((BufReader::with_capacity(BUFFER, reader), Box::new(writer), info))
        }
        // Somebody between client and server may have put it there.
        true if !more.is_empty() => Err(broken(&"it said more in clear before TLS")),
        true if !info.wants_tls() => Err(broken(&"it has no TLS, and in clear nothing is sent to tls://")),
        true => {
            let (reader, writer) = secured(endpoint, stream).await?;
            Ok((reader, writer, info))
        }
    }
}

/// Goes on by TLS.
async fn secured(endpoint: &Endpoint, stream: TcpStream) -> Result<(Reader, Writer), OpenError> {
    let Endpoint { address, silence, .. } = endpoint;
    let broken = |e: &dyn std::fmt::Display| OpenError::Broken(format!("{address}: {e}"));
    let (connector, name) = endpoint.connector().map_err(|e| broken(&e))?;
    let secured = silence.wait(silence.stall(), connector.connect(name, stream)).await;
    let secured = secured.ok_or_else(|| broken(&silence.lost()))?;
    let secured = secured.map_err(|e| {
        let words = e.to_string();
        let why = match words.contains("CaUsedAsEndEntity") {
            true => "its certificate is an authority's (CA:TRUE), which servers must not use: have it sign one for the server".into(),
            false => format!("{words}; --ca names who signed its certificate"),
        };
        broken(&format!("TLS: {why}"))
    })?;
    let (reader, writer) = tokio::io::split(secured);
    let reader: Box<dyn AsyncRead + Unpin> = Box::new(reader);
    Ok((BufReader::with_capacity(BUFFER, reader), Box::new(writer)))
}

/// Reads the INFO with which a server begins.
async fn read_info(endpoint: &Endpoint, reader: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Info, OpenError> {
    let Endpoint { address, silence, .. } = endpoint;
    let broken = |e: &dyn std::fmt::Display| OpenError::Broken(format!("{address}: {e}"));
    let line = match silence.wait(silence.stall(), read_bytes_of_line(reader)).await {
        None => return Err(broken(&silence.lost())),
        Some(Err(lost)) => return Err(broken(&lost)),
        Some(Ok(line)) => line,
    };
    let text = String::from_utf8_lossy(&line);
    let info = text.strip_prefix("INFO ").and_then(|text| serde_json::from_str::<Info>(text.trim()).ok());
    info.ok_or_else(|| {
        let start: String = text.trim().chars().take(60).collect();
        broken(&format!("it is not a NATS server: it began with {start:?}"))
    })
}

/// Reads up to the end of a line.
pub async fn read_bytes_of_line(reader: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Lost> {
    let mut line = Vec::new();
    let read = reader.take(LINE).read_until(b'\n', &mut line).await.map_err(|e| Lost(e.to_string()))?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ if read == 0 => Err(Lost("the server closed the connection".into())),
        _ => Err(Lost("the server stopped in the middle of a line".into())),
    }
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::usage(format!("{}: {why}", file.display()), "a file in PEM: -----BEGIN ...-----")
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|e| unreadable(file, &e))?;
    if found.is_empty() {
        return Err(unreadable(file, &"there is no certificate in it"));
    }
    Ok(found)
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                store.add(certificate).map_err(|e| unreadable(file, &e))?;
            }
        }
        None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(store)
}

/// The address of a URL, and whether it asks for TLS.
fn address(url: &str) -> Result<(String, bool), Error> {
    // Credentials in a URL are not repeated: messages end up in logs.
    let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("…@{host}"));
    let refuse = |hint: &str| Err(Error::usage(format!("`{shown}` is not where a NATS server is"), hint));
    let (rest, is_tls) = match url.split_once("://") {
        Some(("nats", rest)) => (rest, false),
        Some(("tls", rest)) => (rest, true),
        Some(_) => return refuse("write nats://HOST:PORT or tls://HOST:PORT"),
        None => (url, false),
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return refuse("no credentials: every tenant's own are used");
    }
    if rest.is_empty() || rest.contains(['/', ' ', ',']) {
        return refuse("write nats://HOST:PORT");
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (has_port, rest.contains(':')) {
        (true, _) => Ok((rest.to_owned(), is_tls)),
        (false, false) => Ok((format!("{rest}:4222"), is_tls)),
        (false, true) => refuse("the port is a number: nats://HOST:4222"),
    }
}

/// Whether a server has stopped talking: the first connection waits for it, the others do not wait
/// again.
#[derive(Debug, Clone, Default)]
pub struct Silence(Rc<State>);

#[derive(Debug, Default)]
struct State {
    is_silent: Cell<bool>,
    was_silent: Cell<bool>,
    /// Whether it says things without end, none of which is an answer.
    is_endless: Cell<bool>,
    /// Whether it wants TLS before it says anything.
    is_tls_first: Cell<bool>,
    /// Whether it has let anybody in.
    has_let_in: Cell<bool>,
    /// How long connections took that came to nothing, before it let anybody in.
    in_vain: Cell<Duration>,
    /// Number of requests in a row that nobody has answered.
    unanswered: Cell<u32>,
}

impl Silence {
    /// Whether the server has stopped talking.
    pub fn is_silent(&self) -> bool {
        self.0.is_silent.get()
    }

    /// Gives the server another, shorter chance.
    pub fn forgive(&self) {
        self.0.is_silent.set(false);
    }

    /// How long to wait for the server.
    pub fn stall(&self) -> Duration {
        match (self.is_silent(), self.0.was_silent.get()) {
            (true, _) => Duration::ZERO,
            (false, true) => STALL_AGAIN,
            (false, false) => STALL.saturating_sub(self.0.in_vain.get()),
        }
    }

    /// Waits for the server; when nothing comes, it counts as silent. `None`: nothing came.
    pub async fn wait<T>(&self, left: Duration, future: impl Future<Output = T>) -> Option<T> {
        let done = timeout(left, future).await.ok();
        if done.is_none() {
            self.falls();
        }
        done
    }

    fn falls(&self) {
        self.0.is_silent.set(true);
        self.0.was_silent.set(true);
    }

    /// Takes the server for silent: what it says is no answer.
    pub fn give_up(&self) -> Lost {
        self.falls();
        self.0.is_endless.set(true);
        self.lost()
    }

    /// Keeps in mind how long an attempt to log in took. A server that lets nobody in counts as silent once all attempts
    /// together took as long as one to a silent server.
    pub fn tried(&self, is_in: bool, took: Duration) {
        if is_in {
            self.0.has_let_in.set(true);
        }
        if !self.0.has_let_in.get() && !self.is_silent() {
            self.0.in_vain.set(self.0.in_vain.get() + took);
            if self.0.in_vain.get() >= STALL {
                self.falls();
            }
        }
    }

    /// The error of a connection to a silent server.
    pub fn lost(&self) -> Lost {
        let waited = STALL.as_secs();
        Lost(match (self.0.is_endless.get(), self.0.in_vain.get() >= STALL) {
            (true, _) => "the server says things without end, and does not answer".into(),
            (false, true) => format!("the server let nobody in for {waited} s"),
            (false, false) => format!("the server said nothing for {waited} s"),
        })
    }

    /// How long to wait for an answer that does not come from the server's protocol: not for long once
    /// many have not come.
    pub fn patience(&self) -> Duration {
        const MANY: u32 = 4;
        if self.0.unanswered.get() >= MANY { IMPATIENCE } else { PATIENCE }
    }

    /// Keeps in mind whether a request was answered.
    pub fn answered(&self, is_answered: bool) {
        self.0.unanswered.set(if is_answered { 0 } else { self.0.unanswered.get() + 1 });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{STALL, Silence, address};

    #[test]
    fn a_server_that_lets_nobody_in_is_given_up_like_a_silent_one() {
        let silence = Silence::default();
        silence.tried(false, STALL / 2);
        assert_eq!((silence.is_silent(), silence.stall()), (false, STALL / 2), "the rest");
        silence.tried(false, STALL / 2);
        assert_eq!((silence.is_silent(), silence.stall()), (true, Duration::ZERO));
        assert!(silence.lost().0.contains("let nobody in"));
        // The control: whoever has been let in waits for each answer.
        let silence = Silence::default();
        silence.tried(true, STALL);
        silence.tried(false, STALL);
        assert_eq!((silence.is_silent(), silence.stall()), (false, STALL));
    }

    #[test]
    fn an_address_is_a_host_with_an_optional_port_and_scheme() {
        for (url, expected, is_tls) in [
            ("nats://10.0.0.1:4333", "10.0.0.1:4333", false),
            ("tls://nats.example:4333", "nats.example:4333", true),
            ("nats://nats.example/", "nats.example:4222", false),
            ("localhost", "localhost:4222", false),
            ("localhost:1", "localhost:1", false),
            ("[::1]:4222", "[::1]:4222", false),
        ] {
            assert_eq!(address(url).ok(), Some((expected.to_owned(), is_tls)), "{url}");
        }
    }

    #[test]
    fn other_schemes_credentials_lists_and_wrong_ports_are_refused() {
        for url in [
            "ws://host:4222",
            "nats://user:password@host",
            "host:4222,other:4222",
            "host:port",
            "host:65536",
            "nats://",
            "nats://host/path",
        ] {
            assert!(address(url).is_err(), "{url}");
        }
    }
}
