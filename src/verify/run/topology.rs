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
    by_account: HashMap<AccountName, usize>,
    /// Tenants by the names of accounts and users; `None` where several tenants have the name.
    by_name: HashMap<String, Option<usize>>,
    /// `None` if the server could not be asked for its listeners.
    listeners: RefCell<Option<Vec<(ListenerKind, String)>>>,
}

impl<'p> Topology<'p> {
    /// The tenants of a model. No listeners are known yet.
    pub fn new(model: &'p Model, throwaway: bool) -> Self {
        Self {
            model,
            throwaway,
            by_account: model.tenants.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect(),
            by_name: tenants_by_name(model),
            listeners: RefCell::default(),
        }
    }

    /// The tenant with an index in the model.
    pub fn tenant(&self, index: usize) -> &'p Tenant {
        &self.model.tenants[index]
    }

    /// The index of the tenant with this account name.
    pub fn place(&self, name: &AccountName) -> Option<usize> {
        self.by_account.get(name).copied()
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

    /// Finds the listeners: those of the plan for a throwaway server, else those in the
    /// server's VARZ. They are unknown if `varz` is null.
    pub fn find_listeners(&self, plan: &Plan<'_>, varz: &Value) {
        let mut listeners = plan.listeners.clone();
        if !plan.throwaway {
            let address = plan.endpoint.address.as_str();
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verify::fixtures::{AUDIT, ORDERS, SHARING, SHIPPING, System, tenants};

    #[test]
    fn a_tenant_attacks_the_next_four_and_those_it_shares_with() {
        let share = "[[share]]\nfrom = \"T0\"\nto = [\"T7\"]\nstream = \"T0.a.>\"\n";
        let system = System::load(&format!("{}{share}", tenants(10)));
        let topology = Topology::new(&system.model, true);
        for (tenant, expected) in
            [(0, vec![1, 2, 3, 4, 7]), (1, vec![2, 3, 4, 5]), (7, vec![0, 1, 8, 9]), (9, vec![0, 1, 2, 3])]
        {
            assert_eq!(topology.neighbours(tenant), expected, "of T{tenant}");
        }
    }

    #[test]
    fn both_ends_of_a_copied_stream_attack_each_other() {
        let copy = r#"
            [[tenant.stream]]
            name = "COPY"
            max_bytes = "1MiB"
            mirror = { name = "EVENTS", from = "ORDERS" }
        "#;
        let jetstream = "[tenant.jetstream]\nstorage = \"64MiB\"\n";
        let orders = format!(
            "[[tenant]]\nname = \"ORDERS\"\n{jetstream}[[tenant.user]]\nname = \"app\"\n\
             [[tenant.stream]]\nname = \"EVENTS\"\nsubjects = [\"ORDERS.>\"]\nmax_bytes = \"1MiB\"\n"
        );
        let audit = format!("[[tenant]]\nname = \"AUDIT\"\n{jetstream}[[tenant.user]]\nname = \"app\"\n{copy}");
        let share = "[[share]]\nfrom = \"ORDERS\"\nto = [\"AUDIT\"]\njetstream = \"EVENTS\"\n";
        let text = format!("[server.jetstream]\nstorage = \"1GiB\"\n{orders}{}{audit}{share}", tenants(8));
        let system = System::load(&text);
        let topology = Topology::new(&system.model, true);
        assert_eq!(topology.neighbours(0), [1, 2, 3, 4, 9]);
        assert!(topology.neighbours(9).contains(&0) && !topology.neighbours(8).contains(&5));
    }

    #[test]
    fn a_tenant_alone_or_with_few_others_has_no_more_neighbours_than_there_are() {
        for (count, expected) in [(1, vec![]), (2, vec![1]), (5, vec![1, 2, 3, 4]), (6, vec![1, 2, 3, 4])] {
            let system = System::load(&tenants(count));
            assert_eq!(Topology::new(&system.model, true).neighbours(0), expected, "of {count}");
        }
    }

    #[test]
    fn a_name_that_two_tenants_have_is_no_tenants() {
        let system = System::load(SHARING);
        let topology = Topology::new(&system.model, true);
        for (name, owner) in [
            ("ORDERS", Some(ORDERS)),
            ("auditor", Some(AUDIT)),
            ("clerk", Some(ORDERS)),
            ("shipper", Some(SHIPPING)),
            ("app", None),
            ("nobody", None),
            ("orders", None),
        ] {
            assert_eq!(topology.owner_of(name), owner, "{name}");
        }
    }

    #[test]
    fn a_user_with_the_name_of_its_own_account_hides_neither() {
        let system = System::load("[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"A\"\n");
        assert_eq!(Topology::new(&system.model, true).owner_of("A"), Some(0));
    }

    #[test]
    fn on_a_server_in_use_only_subjects_with_a_wildcard_are_free() {
        let system = System::load(SHARING);
        let free = |throwaway, tenant| {
            let topology = Topology::new(&system.model, throwaway);
            topology.free_subjects(tenant).map(Subject::as_str).collect::<Vec<_>>()
        };
        assert_eq!(free(true, SHIPPING), ["SHIPPING.>", "parcel.sent"]);
        assert_eq!(free(false, SHIPPING), ["SHIPPING.>"]);
        assert_eq!(free(false, ORDERS), ["ORDERS.>"]);
    }

    #[test]
    fn the_own_space_of_a_tenant_is_all_of_its_subjects_and_no_others() {
        let system = System::load(SHARING);
        let topology = Topology::new(&system.model, false);
        for (subject, expected) in [
            ("SHIPPING.a.b", true),
            ("parcel.sent", true),
            ("parcel.lost", false),
            ("SHIPPING", false),
            ("ORDERS.a", false),
            ("SHIPPING..a", false),
        ] {
            assert_eq!(topology.is_own_space(SHIPPING, subject), expected, "{subject}");
        }
    }

    #[test]
    fn the_listeners_of_a_server_in_use_are_those_with_a_port_in_its_varz() {
        let system = System::load(SHARING);
        let topology = Topology::new(&system.model, false);
        let found = |varz: Value| {
            topology.find_listeners(&system.plan(false), &varz);
            topology.listeners()
        };
        assert_eq!(found(Value::Null), None);
        assert_eq!(found(json!({ "leaf": {}, "cluster": { "urls": [] } })), Some(Vec::new()));
        assert_eq!(found(json!({ "leaf": { "port": 0 } })), Some(Vec::new()));
        let varz = json!({
            "leaf": { "port": 7422 }, "mqtt": { "port": 1883 }, "websocket": { "port": 8443 },
            "cluster": { "cluster_port": 6222 }, "gateway": { "port": 7222 }, "port": 4222,
        });
        let expected = [
            (ListenerKind::Leaf, 7422),
            (ListenerKind::Mqtt, 1883),
            (ListenerKind::WebSocket, 8443),
            (ListenerKind::Cluster, 6222),
            (ListenerKind::Gateway, 7222),
        ];
        assert_eq!(found(varz), Some(expected.map(|(kind, port)| (kind, format!("10.0.0.1:{port}"))).into()));
    }

    #[test]
    fn the_listeners_of_a_throwaway_server_are_those_of_the_plan() {
        let system = System::load(SHARING);
        let topology = Topology::new(&system.model, true);
        let listeners = vec![(ListenerKind::Mqtt, "10.0.0.1:1".to_owned())];
        let plan = Plan { listeners: listeners.clone(), ..system.plan(true) };
        topology.find_listeners(&plan, &json!({ "leaf": { "port": 7422 } }));
        assert_eq!(topology.listeners(), Some(listeners));
        topology.find_listeners(&plan, &Value::Null);
        assert_eq!(topology.listeners(), None);
    }
}
