//! A valid registry with everything that it is rendered from: model, templates, root
//! key and supplied passwords. The steps from the registry file to the bundle are here
//! once; commands differ in what they do with the result.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::audit::system::{Copied, System};
use crate::audit::{self, Audit};
use crate::conf::ConfFiles;
use crate::error::Error;
use crate::keys::{AccountKind, HashCache, Login, RootKey};
use crate::model::jetstream::Stream;
use crate::model::names::{AccountName, StreamName};
use crate::model::{Model, Tenant, User};
use crate::registry::Valid;
use crate::render::bundle::{Bundle, Provenance};
use crate::render::credentials::{self, Keyring, Supplied};
use crate::render::engine::Engine;
use crate::render::incremental::{self, Consent, Origin};
use crate::render::ledger::NameLedger;
use crate::render::write::{Target, WriteSummary};
use crate::render::{self, Inputs, ServerPaths};
use crate::state;
use crate::subject::Subject;

/// A registry that can be rendered.
pub struct Project {
    /// The registry, without errors.
    pub valid: Valid,
    /// The templates: the built-in ones, or overrides.
    pub engine: Engine,
    /// The root key, from which every generated secret is derived.
    pub root: RootKey,
    /// Passwords taken from the environment (`password_env`), by variable.
    pub supplied: Supplied,
    hashes: HashCache,
    state: PathBuf,
    ledger: OnceLock<NameLedger>,
}

impl Project {
    /// Loads the templates, the built-in ones if `templates` is `None`, the root key
    /// and every supplied password. Reports everything that is missing in one error.
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
        Ok(Self { valid, engine, root, supplied, hashes, state, ledger: OnceLock::new() })
    }

    /// The model that the registry describes.
    pub fn model(&self) -> &Model {
        &self.valid.model
    }

    /// The state folder beside the registry.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The inputs for rendering `model`, which is the registry's model or a part of it.
    pub fn inputs<'i>(&'i self, model: &'i Model) -> Inputs<'i> {
        let Self { root, supplied, hashes, .. } = self;
        let keyring = Keyring { root, supplied, bcrypt: model.bcrypt, hashes };
        Inputs { model, keyring, engine: &self.engine, ledger: self.ledger() }
    }

    /// The names that the registry has in use.
    pub fn ledger(&self) -> &NameLedger {
        let file = |tenant: &Tenant| {
            let path = self.valid.sources.path(tenant.span.file);
            path.strip_prefix(self.valid.folder()).unwrap_or(path).display().to_string()
        };
        self.ledger.get_or_init(|| NameLedger::of(self.model(), file))
    }

    /// Renders the whole bundle in memory. `advance` is called after each tenant.
    pub fn render(&self, advance: impl Fn() + Sync) -> Result<Bundle, Error> {
        self.render_model(self.model(), advance)
    }

    /// Renders `model`, a part of the registry, in memory.
    pub fn render_model(&self, model: &Model, advance: impl Fn() + Sync) -> Result<Bundle, Error> {
        render::render(&self.inputs(model), advance).map_err(|e| e.in_files(&self.valid.sources))
    }

    /// Renders tenants that are not cached and writes files that differ. `allow`: may
    /// refuse the accounts.
    pub fn write(
        &self,
        target: &Target,
        consent: Consent,
        advance: impl Fn() + Sync,
        allow: impl FnOnce(&str) -> Result<(), Error>,
    ) -> Result<WriteSummary, Error> {
        let registry = std::fs::canonicalize(&self.valid.path).unwrap_or_default().display().to_string();
        let origin = Origin { state: &self.state, registry: &registry, consent };
        incremental::write(&self.inputs(self.model()), target, &origin, advance, allow)
            .map_err(|e| e.in_files(&self.valid.sources))
    }

    /// Refuses to put this registry's bundle in the place of the one in `out`: one of another root key or other templates, or
    /// one with names that are lost.
    pub fn refuse_over(&self, out: &Path, consent: Consent) -> Result<(), Error> {
        let written = Provenance::read(out);
        incremental::refuse_lost_templates(&self.engine, &written, out, consent)?;
        incremental::refuse_another_root_key(&self.root.id(), &written, out, consent)?;
        NameLedger::known(out, &self.state, &self.model().root).refuse_lost_names(self.ledger(), &self.model().retired)
    }

    /// Saves the bcrypt hashes for the next command, if any is new.
    pub fn save_hashes(&self) {
        state::save_hashes(&self.state, &self.hashes);
    }

    /// Audits a rendered bundle with the main configuration file of a local server.
    pub fn audit(&self, bundle: &Bundle) -> Result<Audit, Error> {
        self.audit_accounts(bundle.text(render::ACCOUNTS).unwrap_or_default().to_owned())
    }

    /// Audits rendered accounts with the main configuration file of a local server.
    pub fn audit_accounts(&self, accounts: String) -> Result<Audit, Error> {
        let server = &self.model().server;
        let paths = ServerPaths::local(server.client, server.monitor, "data".into(), "accounts.conf".into());
        let main = render::local_server_conf(self.model(), &self.engine, &paths)?;
        audit::audit_files(&ConfFiles { main, accounts }, None)
    }

    /// Adds to a rendered configuration what the registry says beside it: the names of users,
    /// which it identifies by public key only, and what streams copy.
    pub fn describe(&self, system: &mut System) {
        let model = self.model();
        system.copies = copies(model, &system.copies);
        let tenant = |account: &str| model.tenants.iter().find(|t| t.name.as_str() == account);
        system.name_users(|account| {
            let users = tenant(account).map_or(model.system.users.as_slice(), |t| &t.users);
            users.iter().map(|user| user.name.to_string()).collect()
        });
    }

    /// The login of each user of a tenant, in the model's order. `None` if the secret is
    /// not available: a public key, or an unset variable.
    pub fn tenant_logins(&self, tenant: &Tenant) -> Vec<Option<Login>> {
        let supplied = |variable: &str| self.supplied.get(variable).cloned();
        credentials::logins(&self.root, AccountKind::Tenant, &tenant.name, &tenant.users, supplied)
    }

    /// The logins by which a server that runs an earlier registry may be asked: those of the system account's users, and
    /// those that they had before.
    pub fn operator_logins(&self) -> Vec<Login> {
        let supplied = |variable: &str| self.supplied.get(variable).cloned();
        let system = &self.model().system;
        let mut users = system.users.clone();
        let former = system.users.iter().filter_map(|user| Some((user, user.credential.former()?)));
        users.extend(former.map(|(user, credential)| User { credential, ..user.clone() }));
        let logins = credentials::logins(&self.root, AccountKind::System, &system.account, &users, supplied);
        logins.into_iter().flatten().collect()
    }

    /// The login of the first user of the system account whose secret is available.
    pub fn operator_login(&self) -> Option<Login> {
        let supplied = |variable: &str| self.supplied.get(variable).cloned();
        let system = &self.model().system;
        let logins = credentials::logins(&self.root, AccountKind::System, &system.account, &system.users, supplied);
        logins.into_iter().flatten().next()
    }
}

