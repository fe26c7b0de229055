//! What the live proof runs on: the users' credentials, and throwaway servers started from
//! the rendered configuration or from a mutant of it.

use std::collections::HashMap;

use nkeys::KeyPair;

use super::endpoint::Endpoint;
use super::expected::manages_streams;
use super::report::Report;
use super::{Plan, attack};
use crate::audit::{Audit, audit_files};
use crate::conf::ConfFiles;
use crate::error::Error;
use crate::keys::{AccountKind, Login, RootKey, Secret};
use crate::live;
use crate::live::locate::NatsServer;
use crate::live::throwaway::Throwaway;
use crate::model::names::{AccountName, RoleName, UserName};
use crate::model::roles::{BuiltIn, Holder};
use crate::model::{About, Credential, Inbox, Model, Retired, User};
use crate::project::Project;
use crate::render;

/// A callback for progress: number of completed steps, total, name of the next step.
pub type Advance<'a> = &'a dyn Fn(usize, usize, &'static str);

/// The credentials of every user.
pub struct Logins {
    /// For each tenant, its users in the model's order; `None` where the secret is not known.
    pub tenants: Vec<Vec<Option<Login>>>,
    /// Users whose secret is not known, and who are left out for that reason, as `TENANT/USER`.
    pub accepted: Vec<String>,
    /// Rotated and revoked credentials, each with its owner as `tenant/user, generation N`.
    pub revoked: Vec<(String, Login)>,
    /// A user of the system account; `None` if no secret of one is known.
    pub operator: Option<Login>,
}

/// Starts throwaway servers from a rendered configuration.
pub struct TestBed<'m> {
    server: NatsServer,
    /// What the registry grants.
    pub model: &'m Model,
    /// The configuration that is rendered for `model`.
    pub conf: ConfFiles,
    logins: Logins,
}

impl<'m> TestBed<'m> {
    /// Renders the configuration of `model`, which is the project's model or a part of it.
    pub fn new(server: NatsServer, project: &Project, model: &'m Model) -> Result<Self, Error> {
        let bundle = project.render_model(model, || {})?;
        project.save_hashes();
        let accounts = bundle.text(render::ACCOUNTS).unwrap_or_default().to_owned();
        let mut conf = ConfFiles { main: render::throwaway_conf(model, &project.engine)?, accounts };
        let mut logins = Logins::new(project, model);
        logins.replace_brought_keys(model, &mut conf);
        Ok(Self { server, model, conf, logins })
    }

    /// Starts a server with the rendered configuration and attacks it.
    pub fn attack_itself(&self, exhaustive: bool, advance: Advance<'_>) -> Result<Report, Error> {
        let audit = audit_files(&self.conf, None)?;
        self.attack(&self.boot(&self.conf)?, &audit, exhaustive, None, advance)
    }

    /// Starts a server with a configuration, which may be a mutant.
    pub fn boot(&self, conf: &ConfFiles) -> Result<Throwaway, Error> {
        Throwaway::boot(&self.server, conf, self.model.secret_variables())
    }

