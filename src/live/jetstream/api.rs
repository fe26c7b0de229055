//! Requests to the JetStream API of one account. They are plain JSON as the server
//! documents it, so that keys that a client library does not know are not lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, Event, RequestErrorKind};
use serde_json::{Value as Json, json};
use tokio::sync::Notify;

use crate::fault;
use crate::keys::Login;

/// Time limit for one answer: a server processes the requests of all tenants in one queue.
const PATIENCE: Duration = Duration::from_secs(20);

/// The failure of a request, or of a tenant as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server rejected the request.
    Refused {
        /// The server's error code; 0 if the error is not the server's.
        code: u64,
        /// The error's description.
        words: String,
    },
    /// The server rejected the provisioner's credentials.
    NotLetIn(String),
    /// The account has as many connections as it may have.
    Crowded,
    /// JetStream is disabled in the account or on the server.
    NoJetStream,
    /// The connection failed, or no answer arrived.
    Lost(String),
    /// The server closed the connection for what was sent on it.
    Cut(String),
    /// The server denied the request by the user's permissions.
    Denied(String),
    /// Another client changed the stream or consumer after the plan was made.
    Changed(String),
    /// The provisioner's secret is not available.
    NoSecret,
}

impl Failure {
    /// Whether a retry may succeed, because the server may be restarting.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::NoJetStream)
    }

    /// The error message.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { code: 0, words } => words.clone(),
            Self::Refused { code, words } => format!("{words} ({code})"),
            Self::NotLetIn(words) => format!("its provisioner is not let in: {words}"),
            Self::Crowded => "its limit of connections is reached, so its provisioner could not connect".to_owned(),
            Self::NoJetStream => "JetStream does not answer in its account".to_owned(),
            Self::Lost(words) => words.clone(),
            Self::Cut(words) => format!("the server closed the connection: {words}"),
            Self::Denied(words) => format!("its provisioner may not: {words}"),
            Self::Changed(what) => format!("{what} was changed by somebody else, again and again"),
            Self::NoSecret => "its provisioner's secret is not known here".to_owned(),
        }
    }

    /// How to fix it; empty if there is no hint.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => hint(*code),
            Self::NotLetIn(_) => {
                "the server does not know this registry's provisioner, so what is to change in its streams is not known: `tenantry up`, or reload what `tenantry render` wrote"
            }
            Self::Denied(_) => {
                "the server runs another configuration, in which this user has another role: `tenantry up` reloads it"
            }
            Self::Crowded => {
                "close some of its clients, or raise `connections` under [tenant.limits] and `tenantry up`"
            }
            Self::NoJetStream => "does the server run this registry? `tenantry up` reloads it",
            Self::Cut(_) => {
                "does the server run this registry? its limits for the tenant are smaller than what is declared"
            }
            Self::Lost(_) => "run it again: what is done is done, and the rest is done then",
            Self::Changed(_) => "find out who else changes it, then run it again",
            Self::NoSecret => {
                "set the variable of its `password_env`; where it has a `public_key`, let tenantry have a provisioner of its own: remove that user"
            }
        }
    }
}

/// Whether the server's words deny something by permissions.
fn denies(words: &str) -> bool {
    words.to_lowercase().contains("permissions violation")
}

/// The hint for an error code of the server; empty if there is none.
fn hint(code: u64) -> &'static str {
    match code {
        10023 => "the server's disk or memory is used up: raise `storage` under [server.jetstream], or free some",
        10047 => {
            "no disk is left to reserve, of the tenant's or of the server's: lower max_bytes, or raise `storage` under [tenant.jetstream] or [server.jetstream] and `tenantry up`"
        }
        10028 => {
            "no memory is left to reserve, of the tenant's or of the server's: lower max_bytes, or raise `memory` under [tenant.jetstream] or [server.jetstream] and `tenantry up`"
        }
        10026 => {
            "more consumers than the stream may have: raise its `max_consumers`, or `consumers` under [tenant.jetstream], and `tenantry up`, which also applies a limit that was raised before"
        }
        10027 => "streams that are not in the registry count too: `tenantry plan` names them; or raise `streams`",
        10002 => "the tenant's own limit is used up: raise it under [tenant.jetstream] and `tenantry up`",
        10065 => {
            "another stream of the account has these subjects, perhaps one that is not in the registry: `tenantry plan` names them"
        }
        10074 => "copies need a cluster: remove `replicas`",
        10076 | 10039 => "does the server run this registry? `tenantry up` reloads it",
        10012 | 10104 => {
            "what the server has of it on disk is broken: end the server and move the consumer's folder away (jetstream/ACCOUNT/streams/STREAM/obs/CONSUMER below its store_dir), then apply"
        }
        10025 => "the server is too old for one of the keys, or reads it more strictly",
        _ => "",
    }
}

/// A connection to one account's JetStream.
pub struct Api {
    client: Client,
    /// The last asynchronous error of the server: a request without permission gets no
    /// answer, only this error.
    complaint: Arc<Mutex<Option<String>>>,
    /// Notified when no answer can come any more: the connection is gone, or the server denied a request.
    hopeless: Arc<Notify>,
}

