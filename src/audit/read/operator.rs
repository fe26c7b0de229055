//! Accounts in JWTs: those of `resolver_preload` and of a resolver's folder, as a server that
//! trusts the operator takes them. Users are not in the file: whoever holds a key of an account
//! makes them, with any permissions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::checks::{import_renames, mapping_renames};
use super::claims::{self, Claims, decode};
use super::options::Options;
use super::start::nodes;
use super::{SystemReader, empty_account, is_public};
use crate::audit::reach::term::{Rename, Unknowns};
use crate::audit::system::{
    Account, AuthMethod, Callout, Export, Import, JetStream, Latency, Limit, Limits, Mapping, Operator, Permissions,
    System, User,
};
use crate::conf::value::{Map, Node, Value};
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;

/// An account's claims, with the place that leads to them.
type Claimed = (Claims<claims::Account>, Span);

/// Where the server looks for accounts.
enum Resolver<'m> {
    /// In `resolver_preload` only.
    Memory,
    /// In a folder of its own.
    Folder(&'m Node),
    /// Somewhere else: where, and the option that says so.
    Elsewhere(&'static str, Option<&'m Node>),
}

impl SystemReader<'_> {
    /// Reads the operator, and the accounts that it has signed if they are here.
    pub(super) fn operator(&mut self, options: &Options<'_>, system: &mut System) {
        let Some(entry) = options.entry("operator").or_else(|| options.entry("trusted")) else { return };
        let operators = self.operators(options);
        let mut trusted: HashSet<String> = self.trusted_keys(options);
        for operator in &operators {
            trusted.extend(operator.nats.signing_keys.iter().cloned());
            trusted.extend((!operator.nats.strict_signing_key_usage).then(|| operator.sub.clone()));
        }
        let beside = !system.accounts.is_empty() && !operators.is_empty();
        let mut accounts: BTreeMap<String, Claimed> = BTreeMap::new();
        let mut elsewhere = None;
        match resolver(options, &operators) {
            Resolver::Memory => {}
            Resolver::Elsewhere(what, node) => {
                elsewhere = Some((what.to_owned(), node.map_or(entry.key_span, |node| node.span)));
            }
            Resolver::Folder(node) => match self.folder(node) {
                Some(found) => {
                    accounts.extend(found);
                    let others = ["cluster", "gateway"].iter().find_map(|block| options.entry(block));
                    elsewhere = others.map(|entry| {
                        ("accounts come from the other servers of this one's cluster, too".to_owned(), entry.key_span)
                    });
                }
                None => elsewhere = Some(("accounts are in this folder, which is not here".to_owned(), node.span)),
            },
        }
        for (key, claimed) in self.preloaded(options) {
            // The server keeps the newer one.
            if accounts.get(&key).is_none_or(|known| known.0.iat <= claimed.0.iat) {
                accounts.insert(key, claimed);
            }
        }
        let (mut accounts, strangers): (Vec<_>, Vec<_>) =
            accounts.into_iter().partition(|(key, (claims, _))| trusted.contains(&claims.iss) && *key == claims.sub);
        accounts.retain(|(_, (claims, span))| match rejected(claims) {
            None => true,
            Some(why) => {
                let message = format!("the server rejects the account `{}`: {why}", claims.name);
                let finding = Diagnostic::warning("fails-at-start", *span, message);
                self.collector.findings.push(finding.hint("nobody can log in to it, and what it exports is not there"));
                false
            }
        });
        let stranger = strangers.first().map(|(_, (claims, span))| {
            (format!("no operator of this file has signed the account `{}`, which cannot be used", claims.name), *span)
        });
        let none =
            || accounts.is_empty().then(|| ("accounts are in JWTs, and none is here".to_owned(), entry.key_span));
        let elsewhere = elsewhere.or(stranger).or_else(none);
        system.operator = Some(Operator { span: entry.key_span, elsewhere, beside });
        if beside {
            return;
        }
        let names = names(&accounts);
        let default = operators.first().map(|o| o.nats.system_account.clone()).filter(|key| !key.is_empty());
        if let (Some((key, span)), Some(default)) = (&system.system_account, &default)
            && key != default
        {
            let message = "the operator names another system account";
            self.collector.refuse(*span, message, "remove it here, or make both the same");
        }
        self.sentinel(options, system, &accounts, &names);
        let own = system.system_account.take().or_else(|| Some((default?, entry.key_span)));
        system.system_account = own.map(|(key, span)| (names.get(&key).cloned().unwrap_or(key), span));
        for remote in system.server.listeners.iter_mut().flat_map(|listener| &mut listener.remotes) {
            if let Some(name) = names.get(&remote.account) {
                remote.account.clone_from(name);
            }
        }
        let claimed: HashMap<&str, &Claims<claims::Account>> =
            accounts.iter().map(|(key, (claims, _))| (key.as_str(), claims)).collect();
        for (key, (claims, span)) in &accounts {
            if claims.nats.authorization.auth_users.as_ref().is_some_and(|users| !users.is_empty()) {
                let encrypted = !claims.nats.authorization.xkey.is_empty();
                system.callout = Some(Callout { account: names[key].clone(), encrypted, span: *span });
            }
            system.accounts.push(account(claims, &names, &claimed, self.is_clustered, *span));
        }
    }

    /// Reads the user as whom clients without credentials log in.
    fn sentinel(
        &mut self,
        options: &Options<'_>,
        system: &mut System,
        accounts: &[(String, Claimed)],
        names: &HashMap<String, String>,
    ) {
        let Some(node) = options.get("default_sentinel") else { return };
        let Some(user) = self.collector.text(Some(node)).and_then(|text| decode::<claims::User>(text.trim())) else {
            return self.collector.refuse(node.span, "this is no user's JWT", "a bearer token, signed by an account");
        };
        let (nats, is_open) = (&user.nats, user.nats.r#pub.is_empty() && user.nats.sub.is_empty());
        if !nats.bearer_token && (nats.issuer_account.is_empty() || !is_open) {
            return self.collector.refuse(node.span, "a sentinel is a bearer token", "`nsc edit user --bearer`");
        }
        let key = if nats.issuer_account.is_empty() { &user.iss } else { &nats.issuer_account };
        let Some((_, (claims, _))) = accounts.iter().find(|(account, _)| account == key) else { return };
        let closed = |side: &claims::Side| side.deny.iter().any(|subject| subject == ">");
        let asks = claims.nats.authorization.auth_users.as_ref().is_some_and(|users| !users.is_empty());
        let is_closed = closed(&nats.r#pub) && closed(&nats.sub);
        if !(asks || is_closed) {
            system.sentinel = Some((names[key].clone(), node.span));
        }
    }

    fn operators(&mut self, options: &Options<'_>) -> Vec<Claims<claims::Operator>> {
        let mut found = Vec::new();
        for node in options.get("operator").map(nodes).unwrap_or_default() {
            let Some(text) = self.collector.text(Some(node)).map(str::to_owned) else { continue };
            let content = match std::fs::read_to_string(&text) {
                Ok(content) => content,
                Err(_) if text.starts_with("ey") => text,
                Err(_) => {
                    let message = format!("there is no file `{text}`");
                    self.collector.refuse(node.span, message, "paths start where nats-server does");
                    continue;
                }
            };
            match decode(claims::undecorated(&content)) {
                Some(operator) => found.push(operator),
                None => {
                    self.collector.refuse(node.span, "this is no operator's JWT", "`nsc describe operator` shows it");
                }
            }
        }
        found
    }

    fn trusted_keys(&mut self, options: &Options<'_>) -> HashSet<String> {
        let keys = options.get("trusted").map(nodes).unwrap_or_default();
        let mut trusted = HashSet::new();
        for node in keys {
            let Some(text) = self.collector.text(Some(node)) else { continue };
            if !is_public(text, 'O') {
                self.collector.refuse(node.span, "this is no operator's public key", "it begins with O");
            }
            trusted.insert(text.to_owned());
        }
        trusted
    }

    /// The accounts of `resolver_preload`.
    fn preloaded(&mut self, options: &Options<'_>) -> Vec<(String, Claimed)> {
        let mut found = Vec::new();
        let Some(map) = options.get("resolver_preload").and_then(|node| self.collector.map(node)) else { return found };
        for entry in &map.entries {
            let Some(text) = self.collector.text(Some(&entry.node)) else { continue };
            match decode(text) {
                Some(claims) => found.push((entry.key.clone(), (claims, entry.key_span))),
                None => {
                    let message = format!("the JWT of `{}` is not a valid account JWT", entry.key);
                    self.collector.refuse(entry.key_span, message, "`nsc generate config --mem-resolver` writes it");
                }
            }
        }
        found
    }

    /// The accounts in a resolver's folder. `None`: there is no such folder.
    fn folder(&mut self, node: &Node) -> Option<Vec<(String, Claimed)>> {
        let folder = std::fs::read_dir(Path::new(self.collector.text(Some(node))?)).ok()?;
        let mut found = Vec::new();
        for file in folder.flatten().map(|file| file.path()) {
            let key = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let is_jwt = file.extension().is_some_and(|extension| extension == "jwt");
            let text = std::fs::read_to_string(&file).ok().filter(|_| is_jwt);
            // The server passes over what is no account.
            if let (Some(key), Some(claims)) = (key, text.and_then(|text| decode(text.trim()))) {
                found.push((key, (claims, node.span)));
            }
        }
        Some(found)
    }
}

fn resolver<'m>(options: &Options<'m>, operators: &[Claims<claims::Operator>]) -> Resolver<'m> {
    let of_folder = |map: &'m Map| {
        let text = |key: &str| {
            let node = super::server::last(map, &[key])?;
            Some((node, super::server::text(node)?))
        };
        match (text("type").map(|(_, kind)| kind.to_uppercase()).as_deref(), text("dir")) {
            (Some("FULL"), Some((dir, _))) => Resolver::Folder(dir),
            (Some("MEM" | "MEMORY"), _) => Resolver::Memory,
            _ => Resolver::Elsewhere("accounts are fetched from other servers", options.get("resolver")),
        }
    };
    let fetched = |node| Resolver::Elsewhere("accounts are fetched from a URL", node);
    match options.get("resolver").map(|node| &node.value) {
        Some(Value::Text(text)) if text.to_uppercase().contains("MEM") => Resolver::Memory,
        Some(Value::Text(_)) => fetched(options.get("resolver")),
        Some(Value::Map(map)) => of_folder(map),
        _ if operators.iter().any(|operator| !operator.nats.account_server_url.is_empty()) => fetched(None),
        _ => Resolver::Memory,
    }
}

