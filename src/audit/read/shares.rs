//! Exports and imports, and whether each import is offered to its account.

use super::option_names::{EXPORT, IMPORT, SOURCE};
use super::options::Options;
use super::{SystemReader, checks};
use crate::audit::reach::term::{Rename, Unknowns};
use crate::audit::system::{Account, Export, Import, System};
use crate::conf::value::Node;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;

impl SystemReader<'_> {
    /// Reads the exports and imports of an account.
    pub(super) fn shares(&mut self, options: &Options<'_>, account: &mut Account) {
        for node in options.get("exports").map(|n| self.collector.list(n)).unwrap_or_default() {
            let Some(export) = self.export(node) else { continue };
            if let Some(latency) = &export.latency
                && let Some(reports) = &latency.subject
                && account
                    .exports
                    .iter()
                    .chain([&export])
                    .any(|e| e.kind == ShareKind::Service && e.subject.contains(reports))
            {
                let message = format!("the latency goes to `{reports}`, which is a service itself");
                self.collector.refuse(latency.span, message, "a subject that no service has");
            }
            // The server merges exports of one subject: the importers of all, with the token
            // position of the last.
            match account.exports.iter_mut().find(|e| e.kind == export.kind && e.subject == export.subject) {
                Some(known) => {
                    known.token_position = export.token_position;
                    known.latency = known.latency.take().or(export.latency);
                    known.allow_trace = known.allow_trace.or(export.allow_trace);
                    known.to = match (known.to.take(), export.to) {
                        (Some(some), Some(more)) => Some(some.into_iter().chain(more).collect()),
                        (one, other) => one.or(other),
                    };
                }
                None => account.exports.push(export),
            }
        }
        for node in options.get("imports").map(|n| self.collector.list(n)).unwrap_or_default() {
            let Some(import) = self.import(node) else { continue };
            let is_same = |i: &Import| {
                let same = |a: &Import, b: &Import| match a.kind {
                    // Numbered wildcards are stars once the server has read them.
                    ShareKind::Service => a.to == b.to || a.local.as_str() == b.to,
                    ShareKind::Stream => a.subject == b.subject,
                };
                i.kind == import.kind && i.from.0 == import.from.0 && same(i, &import)
            };
            if account.imports.iter().any(is_same) {
                let message = format!("`{}` is imported twice from `{}`", import.to, import.from.0);
                self.collector.refuse(import.span, message, "under two subjects, with `to`");
            }
            account.imports.push(import);
        }
    }

    fn subject(&mut self, node: &Node) -> Option<Subject> {
        let text = self.collector.text(Some(node))?;
        let subject = Subject::as_the_server_reads(text);
        if subject.is_none() {
            self.collector.refuse(
                node.span,
                format!("`{text}` is not a valid subject"),
                "tokens between dots, * for one, > for the rest",
            );
        }
        subject
    }

    fn one_kind<'m>(&mut self, node: &Node, options: &Options<'m>) -> Option<(ShareKind, &'m Node)> {
        match (options.get("stream"), options.get("service")) {
            (Some(stream), None) => Some((ShareKind::Stream, stream)),
            (None, Some(service)) => Some((ShareKind::Service, service)),
            (Some(_), Some(_)) => {
                self.collector.refuse(node.span, "a stream and a service in one entry", "write two");
                None
            }
            // The server ignores such an entry.
            (None, None) => None,
        }
    }

    fn export(&mut self, node: &Node) -> Option<Export> {
        let map = self.collector.map(node)?;
        let options = self.collector.options(map, EXPORT, "an export");
        let (kind, subject) = self.one_kind(node, &options)?;
        if kind == ShareKind::Stream {
            for key in ["response_type", "threshold", "latency", "allow_trace"] {
                if let Some(entry) = options.entry(key) {
                    self.collector.refuse(entry.key_span, format!("`{key}` is for services"), "remove it");
                }
            }
        }
        if let Some(node) = options.get("response_type")
            && let Some(text) = self.collector.text(Some(node))
            && !["single", "singleton", "stream", "chunk", "chunked"].contains(&text.to_lowercase().as_str())
        {
            self.collector.refuse(
                node.span,
                format!("there is no response type `{text}`"),
                "singleton, stream or chunked",
            );
        }
        let responses = self.collector.text(options.get("response_type")).unwrap_or_default().to_lowercase();
        if let Some(entry) =
            options.entry("latency").filter(|_| ["stream", "chunk", "chunked"].contains(&responses.as_str()))
        {
            self.collector.refuse(entry.key_span, "latency is measured of services with one answer", "remove it");
        }
        let to = options.get("accounts").map(|node| {
            let mut names = Vec::new();
            for node in self.collector.list(node) {
                names.extend(self.collector.text(Some(node)).map(|text| (text.to_owned(), node.span)));
            }
            names
        });
        let allow_trace = self.collector.bool(options.get("allow_trace"));
        // The server takes an export that is no subject, and it offers nothing.
        let (span, text) = (subject.span, self.collector.text(Some(subject))?);
        let subject = Subject::as_exported(text)?;
        let token_position = self.collector.integer(options.get("account_token_position")).unwrap_or(0);
        if let Some(node) = options.get("account_token_position")
            && token_position != 0
            && token_at(&subject, token_position) != Some("*")
        {
            self.collector.refuse(
                node.span,
                format!("`{subject}` has no `*` at position {token_position}"),
                "the position counts tokens from 1",
            );
        }
        Some(Export {
            kind,
            subject,
            span,
            to,
            token_position,
            allow_trace: options.get("allow_trace").filter(|_| allow_trace == Some(true)).map(|n| n.span),
            latency: options.get("latency").map(|node| checks::latency(node, self.collector)),
        })
    }

    fn import(&mut self, node: &Node) -> Option<Import> {
        let map = self.collector.map(node)?;
        let options = self.collector.options(map, IMPORT, "an import");
        let (kind, source) = self.one_kind(node, &options)?;
        let source_map = self.collector.map(source)?;
        let from = self.collector.options(source_map, SOURCE, "the source of an import");
        let (Some(account), Some(subject)) = (from.get("account"), from.get("subject")) else {
            self.collector.refuse(
                source.span,
                "an import needs an account and a subject",
                "{ account: A, subject: \"a.b\" }",
            );
            return None;
        };
        let (name, subject) = (self.collector.text(Some(account))?.to_owned(), self.subject(subject)?);
        let (prefix, to) = (self.collector.text(options.get("prefix")), self.collector.text(options.get("to")));
        let prefix = prefix.filter(|prefix| !prefix.is_empty());
        let to = to.filter(|to| !to.is_empty());
        if let Some(node) = options.get("prefix").filter(|_| kind == ShareKind::Stream)
            && prefix.is_some_and(|prefix| prefix.split('.').any(|token| matches!(token, "*" | ">")))
        {
            self.collector.refuse(node.span, "a prefix has no wildcards", "");
        }
        // The server refuses this if it reads `to` first, and it reads the keys of a map in any order.
        if let (ShareKind::Stream, Some(node), Some(_), Some(_)) = (kind, options.get("prefix"), prefix, to) {
            let message = "whether the server starts with a prefix beside `to` changes from start to start";
            self.collector
                .findings
                .push(Diagnostic::error("fails-at-start", node.span, message).hint("remove one of them"));
        }
        let to = match (kind, prefix, to) {
            (ShareKind::Stream, Some(prefix), _) => format!("{}.{subject}", prefix.trim_end_matches('.')),
            (_, _, Some(to)) => to.to_owned(),
            _ => subject.to_string(),
        };
        let place = options.get("to").or_else(|| options.get("prefix")).map_or(source.span, |node| node.span);
        if Subject::as_the_server_reads(&to).is_none() {
            self.collector.refuse(
                place,
                format!("`{to}` is not a valid subject"),
                "tokens between dots, * for one, > for the rest",
            );
        }
        if let Some(entry) = options.entry("allow_trace").filter(|_| kind == ShareKind::Service) {
            self.collector.refuse(entry.key_span, "`allow_trace` of an import is for streams", "remove it");
        }
        if let Err(why) = checks::import_renames(&subject, &to) {
            self.collector.refuse(place, format!("`{subject}` cannot be imported as `{to}`: {why}"), "");
        }
        let renamed = Rename::new(&subject, &to, &mut Unknowns::default());
        let written = || Subject::as_the_server_reads(&to).unwrap_or_else(|| subject.clone());
        let local = renamed.map_or_else(written, |rename| rename.to.pattern());
        let share = self.collector.bool(options.get("share"));
        let allow_trace = self.collector.bool(options.get("allow_trace"));
        Some(Import {
            kind,
            from: (name, account.span),
            subject,
            span: source.span,
            local,
            to,
            share: options.get("share").filter(|_| share == Some(true)).map(|n| n.span),
            allow_trace: options.get("allow_trace").filter(|_| allow_trace == Some(true)).map(|n| n.span),
        })
    }

    /// Checks exports and imports against each other, as `nats-server -t` does. Skipped if the
    /// configuration is rejected already: the errors would only follow from earlier ones.
    pub(super) fn shares_are_authorized(&mut self, system: &System) {
        // Imports of accounts in JWTs that are not authorized are left out.
        if !self.collector.refused.is_empty() || system.operator.is_some() {
            return;
        }
        for account in &system.accounts {
            for (name, span) in account.exports.iter().flat_map(|e| e.to.iter().flatten()) {
                if name == "$G" {
                    self.meets_global_account(*span);
                } else if system.account(name).is_none() {
                    self.collector.refuse(*span, format!("there is no account `{name}` to export to"), "");
                }
            }
            for import in &account.imports {
                let (name, span) = &import.from;
                if name == "$G" {
                    self.meets_global_account(*span);
                    continue;
                }
                let Some(exporter) = system.account(name) else {
                    self.collector.refuse(*span, format!("there is no account `{name}` to import from"), "");
                    continue;
                };
                let exact = exporter.exports.iter().rfind(|e| e.kind == import.kind && e.subject == import.subject);
                let authorized = match exact {
                    Some(export) => export.authorizes(&account.name, &import.subject),
                    None => exporter.exports.iter().any(|e| {
                        e.kind == import.kind
                            && e.subject.contains(&import.subject)
                            && e.authorizes(&account.name, &import.subject)
                    }),
                };
                if !authorized {
                    let message = format!("`{name}` exports no `{}` to `{}`", import.subject, account.name);
                    let by_token = exporter
                        .exports
                        .iter()
                        .find(|e| e.kind == import.kind && e.token_position > 0 && e.subject.contains(&import.subject));
                    let hint = match by_token {
                        Some(export) => format!(
                            "by `account_token_position: {0}`, token {0} of the imported subject is `{1}`",
                            export.token_position, account.name
                        ),
                        None => "add it to that account's exports, with this account under `accounts`".to_owned(),
                    };
                    self.collector.refuse(import.span, message, &hint);
                }
            }
        }
    }

    /// The account `$G` is there for others only once the server has read mappings outside of accounts, which comes
    /// before or after by chance.
    fn meets_global_account(&mut self, span: Span) {
        if self.has_mappings {
            let message = "whether the server knows `$G` here changes from start to start";
            let hint = "name another account: `$G` is where users without an account are";
            self.collector.findings.push(Diagnostic::error("fails-at-start", span, message).hint(hint));
        } else {
            self.collector.refuse(span, "the server knows no account `$G` here", "name another account");
        }
    }

    /// Checks the accounts that leaf node logins and remotes name.
    pub(super) fn leaf_accounts_are_there(&mut self, system: &System) {
        if !self.collector.refused.is_empty() || system.operator.is_some() {
            return;
        }
        let logins = system.server.listeners.iter().flat_map(|listener| &listener.logins);
        let named = logins.filter_map(|login| Some((login.account.as_deref()?, login.span)));
        let remotes = system.server.remotes().map(|remote| (remote.account.as_str(), remote.span));
        // Without another system account the server makes one.
        let is_made = |name: &str| name == "$G" || name == "$SYS" && system.system_account.is_none();
        for (name, span) in named.chain(remotes).filter(|(name, _)| !is_made(name)) {
            if system.account(name).is_none() {
                self.collector.refuse(span, format!("there is no account `{name}` for this leaf node"), "");
            }
        }
    }
}

