//! `tenantry init`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Context;
use crate::error::{Error, Exit};
use crate::keys::RootKey;
use crate::model::Root;
use crate::render::bundle::Provenance;
use crate::state;

/// Write a commented starter registry with a private root key.
///
/// Nothing that exists is overwritten.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Use the published development root key instead of a private one.
    #[arg(long)]
    development: bool,
    /// Make only the private root key that the registry names, for example
    /// because it was lost. Every credential is then another one.
    #[arg(long, conflicts_with = "development")]
    root_key: bool,
}

const STARTER: &str = include_str!("starter.toml");

/// Lines for .gitignore: paths that must not be committed.
const IGNORED: [&str; 3] = ["/.tenantry/", "/infra/credentials/", ".*.tenantry/"];

#[derive(Serialize)]
struct InitDocument {
    registry: PathBuf,
    root_key: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let folder = &args.folder;
    if args.root_key {
        return root_key(context, folder);
    }
    let registry = folder.join("tenants.toml");
    if registry.exists() {
        return Err(Error::already_there(
            registry.display().to_string(),
            "it was not overwritten: edit it, or name another folder: tenantry init DIR",
        ));
    }
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let state = state::folder_beside(folder);
    let mut root_key = None;
    if !args.development {
        state::create(&state).map_err(|e| Error::io("create", &state, e))?;
        let path = state.join("root.key");
        if path.exists() {
            context.ui.note(&format!("keeping the root key at {}", path.display()));
        } else {
            RootKey::generate().create_file(&path)?;
        }
        root_key = Some(path);
        ignore(folder)?;
    }
    let root = if args.development { "development" } else { "file:.tenantry/root.key" };
    let text = STARTER.replace("@ROOT@", root);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&registry)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::io("write", &registry, e))?;
    context.ui.done(&format!("{} written", registry.display()));
    if let Some(path) = &root_key {
        context.ui.result(&format!("  root key: {} (0600, ignored by git)", path.display()));
        context.ui.result("  every credential derives from it: keep a copy where you keep secrets");
    }
    context.ui.json(&InitDocument { registry, root_key });
    let change = if folder == Path::new(".") { String::new() } else { format!("cd {} && ", folder.display()) };
    context.ui.next(&format!("{change}tenantry up"));
    Ok(Exit::Ok)
}

/// Creates the root key of an existing registry.
fn root_key(context: &Context, folder: &Path) -> Result<Exit, Error> {
    let registry = folder.join(&context.registry);
    let valid = crate::registry::load(&registry)?.into_valid()?;
    let Root::File(file) = &valid.model.root else {
        return Err(Error::usage(
            format!("{} does not take its root key from a file", registry.display()),
            "write `root = \"file:.tenantry/root.key\"` under [keys] first",
        ));
    };
    let path = valid.folder().join(file);
    if let Some(parent) = path.parent().filter(|parent| parent.ends_with(".tenantry")) {
        state::create(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    RootKey::generate().create_file(&path)?;
    ignore(valid.folder())?;
    context.ui.done(&format!("{} written (0600)", path.display()));
    context.ui.result("  every credential derives from it and is another one now: keep a copy where you keep secrets");
    context.ui.json(&InitDocument { registry, root_key: Some(path) });
    let is_rendered = Provenance::read(&context.out(None)?).root.is_some();
    context.next(if is_rendered { "tenantry up --new-root-key" } else { "tenantry up" });
    Ok(Exit::Ok)
}

/// Adds the missing lines to .gitignore.
fn ignore(folder: &Path) -> Result<(), Error> {
    let path = folder.join(".gitignore");
    let there = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io("read", &path, e)),
    };
    let missing: Vec<&str> = IGNORED.into_iter().filter(|line| !there.lines().any(|l| l.trim() == *line)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut text = there;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("# tenantry: secrets and scratch\n{}\n", missing.join("\n"));
    fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
}
