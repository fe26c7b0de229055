//! What an earlier render made, so that a tenant whose input has not changed
//! is neither derived nor rendered nor hashed again. Losing it costs time and
//! nothing else; `render --check` never looks at it.

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

/// Parts by tenant, each with the digest of what it was made from. Their text
/// is in the files of the whole, from where it is taken again.
#[derive(Debug, Default)]
pub struct RenderCache {
    saved: Saved,
    accounts: String,
    handout: String,
    by_name: HashMap<String, usize>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// Identifies the manifest of the bundle that this is the memory of.
    manifest: Digest,
    /// The registry that it was rendered from.
    registry: String,
    /// The digest of everything that was rendered from.
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
    /// The memory of what was written to the target, if that is what is there.
    pub fn load(state: &Path, target: &Target) -> Self {
        Self::try_load(state, target).unwrap_or_default()
    }

    fn try_load(state: &Path, target: &Target) -> Option<Self> {
        let bytes = fs::read(path(state, target)).ok()?;
        let saved: Saved = postcard::from_bytes(bytes.strip_prefix(HEADER.as_bytes())?).ok()?;
        (Some(saved.manifest) == target.manifest_digest()).then(|| Self { saved, ..Self::default() })
    }

    /// Reads what [`Self::get`] needs beside.
    pub fn with_texts(mut self, target: &Target) -> Self {
        let (accounts, handout) = rayon::join(|| target.text_of(ACCOUNTS), || target.text_of(HANDOUT));
        if let (Some(accounts), Some(handout)) = (accounts, handout) {
            (self.accounts, self.handout) = (accounts, handout);
            self.by_name = self.saved.tenants.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        }
        self
    }

    /// The registry that was rendered, if anything is remembered.
    pub fn registry(&self) -> Option<&str> {
        Some(self.saved.registry.as_str()).filter(|registry| !registry.is_empty())
    }

    /// Whether it is the memory of exactly this input.
    pub fn is_for(&self, whole: &Digest) -> bool {
        self.saved.whole == *whole
    }

    /// The remembered part of a tenant, if its input is the same.
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

/// What was written: the memory of it is worth keeping.
pub struct CacheUpdate<'w> {
    /// The registry's path.
    pub registry: &'w str,
    /// The digest of everything it was rendered from.
    pub whole: Digest,
    /// Identifies the new manifest.
    pub manifest: Digest,
    /// The text of the files of the whole.
    pub accounts: &'w str,
    /// See there.
    pub handout: &'w str,
    /// The tenants, with the digest of what each was made from, and its part.
    pub tenants: &'w [Tenant],
    /// See there.
    pub inputs: &'w [Digest],
    /// See there.
    pub parts: &'w [Part<'w>],
}

/// Keeps the memory of a bundle, if the parts are found in it: a template of
/// the user's may do what it likes with them.
pub fn save(folder: &Path, target: &Target, update: &CacheUpdate<'_>) {
    let parts = || update.parts.iter();
    let accounts = find_all(update.accounts, parts().map(|p| p.account.as_ref()));
    let handouts = find_all(update.handout, parts().map(|p| p.handout.as_ref()));
    let (Some(accounts), Some(handouts)) = (accounts, handouts) else { return };
    let places = accounts.into_iter().zip(handouts);
    let tenants = update.tenants.iter().zip(update.inputs).zip(update.parts).zip(places);
    let remember = |(((tenant, input), part), (account, handout)): (((&Tenant, &Digest), &Part<'_>), _)| CacheEntry {
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
        tenants: tenants.map(remember).collect(),
    };
    if let Ok(bytes) = postcard::to_extend(&saved, HEADER.as_bytes().to_vec()) {
        state::save(&path(folder, target), &bytes);
    }
}

/// Where these texts are, one right after the other.
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

/// Which build wrote the memory: another one may render otherwise.
const HEADER: &str = concat!("tenantry ", env!("TENANTRY_SOURCE"), "\n");

/// What every tenant's part depends on beside the tenant itself. Keyed, so
/// that a supplied password cannot be guessed from it.
pub fn common_input(inputs: &Inputs<'_>) -> Sha256 {
    let Model { server, root: source, bcrypt, system: _, tenants: _, retired: _ } = inputs.model;
    let published = [u8::from(*source == Root::Development)];
    Sha256::new().chain_update(inputs.keyring.root.cache_key().as_ref()).chain_update(super::digest_of([
        inputs.engine.digest().as_slice(),
        server.url.as_bytes(),
        &bcrypt.derived.to_be_bytes(),
        &bcrypt.supplied.to_be_bytes(),
        &published,
    ]))
}

/// The digest of everything: what the tenants' parts are made from, in their
/// order, and what is made for the whole.
pub fn whole_input(common: &Sha256, model: &Model, supplied: &Supplied, tenants: &[Digest]) -> Digest {
    let SystemAccount { account, users } = &model.system;
    let Model { server, root, bcrypt: _, system: _, tenants: declared, retired: _ } = model;
    let mut hasher = ShaHasher(common.clone());
    put(&mut hasher, server);
    put(&mut hasher, account);
    put_users(&mut hasher, users, supplied);
    put(&mut hasher, root);
    put(&mut hasher, &tenants);
    for Stream { name, config, consumers, span: _, kind: _, subjects: _, origins: _, copies: _, rewritten: _ } in
        declared.iter().flat_map(|t| &t.streams)
    {
        put(&mut hasher, name);
        put(&mut hasher, config);
        for Consumer { name, config, span: _ } in consumers {
            put(&mut hasher, name);
            put(&mut hasher, config);
        }
    }
    // The server's batch limit comes from all tenants' stream limits, which
    // are in their digests.
    hasher.0.finalize().into()
}

/// The digest of everything a tenant's part is made from.
pub fn tenant_input(common: &Sha256, tenant: &Tenant, supplied: &Supplied) -> Digest {
    // Destructured in full, so that a new field cannot be forgotten. Places do
    // not matter; of streams what the handout says.
    let Tenant {
        name,
        span: _,
        subjects,
        limits,
        jetstream,
        users,
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
    put(hash, name);
    put(hash, subjects);
    put(hash, limits);
    put(hash, jetstream);
    put(hash, exports);
    put(hash, imports);
    put(hash, stream_exports);
    put(hash, stream_imports);
    put(hash, buckets);
    put(hash, object_stores);
    for stream in streams {
        put(hash, &stream.name);
        put(hash, &stream.subjects);
        put(hash, &stream.consumers.len());
        for consumer in &stream.consumers {
            put(hash, &consumer.name);
        }
    }
    put_users(hash, users, supplied);
    hasher.0.finalize().into()
}

fn put_users(hash: &mut ShaHasher, users: &[User], supplied: &Supplied) {
    for User { name, span: _, role, credential, inbox, permissions } in users {
        put(hash, name);
        put(hash, role);
        put(hash, credential);
        put(hash, inbox);
        put(hash, permissions);
        if let Credential::PasswordFromEnv { variable, .. } = credential {
            put(hash, &supplied.get(variable).map(crate::keys::Secret::expose));
        }
    }
}

fn put(hasher: &mut ShaHasher, value: &impl std::hash::Hash) {
    value.hash(hasher);
}

/// `std::hash` into SHA-256: the digest is compared by the same build only.
struct ShaHasher(Sha256);

impl std::hash::Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}
