//! Incremental rendering: a tenant whose input has not changed is taken from the cache,
//! and a file whose content is already correct is not written again.

use std::path::Path;

use rayon::prelude::*;

use super::bundle::{Digest, Provenance};
use super::cache::{self, CacheUpdate, RenderCache};
use super::engine::{BUILT_IN, Engine};
use super::ledger::NameLedger;
use super::write::{Target, WriteSummary};
use super::{ACCOUNTS, HANDOUT, Inputs, Part};
use crate::diag::first_few;
use crate::error::Error;
use crate::model::Tenant;
use crate::state;

/// The registry that is rendered, and where its cache is.
pub struct Origin<'o> {
    /// The state folder beside the registry.
    pub state: &'o Path,
    /// Path of the registry.
    pub registry: &'o str,
    /// What may be replaced.
    pub consent: Consent,
}

/// What a user allows to be replaced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consent {
    /// The bundle of another registry, because the target is named.
    pub another_registry: bool,
    /// Every credential, by those of another root key.
    pub new_root_key: bool,
    /// What the user's own templates made, by what others make, because `--templates` is given.
    pub other_templates: bool,
}

/// Renders tenants that are not cached and writes files that differ. `advance` is called
/// after each tenant; `allow` with the text of the accounts when the new files are complete, beside the old ones: renaming
/// them is all that may still fail.
pub fn write(
    inputs: &Inputs<'_>,
    target: &Target,
    origin: &Origin<'_>,
    advance: impl Fn() + Sync,
    allow: impl FnOnce(&str) -> Result<(), Error>,
) -> Result<WriteSummary, Error> {
    let cached = RenderCache::load(origin.state, target);
    refuse_another_registry(&cached, target, origin)?;
    refuse_another_root_key(&inputs.keyring.root.id(), target.provenance(), target.path(), origin.consent)?;
    refuse_lost_templates(inputs.engine, target.provenance(), target.path(), origin.consent)?;
    // Another registry has names of its own.
    let mut ledger = inputs.ledger.clone();
    if cached.registry().is_none_or(|registry| registry == origin.registry) {
        let known = NameLedger::known(target.path(), origin.state, &inputs.model.root);
        known.refuse_lost_names(inputs.ledger, &inputs.model.retired)?;
        ledger = ledger.carrying(&known);
    }
    let inputs = &Inputs { ledger: &ledger, ..*inputs };
    let (model, supplied) = (inputs.model, inputs.keyring.supplied);
    let common = cache::common_input(inputs);
    let tenants = &model.tenants;
    let digests: Vec<_> = tenants.par_iter().map(|t| cache::tenant_input(&common, t, supplied)).collect();
    let whole = cache::whole_input(&common, model, supplied, &inputs.ledger.to_text(), &digests);
    if cached.is_for(&whole) && target.all_is_intact() {
        allow(&target.text_of(ACCOUNTS).unwrap_or_default())?;
        let edited = target.edited().to_vec();
        return Ok(WriteSummary { unchanged: target.listed(), edited, ..WriteSummary::default() });
    }
    let cached = cached.with_texts(target);
    let stage = target.stage(inputs.provenance());
    let make = |(tenant, input): (&Tenant, &Digest)| {
        let folder = super::credentials_folder(tenant.name.as_str());
        let part = match cached.get(tenant, input).filter(|_| target.is_intact(&folder)) {
            Some(part) => {
                stage.keep(&folder);
                part
            }
            None => {
                let (part, files) = super::render_tenant(inputs, tenant)?;
                stage.put_files(files.iter().map(|(path, file)| (path, file)))?;
                part
            }
        };
        advance();
        Ok(part)
    };
    let parts = tenants.par_iter().zip(&digests).map(make).collect::<Result<Vec<Part<'_>>, Error>>()?;
    let bundle = super::render_whole(inputs, &parts)?;
    bundle.files.par_iter().try_for_each(|file| stage.put_files([file]))?;
    state::save_hashes(origin.state, inputs.keyring.hashes);
    let [accounts, handout] = [ACCOUNTS, HANDOUT].map(|path| bundle.text(path).unwrap_or_default());
    let (outcome, manifest) = stage.finish(|| allow(accounts))?;
    inputs.ledger.keep(origin.state);
    let registry = origin.registry;
    let update = CacheUpdate { registry, whole, manifest, accounts, handout, tenants, inputs: &digests, parts: &parts };
    cache::save(origin.state, target, &update);
    Ok(outcome)
}

/// Refuses to render over a bundle of another root key, because of which every credential would change.
pub fn refuse_another_root_key(id: &str, written: &Provenance, out: &Path, consent: Consent) -> Result<(), Error> {
    match written.root.as_ref().filter(|other| **other != id && !consent.new_root_key) {
        Some(other) => Err(Error::refused(
            format!(
                "{} was rendered with the root key {other}, and this one is {id}: every credential would change",
                out.display()
            ),
            "is it the right key? --new-root-key replaces the credentials of every user, whose clients then have to get the new ones",
        )),
        None => Ok(()),
    }
}

/// Refuses to render by built-in templates what the user's own ones made: TLS that one of
/// them turned on would be off again.
pub fn refuse_lost_templates(engine: &Engine, written: &Provenance, out: &Path, consent: Consent) -> Result<(), Error> {
    let lost = written.templates.iter().filter(|name| !engine.replaced().contains(&name.as_str()));
    let lost: Vec<&String> = lost.filter(|_| !consent.other_templates).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!("{} was rendered with your own {}, and this run uses tenantry's", out.display(), first_few(&lost)),
        format!("pass their folder again: --templates DIR; or return to tenantry's: --templates {BUILT_IN}"),
    ))
}

fn refuse_another_registry(cached: &RenderCache, target: &Target, origin: &Origin<'_>) -> Result<(), Error> {
    let is_another =
        |other: &&str| !origin.consent.another_registry && *other != origin.registry && Path::new(other).exists();
    match cached.registry().filter(is_another) {
        Some(other) => Err(Error::usage(
            format!("{} was rendered from {other}", target.path().display()),
            "a second registry needs a folder of its own: --out infra-other; or name this one with --out",
        )),
        None => Ok(()),
    }
}
