//! Puts staged files in their places, and goes on where a killed writer ended.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::bundle::{MANIFEST, Manifest, join, split};
use super::super::{ACCOUNTS, SERVER};
use super::WORK;
use super::tree::{ancestors, has_digest, remove_if_there, remove_tree};
use crate::conf;
use crate::error::Error;
use crate::fault;
use crate::files::move_over;

/// Where files are staged.
pub(super) fn staged(out: &Path) -> PathBuf {
    out.join(WORK).join("staged")
}

fn committed(out: &Path) -> PathBuf {
    out.join(WORK).join("committed")
}

/// Commits the staged files: from here on they are the bundle, also if this is interrupted.
pub(super) fn commit(out: &Path, old: &Manifest, new: &Manifest) -> Result<(), Error> {
    let renamed = fault::step().and_then(|()| fs::rename(staged(out), committed(out)));
    renamed.map_err(|e| Error::io("write", out, e))?;
    finish(out, old, new)
}

/// Finishes what a killed writer had committed. What it had only staged is removed by the next one. Returns the managed
/// files that were changed by hand since the kill, and are replaced.
pub(super) fn resume(out: &Path) -> Result<Vec<String>, Error> {
    let is_ours = fs::symlink_metadata(out.join(WORK)).is_ok_and(|meta| meta.is_dir());
    if !is_ours || !committed(out).is_dir() {
        return Ok(Vec::new());
    }
    let read = |folder: &Path| fs::read_to_string(folder.join(MANIFEST)).ok().map(|text| Manifest::from_text(&text));
    let old = read(out).flatten().unwrap_or_default();
    // Without a staged manifest, files were put right that it lists already, or only the work folder is left to remove.
    let new = read(&committed(out)).flatten().unwrap_or_else(|| old.clone());
    let mut edited = Vec::new();
    edited_since(out, &old, "", &mut edited)?;
    finish(out, &old, &new)?;
    // Files that were changed by hand since the kill are older than the manifest now, and would count as written: a new
    // change time has them compared by content.
    let files: Vec<_> = new.iter().collect();
    files.par_iter().for_each(|(folder, name, entry)| {
        let place = out.join(folder).join(name);
        if let Ok(meta) = fs::metadata(&place)
            && !has_digest(&place, &entry.digest)
        {
            let _ = fs::set_permissions(&place, meta.permissions());
        }
    });
    Ok(edited)
}

/// Adds the managed files below a committed folder whose places have neither the old content nor the new.
fn edited_since(out: &Path, old: &Manifest, folder: &str, edited: &mut Vec<String>) -> Result<(), Error> {
    let source = committed(out).join(folder);
    let fail = |e: io::Error| Error::io("read", &source, e);
    for entry in fs::read_dir(&source).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = join(folder, &entry.file_name().to_string_lossy());
        if entry.file_type().map_err(fail)?.is_dir() {
            edited_since(out, old, &path, edited)?;
            continue;
        }
        let (place, (folder, name)) = (out.join(&path), split(&path));
        let Some(listed) = old.get(folder, name) else { continue };
        let Ok(found) = fs::read(&place) else { continue };
        // The main file of a replacement that was interrupted.
        let is_passing = path == SERVER && String::from_utf8_lossy(&found).contains(conf::NEXT_ACCOUNTS);
        let is_new = || fs::read(entry.path()).is_ok_and(|new| new == found);
        if !is_passing && !has_digest(&place, &listed.digest) && !is_new() {
            edited.push(path);
        }
    }
    Ok(())
}