impl Api {
    /// Connects as a tenant's provisioner.
    pub async fn connect(url: &str, login: &Login, inbox: &str) -> Result<Self, Failure> {
        let complaint = Arc::new(Mutex::new(None));
        let hopeless = Arc::new(Notify::new());
        let (kept, gone) = (Arc::clone(&complaint), Arc::clone(&hopeless));
        let options = crate::live::connect_options(login)
            .name("tenantry")
            .custom_inbox_prefix(inbox)
            .request_timeout(Some(PATIENCE))
            .event_callback(move |event| {
                match event {
                    Event::ServerError(words) => {
                        let words = words.to_string();
                        let is_denial = denies(&words);
                        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
                        if is_denial {
                            gone.notify_waiters();
                        }
                    }
                    Event::Disconnected | Event::Closed => gone.notify_waiters(),
                    _ => {}
                }
                std::future::ready(())
            });
        let client = options.connect(url).await.map_err(|e| match e.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                Failure::NotLetIn("authorization violation".to_owned())
            }
            _ if e.to_string().contains("maximum account active connections") => Failure::Crowded,
            _ => Failure::Lost(format!("cannot connect to {url}: {e}")),
        })?;
        Ok(Self { client, complaint, hopeless })
    }

    /// Sends a request to `$JS.API.<subject>` and returns the answer; `null` sends an empty
    /// body.
    pub async fn request(&self, subject: &str, body: &Json) -> Result<Json, Failure> {
        let payload = if body.is_null() { String::new() } else { body.to_string() };
        let _ = fault::step();
        let request = self.client.request(format!("$JS.API.{subject}"), payload.into());
        let reply = tokio::select! {
            reply = request => reply.map_err(|e| match e.kind() {
                RequestErrorKind::NoResponders => Failure::NoJetStream,
                _ => self.lost(subject, &e.to_string()),
            })?,
            // The library would connect again and wait for an answer that cannot come.
            () = self.hopeless.notified() => return Err(self.lost(subject, "the connection was lost")),
        };
        let answer: Json = serde_json::from_slice(&reply.payload)
            .map_err(|e| Failure::Lost(format!("$JS.API.{subject}: not an answer: {e}")))?;
        match &answer["error"] {
            Json::Null => Ok(answer),
            error => Err(Failure::Refused {
                code: error["err_code"].as_u64().or_else(|| error["code"].as_u64()).unwrap_or_default(),
                words: error["description"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Why a request has no answer: the server's own words, if it said any.
    fn lost(&self, subject: &str, otherwise: &str) -> Failure {
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner).take();
        match complaint {
            Some(words) if words.to_lowercase().contains("payload") => Failure::Cut(words),
            Some(words) if denies(&words) => Failure::Denied(words),
            words => Failure::Lost(format!("$JS.API.{subject}: {}", words.as_deref().unwrap_or(otherwise))),
        }
    }

    /// Requests a paged list and returns the items of all pages under `key`.
    pub async fn list(&self, subject: &str, key: &str) -> Result<Vec<Json>, Failure> {
        let mut all = Vec::new();
        loop {
            let mut page = self.request(subject, &json!({ "offset": all.len() })).await?;
            let Json::Array(some) = page[key].take() else { return Ok(all) };
            let total = page["total"].as_u64().unwrap_or_default();
            let is_last = some.is_empty();
            all.extend(some);
            if is_last || all.len() as u64 >= total {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u64) -> Failure {
        Failure::Refused { code, words: "no space".into() }
    }

    #[test]
    fn a_message_says_what_happened_and_shows_the_servers_code() {
        let cases = [
            (refused(10023), "no space (10023)"),
            (refused(0), "no space"),
            (Failure::NotLetIn("why".into()), "its provisioner is not let in: why"),
            (Failure::NoJetStream, "JetStream does not answer in its account"),
            (Failure::Lost("connection lost".into()), "connection lost"),
            (Failure::Changed("stream `S`".into()), "stream `S` was changed by somebody else, again and again"),
            (Failure::Denied("no".into()), "its provisioner may not: no"),
            (Failure::NoSecret, "its provisioner's secret is not known here"),
        ];
        for (failure, message) in cases {
            assert_eq!(failure.message(), message);
        }
    }

    #[test]
    fn every_failure_has_a_hint_but_codes_with_nothing_to_do() {
        let text = String::new;
        for failure in [
            Failure::NotLetIn(text()),
            Failure::NoJetStream,
            Failure::Lost(text()),
            Failure::Changed(text()),
            Failure::NoSecret,
        ] {
            assert!(!failure.hint().is_empty(), "{failure:?}");
        }
        let known = [10023, 10047, 10028, 10026, 10027, 10002, 10065, 10074, 10076, 10039, 10012, 10104, 10025];
        let hints: Vec<&str> = known.iter().map(|code| refused(*code).hint()).collect();
        assert!(hints.iter().all(|h| !h.is_empty()));
        assert!(refused(10047).hint().contains("`storage`") && refused(10028).hint().contains("`memory`"));
        for unknown in [0, 1, 10024, 10058, 10059] {
            assert_eq!(refused(unknown).hint(), "", "{unknown}");
        }
    }

    #[test]
    fn only_failures_of_a_restarting_server_are_tried_again() {
        for failure in [Failure::Lost(String::new()), Failure::NoJetStream] {
            assert!(failure.may_pass(), "{failure:?}");
        }
        for failure in
            [refused(10023), Failure::NotLetIn(String::new()), Failure::Changed(String::new()), Failure::NoSecret]
        {
            assert!(!failure.may_pass(), "{failure:?}");
        }
    }
}
