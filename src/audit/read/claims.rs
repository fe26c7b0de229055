//! JWTs as nats-server reads them: their signature, and what the claims of operators, accounts
//! and activations say. The claims are those of nats-io/jwt, versions 1 and 2.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde::Deserialize;

/// A decoded JWT. `iss` has signed it; `sub` is whom it is about.
#[derive(Debug, Deserialize)]
pub struct Claims<T> {
    /// Public key of the issuer.
    pub iss: String,
    /// Public key of the subject.
    pub sub: String,
    /// Seconds since 1970 at which it was issued.
    #[serde(default)]
    pub iat: i64,
    /// Name, for people.
    #[serde(default)]
    pub name: String,
    /// What is said about the subject.
    pub nats: T,
}

/// What an operator's JWT says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Operator {
    /// Further keys that sign its accounts.
    pub signing_keys: Vec<String>,
    /// Whether only those keys may sign accounts.
    pub strict_signing_key_usage: bool,
    /// Public key of the system account.
    pub system_account: String,
    /// Where accounts are fetched from, unless the configuration has a resolver.
    pub account_server_url: String,
}

/// What an account's JWT says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Its exports.
    pub exports: Option<Vec<Export>>,
    /// Its imports.
    pub imports: Option<Vec<Import>>,
    /// Its limits.
    pub limits: Limits,
    /// Further keys that sign its users and activations.
    pub signing_keys: Vec<SigningKey>,
    /// Its mappings.
    pub mappings: HashMap<String, Vec<Destination>>,
    /// Who decides about its users instead of the server.
    pub authorization: Authorization,
}

/// An export.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Export {
    /// The exported subjects.
    pub subject: String,
    /// `stream` or `service`.
    pub r#type: String,
    /// Whether an import needs an activation.
    pub token_req: bool,
    /// Activations that no longer count: the importer's key or `*`, with the last second.
    pub revocations: HashMap<String, i64>,
    /// 1-based position of the token that must be the importer's key. 0: no such token.
    pub account_token_position: i64,
    /// The measuring of latency.
    pub service_latency: Option<Latency>,
    /// Whether traces pass.
    pub allow_trace: bool,
}

/// The measuring of a service's latency.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// The subject of the reports.
    pub results: String,
}

/// An import.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Import {
    /// The subject in the exporter's account; of a service without `local_subject` the local one.
    pub subject: String,
    /// Public key of the exporter.
    pub account: String,
    /// The activation.
    pub token: String,
    /// The old form of `local_subject`: prefix of a stream, the exporter's subject of a service.
    pub to: String,
    /// The subject in the importer's account.
    pub local_subject: String,
    /// `stream` or `service`.
    pub r#type: String,
    /// Whether the exporter learns who asks.
    pub share: bool,
    /// Whether traces pass.
    pub allow_trace: bool,
}

/// Limits of an account. -1: none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections.
    pub conn: i64,
    /// Subscriptions of a connection.
    pub subs: i64,
    /// Bytes of a message.
    pub payload: i64,
    /// Leaf nodes.
    pub leaf: i64,
    /// JetStream, of an account without tiers.
    #[serde(flatten)]
    pub jetstream: JetStream,
    /// JetStream by number of replicas.
    pub tiered_limits: HashMap<String, JetStream>,
}

/// Limits of JetStream. -1: none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JetStream {
    /// Bytes of memory.
    pub mem_storage: i64,
    /// Bytes on disk.
    pub disk_storage: i64,
    /// Number of streams.
    pub streams: i64,
    /// Number of consumers.
    pub consumer: i64,
}

/// A signing key, alone or with what its users may do.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum SigningKey {
    /// The key.
    Plain(String),
    /// The key of a scope.
    Scoped {
        /// The key.
        key: String,
    },
}

/// A destination of a mapping.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The subject.
    pub subject: String,
    /// Percent of the messages. 0: 100.
    pub weight: u8,
    /// The cluster in which it counts. Empty: everywhere.
    pub cluster: String,
}

