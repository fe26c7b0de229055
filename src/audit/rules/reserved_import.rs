//! Imports that cover subjects reserved by the server or the account's own requests.

use super::{Rule, mapped_reserved, reserved_export};
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "reserved-import",
    proves: "imports do not cover the account's own requests and replies",
    why: "With a service import on `>`, an inbox or `$JS.API.>`, the account's own messages and requests go to the exporter; with a stream import on them, the exporter can forge replies",
    mend: "import it under a subject of its own",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        // Mappings of the account's own replies or requests onto an imported service.
        for (mapping, made) in mapped_reserved(system, account) {
            let mut apart = account.services().filter(|i| tenants.are_apart(&i.from.0, &account.name));
            if let Some(import) = apart.find(|i| made.iter().any(|m| m.overlaps(&i.local))) {
                let message =
                    format!("`{}` of `{}` is mapped to a service of `{}`", mapping.from, account.name, import.from.0);
                out.push(RULE.error(mapping.span, message).related(import.span, "imported here"));
            }
        }
        for import in account.imports.iter().filter(|i| tenants.are_apart(&i.from.0, &account.name)) {
            let first = import.local.first_token();
            let is_open = matches!(first, "*" | ">");
            // Exports of `$SYS` by the system account are checked by reserved-export.
            let from_system = system.account(&import.from.0).is_some_and(|a| system.is_system(a)) && first == "$SYS";
            // Exempt: flow control of a stream copied from another account.
            let is_flow = import.local == import.subject
                && system.account(&import.from.0).is_some_and(|exporter| {
                    let mut exports = exporter.exports.iter().filter(|e| e.subject == import.subject);
                    exports.any(|export| reserved_export::copy_of(exporter, export).is_some())
                });
            if from_system || is_flow || !reserved_export::touches_reserved(system, account, &import.local) {
                continue;
            }
            // It covers the account's own stream, consumer or bucket of that name, if there is one.
            let is_one_thing =
                ["$JS.API.", "$JS.ACK.", "$KV.", "$O."].iter().any(|p| import.local.as_str().starts_with(p))
                    && reserved_export::names_one_thing(&import.local);
            if is_one_thing && account.jetstream.is_none() {
                continue;
            }
            let whose = if is_open { "everything of" } else { "the server's own space in" };
            let message =
                format!("`{}` of `{}` is imported over {whose} `{}`", import.local, import.from.0, account.name);
            out.push(match is_one_thing {
                true => RULE
                    .warning(import.span, message)
                    .hint("have no stream or bucket of that name in the importer's account"),
                false => RULE.error(import.span, message),
            });
        }
    }
}