/// The token at a position that counts from 1.
fn token_at(subject: &Subject, position: i64) -> Option<&str> {
    subject.tokens().nth(usize::try_from(position).ok()?.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{refused, system};

    #[test]
    fn an_import_needs_an_export_of_its_kind_to_its_account() {
        let text = |export: &str, import: &str| {
            format!("accounts {{ A {{ exports: [{{ {export} }}] }}, B {{ imports: [{{ {import} }}] }}, C {{}} }}")
        };
        let import = "stream: { account: A, subject: a.b }";
        for (export, authorized) in [
            ("stream: a.b", true),
            ("stream: a.>", true),
            ("stream: a.*, accounts: [B]", true),
            ("stream: a.*, accounts: [C]", false),
            ("stream: a.c", false),
            ("service: a.b", false),
            ("stream: \"*.b\", account_token_position: 1", false),
        ] {
            let found = refused(&text(export, import));
            let expected = if authorized { vec![] } else { vec!["`A` exports no `a.b` to `B`"] };
            assert_eq!(found.iter().map(|(_, _, m)| m.as_str()).collect::<Vec<_>>(), expected, "{export}");
        }
        let by_token = text("stream: \"*.b\", account_token_position: 1", "stream: { account: A, subject: B.b }");
        assert_eq!(refused(&by_token), []);
    }

    /// Measured on nats-server 2.15.1: 10 of 14 starts were refused.
    #[test]
    fn a_prefix_beside_another_name_starts_by_chance() {
        let found = |rest: &str| {
            let text = format!(
                "accounts {{ A {{ exports: [{{ stream: a.* }}] }}, B {{ imports: [{{ stream: {{ account: A, subject: a.* }}, {rest} }}] }} }}"
            );
            crate::audit::testing::findings(&text).iter().any(|f| f.rule == "fails-at-start")
        };
        assert!(found("prefix: p, to: \"q.*\""));
        assert!(!found("prefix: p") && !found("to: \"q.*\""));
    }

    #[test]
    fn an_import_arrives_under_its_prefix_or_its_other_name() {
        let local = |kind: &str, rest: &str| {
            let text = format!(
                "accounts {{ A {{ exports: [{{ {kind}: a.> }}] }},
                 B {{ imports: [{{ {kind}: {{ account: A, subject: a.b }}, {rest} }}] }} }}"
            );
            system(&text).accounts[1].imports[0].local.to_string()
        };
        assert_eq!(local("stream", "share: false"), "a.b");
        assert_eq!(local("stream", "prefix: p"), "p.a.b");
        assert_eq!(local("stream", "prefix: p."), "p.a.b");
        assert_eq!(local("stream", "to: x.y"), "x.y");
        assert_eq!(local("stream", "prefix: p, to: x"), "p.a.b");
        let numbered = "accounts { A { exports: [{ service: x.> }] },
             B { imports: [{ service: { account: A, subject: x.*.y.* }, to: my.$2.do.$1 }] } }";
        assert_eq!(system(numbered).accounts[1].imports[0].local.as_str(), "my.*.do.*");
        assert_eq!(local("service", "to: x.y"), "x.y");
    }

    #[test]
    fn exports_of_one_subject_merge_their_importers() {
        let text = "accounts { B {}, C {}, A { exports: [
            { stream: a, accounts: [B] }, { stream: a, accounts: [C] }, { service: a, accounts: [C] }] } }";
        let system = system(text);
        let exports: Vec<(ShareKind, Vec<&str>)> = system.accounts[2]
            .exports
            .iter()
            .map(|e| (e.kind, e.to.iter().flatten().map(|(name, _)| name.as_str()).collect()))
            .collect();
        assert_eq!(exports, [(ShareKind::Stream, vec!["B", "C"]), (ShareKind::Service, vec!["C"])]);
    }
}