fn finish(out: &Path, old: &Manifest, new: &Manifest) -> Result<(), Error> {
    let committed = committed(out);
    let (folder, _) = split(ACCOUNTS);
    // An interrupted `move_as_one` may have left its copy.
    let copy = join(folder, conf::NEXT_ACCOUNTS);
    let later = [ACCOUNTS, SERVER, MANIFEST, &copy];
    move_into(&committed, out, "", &|path| old.get(split(path).0, split(path).1).is_some(), &later)?;
    let place = out.join(folder);
    if committed.join(folder).is_dir() {
        conf::move_as_one(&committed.join(folder), &place).map_err(|e| Error::io("write", &place, e))?;
    }
    remove_stale(out, old, new)?;
    if committed.join(MANIFEST).exists() {
        let place = out.join(MANIFEST);
        move_over(&committed.join(MANIFEST), &place).map_err(|e| Error::io("write", &place, e))?;
    }
    remove_tree(&out.join(WORK))
}

/// Moves what is in a committed folder to its place: as a whole where there is no such folder, file by file otherwise.
/// `is_managed` tells which files may be replaced; those in `but` stay for later, if their folder exists.
fn move_into(
    committed: &Path,
    out: &Path,
    folder: &str,
    is_managed: &(dyn Fn(&str) -> bool + Sync),
    but: &[&str],
) -> Result<(), Error> {
    let source = committed.join(folder);
    let fail = |path: &Path, e: io::Error| Error::io("write", path, e);
    let entries: Result<Vec<_>, _> = fs::read_dir(&source).map_err(|e| fail(&source, e))?.collect();
    let entries = entries.map_err(|e| fail(&source, e))?;
    entries.par_iter().try_for_each(|entry| {
        let path = join(folder, &entry.file_name().to_string_lossy());
        let (from, to) = (entry.path(), out.join(&path));
        let is_folder = entry.file_type().map_err(|e| fail(&from, e))?.is_dir();
        match (is_folder, to.symlink_metadata()) {
            (true, Ok(_)) => move_into(committed, out, &path, is_managed, but),
            (false, _) if but.contains(&path.as_str()) => Ok(()),
            (false, Ok(_)) if !is_managed(&path) => Err(in_the_way(&to, 1)),
            (true, Err(_)) => fault::step().and_then(|()| move_folder(&from, &to)).map_err(|e| fail(&to, e)),
            (false, _) => move_over(&from, &to).map_err(|e| fail(&to, e)),
        }
    })
}

/// Moves a folder to a place where there is none.
fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        // The folder that it goes into is a mounted one.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            super::tree::create_folder(to, super::tree::mode_of(&fs::metadata(from)?))?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                let place = to.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    move_folder(&entry.path(), &place)
                } else {
                    move_over(&entry.path(), &place)
                }?;
            }
            Ok(())
        }
        moved => moved,
    }
}

/// Removes the files that only the old manifest lists, and their folders that become empty.
fn remove_stale(out: &Path, old: &Manifest, new: &Manifest) -> Result<(), Error> {
    let stale: Vec<String> = stale(old, new).map(|(folder, name)| join(folder, name)).collect();
    stale.par_iter().try_for_each(|path| {
        let place = out.join(path);
        fault::step().map_err(|e| Error::io("remove", &place, e))?;
        remove_if_there(&place)
    })?;
    let folders: BTreeSet<&str> = stale.iter().flat_map(|path| ancestors(path)).collect();
    for folder in folders.iter().rev() {
        // Fails for folders that are not empty, which stay.
        let _ = fs::remove_dir(out.join(folder));
    }
    Ok(())
}

/// The files that only the old manifest lists, as folder and name.
pub(super) fn stale<'m>(old: &'m Manifest, new: &'m Manifest) -> impl Iterator<Item = (&'m str, &'m str)> {
    let changed = old
        .folders
        .iter()
        .filter(|(folder, names)| !new.folders.get(*folder).is_some_and(|kept| std::sync::Arc::ptr_eq(kept, names)));
    changed.flat_map(|(folder, names)| {
        names.keys().filter(|name| new.get(folder, name).is_none()).map(|name| (folder.as_str(), name.as_str()))
    })
}

/// The error that `first`, and others, exist where files would be written.
pub(super) fn in_the_way(first: &Path, count: usize) -> Error {
    let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    Error::usage(
        format!("{}{more} exists and was not made by tenantry", first.display()),
        "move it away, or write somewhere else with --out; nothing was changed",
    )
}
