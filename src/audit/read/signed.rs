//! Accounts made of the claims of their JWTs, as the server makes them: what does not fit is left out,
//! and what is not valid is rejected.

use std::collections::{HashMap, HashSet};

use super::checks::{import_renames, mapping_renames};
use super::claims::{self, Claims, SigningKey, decode};
use crate::audit::reach::term::{Rename, Unknowns};
use crate::audit::system::{Account, Export, Import, JetStream, Latency, Limit, Limits, Mapping, User};
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

/// An account's claims, with the place that leads to them.
pub type Claimed = (Claims<claims::Account>, Span);

/// All accounts of an operator.
pub struct Signed<'c> {
    claimed: HashMap<&'c str, &'c Claims<claims::Account>>,
    names: HashMap<&'c str, String>,
    /// Whether the server is part of a cluster.
    is_clustered: bool,
}

impl<'c> Signed<'c> {
    /// The accounts of these claims.
    pub fn new(accounts: &'c [Claimed], is_clustered: bool) -> Self {
        let mut times: HashMap<&str, usize> = HashMap::new();
        accounts.iter().for_each(|(claims, _)| *times.entry(&claims.name).or_default() += 1);
        let name = |claims: &Claims<claims::Account>| match times[claims.name.as_str()] {
            1 if !claims.name.is_empty() => claims.name.clone(),
            _ => claims.sub.clone(),
        };
        Self {
            claimed: accounts.iter().map(|(claims, _)| (claims.sub.as_str(), claims)).collect(),
            names: accounts.iter().map(|(claims, _)| (claims.sub.as_str(), name(claims))).collect(),
            is_clustered,
        }
    }

    /// The name of an account by its key; the key itself where several have one name.
    pub fn name(&self, key: &str) -> String {
        self.names.get(key).cloned().unwrap_or_else(|| key.to_owned())
    }

    /// An account of these, for whatever users its keys sign.
    pub fn account(&self, (claims, span): &Claimed) -> Account {
        let (nats, span, name) = (&claims.nats, *span, self.name(&claims.sub));
        let limit = |number: i64| -> Limit { Some((number, span)) };
        Account {
            users: vec![User::anybody(format!("whoever {name} signs"), span)],
            exports: nats.exports.iter().filter_map(|export| self.export(claims, export, span)).collect(),
            imports: nats.imports.iter().filter_map(|import| self.import(claims, import, span)).collect(),
            jetstream: jetstream(&nats.limits, span),
            limits: Limits {
                connections: limit(nats.limits.conn),
                subscriptions: limit(nats.limits.subs),
                payload: limit(nats.limits.payload),
                leafnodes: limit(nats.limits.leaf),
            },
            mappings: nats.mappings.iter().filter_map(|mapping| self.mapping(mapping, span)).collect(),
            signers: std::iter::once(&claims.sub)
                .chain(nats.signing_keys.iter().map(|key| &key.key))
                .cloned()
                .collect(),
            scopes: scopes(&nats.signing_keys),
            trace: nats.trace.as_ref().and_then(|t| Some((Subject::as_the_server_reads(&t.dest)?, span))),
            ..Account::empty(&name, span)
        }
    }