    /// The same; `None` if nats-server itself refuses to start with it.
    pub fn boot_if_it_starts(&self, conf: &ConfFiles) -> Result<Option<Throwaway>, Error> {
        match self.boot(conf) {
            Ok(running) => Ok(Some(running)),
            Err(Error::StartFailed { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Attacks a server started here. What counts is what `model` grants, even if the server
    /// runs a mutant. `only`: the probes to run, all if `None`.
    pub fn attack(
        &self,
        running: &Throwaway,
        audit: &Audit,
        exhaustive: bool,
        only: Option<&[&'static str]>,
        advance: Advance<'_>,
    ) -> Result<Report, Error> {
        let listeners = audit.system.server.listeners.iter().filter(|d| d.listens);
        let plan = Plan {
            model: self.model,
            logins: &self.logins,
            endpoint: Endpoint::plain(running.address.clone()),
            throwaway: true,
            listeners: listeners.filter_map(|d| Some((d.kind, d.address.clone()?))).collect(),
            exhaustive,
            known: Vec::new(),
            only,
        };
        run(&plan, advance)
    }
}

/// Attacks the server of a plan, and blocks the current thread until the run ends.
pub fn run(plan: &Plan<'_>, advance: Advance<'_>) -> Result<Report, Error> {
    live::runtime()?.block_on(attack(plan, advance))
}

/// A model with the first 8 tenants and the shares between them. A leak shows there as well
/// as among all, in less time.
pub fn first_tenants(model: &Model) -> Model {
    const FEW: usize = 8;
    let mut few = model.clone();
    few.tenants.truncate(FEW);
    let names: Vec<AccountName> = few.tenants.iter().map(|t| t.name.clone()).collect();
    for tenant in &mut few.tenants {
        tenant.exports.iter_mut().for_each(|e| e.to.retain(|name| names.contains(name)));
        tenant.exports.retain(|e| !e.to.is_empty());
        tenant.imports.retain(|i| names.contains(&i.from));
        tenant.stream_exports.retain(|c| names.contains(&c.to));
        tenant.stream_imports.retain(|c| names.contains(&c.from));
    }
    few
}

/// Name of the user that [`with_managers`] adds.
pub const MANAGER: &str = "tenantry_proof";

/// A model for a throwaway server, in which each tenant with JetStream has a user that manages
/// its streams: without one JetStream could not be attacked. Returns the tenants that got one.
pub fn with_managers(model: &Model) -> (Model, Vec<AccountName>) {
    let (mut model, mut helped) = (model.clone(), Vec::new());
    let (Ok(name), Ok(role)) = (UserName::parse(MANAGER), RoleName::parse("admin")) else { return (model, helped) };
    for tenant in &mut model.tenants {
        let is_taken = tenant.users.iter().any(|user| user.name == name);
        if tenant.jetstream.is_none() || is_taken || tenant.users.iter().any(|user| manages_streams(tenant, user)) {
            continue;
        }
        let inboxes: Vec<String> = tenant.users.iter().map(User::inbox_prefix).collect();
        let holder = Holder { tenant, user: &name, inbox: Inbox::Private, inboxes: &inboxes };
        let user = User {
            permissions: BuiltIn::Admin.permissions(holder),
            name: name.clone(),
            about: About::default(),
            span: tenant.span,
            role: role.clone(),
            credential: Credential::Nkey { generation: 1 },
            inbox: Inbox::Private,
        };
        tenant.users.push(user);
        // Every user connects, the provisioner too.
        let users = u32::try_from(tenant.users.len()).unwrap_or(u32::MAX);
        tenant.limits.connections = tenant.limits.connections.saturating_add(1).max(users);
        helped.push(tenant.name.clone());
    }
    (model, helped)
}

/// Credentials that were rotated, revoked or suspended. A server that accepts one runs an older
/// registry.
fn revoked_logins(model: &Model, root: &RootKey) -> Vec<(String, Login)> {
    let mut revoked = Vec::new();
    let mut add = |tenant: &AccountName, user: &UserName, generation: u32, nkey: bool, password: bool| {
        let key = root.account(AccountKind::Tenant, tenant).user(user);
        let owner = format!("{tenant}/{user}, generation {generation}");
        if nkey {
            revoked.push((owner.clone(), Login::Seed(key.nkey(generation).seed())));
        }
        if password {
            revoked.push((owner, Login::Password(user.to_string(), key.password(generation))));
        }
    };
    for tenant in &model.tenants {
        for user in &tenant.users {
            match user.credential {
                Credential::Nkey { generation: g @ 2.. } => add(&tenant.name, &user.name, g - 1, true, false),
                Credential::Password { generation: g @ 2.. } => add(&tenant.name, &user.name, g - 1, false, true),
                _ => {}
            }
        }
    }
    for (tenant, user) in model.tenants.iter().flat_map(|t| t.suspended.iter().map(move |user| (t, user))) {
        match user.credential {
            Credential::Nkey { generation } => add(&tenant.name, &user.name, generation, true, false),
            Credential::Password { generation } => add(&tenant.name, &user.name, generation, false, true),
            Credential::PasswordFromEnv { .. } | Credential::PublicKey(_) => {}
        }
    }
    for Retired { tenant, user, generation } in &model.retired {
        let is_back = |u: &UserName| {
            model.tenants.iter().any(|t| t.name == *tenant && t.users.iter().any(|user| user.name == *u))
        };
        if let Some(user) = user.as_ref().filter(|user| !is_back(user)) {
            // The registry does not record which kind of credential it was, so both are tried.
            add(tenant, user, *generation, true, true);
        }
    }
    revoked
}

impl Logins {
    /// The credentials of a model's users.
    pub fn new(project: &Project, model: &Model) -> Self {
        Self {
            tenants: model.tenants.iter().map(|t| project.tenant_logins(t)).collect(),
            accepted: Vec::new(),
            revoked: revoked_logins(model, &project.root),
            operator: project.operator_login(),
        }
    }

    /// Leaves users out, each as `TENANT/USER`. Fails if one does not exist, or its secret is known.
    pub fn accept(&mut self, model: &Model, names: &[String]) -> Result<(), Error> {
        let refuse = |name: &str, why: &str, hint: String| Err(Error::usage(format!("`{name}` {why}"), hint));
        let users = model.tenants.iter().zip(&self.tenants).flat_map(|(tenant, logins)| {
            tenant.users.iter().zip(logins).map(|(user, login)| (format!("{}/{}", tenant.name, user.name), login))
        });
        let logins: HashMap<String, bool> = users.map(|(name, login)| (name, login.is_some())).collect();
        for name in names {
            match logins.get(name) {
                Some(false) => self.accepted.push(name.clone()),
                Some(true) => {
                    return refuse(name, "has a secret that is known here", "leave it out: it can attack".into());
                }
                None => {
                    let mut unknown: Vec<_> =
                        logins.iter().filter(|(_, known)| !**known).map(|(name, _)| name.as_str()).collect();
                    unknown.sort_unstable();
                    let hint = match unknown.as_slice() {
                        [] => "every user's secret is known here".into(),
                        unknown => format!("write TENANT/USER; not known are the secrets of {}", unknown.join(", ")),
                    };
                    return refuse(name, "is no user of the registry", hint);
                }
            }
        }
        Ok(())
    }

    /// Replaces each public key that the registry holds, whose seed is not known here, by a new
    /// one, in the configuration of a throwaway server and in the logins.
    fn replace_brought_keys(&mut self, model: &Model, conf: &mut ConfFiles) {
        let users = model.tenants.iter().flat_map(|t| &t.users);
        for (user, login) in users.zip(self.tenants.iter_mut().flatten()) {
            let Credential::PublicKey(public) = &user.credential else { continue };
            let pair = KeyPair::new_user();
            if let Ok(seed) = pair.seed() {
                conf.accounts = conf.accounts.replace(public.as_str(), &pair.public_key());
                *login = Some(Login::Seed(Secret::new(seed)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{System, tenants};

    #[test]
    fn the_first_tenants_keep_the_shares_between_them_and_no_others() {
        let shares = r#"
            [[share]]
            from = "T0"
            to = ["T1", "T9"]
            stream = "T0.a.>"
            [[share]]
            from = "T0"
            to = ["T8"]
            stream = "T0.b.>"
            [[share]]
            from = "T9"
            to = ["T1"]
            stream = "T9.a.>"
        "#;
        let whole = System::load(&format!("{}{shares}", tenants(10))).model;
        let part = first_tenants(&whole);
        let shared = |model: &Model| {
            let exports: Vec<usize> = model.tenants[0].exports.iter().map(|e| e.to.len()).collect();
            (model.tenants.len(), exports, model.tenants[1].imports.len())
        };
        assert_eq!(shared(&whole), (10, vec![2, 1], 2));
        assert_eq!(shared(&part), (8, vec![1], 1));
    }

    #[test]
    fn a_tenant_with_jetstream_gets_a_manager_unless_it_has_one() {
        let registry = r#"
            [server.jetstream]
            storage = "1GiB"
            [[tenant]]
            name = "APP"
            [tenant.jetstream]
            storage = "1MiB"
            [[tenant.user]]
            name = "app"
            [[tenant]]
            name = "ADMIN"
            [tenant.jetstream]
            storage = "1MiB"
            [[tenant.user]]
            name = "admin"
            role = "admin"
            [[tenant]]
            name = "CORE"
            [[tenant.user]]
            name = "app"
        "#;
        let model = System::load(registry).model;
        let (helped, names) = with_managers(&model);
        assert_eq!(names.iter().map(AccountName::as_str).collect::<Vec<_>>(), ["APP"]);
        let manages = |model: &Model| -> Vec<bool> {
            model.tenants.iter().map(|tenant| tenant.users.iter().any(|user| manages_streams(tenant, user))).collect()
        };
        assert_eq!((manages(&model), manages(&helped)), (vec![false, true, false], vec![true, true, false]));
        let connections = |model: &Model| model.tenants[0].limits.connections;
        assert_eq!(connections(&helped), connections(&model) + 1);
    }

    #[test]
    fn earlier_generations_and_removed_users_are_revoked_logins() {
        let registry = r#"
            [[tenant]]
            name = "A"
            [[tenant.user]]
            name = "new"
            [[tenant.user]]
            name = "rotated"
            generation = 3
            [[tenant.user]]
            name = "changed"
            auth = "password"
            generation = 2
        "#;
        let mut model = System::load(registry).model;
        let name = |user: usize, model: &Model| model.tenants[0].users[user].name.clone();
        let tenant = model.tenants[0].name.clone();
        let back = Retired { tenant: tenant.clone(), user: Some(name(0, &model)), generation: 1 };
        let removed = name(2, &model);
        model.retired = vec![back, Retired { tenant: tenant.clone(), user: None, generation: 1 }];
        let root = RootKey::development();
        let revoked = |model: &Model| {
            let logins = revoked_logins(model, &root);
            let kind = |login: &Login| if matches!(login, Login::Seed(_)) { "nkey" } else { "password" };
            logins.iter().map(|(owner, login)| format!("{} of {owner}", kind(login))).collect::<Vec<_>>()
        };
        assert_eq!(revoked(&model), ["nkey of A/rotated, generation 2", "password of A/changed, generation 1"]);
        model.tenants[0].users.retain(|u| u.name != removed);
        model.retired.push(Retired { tenant, user: Some(removed), generation: 5 });
        assert_eq!(
            revoked(&model),
            [
                "nkey of A/rotated, generation 2",
                "nkey of A/changed, generation 5",
                "password of A/changed, generation 5"
            ]
        );
    }
}
