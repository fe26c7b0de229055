//! A share that is passed on.

use super::Rule;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::proof::world::{Account, Export, Import, World};

pub const RULE: Rule = Rule {
    id: "passed-on",
    proves: "what is shared reaches those it was shared with, and nobody else",
    why: "an importer can export a service that it imports, to accounts that the owner never named (a stream's messages go no further)",
    mend: "name the last importer in the owner's export too, or remove the second export",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        for import in account.imports.iter().filter(|i| i.kind == ShareKind::Service && i.from.0 != account.name) {
            for export in account.exports.iter().filter(|e| e.kind == import.kind && e.subject.overlaps(&import.local))
            {
                report(world, account, import, export, out);
            }
        }
    }
}

fn report(world: &World, account: &Account, import: &Import, export: &Export, out: &mut Vec<Diagnostic>) {
    let Some(owner) = world.account(&import.from.0) else { return };
    let offered = |name: &str| {
        owner.exports.iter().any(|e| {
            e.kind == import.kind && e.subject.contains(&import.subject) && e.authorizes(name, &import.subject)
        })
    };
    let importers = world.accounts.iter().filter(|a| a.name != account.name && a.name != owner.name);
    let gets = |a: &&Account| {
        a.imports.iter().any(|i| i.from.0 == account.name && i.kind == export.kind && i.subject.overlaps(&import.local))
    };
    for third in importers.filter(gets).filter(|a| !offered(&a.name) && world.are_apart(&a.name, &owner.name)) {
        let message =
            format!("`{}` gets `{}` of `{}` by way of `{}`", third.name, import.subject, owner.name, account.name);
        out.push(
            RULE.error(export.span, message)
                .related(import.span, "from here")
                .related(third.span, "never named by the owner"),
        );
    }
}
