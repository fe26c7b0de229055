//! The render cache: a tenant whose input has not changed is not derived, rendered or
//! hashed again. Losing the cache costs time only; `render --check` never reads it.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bundle::Digest;
use super::credentials::Supplied;
use super::write::Target;
use super::{ACCOUNTS, HANDOUT, Inputs, Part};
use crate::model::jetstream::{Consumer, Stream};
use crate::model::{Credential, Model, Root, SystemAccount, Tenant, User};
use crate::state;

/// The cached part of each tenant, with the digest of its input. The cache holds byte
/// ranges; the text itself is read from the common files in the bundle.
#[derive(Debug, Default)]
pub struct RenderCache {
    saved: Saved,
    accounts: String,
    handout: String,
    by_name: HashMap<String, usize>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// Digest of the manifest of the cached bundle.
    manifest: Digest,
    /// Path of the registry that the bundle was rendered from.
    registry: String,
    /// Digest of the whole input.
    whole: Digest,
    tenants: Vec<CacheEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheEntry {
    name: String,
    input: Digest,
    account: Range<usize>,
    handout: Range<usize>,
    nkeys: Vec<String>,
}

impl RenderCache {
    /// Loads the cache of the bundle at `target`. Empty if there is none, another build
    /// wrote it, or the bundle at `target` has another manifest.
    pub fn load(state: &Path, target: &Target) -> Self {
        Self::try_load(state, target).unwrap_or_default()
    }

    fn try_load(state: &Path, target: &Target) -> Option<Self> {
        let bytes = fs::read(path(state, target)).ok()?;
        let saved: Saved = postcard::from_bytes(bytes.strip_prefix(HEADER.as_bytes())?).ok()?;
        (Some(saved.manifest) == target.manifest_digest()).then(|| Self { saved, ..Self::default() })
    }

    /// Reads the common files, which [`Self::get`] takes the parts' text from.
    pub fn with_texts(mut self, target: &Target) -> Self {
        let (accounts, handout) = rayon::join(|| target.text_of(ACCOUNTS), || target.text_of(HANDOUT));
        if let (Some(accounts), Some(handout)) = (accounts, handout) {
            (self.accounts, self.handout) = (accounts, handout);
            self.by_name = self.saved.tenants.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        }
        self
    }

    /// Path of the registry that the bundle was rendered from. `None` if the cache is empty.
    pub fn registry(&self) -> Option<&str> {
        Some(self.saved.registry.as_str()).filter(|registry| !registry.is_empty())
    }

    /// Whether the cached bundle was rendered from exactly this input.
    pub fn is_for(&self, whole: &Digest) -> bool {
        self.saved.whole == *whole
    }

    /// The cached part of a tenant. `None` if it is not cached or its input has changed.
    pub fn get(&self, tenant: &Tenant, input: &Digest) -> Option<Part<'_>> {
        let known = self.saved.tenants.get(*self.by_name.get(tenant.name.as_str())?).filter(|t| t.input == *input)?;
        Some(Part {
            account: self.accounts.get(known.account.clone())?.into(),
            handout: self.handout.get(known.handout.clone())?.into(),
            nkeys: known.nkeys.as_slice().into(),
        })
    }
}

fn path(state: &Path, target: &Target) -> PathBuf {
    let digest = Sha256::digest(target.path().as_os_str().as_encoded_bytes());
    state.join(format!("rendered-{}", data_encoding::HEXLOWER.encode(&digest[..8])))
}

/// A bundle that was just written, to be cached.
pub struct CacheUpdate<'w> {
    /// Path of the registry.
    pub registry: &'w str,
    /// Digest of the whole input.
    pub whole: Digest,
    /// Digest of the new manifest.
    pub manifest: Digest,
    /// Text of the accounts file.
    pub accounts: &'w str,
    /// Text of the handout.
    pub handout: &'w str,
    /// The tenants, in the order of the model.
    pub tenants: &'w [Tenant],
    /// Digest of each tenant's input, in the same order.
    pub inputs: &'w [Digest],
    /// Each tenant's part, in the same order.
    pub parts: &'w [Part<'w>],
}