    fn export(&self, exporter: &Claims<claims::Account>, export: &claims::Export, span: Span) -> Option<Export> {
        let (kind, subject) = (export.r#type?, Subject::as_exported(&export.subject)?);
        let activates = |importer: &&&Claims<claims::Account>| {
            importer.nats.imports.iter().any(|import| activated(import, importer, exporter, export))
        };
        let needs_activation = export.token_req && export.account_token_position == 0;
        let to: Option<Vec<(String, Span)>> = needs_activation.then(|| {
            let importers = self.claimed.values().filter(activates);
            importers.map(|importer| (self.name(&importer.sub), span)).collect()
        });
        // Nobody may import it, and an empty list would mean that everybody may.
        if to.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let latency = export.service_latency.as_ref();
        Some(Export {
            kind,
            subject,
            span,
            to,
            token_position: i64::try_from(export.account_token_position).unwrap_or(i64::MAX),
            allow_trace: export.allow_trace.then_some(span),
            latency: latency.map(|l| Latency {
                span,
                subject: Subject::as_the_server_reads(&l.results),
                of_every_request: l.sampling.0 == 100,
            }),
        })
    }

    fn import(&self, importer: &Claims<claims::Account>, import: &claims::Import, span: Span) -> Option<Import> {
        let (kind, exporter) = (import.r#type?, self.claimed.get(import.account.as_str())?);
        let (subject, to) = subjects(import, kind);
        let from = Subject::as_the_server_reads(&subject)?;
        let renames = |from: &Subject| from.as_str() == to || import_renames(from, &to).is_ok();
        if !is_authorized(exporter, importer, import, &from) || from.has_wildcard() && !renames(&from) {
            return None;
        }
        let local = Rename::new(&from, &to, &mut Unknowns::default()).map(|rename| rename.to.pattern());
        Some(Import {
            kind,
            from: (self.name(&exporter.sub), span),
            local: local.or_else(|| Subject::as_the_server_reads(&to))?,
            subject: from,
            span,
            to,
            share: import.share.then_some(span),
            allow_trace: import.allow_trace.then_some(span),
        })
    }

    fn mapping(&self, (from, destinations): (&String, &Vec<claims::Destination>), span: Span) -> Option<Mapping> {
        let from = Subject::as_the_server_reads(from)?;
        let counts = |d: &&claims::Destination| d.cluster.is_empty() || self.is_clustered;
        let to: Vec<String> = destinations.iter().filter(counts).map(|d| d.subject.clone()).collect();
        let fits = to.iter().all(|to| mapping_renames(&from, to).is_ok());
        let total: u32 = destinations.iter().filter(|d| d.cluster.is_empty()).map(claims::Destination::percent).sum();
        let keeps = total < 100 || destinations.iter().any(|d| !d.cluster.is_empty());
        fits.then_some(Mapping { from, to, keeps, of_domain: false, span })
    }
}

/// Why the users that an account's scoped signing keys sign look like several tenants'. `None`: they do not.
fn scopes(keys: &[SigningKey]) -> Option<String> {
    let templates: HashSet<&String> = keys.iter().filter_map(|key| key.template.as_ref()).collect();
    match templates.len() {
        0 => None,
        1 if !templates.iter().any(|template| names_users(template)) => None,
        1 => Some("the template of its scoped signing key gives each user subjects of its own".to_owned()),
        n => Some(format!("its {n} scoped signing keys give users different permissions")),
    }
}

/// Whether what a template allows differs from user to user, beside their inboxes: by `{{name()}}`, `{{subject()}}` or a tag.
fn names_users(template: &str) -> bool {
    let text: String = template.chars().filter(|c| !c.is_whitespace()).collect();
    let mut subjects = text.split(['"', ',', '[', ']']).filter(|part| !part.starts_with("_INBOX"));
    subjects.any(|subject| ["{{name(", "{{subject(", "{{tag("].iter().any(|function| subject.contains(function)))
}

/// The subject of an import in the exporter's account, and the local one.
fn subjects(import: &claims::Import, kind: ShareKind) -> (String, String) {
    let claims::Import { subject, to, local_subject, .. } = import;
    match (kind, local_subject.as_str(), to.as_str()) {
        (_, "", "") => (subject.clone(), subject.clone()),
        (ShareKind::Stream, "", prefix) => (subject.clone(), format!("{}.{subject}", prefix.trim_end_matches('.'))),
        (ShareKind::Service, "", to) => (to.to_owned(), subject.clone()),
        (_, local, _) => (subject.clone(), local.to_owned()),
    }
}

/// JetStream's limits, those of all tiers together. `None`: it is disabled.
fn jetstream(limits: &claims::Limits, span: Span) -> Option<JetStream> {
    let all: Vec<&claims::JetStream> = match limits.tiered_limits.is_empty() {
        true => vec![&limits.jetstream],
        false => limits.tiered_limits.values().collect(),
    };
    let sum = |of: fn(&claims::JetStream) -> i64| {
        let each = || all.iter().map(|tier| of(tier));
        let sum = each().fold(0, i64::saturating_add);
        Some((if each().any(|number| number < 0) { -1 } else { sum }, span))
    };
    let is_on = all.iter().any(|tier| tier.mem_storage != 0 || tier.disk_storage != 0);
    is_on.then(|| JetStream {
        span,
        memory: sum(|tier| tier.mem_storage),
        storage: sum(|tier| tier.disk_storage),
        streams: sum(|tier| tier.streams),
        consumers: sum(|tier| tier.consumer),
    })
}

/// Whether an account may import `subject` of another: by the export of that very subject, or
/// else by one that contains it.
fn is_authorized(
    exporter: &Claims<claims::Account>,
    importer: &Claims<claims::Account>,
    import: &claims::Import,
    subject: &Subject,
) -> bool {
    let exports = || exporter.nats.exports.iter().filter(|export| export.r#type == import.r#type);
    let by = |export: &claims::Export, is_exact: bool| {
        if export.account_token_position > 0 {
            let position = usize::try_from(export.account_token_position).unwrap_or_default();
            return !is_exact && subject.tokens().nth(position - 1) == Some(importer.sub.as_str());
        }
        !export.token_req || activated(import, importer, exporter, export)
    };
    if let Some(export) = exports().find(|export| export.subject == subject.as_str()) {
        return by(export, true);
    }
    let contains = |export: &&claims::Export| {
        Subject::as_exported(&export.subject).is_some_and(|offered| offered.contains(subject))
    };
    exports().filter(contains).any(|export| by(export, false))
}

/// Whether an import holds an activation of an export.
fn activated(
    import: &claims::Import,
    importer: &Claims<claims::Account>,
    exporter: &Claims<claims::Account>,
    export: &claims::Export,
) -> bool {
    if import.account != exporter.sub || import.r#type != export.r#type {
        return false;
    }
    let Some(activation) = decode::<claims::Activation>(&import.token) else { return false };
    let by_key = exporter.nats.signing_keys.iter().any(|key| key.key == activation.iss);
    let is_trusted = match activation.exporter() {
        "" => activation.iss == exporter.sub,
        account => account == exporter.sub && (by_key || activation.iss == exporter.sub),
    };
    let revoked = |who: &str| export.revocations.get(who).is_some_and(|until| activation.iat <= *until);
    is_trusted && activation.sub == importer.sub && activation.is_current() && !revoked("*") && !revoked(&importer.sub)
}
