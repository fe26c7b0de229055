//! The tenants of a run, the neighbours that each attacks by name, the server's
//! listeners, and the subjects that a run must not publish to.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use crate::audit::system::ListenerKind;
use crate::model::names::AccountName;
use crate::model::{Model, Tenant};
use crate::subject::Subject;
use crate::verify::Plan;

/// Number of unrelated tenants that each tenant attacks by name, besides those it shares with.
const NEIGHBOURS: usize = 4;

/// The tenants and the server around them.
pub struct Topology<'p> {
    model: &'p Model,
    throwaway: bool,
    /// Tenants by the names of accounts and users; `None` where several tenants have the name.
    by_name: HashMap<String, Option<usize>>,
    /// `None` if the server could not be asked for its listeners.
    listeners: RefCell<Option<Vec<(ListenerKind, String)>>>,
    /// For each tenant, the subjects of streams that would drop a message for a new one, or
    /// hand a new one to a worker.
    full_streams: RefCell<Vec<Vec<Subject>>>,
}

impl<'p> Topology<'p> {
    /// The tenants of a model. No listeners and no full streams are known yet.
    pub fn new(model: &'p Model, throwaway: bool) -> Self {
        Self {
            model,
            throwaway,
            by_name: tenants_by_name(model),
            listeners: RefCell::default(),
            full_streams: RefCell::new(vec![Vec::new(); model.tenants.len()]),
        }
    }

    /// The tenant with an index in the model.
    pub fn tenant(&self, index: usize) -> &'p Tenant {
        &self.model.tenants[index]
    }

    /// The index of the tenant with this account name.
    pub fn place(&self, name: &AccountName) -> Option<usize> {
        self.owner_of(name.as_str())
    }

    /// The tenant whose account, or one of whose users, has this name. `None` if several
    /// tenants have it, or none.
    pub fn owner_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().flatten()
    }

    /// The tenants that a tenant attacks by name, sorted: those it shares or copies streams
    /// with, and up to `NEIGHBOURS` that follow it in the model.
    pub fn neighbours(&self, index: usize) -> Vec<usize> {
        let (tenant, count) = (self.tenant(index), self.model.tenants.len());
        let shares = tenant.exports.iter().flat_map(|e| &e.to).chain(tenant.imports.iter().map(|i| &i.from));
        let mut neighbours: Vec<usize> = shares.chain(tenant.copying()).filter_map(|name| self.place(name)).collect();
        let others = count.saturating_sub(1).min(NEIGHBOURS);
        neighbours.extend((1..=others).map(|step| (index + step) % count));
        neighbours.sort_unstable();
        neighbours.dedup();
        neighbours
    }

    /// Whether a subject lies in a tenant's own subject space.
    pub fn is_own_space(&self, tenant: usize, subject: &str) -> bool {
        let subject = Subject::as_the_server_reads(subject);
        subject.is_some_and(|subject| self.tenant(tenant).subjects.iter().any(|own| own.contains(&subject)))
    }

    /// A tenant's subjects that a run may publish to. On a server in use, a subject without
    /// a wildcard is left out: a message on it would reach an application.
    pub fn free_subjects(&self, tenant: usize) -> impl Iterator<Item = &'p Subject> {
        self.tenant(tenant).subjects.iter().filter(|s| self.throwaway || s.has_wildcard())
    }

    /// Adds subjects of streams that would drop a message for a new one, or hand a new one
    /// to a worker.
    pub fn add_full_streams(&self, tenant: usize, subjects: impl IntoIterator<Item = Subject>) {
        self.full_streams.borrow_mut()[tenant].extend(subjects);
    }

    /// Whether a tenant may publish to a subject without cost: no full stream captures it,
    /// neither its own nor one of a tenant that it shares with.
    pub fn may_speak(&self, tenant: usize, subject: &str) -> bool {
        let Some(subject) = Subject::as_the_server_reads(subject) else { return false };
        let full = self.full_streams.borrow();
        let own = self.tenant(tenant);
        let shared = own.exports.iter().flat_map(|e| &e.to).chain(own.imports.iter().map(|i| &i.from));
        let places = shared.filter_map(|name| self.place(name)).chain([tenant]);
        !places.into_iter().any(|place| full[place].iter().any(|s| s.contains(&subject)))
    }

    /// Finds the listeners: those of the plan for a throwaway server, else those in the
    /// server's VARZ. They are unknown if `varz` is null.
    pub fn find_listeners(&self, plan: &Plan<'_>, varz: &Value) {
        let mut listeners = plan.listeners.clone();
        if !plan.throwaway {
            let host = plan.address.rsplit_once(':').map_or(plan.address.as_str(), |(host, _)| host);
            let kinds = [
                ("leaf", ListenerKind::Leaf),
                ("mqtt", ListenerKind::Mqtt),
                ("websocket", ListenerKind::WebSocket),
                ("cluster", ListenerKind::Cluster),
                ("gateway", ListenerKind::Gateway),
            ];
            for (key, kind) in kinds {
                let port =
                    varz[key]["port"].as_u64().or_else(|| varz[key]["cluster_port"].as_u64()).filter(|port| *port > 0);
                listeners.extend(port.map(|port| (kind, format!("{host}:{port}"))));
            }
        }
        *self.listeners.borrow_mut() = varz.is_object().then_some(listeners);
    }

    /// The listeners other than the client listener. `None` if they are not known.
    pub fn listeners(&self) -> Option<Vec<(ListenerKind, String)>> {
        self.listeners.borrow().clone()
    }
}

fn tenants_by_name(model: &Model) -> HashMap<String, Option<usize>> {
    let mut names: HashMap<String, Option<usize>> = HashMap::new();
    for (i, tenant) in model.tenants.iter().enumerate() {
        for name in std::iter::once(tenant.name.as_str()).chain(tenant.users.iter().map(|u| u.name.as_str())) {
            names.entry(name.to_owned()).and_modify(|owner| *owner = owner.filter(|o| *o == i)).or_insert(Some(i));
        }
    }
    names
}
