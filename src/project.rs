//! A registry with everything that it renders from: model, templates, root key and
//! supplied passwords. The way from the file to the bundle stands here once;
//! commands add what they do with the result.

use std::path::{Path, PathBuf};

use crate::audit::system::System;
use crate::audit::{self, Audit};
use crate::conf::ConfFiles;
use crate::error::Error;
use crate::keys::{AccountKind, HashCache, Login, RootKey};
use crate::model::{Model, Tenant};
use crate::registry::Valid;
use crate::render::bundle::Bundle;
use crate::render::credentials::{self, Keyring, Supplied};
use crate::render::engine::Engine;
use crate::render::incremental::{self, Origin};
use crate::render::write::{Outcome, Target};
use crate::render::{self, Inputs, ServerPaths};
use crate::state;

/// A registry that can be rendered.
pub struct Project {
    /// The registry, without errors.
    pub valid: Valid,
    /// The templates.
    pub engine: Engine,
    /// Every derived secret comes from it.
    pub root: RootKey,
    /// Passwords that came from outside, by variable.
    pub supplied: Supplied,
    hashes: HashCache,
    state: PathBuf,
}

impl Project {
    /// Loads the templates, the built-in ones if `templates` is `None`, the root key
    /// and every supplied password. Reports everything that is missing at once.
    pub fn open(valid: Valid, templates: Option<&Path>) -> Result<Self, Error> {
        let engine = Engine::new(templates)?;
        let root = RootKey::load(&valid.model.root, valid.folder());
        let supplied = credentials::supplied(&valid.model, |name| std::env::var(name).ok());
        let (root, supplied) = match (root, supplied) {
            (Ok(root), Ok(supplied)) => (root, supplied),
            (Ok(_), Err(diagnostics)) => return Err(Error::registry(diagnostics).in_files(&valid.sources)),
            (Err(source), supplied) => {
                let diagnostics = supplied.err().unwrap_or_default();
                return Err(Error::RootKey { source, sources: valid.sources.clone(), diagnostics });
            }
        };
        let state = state::folder_beside(valid.folder());
        let hashes = state::load_hashes(&state);
        Ok(Self { valid, engine, root, supplied, hashes, state })
    }

    /// What the registry means.
    pub fn model(&self) -> &Model {
        &self.valid.model
    }

    /// The state folder beside the registry.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// What a model, the registry's or a part of it, is rendered from.
    pub fn inputs<'i>(&'i self, model: &'i Model) -> Inputs<'i> {
        let Self { root, supplied, hashes, .. } = self;
        Inputs { model, keyring: Keyring { root, supplied, bcrypt: model.bcrypt, hashes }, engine: &self.engine }
    }

    /// Renders everything in memory. `advance` is called after each tenant.
    pub fn render(&self, advance: impl Fn() + Sync) -> Result<Bundle, Error> {
        self.render_model(self.model(), advance)
    }

    /// Renders a part of the registry.
    pub fn render_model(&self, model: &Model, advance: impl Fn() + Sync) -> Result<Bundle, Error> {
        render::render(&self.inputs(model), advance).map_err(|e| e.in_files(&self.valid.sources))
    }

    /// Renders what is not cached and writes what is not there. `is_named` says that
    /// the user named the target, so that another registry's bundle may be replaced.
    pub fn write(&self, target: &Target, is_named: bool, advance: impl Fn() + Sync) -> Result<Outcome, Error> {
        let registry = std::fs::canonicalize(&self.valid.path).unwrap_or_default().display().to_string();
        let origin = Origin { state: &self.state, registry: &registry, is_named };
        incremental::write(&self.inputs(self.model()), target, &origin, advance)
            .map_err(|e| e.in_files(&self.valid.sources))
    }

    /// Keeps new bcrypt hashes for the next command.
    pub fn save_hashes(&self) {
        state::save_hashes(&self.state, &self.hashes);
    }

    /// The static proof over a rendered bundle, as it runs on this machine.
    pub fn audit(&self, bundle: &Bundle) -> Result<Audit, Error> {
        let server = &self.model().server;
        let paths = ServerPaths::local(server.client, server.monitor, "data".into(), "accounts.conf".into());
        let main = render::local_server_conf(self.model(), &self.engine, &paths)?;
        let accounts = bundle.text(render::ACCOUNTS).unwrap_or_default().to_owned();
        audit::audit_files(&ConfFiles { main, accounts }, None)
    }

    /// Gives the users of a rendered configuration the names that the registry has for them.
    pub fn name_users(&self, system: &mut System) {
        let model = self.model();
        let tenant = |account: &str| model.tenants.iter().find(|t| t.name.as_str() == account);
        system.name_users(|account| {
            let users = tenant(account).map_or(model.system.users.as_slice(), |t| &t.users);
            users.iter().map(|user| user.name.to_string()).collect()
        });
    }

    /// How each user of a tenant logs in, in the model's order; `None` where the
    /// secret is not known here.
    pub fn tenant_logins(&self, tenant: &Tenant) -> Vec<Option<Login>> {
        let supplied = |variable: &str| self.supplied.get(variable).cloned();
        credentials::logins(&self.root, AccountKind::Tenant, &tenant.name, &tenant.users, supplied)
    }

    /// The first user of the system account whose secret is known here.
    pub fn operator_login(&self) -> Option<Login> {
        let supplied = |variable: &str| self.supplied.get(variable).cloned();
        let system = &self.model().system;
        let logins = credentials::logins(&self.root, AccountKind::System, &system.account, &system.users, supplied);
        logins.into_iter().flatten().next()
    }
}
