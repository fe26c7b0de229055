//! What the live proof runs on: who logs in how, and throwaway servers that are
//! booted from what the registry renders, or from a mutant of it.

use nkeys::KeyPair;

use super::report::Report;
use super::{Plan, attack};
use crate::audit::{Audit, audit_files};
use crate::conf::ConfFiles;
use crate::error::Error;
use crate::keys::{AccountKind, Login, RootKey, Secret};
use crate::live;
use crate::live::locate::NatsServer;
use crate::live::throwaway::Throwaway;
use crate::model::names::{AccountName, UserName};
use crate::model::{Credential, Model, Retired};
use crate::project::Project;
use crate::render;

/// Tells how many of how many steps are done, and what is next.
pub type Advance<'a> = &'a dyn Fn(usize, usize, &'static str);

/// How everybody logs in.
pub struct Logins {
    /// Each tenant's users, in the model's order; `None` where the secret is not known.
    pub tenants: Vec<Vec<Option<Login>>>,
    /// Credentials that were rotated or revoked, each with whose they were.
    pub revoked: Vec<(String, Login)>,
    /// A user of the system account.
    pub operator: Option<Login>,
}

/// What throwaway servers are booted from.
pub struct TestBed<'m> {
    server: NatsServer,
    /// What was declared.
    pub model: &'m Model,
    /// What is rendered for it.
    pub conf: ConfFiles,
    logins: Logins,
}

impl<'m> TestBed<'m> {
    /// Renders `model`, the project's or a part of it.
    pub fn new(server: NatsServer, project: &Project, model: &'m Model) -> Result<Self, Error> {
        let bundle = project.render_model(model, || {})?;
        project.save_hashes();
        let accounts = bundle.text(render::ACCOUNTS).unwrap_or_default().to_owned();
        let mut conf = ConfFiles { main: render::throwaway_conf(model, &project.engine)?, accounts };
        let mut logins = Logins::new(project, model);
        logins.replace_brought_keys(model, &mut conf);
        Ok(Self { server, model, conf, logins })
    }

    /// Boots a server from what is rendered and attacks it.
    pub fn attack_itself(&self, exhaustive: bool, advance: Advance<'_>) -> Result<Report, Error> {
        let audit = audit_files(&self.conf, None)?;
        self.attack(&self.boot(&self.conf)?, &audit, exhaustive, advance)
    }

    /// Boots a server with a configuration, which may be a mutant.
    pub fn boot(&self, conf: &ConfFiles) -> Result<Throwaway, Error> {
        Throwaway::boot(&self.server, conf)
    }

    /// Attacks a server that was booted here as it should have been configured.
    pub fn attack(
        &self,
        running: &Throwaway,
        audit: &Audit,
        exhaustive: bool,
        advance: Advance<'_>,
    ) -> Result<Report, Error> {
        let listeners = audit.system.server.listeners.iter().filter(|d| d.listens);
        let plan = Plan {
            model: self.model,
            logins: &self.logins,
            address: running.address.clone(),
            throwaway: true,
            listeners: listeners.filter_map(|d| Some((d.kind, d.address.clone()?))).collect(),
            exhaustive,
        };
        run(&plan, advance)
    }
}

/// Attacks the server of a plan, from the current thread.
pub fn run(plan: &Plan<'_>, advance: Advance<'_>) -> Result<Report, Error> {
    live::runtime()?.block_on(attack(plan, advance))
}

/// The first few tenants and what they share: one leak is as visible there.
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

/// Credentials that were rotated or revoked: a server that still accepts them runs an
/// older registry.
fn revoked_logins(model: &Model, root: &RootKey) -> Vec<(String, Login)> {
    let mut revoked = Vec::new();
    let mut add = |tenant: &AccountName, user: &UserName, generation: u32, nkey: bool, password: bool| {
        let key = root.account(AccountKind::Tenant, tenant).user(user);
        let whose = format!("{tenant}/{user}, generation {generation}");
        if nkey {
            revoked.push((whose.clone(), Login::Seed(key.nkey(generation).seed())));
        }
        if password {
            revoked.push((whose, Login::Password(user.to_string(), key.password(generation))));
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
    for Retired { tenant, user, generation } in &model.retired {
        let is_back = |u: &UserName| {
            model.tenants.iter().any(|t| t.name == *tenant && t.users.iter().any(|user| user.name == *u))
        };
        if let Some(user) = user.as_ref().filter(|user| !is_back(user)) {
            // Which kind of credential it was is not kept: both are tried.
            add(tenant, user, *generation, true, true);
        }
    }
    revoked
}

impl Logins {
    /// The logins of a model's users.
    pub fn new(project: &Project, model: &Model) -> Self {
        Self {
            tenants: model.tenants.iter().map(|t| project.tenant_logins(t)).collect(),
            revoked: revoked_logins(model, &project.root),
            operator: project.operator_login(),
        }
    }

    /// On a throwaway server a key made for this run replaces each key that a user
    /// brought, whose seed is not known here.
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