/// What the declared streams copy from other tenants, each with the place of the import by which it comes.
fn copies(model: &Model, imports: &[Copied]) -> Vec<Copied> {
    let mut found = Vec::new();
    for tenant in &model.tenants {
        for stream in &tenant.streams {
            let mut captured = Vec::new();
            captures(model, tenant, stream, None, &mut HashSet::new(), &mut captured);
            for (from, subject) in captured.into_iter().filter(|(from, _)| **from != tenant.name) {
                let import = imports.iter().filter(|import| import.to == tenant.name.as_str());
                let import = import.min_by_key(|import| import.from != from.as_str());
                found.extend(import.map(|import| Copied {
                    from: from.to_string(),
                    captured: Some(subject),
                    to: tenant.name.to_string(),
                    stream: Some(stream.name.to_string()),
                    stored: stream.rewritten.first().cloned(),
                    delivered: stream.delivered.clone(),
                    span: import.span,
                }));
            }
        }
    }
    found
}

/// Adds the subjects that a stream captures, or that streams which it copies do, each with the tenant where.
fn captures<'m>(
    model: &'m Model,
    tenant: &'m Tenant,
    stream: &'m Stream,
    filter: Option<&Subject>,
    seen: &mut HashSet<(&'m AccountName, &'m StreamName)>,
    found: &mut Vec<(&'m AccountName, Subject)>,
) {
    if !seen.insert((&tenant.name, &stream.name)) {
        return;
    }
    let selected = |subject: &Subject| filter.map_or_else(|| Some(subject.clone()), |filter| subject.meet(filter));
    found.extend(stream.subjects.iter().filter_map(|subject| Some((&tenant.name, selected(subject)?))));
    // A transform on the way stores messages under other subjects, which a filter then selects.
    let filter = filter.filter(|_| stream.rewritten.is_empty());
    for origin in stream.origins.iter().filter_map(|name| tenant.streams.iter().find(|s| s.name == *name)) {
        captures(model, tenant, origin, filter, seen, found);
    }
    for copy in &stream.copies {
        let owner = model.tenants.iter().find(|t| t.name == copy.from);
        let origin = owner.and_then(|owner| Some((owner, owner.streams.iter().find(|s| s.name == copy.stream)?)));
        let both = match (filter, &copy.filter) {
            (Some(one), Some(other)) => one.meet(other),
            (one, other) => one.or(other.as_ref()).cloned(),
        };
        let is_empty = both.is_none() && filter.is_some() && copy.filter.is_some();
        if let Some((owner, origin)) = origin.filter(|_| !is_empty) {
            captures(model, owner, origin, both.as_ref(), seen, found);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::conf::value::Map;
    use crate::diag::Sources;

    /// Everything of a registry but its tenants.
    pub(crate) const HEAD: &str = "version = 1\n[server]\nname = \"dev\"\n[server.jetstream]\nmemory = \"256MiB\"\n\
        storage = \"2GiB\"\n[keys]\nroot = \"development\"\n";

    /// The model of a registry, given the text of its tenants and shares.
    pub(crate) fn model(tenants: &str) -> Model {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("tenants.toml");
        fs::write(&path, format!("{HEAD}{tenants}")).expect("written");
        let loaded = crate::registry::load(&path).expect("readable");
        assert!(loaded.model.is_some(), "{:?}", loaded.diagnostics);
        loaded.into_valid().expect("valid").model
    }

    /// A configuration in nats-server's language.
    pub(crate) fn conf(text: &str) -> Map {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("nats.conf");
        fs::write(&path, text).expect("written");
        crate::conf::read(&path, &|_| None, &mut Sources::default()).expect("valid").map
    }

    fn open(tenants: &str) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("tenants.toml");
        fs::write(&path, format!("{HEAD}{tenants}")).expect("written");
        let valid = crate::registry::load(&path).expect("readable").into_valid().expect("valid");
        let project = Project::open(valid, None).expect("root key and templates");
        (folder, project)
    }

    const TENANTS: &str = "[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.user]]\n\
        name = \"reader\"\nauth = \"password\"\n[[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"app\"\n";

    #[test]
    fn the_same_registry_renders_the_same_bytes_and_a_second_write_changes_nothing() {
        let (folder, project) = open(TENANTS);
        let bundle = project.render(|| ()).expect("rendered");
        assert_eq!(bundle.manifest(), project.render(|| ()).expect("rendered").manifest());
        let out = folder.path().join("infra");
        let write =
            || project.write(&Target::open(&out).expect("target"), named(true), || (), |_| Ok(())).expect("written");
        assert_eq!((write().written, write().written), (bundle.files.len() + 1, 0));
        fs::write(out.join("nats/accounts.conf"), "edited").expect("edited");
        let outcome = write();
        assert_eq!((outcome.written, outcome.edited), (1, vec!["nats/accounts.conf".to_owned()]));
    }

    fn named(another_registry: bool) -> Consent {
        Consent { another_registry, ..Consent::default() }
    }

    #[test]
    fn the_bundle_of_another_registry_is_replaced_only_if_the_target_is_named() {
        let (folder, first) = open(TENANTS);
        let path = folder.path().join("second.toml");
        fs::write(&path, format!("{HEAD}{TENANTS}")).expect("written");
        let valid = crate::registry::load(&path).expect("readable").into_valid().expect("valid");
        let second = Project::open(valid, None).expect("root key and templates");
        let target = || Target::open(&folder.path().join("infra")).expect("target");
        first.write(&target(), named(false), || (), |_| Ok(())).expect("there is no bundle yet");
        let refused = second.write(&target(), named(false), || (), |_| Ok(())).expect_err("it is the first registry's");
        assert!(refused.to_string().contains("was rendered from"), "{refused}");
        fs::rename(folder.path().join("tenants.toml"), folder.path().join("moved.toml")).expect("moved");
        second.write(&target(), named(false), || (), |_| Ok(())).expect("the other registry does not exist any more");
        fs::rename(folder.path().join("moved.toml"), folder.path().join("tenants.toml")).expect("moved");
        first.write(&target(), named(true), || (), |_| Ok(())).expect("the user named the target");
    }

    #[test]
    fn each_user_has_a_login_and_the_audit_of_the_bundle_finds_no_error() {
        let (_folder, project) = open(TENANTS);
        let logins = project.tenant_logins(&project.model().tenants[0]);
        assert!(
            matches!(logins.as_slice(), [Some(Login::Seed(_)), Some(Login::Password(user, _))] if user == "reader")
        );
        assert!(project.operator_login().is_some());
        let audit = project.audit(&project.render(|| ()).expect("rendered")).expect("read");
        assert!(matches!(audit.verdict(), crate::verdict::Verdict::Isolated), "{:?}", audit.findings);
    }
}
