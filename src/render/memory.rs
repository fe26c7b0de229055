//! What an earlier render made, so that a tenant whose input has not changed
//! is neither derived nor rendered nor hashed again. Losing it costs time and
//! nothing else; `render --check` never looks at it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::access::Supplied;
use super::bundle::{Bundle, Content, Digest, File};
use super::{Inputs, Part};
use crate::keys::{HashCache, RootKey};
use crate::model::{Credential, Model, Root, Tenant, User};

/// Parts by tenant, each with the digest of what it was made from.
#[derive(Debug, Default)]
pub struct Memory {
    /// The digest of everything that was rendered from.
    whole: Digest,
    /// Files that belong to no tenant.
    common: Vec<(String, Digest, bool)>,
    tenants: HashMap<String, Remembered<'static>>,
}

/// A memory as it is written: each tenant by itself, so that all cores read.
#[derive(Default, Serialize, Deserialize)]
struct Saved {
    whole: Digest,
    common: Vec<(String, Digest, bool)>,
    tenants: Vec<Vec<u8>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered<'p> {
    input: Digest,
    account: Cow<'p, str>,
    handout: Cow<'p, str>,
    nkeys: Vec<Cow<'p, str>>,
    files: Vec<(Cow<'p, str>, Digest, bool)>,
}

/// The folder beside the registry in which tenantry keeps what is not worth
/// committing. It ignores itself.
pub fn state_folder(registry_folder: &Path) -> PathBuf {
    registry_folder.join(".tenantry")
}

/// Makes the state folder, for its owner only.
pub fn create_state_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        fs::write(ignore, "*\n")?;
    }
    Ok(())
}

/// Replaces a file of the state folder, or does nothing: these files only save time.
fn save(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let Some(folder) = path.parent() else { return };
    let _ = create_state_folder(folder).and_then(|()| {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path).map(|_| ()).map_err(Into::into)
    });
}

/// Reads the bcrypt hashes made before.
pub fn load_hashes(state: &Path) -> HashCache {
    HashCache::from_text(&fs::read_to_string(state.join("hashes")).unwrap_or_default())
}

/// Keeps the bcrypt hashes for the next time.
pub fn save_hashes(state: &Path, hashes: &HashCache) {
    if hashes.has_new() {
        save(&state.join("hashes"), hashes.to_text().as_bytes());
    }
}

impl Memory {
    /// The memory of what was rendered into `out`.
    pub fn load(state: &Path, out: &Path) -> Self {
        let bytes = fs::read(Self::path(state, out)).unwrap_or_default();
        let body = bytes.strip_prefix(HEADER.as_bytes()).unwrap_or_default();
        let saved: Saved = postcard::from_bytes(body).unwrap_or_default();
        let tenants = saved.tenants.par_iter().filter_map(|bytes| postcard::from_bytes(bytes).ok()).collect();
        Self { whole: saved.whole, common: saved.common, tenants }
    }

    fn path(state: &Path, out: &Path) -> PathBuf {
        let absolute = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        let digest = Sha256::digest(absolute.as_os_str().as_encoded_bytes());
        state.join(format!("rendered-{}", data_encoding::HEXLOWER.encode(&digest[..8])))
    }

    /// Whether it is the memory of exactly this input, and of files that are
    /// all as they were: then there is nothing to do.
    pub fn is_of(&self, whole: &Digest, untouched: impl Fn(&str, &Digest, bool) -> bool) -> bool {
        self.whole == *whole && self.common.iter().all(|(path, digest, secret)| untouched(path, digest, *secret))
    }

