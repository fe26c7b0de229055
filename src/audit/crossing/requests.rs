//! Requests to the services of an account: those of its importers, and those that other accounts pass on.

use std::collections::HashMap;

use super::carriers::{acknowledged, asked_by_users, may_be_asked};
use crate::audit::reach::{self, Carried, ForwardedRequest, mapped};
use crate::audit::system::{Account, Export, Import, System};
use crate::model::ShareKind;
use crate::subject::Subject;

/// The requests that users of one account may send by one import.
pub struct Asked<'s> {
    /// The account that asks.
    pub by: &'s Account,
    /// Its import.
    pub import: &'s Import,
    /// The account that passes its requests on to the one with the service. `None`: it imports that itself.
    pub via: Option<&'s Account>,
    /// The imported subject, in the account that has the service.
    pub subject: &'s Subject,
    /// The export that it belongs to.
    pub export: &'s Export,
    /// All requests that may come by the import, before the mappings of the account that has the service.
    pub requests: Vec<Carried<'s>>,
    /// The requests among them that users of `by` may send.
    pub own: Vec<Carried<'s>>,
    /// Whether it is sure: streams from earlier, which are not in the file, acknowledge to any reply subject.
    pub is_sure: bool,
}

impl Asked<'_> {
    /// Whether its users may ask on any of what a subject matches.
    pub fn comes_to(&self, subject: &Subject) -> bool {
        self.own.iter().any(|request| request.within(subject).is_some())
    }

    /// Whether it passes on what the other one asks: as that one it could ask anyway.
    pub fn passes_on(&self, other: &Self) -> bool {
        other.via.is_some_and(|via| via.name == self.by.name)
    }
}

/// The requests to each account's services, by the account's name: those of importers first.
pub fn asked_of_each(system: &System) -> HashMap<&str, Vec<Asked<'_>>> {
    let mut asked: HashMap<&str, Vec<Asked<'_>>> = HashMap::new();
    for by in &system.accounts {
        for import in by.services() {
            let Some(owner) = system.account(&import.from.0) else { continue };
            let Some(export) = offered(owner, by, &import.subject) else { continue };
            let requests = may_be_asked(system, by, import, owner);
            let own = asked_by_users(system, by, import, owner);
            let one = Asked { by, import, via: None, subject: &import.subject, export, requests, own, is_sure: true };
            let earlier = asked_by_streams(by, import, owner, &one.own);
            let earlier =
                earlier.map(|all| Asked { requests: vec![all.clone()], own: vec![all], is_sure: false, ..one });
            asked.entry(&owner.name).or_default().extend([one].into_iter().chain(earlier));
        }
    }
    for by in &system.accounts {
        let requests = reach::passed_on(system, by).0.into_iter();
        for request in requests.filter(|request| request.owner.name != by.name) {
            let ForwardedRequest { first, owner, last: (via, import) } = request;
            let Some(export) = offered(owner, via, &import.subject) else { continue };
            let Some(exporter) = system.account(&first.from.0) else { continue };
            let own = asked_by_users(system, by, first, exporter);
            let earlier = asked_by_streams(by, first, exporter, &own).map(|all| (vec![all], false));
            for (own, is_sure) in [(own, true)].into_iter().chain(earlier) {
                let own = passed(system, &own, &request);
                let (via, subject, requests) = (Some(via), &import.subject, own.clone());
                let one = Asked { by, import: first, via, subject, export, requests, own, is_sure };
                asked.entry(&owner.name).or_default().push(one);
            }
        }
    }
    asked
}

/// The request that streams from earlier may send by an import, as an acknowledgement. `None`: users send it already (`own`),
/// or there is no such stream.
pub fn asked_by_streams<'s>(
    by: &Account,
    import: &Import,
    exporter: &'s Account,
    own: &[Carried<'_>],
) -> Option<Carried<'s>> {
    let is_asked = own.iter().any(|request| request.subject().contains(&import.subject));
    (!is_asked && acknowledged(by).next().is_some()).then(|| Carried::new(exporter, &import.subject))
}

/// The requests as users of the account that has the service hear them: after its mappings.
pub fn heard<'s>(owner: &'s Account, requests: &[Carried<'s>]) -> Vec<Carried<'s>> {
    requests.iter().flat_map(|request| mapped(owner, request.clone())).collect()
}

/// The service of `owner` by which `by` may ask on a subject.
fn offered<'s>(owner: &'s Account, by: &Account, subject: &Subject) -> Option<&'s Export> {
    let mut services = owner.exports.iter().filter(|e| e.kind == ShareKind::Service);
    services.find(|e| e.subject.contains(subject) && e.authorizes(&by.name, subject))
}

/// Passed-on requests as they come to the owner of the service. `asked`: as they come to the first account, before its
/// mappings.
pub fn passed<'s>(system: &'s System, asked: &[Carried<'s>], on: &ForwardedRequest<'s>) -> Vec<Carried<'s>> {
    let ForwardedRequest { first, owner, last: (via, import) } = on;
    let Some(exporter) = system.account(&first.from.0) else { return Vec::new() };
    let mut requests = Vec::new();
    reach::follow(system, heard(exporter, asked), |carried| {
        if carried.account.name == via.name {
            requests.extend(reach::request(carried, import, owner));
        }
    });
    requests
}
