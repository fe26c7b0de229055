//! What an earlier render made, so that a tenant whose input has not changed
//! is neither derived nor rendered nor hashed again. Losing it costs time and
//! nothing else; `render --check` never looks at it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::access::Supplied;
use super::bundle::{Content, Digest, File};
use super::{Inputs, Part};
use crate::keys::{HashCache, RootKey};
use crate::model::{Credential, Model, Root, Tenant, User};

/// Parts by tenant, each with the digest of what it was made from.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    tenants: HashMap<String, Remembered>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    input: Digest,
    account: String,
    handout: String,
    nkeys: Vec<String>,
    files: Vec<(String, Digest, bool)>,
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
        bytes
            .strip_prefix(HEADER.as_bytes())
            .and_then(|body| postcard::from_bytes(body).ok())
            .unwrap_or_default()
    }

    /// Keeps what was rendered into `out`.
    pub fn save(&self, state: &Path, out: &Path) {
        if let Ok(body) = postcard::to_stdvec(self) {
            save(&Self::path(state, out), &[HEADER.as_bytes(), &body].concat());
        }
    }

    fn path(state: &Path, out: &Path) -> PathBuf {
        let absolute = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        let digest = Sha256::digest(absolute.as_os_str().as_encoded_bytes());
        state.join(format!("rendered-{}", data_encoding::HEXLOWER.encode(&digest[..8])))
    }

    /// How many tenants it remembers.
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    /// Whether it remembers nothing.
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// The remembered part of a tenant, if its input is the same and its files
    /// are still on disk as they were written.
    pub fn recall(&self, tenant: &Tenant, input: &Digest, untouched: impl Fn(&str, &Digest, bool) -> bool) -> Option<Part> {
        let remembered = self.tenants.get(tenant.name.as_str()).filter(|r| r.input == *input)?;
        let intact = remembered.files.iter().all(|(path, digest, secret)| untouched(path, digest, *secret));
        intact.then(|| Part {
            account: remembered.account.clone(),
            handout: remembered.handout.clone(),
            nkeys: remembered.nkeys.clone(),
            files: remembered
                .files
                .iter()
                .map(|(path, digest, secret)| (path.clone(), File { content: Content::OnDisk(*digest), secret: *secret }))
                .collect(),
        })
    }

    /// The memory of these parts.
    pub fn of<'p>(parts: impl IntoParallelIterator<Item = (&'p Tenant, Digest, &'p Part)>) -> Self {
        let remember = |(tenant, input, part): (&Tenant, Digest, &Part)| {
            let files = part.files.iter().map(|(path, file)| (path.clone(), file.digest(), file.secret)).collect();
            let (account, handout) = (part.account.clone(), part.handout.clone());
            (tenant.name.to_string(), Remembered { input, account, handout, nkeys: part.nkeys.clone(), files })
        };
        Self { tenants: parts.into_par_iter().map(remember).collect() }
    }
}

/// Which build wrote the memory: another one may render otherwise.
const HEADER: &str = concat!("tenantry ", env!("TENANTRY_SOURCE"), "\n");

/// What every tenant's part depends on beside the tenant itself. Keyed, so
/// that a supplied password cannot be guessed from it.
pub fn common_input(inputs: &Inputs<'_>, root: &RootKey) -> Sha256 {
    let Model { server, root: source, bcrypt, system: _, tenants: _ } = inputs.model;
    let published = [u8::from(*source == Root::Development)];
    Sha256::new()
        .chain_update(root.memory_key().as_ref())
        .chain_update(super::digest_of([
            inputs.engine.digest().as_slice(),
            server.url.as_bytes(),
            &bcrypt.derived.to_be_bytes(),
            &bcrypt.supplied.to_be_bytes(),
            &published,
        ]))
}

/// The digest of everything a tenant's part is made from.
pub fn input_of(common: &Sha256, tenant: &Tenant, supplied: &Supplied) -> Digest {
    // Destructured in full, so that a new field cannot be forgotten. Places do
    // not matter; streams and buckets matter through the users' permissions.
    let Tenant { name, span: _, subjects, limits, jetstream, users, streams: _, buckets: _, object_stores: _, exports, imports } =
        tenant;
    let mut hasher = ShaHasher(common.clone());
    let hash = &mut hasher;
    put(hash, name);
    put(hash, subjects);
    put(hash, limits);
    put(hash, jetstream);
    put(hash, exports);
    put(hash, imports);
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
    hasher.0.finalize().into()
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