/// Saves the cache of a bundle, unless a part is not found in the common files: the
/// user's own templates may change or omit the parts.
pub fn save(folder: &Path, target: &Target, update: &CacheUpdate<'_>) {
    let parts = || update.parts.iter();
    let accounts = find_all(update.accounts, parts().map(|p| p.account.as_ref()));
    let handouts = find_all(update.handout, parts().map(|p| p.handout.as_ref()));
    let (Some(accounts), Some(handouts)) = (accounts, handouts) else { return };
    let places = accounts.into_iter().zip(handouts);
    let tenants = update.tenants.iter().zip(update.inputs).zip(update.parts).zip(places);
    let entry = |(((tenant, input), part), (account, handout)): (((&Tenant, &Digest), &Part<'_>), _)| CacheEntry {
        name: tenant.name.to_string(),
        input: *input,
        account,
        handout,
        nkeys: part.nkeys.to_vec(),
    };
    let saved = Saved {
        manifest: update.manifest,
        registry: update.registry.to_owned(),
        whole: update.whole,
        tenants: tenants.map(entry).collect(),
    };
    if let Ok(bytes) = postcard::to_extend(&saved, HEADER.as_bytes().to_vec()) {
        state::save(&path(folder, target), &bytes);
    }
}

/// Byte ranges of the parts in `text`, each directly after the one before. `None` if the
/// text does not contain them in this way.
fn find_all<'t>(text: &str, mut parts: impl Iterator<Item = &'t str>) -> Option<Vec<Range<usize>>> {
    let Some(first) = parts.next() else { return Some(Vec::new()) };
    let mut end = text.find(first)? + first.len();
    let mut places = Vec::new();
    places.push(end - first.len()..end);
    for part in parts {
        let start = end;
        end += part.len();
        (text.get(start..end)? == part).then(|| places.push(start..end))?;
    }
    Some(places)
}

/// Identifies the build that wrote the cache: another build may render differently.
const HEADER: &str = concat!("tenantry ", env!("TENANTRY_SOURCE"), "\n");

/// The hash state that every tenant's digest starts from: the inputs that all tenants
/// share. Keyed by the root key, so that a supplied password cannot be guessed from a
/// digest.
pub fn common_input(inputs: &Inputs<'_>) -> Sha256 {
    let Model { server, root: source, bcrypt, system: _, tenants: _, retired: _, push: _ } = inputs.model;
    let published = [u8::from(*source == Root::Development)];
    Sha256::new().chain_update(inputs.keyring.root.cache_key().as_ref()).chain_update(super::digest_of([
        inputs.engine.digest().as_slice(),
        server.url.as_bytes(),
        &bcrypt.derived.to_be_bytes(),
        &bcrypt.supplied.to_be_bytes(),
        &published,
    ]))
}

/// The digest of the whole input: the tenants' digests in their order, and the input of
/// the files that cover all tenants.
pub fn whole_input(common: &Sha256, model: &Model, supplied: &Supplied, ledger: &str, tenants: &[Digest]) -> Digest {
    let SystemAccount { account, users } = &model.system;
    let Model { server, root, bcrypt: _, system: _, tenants: declared, retired: _, push: _ } = model;
    let mut hasher = ShaHasher(common.clone());
    hash_value(&mut hasher, server);
    hash_value(&mut hasher, account);
    hash_users(&mut hasher, users, supplied);
    hash_value(&mut hasher, root);
    hash_value(&mut hasher, &ledger);
    hash_value(&mut hasher, &tenants);
    for Stream {
        name,
        config,
        consumers,
        span: _,
        kind: _,
        subjects: _,
        origins: _,
        copies: _,
        rewritten: _,
        delivered: _,
    } in declared.iter().flat_map(|t| &t.streams)
    {
        hash_value(&mut hasher, name);
        hash_value(&mut hasher, config);
        for Consumer { name, config, span: _ } in consumers {
            hash_value(&mut hasher, name);
            hash_value(&mut hasher, config);
        }
    }
    // The server's batch limit derives from the tenants' stream limits, which are in
    // the tenants' digests.
    hasher.0.finalize().into()
}