/// The name of each account by its key; the key itself where several have one name.
fn names(accounts: &[(String, Claimed)]) -> HashMap<String, String> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    accounts.iter().for_each(|(_, (claims, _))| *times.entry(&claims.name).or_default() += 1);
    let name = |key: &String, name: &str| match times[name] {
        1 if !name.is_empty() => name.to_owned(),
        _ => key.clone(),
    };
    accounts.iter().map(|(key, (claims, _))| (key.clone(), name(key, &claims.name))).collect()
}

/// An account as the server makes it of its claims. What does not fit is left out, as the server does.
fn account(
    claims: &Claims<claims::Account>,
    names: &HashMap<String, String>,
    claimed: &HashMap<&str, &Claims<claims::Account>>,
    is_clustered: bool,
    span: Span,
) -> Account {
    let limit = |number: i64| -> Limit { Some((number, span)) };
    let Claims { sub: key, nats, .. } = claims;
    let anybody = User {
        name: format!("whoever {} signs", names[key]),
        label: None,
        span,
        auth: AuthMethod::Nkey,
        permissions: Permissions::default(),
        connection_types: None,
    };
    let export = |export: &claims::Export| {
        let (kind, subject) = (share_kind(export.r#type?), Subject::as_the_server_reads(&export.subject)?);
        let importers =
            claimed.iter().filter(|(_, importer)| imports(importer).any(|i| activated(i, importer, claims, export)));
        let to: Vec<(String, Span)> = importers.map(|(key, _)| (names[*key].clone(), span)).collect();
        // Nobody may import it, and an empty list would mean that everybody may.
        if export.token_req && export.account_token_position == 0 && to.is_empty() {
            return None;
        }
        Some(Export {
            kind,
            subject,
            span,
            to: (export.token_req && export.account_token_position == 0).then_some(to),
            token_position: export.account_token_position,
            allow_trace: export.allow_trace.then_some(span),
            latency: export
                .service_latency
                .as_ref()
                .map(|latency| Latency { span, subject: Subject::as_the_server_reads(&latency.results) }),
        })
    };
    let import = |import: &claims::Import| {
        let (kind, exporter) = (share_kind(import.r#type?), claimed.get(import.account.as_str())?);
        let (subject, to) = subjects(import, kind);
        let from = Subject::as_the_server_reads(&subject)?;
        if !is_authorized(exporter, claims, import, &from) {
            return None;
        }
        let local = Rename::new(&from, &to, &mut Unknowns::default()).map(|rename| rename.to.pattern());
        Some(Import {
            kind,
            from: (names[&exporter.sub].clone(), span),
            local: local.or_else(|| Subject::as_the_server_reads(&to))?,
            subject: from,
            span,
            to,
            share: import.share.then_some(span),
            allow_trace: import.allow_trace.then_some(span),
        })
    };
    let mapping = |(from, destinations): (&String, &Vec<claims::Destination>)| {
        let from = Subject::as_the_server_reads(from)?;
        let counts = |d: &&claims::Destination| d.cluster.is_empty() || is_clustered;
        let to: Vec<String> = destinations.iter().filter(counts).map(|d| d.subject.clone()).collect();
        let fits = to.iter().all(|to| mapping_renames(&from, to).is_ok());
        let weight = |d: &claims::Destination| if d.weight == 0 { 100 } else { u32::from(d.weight) };
        let total: u32 = destinations.iter().filter(|d| d.cluster.is_empty()).map(weight).sum();
        let keeps = total < 100 || destinations.iter().any(|d| !d.cluster.is_empty());
        fits.then_some(Mapping { from, to, keeps, span })
    };
    Account {
        users: vec![anybody],
        exports: nats.exports.iter().flatten().filter_map(export).collect(),
        imports: imports(claims).filter_map(import).collect(),
        jetstream: jetstream(&nats.limits, span),
        limits: Limits {
            connections: limit(nats.limits.conn),
            subscriptions: limit(nats.limits.subs),
            payload: limit(nats.limits.payload),
            leafnodes: limit(nats.limits.leaf),
        },
        mappings: nats.mappings.iter().filter_map(mapping).collect(),
        ..empty_account(&names[key], span)
    }
}

fn share_kind(kind: claims::Kind) -> ShareKind {
    match kind {
        claims::Kind::Stream => ShareKind::Stream,
        claims::Kind::Service => ShareKind::Service,
    }
}

/// Why the server rejects an account, so that nobody can use it. `None`: it does not.
fn rejected(claims: &Claims<claims::Account>) -> Option<String> {
    let Claims { nats, .. } = claims;
    let exports = || nats.exports.iter().flatten();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let beyond = |limit: i64, number: usize| limit >= 0 && count(number) > limit;
    if !claims.is_current() {
        return Some("it is not valid at this time".to_owned());
    }
    if beyond(nats.limits.imports, imports(claims).count()) || beyond(nats.limits.exports, exports().count()) {
        return Some("it has more imports or exports than its limits allow".to_owned());
    }
    if let Some(export) = exports().find(|export| export.subject.contains('*') || export.subject.contains('>'))
        && !nats.limits.wildcards
    {
        return Some(format!("its limits allow no wildcard in the export `{}`", export.subject));
    }
    if let Some(export) = exports().find(|e| e.allow_trace && e.r#type == Some(claims::Kind::Stream)) {
        return Some(format!("the stream `{}` cannot be traced", export.subject));
    }
    let import = imports(claims).find(|import| {
        let is_service = import.r#type == Some(claims::Kind::Service);
        let both = !import.to.is_empty() && !import.local_subject.is_empty();
        both || is_service && import.allow_trace
            || !is_service && import.share
            || !local_fits(import)
            || !token_fits(import, &claims.sub)
    })?;
    Some(format!("its import of `{}` does not fit", import.subject))
}

/// Whether the local subject of an import uses each wildcard of the subject.
fn local_fits(import: &claims::Import) -> bool {
    let (Some(from), local) = (Subject::as_the_server_reads(&import.subject), import.local_subject.as_str()) else {
        return false;
    };
    local.is_empty()
        || Subject::as_the_server_reads(local).is_some_and(|to| from.has_wildcard() || !to.has_wildcard())
            && import_renames(&from, local).is_ok()
}

/// Whether the activation of an import, if it has one, is about this import.
fn token_fits(import: &claims::Import, importer: &str) -> bool {
    if import.token.is_empty() || import.token.starts_with("http") {
        return true;
    }
    let Some(activation) = decode::<claims::Activation>(&import.token) else { return false };
    let is_of_exporter = activation.iss == import.account || activation.exporter() == import.account;
    is_of_exporter && activation.sub == importer && activation.activated() == import.r#type
}

fn imports(claims: &Claims<claims::Account>) -> impl Iterator<Item = &claims::Import> {
    claims.nats.imports.iter().flatten()
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
    let exports = || exporter.nats.exports.iter().flatten().filter(|export| export.r#type == import.r#type);
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
        Subject::as_the_server_reads(&export.subject).is_some_and(|offered| offered.contains(subject))
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
    // The server fetches it, so that it may be anything.
    if import.token.starts_with("http") {
        return true;
    }
    let Some(activation) = decode::<claims::Activation>(&import.token) else { return false };
    let by_key = exporter.nats.signing_keys.iter().any(|key| key.key() == activation.iss);
    let is_trusted = match activation.exporter() {
        "" => activation.iss == exporter.sub,
        account => account == exporter.sub && (by_key || activation.iss == exporter.sub),
    };
    let revoked = |who: &str| export.revocations.get(who).is_some_and(|until| activation.iat <= *until);
    let Some(kind) = import.r#type else { return false };
    let (subject, _) = subjects(import, share_kind(kind));
    let contains = |pattern: &str, subject: &str| {
        let (pattern, subject) = (Subject::as_the_server_reads(pattern), Subject::as_the_server_reads(subject));
        pattern.zip(subject).is_some_and(|(pattern, subject)| pattern.contains(&subject))
    };
    is_trusted
        && activation.sub == importer.sub
        && activation.activated() == Some(kind)
        && activation.is_current()
        && contains(&activation.nats.subject, &subject)
        && contains(&export.subject, &subject)
        && !revoked("*")
        && !revoked(&importer.sub)
}