/// An auth callout of an account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Authorization {
    /// The users that log in without it.
    pub auth_users: Option<Vec<String>>,
    /// The key that encrypts its requests.
    pub xkey: String,
}

/// What an activation says: that an account may import.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activation {
    /// The subjects that may be imported.
    pub subject: String,
    /// `stream` or `service`.
    pub kind: String,
    /// The exporter, where a signing key of it has signed.
    pub issuer_account: String,
}

impl SigningKey {
    /// The public key.
    pub fn key(&self) -> &str {
        match self {
            Self::Plain(key) | Self::Scoped { key } => key,
        }
    }
}

/// Decodes a JWT and checks its signature, not whether its issuer is trusted. `None`: the server
/// rejects it too.
pub fn decode<T: for<'d> Deserialize<'d>>(jwt: &str) -> Option<Claims<T>> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let mut parts = jwt.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let Header { alg } = serde_json::from_slice(&bytes(header)?).ok()?;
    let signed = match alg.as_str() {
        "ed25519-nkey" => &jwt[..header.len() + 1 + payload.len()],
        "ed25519" => payload,
        _ => return None,
    };
    let claims: Claims<T> = serde_json::from_slice(&bytes(payload)?).ok()?;
    let issuer = KeyPair::from_public_key(&claims.iss).ok()?;
    issuer.verify(signed.as_bytes(), &bytes(signature)?).ok()?;
    Some(claims)
}

/// The JWT in a file that may be decorated with lines of dashes.
pub fn undecorated(text: &str) -> &str {
    let is_jwt = |line: &&str| line.starts_with("ey") && line.contains('.');
    text.lines().map(str::trim).find(is_jwt).unwrap_or_else(|| text.trim())
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A JWT with these claims, signed by `issuer`.
    pub(crate) fn signed(issuer: &KeyPair, subject: &str, name: &str, nats: &serde_json::Value) -> String {
        let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let claims = serde_json::json!({
            "iss": issuer.public_key(), "sub": subject, "name": name, "iat": 1_700_000_000, "nats": nats,
        });
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()));
        let signature = issuer.sign(signed.as_bytes()).expect("a pair of keys signs");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_jwt_is_decoded_if_its_issuer_has_signed_it() {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let jwt = testing::signed(&operator, &account.public_key(), "A", &json!({ "limits": { "conn": 7 } }));
        let claims: Claims<Account> = decode(&jwt).expect("it is signed");
        assert_eq!((claims.name.as_str(), claims.nats.limits.conn), ("A", 7));
        assert_eq!((claims.iss, claims.sub), (operator.public_key(), account.public_key()));
        let other = testing::signed(&operator, &account.public_key(), "B", &json!({}));
        let (claims, signature) = (other.rsplit_once('.').expect("dots").0, jwt.rsplit_once('.').expect("dots").1);
        assert!(decode::<Account>(&format!("{claims}.{signature}")).is_none(), "another's signature");
        for broken in ["", "ey", "ey.ey.ey", &jwt[..jwt.len() - 4], &format!("{jwt}.x")] {
            assert!(decode::<Account>(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn a_decorated_file_holds_a_jwt() {
        let text = "-----BEGIN NATS OPERATOR JWT-----\neyJ0.eyJ1.x\n------END NATS OPERATOR JWT------\n";
        assert_eq!(undecorated(text), "eyJ0.eyJ1.x");
        assert_eq!(undecorated(" eyJ0.eyJ1.x\n"), "eyJ0.eyJ1.x");
    }

    #[test]
    fn signing_keys_stand_alone_or_in_a_scope() {
        let account: Account = serde_json::from_value(
            json!({ "signing_keys": ["AA", { "kind": "user_scope", "key": "AB", "template": {} }] }),
        )
        .expect("both forms");
        let keys: Vec<&str> = account.signing_keys.iter().map(SigningKey::key).collect();
        assert_eq!(keys, ["AA", "AB"]);
    }
}