/// The digest of a tenant's input: everything that its part and credentials are
/// rendered from.
pub fn tenant_input(common: &Sha256, tenant: &Tenant, supplied: &Supplied) -> Digest {
    // Destructured in full, so that a new field cannot be forgotten. Spans do not
    // affect the output; of a stream only what the handout shows does.
    let Tenant {
        name,
        // Texts for people are in handouts alone.
        about: _,
        span: _,
        subjects,
        limits,
        jetstream,
        users,
        // They are nowhere but in the ledger.
        suspended: _,
        streams,
        buckets,
        object_stores,
        exports,
        imports,
        stream_exports,
        stream_imports,
    } = tenant;
    let mut hasher = ShaHasher(common.clone());
    let hash = &mut hasher;
    hash_value(hash, name);
    hash_value(hash, subjects);
    hash_value(hash, limits);
    hash_value(hash, jetstream);
    hash_value(hash, exports);
    hash_value(hash, imports);
    hash_value(hash, stream_exports);
    hash_value(hash, stream_imports);
    hash_value(hash, buckets);
    hash_value(hash, object_stores);
    for stream in streams {
        hash_value(hash, &stream.name);
        hash_value(hash, &stream.subjects);
        hash_value(hash, &stream.consumers.len());
        for consumer in &stream.consumers {
            hash_value(hash, &consumer.name);
        }
    }
    hash_users(hash, users, supplied);
    hasher.0.finalize().into()
}

fn hash_users(hash: &mut ShaHasher, users: &[User], supplied: &Supplied) {
    for User { name, about: _, span: _, role, credential, inbox, permissions } in users {
        hash_value(hash, name);
        hash_value(hash, role);
        hash_value(hash, credential);
        hash_value(hash, inbox);
        hash_value(hash, permissions);
        if let Credential::PasswordFromEnv { variable, .. } = credential {
            hash_value(hash, &supplied.get(variable).map(crate::keys::Secret::expose));
        }
    }
}

fn hash_value(hasher: &mut ShaHasher, value: &impl std::hash::Hash) {
    value.hash(hasher);
}

/// Feeds `std::hash` into SHA-256. The encoding may differ between builds; digests are
/// compared within one build only.
struct ShaHasher(Sha256);

