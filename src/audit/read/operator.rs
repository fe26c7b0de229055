//! Accounts in JWTs: those of `resolver_preload` and of a resolver's folder, as a server that
//! trusts the operator takes them. Users are not in the file: whoever holds a key of an account
//! makes them, with any permissions.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::claims::{self, Claims, decode};
use super::options::Options;
use super::rejected::rejected;
use super::signed::{Claimed, Signed};
use super::start::nodes;
use super::{SystemReader, is_public};
use crate::audit::system::{Callout, Operator, System};
use crate::conf::value::{Map, Node, Value};
use crate::diag::{Diagnostic, Span};

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
        let (found, elsewhere) = self.found(options, &operators, entry.key_span);
        let known: HashSet<String> = found.keys().cloned().collect();
        let (accounts, strangers): (Vec<Claimed>, Vec<Claimed>) =
            found.into_values().partition(|(claims, _)| trusted.contains(&claims.iss));
        let signed_here: HashSet<String> = accounts.iter().map(|(claims, _)| claims.sub.clone()).collect();
        let accounts = self.usable(accounts);
        let stranger = strangers.first().map(|(claims, span)| {
            (format!("no operator of this file has signed the account `{}`, which cannot be used", claims.name), *span)
        });
        let none =
            || accounts.is_empty().then(|| ("accounts are in JWTs, and none is here".to_owned(), entry.key_span));
        let elsewhere = elsewhere.or(stranger).or_else(none);
        system.operator = Some(Operator { span: entry.key_span, elsewhere, beside });
        if beside {
            return;
        }
        let signed = Signed::new(&accounts, self.is_clustered);
        self.sentinel(options, system, &accounts, &signed);
        self.system_account(&operators, entry.key_span, system);
        let system_account_key = system.system_account.as_ref().map(|(key, _)| key.clone());
        if let (Resolver::Folder(node), Some(operator)) = (resolver(options, &operators), &mut system.operator)
            && accounts.iter().all(|(claims, _)| system_account_key.as_ref() == Some(&claims.sub))
        {
            let why = "accounts are pushed into this folder, and no tenant's is in it";
            operator.elsewhere.get_or_insert((why.to_owned(), node.span));
        }
        if let (Some((key, span)), Resolver::Memory) = (&system.system_account, resolver(options, &operators))
            && !signed_here.contains(key)
        {
            let (why, hint) = match known.contains(key) {
                true => (
                    "is not signed with a key that the operator takes",
                    "sign it again with a signing key of the operator",
                ),
                false => ("is not here", "add its JWT to `resolver_preload`"),
            };
            let message = format!("the system account {key} {why}, and the server does not start without it");
            self.collector.refuse(*span, message, hint);
        }
        if let Some((name, _)) = &mut system.system_account {
            *name = signed.name(name);
        }
        for remote in system.server.listeners.iter_mut().flat_map(|listener| &mut listener.remotes) {
            remote.account = signed.name(&remote.account);
        }
        let pinned = options.get("resolver_pinned_accounts").map(nodes).map(|keys| {
            let keys = keys.iter().filter_map(|node| self.collector.text(Some(node)).map(str::to_owned));
            keys.chain(system_account_key.clone()).collect::<HashSet<_>>()
        });
        let strict = operators.iter().filter(|operator| operator.nats.strict_signing_key_usage);
        let strict: HashSet<&String> = strict.flat_map(|operator| &operator.nats.signing_keys).collect();
        // Its own key signs no users then, and it has no other.
        let has_no_key =
            |claims: &Claims<claims::Account>| strict.contains(&claims.iss) && claims.nats.signing_keys.is_empty();
        let is_shut_out = |claims: &Claims<claims::Account>| {
            pinned.as_ref().is_some_and(|pinned| !pinned.contains(&claims.sub)) || has_no_key(claims)
        };
        for claimed in &accounts {
            let (Claims { sub, nats: claims::Account { authorization, .. }, .. }, span) = claimed;
            if authorization.is_callout() {
                let encrypted = !authorization.xkey.is_empty();
                system.callout = Some(Callout { account: signed.name(sub), encrypted, span: *span });
            }
            let mut account = signed.account(claimed);
            if is_shut_out(&claimed.0) {
                account.users.clear();
            }
            system.accounts.push(account);
        }
    }

    /// The accounts that are here, by key, and why there may be others.
    fn found(
        &mut self,
        options: &Options<'_>,
        operators: &[Claims<claims::Operator>],
        place: Span,
    ) -> (BTreeMap<String, Claimed>, Option<(String, Span)>) {
        let mut accounts: BTreeMap<String, Claimed> = BTreeMap::new();
        let mut elsewhere = None;
        match resolver(options, operators) {
            Resolver::Memory => {}
            Resolver::Elsewhere(what, node) => {
                elsewhere = Some((what.to_owned(), node.map_or(place, |node| node.span)));
            }
            Resolver::Folder(node) => match self.folder(node) {
                Some(found) => {
                    accounts.extend(found);
                    let others = ["cluster", "gateway"].iter().find_map(|block| options.entry(block));
                    let why = "accounts come from the other servers of this one's cluster, too";
                    elsewhere = others.map(|entry| (why.to_owned(), entry.key_span));
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
        accounts.retain(|key, (claims, _)| *key == claims.sub);
        (accounts, elsewhere)
    }

    /// The accounts that the server does not reject.
    fn usable(&mut self, mut accounts: Vec<Claimed>) -> Vec<Claimed> {
        accounts.retain(|(claims, span)| match rejected(claims) {
            None => true,
            Some(why) => {
                let message = format!("the server rejects the account `{}`: {why}", claims.name);
                let finding = Diagnostic::warning("fails-at-start", *span, message);
                self.collector.findings.push(finding.hint("nobody can log in to it, and what it exports is not there"));
                false
            }
        });
        accounts
    }

    /// Takes the system account of the operator, unless the configuration names it.
    fn system_account(&mut self, operators: &[Claims<claims::Operator>], place: Span, system: &mut System) {
        let default = operators.first().map(|o| o.nats.system_account.clone()).filter(|key| !key.is_empty());
        match (&system.system_account, default) {
            (Some((key, span)), Some(default)) if *key != default => {
                let message = "the operator names another system account";
                self.collector.refuse(*span, message, "remove it here, or make both the same");
            }
            (None, Some(default)) => system.system_account = Some((default, place)),
            _ => {}
        }
    }

    /// Reads the user as whom clients without credentials log in.
    fn sentinel(&mut self, options: &Options<'_>, system: &mut System, accounts: &[Claimed], signed: &Signed<'_>) {
        let Some(node) = options.get("default_sentinel") else { return };
        let Some(user) = self.collector.text(Some(node)).and_then(|text| decode::<claims::User>(text.trim())) else {
            return self.collector.refuse(node.span, "this is no user's JWT", "a bearer token, signed by an account");
        };
        let (nats, permissions) = (&user.nats, &user.nats.permissions);
        let is_open = permissions.r#pub.is_empty() && permissions.sub.is_empty();
        if !nats.bearer_token && (nats.issuer_account.is_empty() || !is_open) {
            return self.collector.refuse(node.span, "a sentinel is a bearer token", "`nsc edit user --bearer`");
        }
        let key = if nats.issuer_account.is_empty() { &user.iss } else { &nats.issuer_account };
        let Some((claims, _)) = accounts.iter().find(|(claims, _)| claims.sub == *key) else { return };
        let closed = |side: &claims::Side| side.deny.iter().any(|subject| subject == ">");
        let is_closed = closed(&permissions.r#pub) && closed(&permissions.sub);
        if !(claims.nats.authorization.is_callout() || is_closed) {
            system.sentinel = Some((signed.name(key), node.span));
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