    /// The remembered part of a tenant, if its input is the same and its files
    /// are still on disk as they were written.
    pub fn recall(
        &self,
        tenant: &Tenant,
        input: &Digest,
        untouched: impl Fn(&str, &Digest, bool) -> bool,
    ) -> Option<Part> {
        let remembered = self.tenants.get(tenant.name.as_str()).filter(|r| r.input == *input)?;
        let intact = remembered.files.iter().all(|(path, digest, secret)| untouched(path, digest, *secret));
        intact.then(|| Part {
            account: remembered.account.to_string(),
            handout: remembered.handout.to_string(),
            nkeys: remembered.nkeys.iter().map(ToString::to_string).collect(),
            files: remembered
                .files
                .iter()
                .map(|(path, digest, secret)| {
                    (path.to_string(), File { content: Content::OnDisk(*digest), secret: *secret })
                })
                .collect(),
        })
    }
}

/// Keeps the memory of a bundle and the parts it was put together from.
pub fn save_parts(
    (state, out): (&Path, &Path),
    whole: Digest,
    bundle: &Bundle,
    (tenants, inputs, parts): (&[Tenant], &[Digest], &[Part]),
) {
    let of_tenants: HashSet<&str> = parts.iter().flat_map(|p| &p.files).map(|(path, _)| path.as_str()).collect();
    let common = bundle.files.iter().filter(|(path, _)| !of_tenants.contains(path.as_str()));
    let remember = |((tenant, input), part): ((&'_ Tenant, &Digest), &'_ Part)| {
        let files = part.files.iter().map(|(path, file)| (Cow::from(path.as_str()), file.digest(), file.secret));
        let remembered = Remembered {
            input: *input,
            account: part.account.as_str().into(),
            handout: part.handout.as_str().into(),
            nkeys: part.nkeys.iter().map(|n| n.as_str().into()).collect(),
            files: files.collect(),
        };
        postcard::to_stdvec(&(tenant.name.as_str(), remembered)).unwrap_or_default()
    };
    let saved = Saved {
        whole,
        common: common.map(|(path, file)| (path.clone(), file.digest(), file.secret)).collect(),
        tenants: tenants.par_iter().zip(inputs).zip(parts).map(remember).collect(),
    };
    if let Ok(text) = postcard::to_extend(&saved, HEADER.as_bytes().to_vec()) {
        save(&Memory::path(state, out), &text);
    }
}

/// Which build wrote the memory: another one may render otherwise.
const HEADER: &str = concat!("tenantry ", env!("TENANTRY_SOURCE"), "\n");

/// What every tenant's part depends on beside the tenant itself. Keyed, so
/// that a supplied password cannot be guessed from it.
pub fn common_input(inputs: &Inputs<'_>, root: &RootKey) -> Sha256 {
    let Model { server, root: source, bcrypt, system: _, tenants: _ } = inputs.model;
    let published = [u8::from(*source == Root::Development)];
    Sha256::new().chain_update(root.memory_key().as_ref()).chain_update(super::digest_of([
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
    let Model { server, root: _, bcrypt: _, system: crate::model::System { account, users }, tenants: _ } = model;
    let mut hasher = ShaHasher(common.clone());
    put(&mut hasher, server);
    put(&mut hasher, account);
    put_users(&mut hasher, users, supplied);
    put(&mut hasher, &tenants);
    // The server's batch limit comes from all tenants' stream limits, which
    // are in their digests.
    hasher.0.finalize().into()
}

/// The digest of everything a tenant's part is made from.
pub fn input_of(common: &Sha256, tenant: &Tenant, supplied: &Supplied) -> Digest {
    // Destructured in full, so that a new field cannot be forgotten. Places do
    // not matter; streams and buckets matter through the users' permissions.
    let Tenant {
        name,
        span: _,
        subjects,
        limits,
        jetstream,
        users,
        streams: _,
        buckets: _,
        object_stores: _,
        exports,
        imports,
    } = tenant;
    let mut hasher = ShaHasher(common.clone());
    let hash = &mut hasher;
    put(hash, name);
    put(hash, subjects);
    put(hash, limits);
    put(hash, jetstream);
    put(hash, exports);
    put(hash, imports);
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