impl std::hash::Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Keyring;
    use super::super::engine::Engine;
    use super::*;
    use crate::diag::Span;
    use crate::keys::{HashCache, RootKey, Secret};
    use crate::model::jetstream::keys::{consumer, stream};
    use crate::model::permissions::Grant;
    use crate::model::units::Size;
    use crate::model::{Export, Import, Inbox, ShareKind, StreamCopy};
    use crate::project::tests::model;
    use crate::render::ledger::NameLedger;
    use crate::subject::Subject;

    const REGISTRY: &str = "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\n\
        name = \"app\"\nauth = \"password\"\npassword_env = \"APP\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\n\
        [[tenant.stream.consumer]]\nname = \"c\"\n[[tenant.bucket]]\nname = \"b\"\n[[tenant.object_store]]\nname = \"o\"\n";

    type Ranges<'r> = Option<&'r [Range<usize>]>;
    /// The name of a change, and what it does.
    type Change<T> = (&'static str, fn(&mut T));

    fn password(text: &str) -> Supplied {
        Supplied::from([("APP".to_owned(), Secret::new(text.to_owned()))])
    }

    fn subject(text: &str) -> Subject {
        Subject::parse(text).expect("a subject")
    }

    fn digest(tenant: &Tenant) -> Digest {
        tenant_input(&Sha256::new(), tenant, &password("one password"))
    }

    fn stream_copy() -> StreamCopy {
        let tenant = model(REGISTRY).tenants.remove(0);
        let stream = tenant.streams[0].name.clone();
        StreamCopy { from: tenant.name.clone(), to: tenant.name, stream, filter: None }
    }

    #[test]
    fn each_field_that_is_rendered_changes_the_tenants_digest() {
        let tenant = model(REGISTRY).tenants.remove(0);
        let changes: Vec<Change<Tenant>> = vec![
            ("name", |t| t.name = crate::model::names::AccountName::parse("Z").expect("a name")),
            ("subjects", |t| t.subjects.push(subject("more.>"))),
            ("connections", |t| t.limits.connections += 1),
            ("subscriptions", |t| t.limits.subscriptions += 1),
            ("payload", |t| t.limits.payload = Size(7)),
            ("jetstream", |t| t.jetstream = None),
            ("jetstream streams", |t| t.jetstream.iter_mut().for_each(|j| j.streams += 1)),
            ("users", |t| t.users.truncate(1)),
            ("user name", |t| t.users[0].name = crate::model::names::UserName::parse("z").expect("a name")),
            ("user role", |t| t.users[0].role = crate::model::names::RoleName::parse("z").expect("a name")),
            ("user credential", |t| t.users[0].credential = Credential::Nkey { generation: 1 }),
            ("user inbox", |t| t.users[0].inbox = Inbox::Default),
            ("user permissions", |t| t.users[0].permissions.publish = Grant::Nothing),
            ("streams", |t| t.streams.truncate(1)),
            ("stream subjects", |t| t.streams[0].subjects.push(subject("A.more"))),
            ("consumers", |t| t.streams[0].consumers.clear()),
            ("buckets", |t| t.buckets.clear()),
            ("object stores", |t| t.object_stores.clear()),
            ("exports", |t| {
                t.exports.push(Export { kind: ShareKind::Stream, subject: subject("A.x"), to: vec![t.name.clone()] });
            }),
            ("imports", |t| {
                t.imports.push(Import { kind: ShareKind::Stream, subject: subject("B.x"), from: t.name.clone() });
            }),
            ("stream exports", |t| t.stream_exports.push(stream_copy())),
            ("stream imports", |t| t.stream_imports.push(stream_copy())),
        ];
        let before = digest(&tenant);
        assert_eq!(digest(&tenant), before);
        let mut digests = vec![before];
        for (name, change) in changes {
            let mut changed = tenant.clone();
            change(&mut changed);
            digests.push(digest(&changed));
            assert_ne!(digests.last(), Some(&before), "{name}");
        }
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count, "no two changes have the same digest");
    }

    #[test]
    fn what_a_tenants_part_does_not_show_leaves_its_digest_alone() {
        let tenant = model(REGISTRY).tenants.remove(0);
        let changes: Vec<Change<Tenant>> = vec![
            ("span", |t| t.span = Span { start: 99, ..t.span }),
            ("user span", |t| t.users[0].span = Span { start: 99, ..t.users[0].span }),
            ("stream span", |t| t.streams[0].span = Span { start: 99, ..t.streams[0].span }),
            ("stream configuration", |t| t.streams[0].config.set(stream::MAX_MSGS, 7)),
            ("consumer configuration", |t| t.streams[0].consumers[0].config.set(consumer::MAX_DELIVER, 7)),
            ("rewritten subjects", |t| t.streams[0].rewritten.push(subject("A.r"))),
        ];
        for (name, change) in changes {
            let mut changed = tenant.clone();
            change(&mut changed);
            assert_eq!(digest(&changed), digest(&tenant), "{name}");
        }
    }

    #[test]
    fn a_supplied_password_and_what_all_tenants_share_change_the_digest() {
        let model = model(REGISTRY);
        let (engine, hashes) = (Engine::new(None).expect("templates"), HashCache::default());
        let input = |model: &Model, root: &RootKey, text: &str| {
            let supplied = password(text);
            let keyring = Keyring { root, supplied: &supplied, bcrypt: model.bcrypt, hashes: &hashes };
            let common = common_input(&Inputs { model, keyring, engine: &engine, ledger: &NameLedger::default() });
            tenant_input(&common, &model.tenants[0], &supplied)
        };
        let (root, changed) = (RootKey::development(), |change: fn(&mut Model)| {
            let mut model = model.clone();
            change(&mut model);
            model
        });
        let before = input(&model, &root, "one password");
        assert_eq!(input(&model, &root, "one password"), before);
        assert_ne!(input(&model, &root, "another password"), before);
        assert_ne!(input(&model, &RootKey::generate(), "one password"), before);
        assert_ne!(input(&changed(|m| m.server.url.push('x')), &root, "one password"), before);
        assert_ne!(input(&changed(|m| m.bcrypt.derived += 1), &root, "one password"), before);
        assert_ne!(input(&changed(|m| m.root = Root::Env("X".into())), &root, "one password"), before);
        assert_eq!(input(&changed(|m| m.server.max_connections += 1), &root, "one password"), before);
    }

    #[test]
    fn the_whole_digest_covers_server_system_order_and_stream_configurations() {
        let (model, supplied) = (model(REGISTRY), password("one password"));
        let whole = |model: &Model, tenants: &[Digest]| whole_input(&Sha256::new(), model, &supplied, "", tenants);
        let (one, two) = ([1; 32], [2; 32]);
        let before = whole(&model, &[one, two]);
        assert_eq!(whole(&model, &[one, two]), before);
        assert_ne!(whole(&model, &[two, one]), before);
        assert_ne!(whole(&model, &[one]), before);
        let changes: [fn(&mut Model); 4] = [
            |m| m.server.max_connections += 1,
            |m| m.system.users.clear(),
            |m| m.tenants[0].streams[0].config.set(stream::MAX_MSGS, 7),
            |m| m.tenants[0].streams[0].consumers[0].config.set(consumer::MAX_DELIVER, 7),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut changed = model.clone();
            change(&mut changed);
            assert_ne!(whole(&changed, &[one, two]), before, "change {i}");
        }
        let mut moved = model.clone();
        moved.tenants[0].span = Span { start: 99, ..moved.tenants[0].span };
        assert_eq!(whole(&moved, &[one, two]), before);
    }

    #[test]
    fn parts_are_found_if_each_directly_follows_the_one_before() {
        let cases: [(&str, &[&str], Ranges<'_>); 8] = [
            ("head AB tail", &["A", "B"], Some(&[5..6, 6..7])),
            ("ABAB", &["AB", "AB"], Some(&[0..2, 2..4])),
            ("anything", &[], Some(&[])),
            ("A B", &["A", "B"], None),
            ("BA", &["A", "B"], None),
            ("A", &["A", "B"], None),
            ("x", &["A"], None),
            // The range of the second part would end inside a character.
            ("Aé", &["A", "b"], None),
        ];
        for (text, parts, ranges) in cases {
            assert_eq!(find_all(text, parts.iter().copied()).as_deref(), ranges, "{text:?} {parts:?}");
        }
    }

    #[test]
    fn a_cached_part_is_found_by_name_and_input_in_the_bundle_it_was_saved_for() {
        let root = tempfile::tempdir().expect("folder");
        let (state, out) = (root.path().join("state"), root.path().join("infra"));
        let tenants = model(REGISTRY).tenants;
        let part = Part { account: "ACCOUNT".into(), handout: "HANDOUT".into(), nkeys: vec!["U1".to_owned()].into() };
        let (accounts, handout) = ("head ACCOUNT\n", "head HANDOUT\n");
        let target = Target::open(&out).expect("target");
        let stage = target.stage(Default::default());
        let files = [(ACCOUNTS, accounts), (HANDOUT, handout)]
            .map(|(path, text)| (path.to_owned(), super::super::bundle::File::public(text)));
        stage.put_files(files.iter().map(|(path, file)| (path, file))).expect("written");
        let (_, manifest) = stage.finish(|| Ok(())).expect("written");
        drop(target);
        let target = Target::open(&out).expect("target");
        let update = |manifest| CacheUpdate {
            registry: "tenants.toml",
            whole: [9; 32],
            manifest,
            accounts,
            handout,
            tenants: &tenants,
            inputs: &[[1; 32]],
            parts: std::slice::from_ref(&part),
        };
        let load = || RenderCache::load(&state, &target).with_texts(&target);
        assert!(load().get(&tenants[0], &[1; 32]).is_none() && load().registry().is_none());
        save(&state, &target, &update(manifest));
        let cache = load();
        assert_eq!(cache.get(&tenants[0], &[1; 32]), Some(part.clone()));
        assert_eq!(cache.get(&tenants[0], &[2; 32]), None);
        assert_eq!(
            (cache.registry(), cache.is_for(&[9; 32]), cache.is_for(&[8; 32])),
            (Some("tenants.toml"), true, false)
        );
        // The cache of another bundle is ignored.
        save(&state, &target, &update([0; 32]));
        assert_eq!(load().get(&tenants[0], &[1; 32]), None);
    }
}
