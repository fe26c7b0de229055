//! Edits to the registry's files that keep comments and order. The edited registry is
//! validated as a whole; an edit that would make it invalid is undone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::{Overlay, Valid, load, load_with};
use crate::diag::Severity;
use crate::error::Error;
use crate::files;
use crate::model::roles::PROVISIONER;

/// A registry opened for an edit.
pub struct Editor {
    main: PathBuf,
    files: BTreeMap<PathBuf, DocumentMut>,
    original: BTreeMap<PathBuf, String>,
    created: Vec<PathBuf>,
    /// Advisory lock on the registry's folder: serialises concurrent edits.
    _lock: fs::File,
}

/// Initial keys of a new tenant.
#[derive(Debug, Default)]
pub struct NewTenant {
    /// The account's name.
    pub name: String,
    /// The tenant's subjects. Empty means the default.
    pub subjects: Vec<String>,
    /// JetStream storage, such as `512MiB`. `None` omits the key.
    pub storage: Option<String>,
    /// JetStream memory, such as `64MiB`. `None` omits the key.
    pub memory: Option<String>,
    /// The first user.
    pub user: NewUser,
}

/// Initial keys of a new user.
#[derive(Debug, Default)]
pub struct NewUser {
    /// The user's name.
    pub name: String,
    /// The user's role. `None` means the default.
    pub role: Option<String>,
    /// The kind of credential. `None` means the default.
    pub auth: Option<String>,
    /// The public half of an nkey whose seed the user keeps.
    pub public_key: Option<String>,
}

impl Editor {
    /// Opens every file of a registry, which must be valid.
    pub fn open(path: &Path) -> Result<(Self, Valid), Error> {
        let main = fs::canonicalize(path).map_err(|_| Error::NoRegistry { path: path.to_owned() })?;
        let folder = super::folder_of(&main).to_owned();
        let lock = fs::File::open(&folder).map_err(|e| Error::io("open", &folder, e))?;
        lock.lock().map_err(|e| Error::io("lock", &folder, e))?;
        let valid = load(path)?.into_valid()?;
        let (mut files, mut original) = (BTreeMap::new(), BTreeMap::new());
        for file in valid.sources.paths() {
            let real = fs::canonicalize(file).map_err(|e| Error::io("find", file, e))?;
            let text = fs::read_to_string(&real).map_err(|e| Error::io("read", &real, e))?;
            let document = text.parse::<DocumentMut>().map_err(|e| {
                Error::usage(
                    format!("{} cannot be edited: {e}", file.display()),
                    "mend it by hand; `tenantry check` says where",
                )
            })?;
            files.insert(real.clone(), document);
            original.insert(real, text);
        }
        Ok((Self { main, files, original, created: Vec::new(), _lock: lock }, valid))
    }

    /// Adds a tenant to `file`. `None` means the main file.
    pub fn add_tenant(&mut self, new: &NewTenant, file: Option<&Path>) -> Result<(), Error> {
        let target = match file {
            None => self.main.clone(),
            Some(file) => self.file(file)?,
        };
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n");
        table["name"] = value(&new.name);
        if !new.subjects.is_empty() {
            table["subjects"] = value(new.subjects.iter().collect::<Array>());
        }
        if new.storage.is_some() || new.memory.is_some() {
            let mut jetstream = Table::new();
            jetstream.decor_mut().set_prefix("\n");
            for (key, size) in [("memory", &new.memory), ("storage", &new.storage)] {
                if let Some(size) = size {
                    jetstream[key] = value(size);
                }
            }
            table["jetstream"] = Item::Table(jetstream);
        }
        let mut users = ArrayOfTables::new();
        users.push(user_table(&new.user));
        table["user"] = Item::ArrayOfTables(users);
        match push(self.document(&target), "tenant", table) {
            true => Ok(()),
            false => Err(inline_error(&target, "tenant")),
        }
    }

    /// The real path of a file of the registry. A file that does not exist is created on save.
    fn file(&mut self, file: &Path) -> Result<PathBuf, Error> {
        if let Ok(real) = fs::canonicalize(file) {
            if !self.files.contains_key(&real) {
                return Err(Error::usage(
                    format!("{} is not part of the registry", file.display()),
                    "add it to `include` first",
                ));
            }
            return Ok(real);
        }
        let real = std::path::absolute(file).map_err(|e| Error::io("find", file, e))?;
        self.files.insert(real.clone(), DocumentMut::new());
        self.original.insert(real.clone(), String::new());
        self.created.push(real.clone());
        Ok(real)
    }

    /// Removes a tenant and, if `with_shares`, its part in every share. Retires its name.
    pub fn remove_tenant(&mut self, name: &str, with_shares: bool) -> Result<(), Error> {
        let shares = self.shares_of(name);
        if shares > 0 && !with_shares {
            return Err(Error::usage(
                format!("`{name}` takes part in {shares} share{}", if shares == 1 { "" } else { "s" }),
                "remove them as well with --with-shares",
            ));
        }
        let mut is_found = false;
        for document in self.files.values_mut() {
            if let Some(tenants) = tables(document, "tenant") {
                is_found |= tenants.iter().any(|t| text(t, "name") == Some(name));
                tenants.retain(|t| text(t, "name") != Some(name));
                if tenants.is_empty() {
                    document.remove("tenant");
                }
            }
            if let Some(shares) = tables(document, "share") {
                shares.retain(|s| text(s, "from") != Some(name));
                for share in shares.iter_mut() {
                    if let Some(to) = share.get_mut("to").and_then(Item::as_array_mut) {
                        to.retain(|v| v.as_str() != Some(name));
                    }
                }
                shares.retain(|s| s.get("to").and_then(Item::as_array).is_none_or(|to| !to.is_empty()));
                if shares.is_empty() {
                    document.remove("share");
                }
            }
        }
        if !is_found {
            return Err(inline_error(&self.with_inline_tenants(), "tenant"));
        }
        self.retire(name, None)
    }

    /// Suspends a tenant, or ends that.
    pub fn suspend_tenant(&mut self, name: &str, is_suspended: bool) -> Result<(), Error> {
        // No system account has this name.
        let (_, tenant) = self.owner(name, "")?;
        match is_suspended {
            true => tenant["suspended"] = value(true),
            false => {
                tenant.remove("suspended");
            }
        }
        Ok(())
    }

    fn shares_of(&self, name: &str) -> usize {
        let takes_part = |share: &&Table| {
            let to = share.get("to").and_then(Item::as_array);
            text(share, "from") == Some(name) || to.is_some_and(|to| to.iter().any(|v| v.as_str() == Some(name)))
        };
        let shares = self.files.values().filter_map(|d| d.get("share")?.as_array_of_tables());
        shares.flat_map(ArrayOfTables::iter).filter(takes_part).count()
    }

    /// Adds a user to a tenant or to the system account. With a retired name it starts at
    /// the next generation, and so with a new secret.
    pub fn add_user(&mut self, account: &str, system: &str, user: &NewUser) -> Result<(), Error> {
        let retired = self.retired(account, Some(&user.name)).map(|table| generation(table).unwrap_or(1));
        let last = retired.filter(|_| user.public_key.is_none());
        let main = self.main.clone();
        let (path, owner) = self.owner(account, system)?;
        let mut table = user_table(user);
        if let Some(last) = last {
            table["generation"] = value(last + 1);
        }
        match push(owner, "user", table) {
            true => Ok(()),
            false => Err(inline_error(path.as_deref().unwrap_or(&main), header(account, system))),
        }
    }

    /// Raises a user's generation, which replaces every secret of the user. Returns the new one.
    pub fn rotate_user(&mut self, account: &str, system: &str, user: &str) -> Result<u32, Error> {
        if user == PROVISIONER && !self.declares_user(account, system, user)? {
            let own = NewUser { name: user.into(), role: Some(PROVISIONER.into()), auth: None, public_key: None };
            self.add_user(account, system, &own)?;
        }
        let (path, owner) = self.owner(account, system)?;
        let found = owner
            .get_mut("user")
            .and_then(Item::as_array_of_tables_mut)
            .and_then(|users| users.iter_mut().find(|u| text(u, "name") == Some(user)));
        let Some(table) = found else {
            return Err(inline_error(path.as_deref().unwrap_or(Path::new("the registry")), header(account, system)));
        };
        let next = generation(table).unwrap_or(1) + 1;
        if let Some(old) = table.get_mut("generation").and_then(Item::as_value_mut) {
            let decor = old.decor().clone();
            *old = next.into();
            *old.decor_mut() = decor;
        } else {
            table["generation"] = value(next);
        }
        Ok(u32::try_from(next).unwrap_or(u32::MAX))
    }

    /// The `[[retired]]` entry of a name. `None` for `user` finds the entry of the whole tenant.
    fn retired(&mut self, tenant: &str, user: Option<&str>) -> Option<&mut Table> {
        let main = self.main.clone();
        let retired = tables(self.document(&main), "retired")?;
        retired.iter_mut().find(|t| text(t, "tenant") == Some(tenant) && text(t, "user") == user)
    }

    /// Retires a name in the main file, wherever the tenant was declared. `user` is the name
    /// and last generation; `None` retires the whole tenant.
    fn retire(&mut self, tenant: &str, user: Option<(&str, i64)>) -> Result<(), Error> {
        if let Some(known) = self.retired(tenant, user.map(|(name, _)| name)) {
            if let Some((_, last)) = user {
                known["generation"] = value(last.max(generation(known).unwrap_or(1)));
            }
            return Ok(());
        }
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n");
        table["tenant"] = value(tenant);
        if let Some((name, last)) = user {
            table["user"] = value(name);
            if last > 1 {
                table["generation"] = value(last);
            }
        }
        let main = self.main.clone();
        match push(self.document(&main), "retired", table) {
            true => Ok(()),
            false => Err(inline_error(&main, "retired")),
        }
    }

    /// Removes a user. Retires its name with the last generation of its secret: one with a key of its own may have had
    /// derived ones before.
    pub fn remove_user(&mut self, account: &str, system: &str, user: &str) -> Result<(), Error> {
        let main = self.main.clone();
        let (path, owner) = self.owner(account, system)?;
        let is_removed = |table: &Table| text(table, "name") == Some(user);
        let at =
            owner.get("user").and_then(Item::as_array_of_tables).and_then(|users| users.iter().position(is_removed));
        let (Some(at), Some(users)) = (at, owner.get_mut("user").and_then(Item::as_array_of_tables_mut)) else {
            return Err(inline_error(path.as_deref().unwrap_or(&main), header(account, system)));
        };
        let last = users.get(at).and_then(generation).unwrap_or(1);
        users.remove(at);
        if users.is_empty() {
            owner.remove("user");
        }
        self.retire(account, Some((user, last)))
    }

    /// Whether the registry declares the user. The implied provisioner is not declared.
    pub fn declares_user(&mut self, account: &str, system: &str, user: &str) -> Result<bool, Error> {
        let (_, owner) = self.owner(account, system)?;
        let users = owner.get("user").and_then(Item::as_array_of_tables);
        // Users that are written inline are not inspected: they count as declared.
        Ok(owner.get("user").is_some_and(|u| u.as_array_of_tables().is_none())
            || users.is_some_and(|users| users.iter().any(|u| text(u, "name") == Some(user))))
    }

    /// The table that holds an account's users, and the file that contains it.
    fn owner(&mut self, account: &str, system: &str) -> Result<(Option<PathBuf>, &mut Table), Error> {
        if account == system {
            let main = self.main.clone();
            let document = self.document(&main);
            let table = document.entry("system").or_insert_with(|| Item::Table(Table::new())).as_table_mut();
            return table.map(|t| (Some(main.clone()), t)).ok_or_else(|| inline_error(&main, "system"));
        }
        let inline = self.with_inline_tenants();
        for (path, document) in &mut self.files {
            if let Some(tenants) = tables(document, "tenant")
                && let Some(tenant) = tenants.iter_mut().find(|t| text(t, "name") == Some(account))
            {
                return Ok((Some(path.clone()), tenant));
            }
        }
        Err(inline_error(&inline, "tenant"))
    }

    /// The first file in which tenants are not written as headers, otherwise the main one.
    fn with_inline_tenants(&self) -> PathBuf {
        let is_inline = |document: &DocumentMut| {
            document.get("tenant").is_some_and(|tenants| tenants.as_array_of_tables().is_none())
        };
        let inline = self.files.iter().find(|(_, document)| is_inline(document));
        inline.map_or_else(|| self.main.clone(), |(path, _)| path.clone())
    }

    fn document(&mut self, path: &Path) -> &mut DocumentMut {
        self.files.entry(path.to_owned()).or_default()
    }

    /// Keeps CRLF line ends in a file that had them.
    fn with_line_ends(&self, path: &Path, text: String) -> String {
        let is_windows = self.original.get(path).is_some_and(|original| original.contains("\r\n"));
        if is_windows { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text }
    }

    /// Validates the changed files, and writes them: the main one last, because it says what is retired.
    pub fn save(self) -> Result<Valid, Error> {
        let changed: Vec<(&PathBuf, String)> = self
            .files
            .iter()
            .map(|(path, document)| (path, self.with_line_ends(path, document.to_string())))
            .filter(|(path, text)| self.original.get(*path) != Some(text))
            .collect();
        // Headers decide by their order whose a table is.
        let reads_otherwise = |(path, text): &&(&PathBuf, String)| {
            let meant = toml_edit::de::from_document::<toml::Value>(self.files[*path].clone());
            meant.ok() != toml::from_str(text).ok()
        };
        if let Some((path, _)) = changed.iter().find(reads_otherwise) {
            return Err(Error::usage(
                format!("{}: nothing was written, because this would move tables to another tenant", path.display()),
                "keep the tables of a tenant together, and try again; or edit it by hand",
            ));
        }
        let overlay: Overlay = changed.iter().map(|(path, text)| ((*path).clone(), text.clone())).collect();
        let valid = match load_with(&self.main, &overlay).and_then(super::Loaded::into_valid) {
            Ok(valid) if self.created.iter().all(|file| is_read(&valid, file)) => valid,
            Ok(_) => {
                return Err(Error::usage(
                    "the new file would not be part of the registry",
                    "add it to `include` in the main file first, for example include = [\"tenants.d/*.toml\"]",
                ));
            }
            Err(Error::Registry { sources, mut diagnostics }) => {
                // The registry had no errors before, so every error comes from the edit; warnings may not.
                diagnostics.retain(|d| d.severity == Severity::Error);
                return Err(Error::RefusedEdit { sources, diagnostics });
            }
            Err(e) => return Err(e),
        };
        let undo = |written: &[&PathBuf]| {
            for path in written {
                match self.original.get(*path) {
                    Some(text) if !self.created.contains(path) => drop(replace(path, text)),
                    _ => drop(fs::remove_file(path)),
                }
            }
        };
        let (main, included): (Vec<_>, Vec<_>) = changed.iter().partition(|(path, _)| **path == self.main);
        let mut written = Vec::new();
        for (path, text) in included.into_iter().chain(main) {
            if let Err(e) = replace(path, text) {
                undo(&written);
                return Err(e);
            }
            written.push(*path);
        }
        Ok(valid)
    }
}

fn is_read(valid: &Valid, file: &Path) -> bool {
    valid.sources.paths().any(|path| super::real(path) == super::real(file))
}

/// Replaces a file atomically and keeps its mode.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let fail = |e: std::io::Error| Error::io("write", path, e);
    fs::create_dir_all(super::folder_of(path)).map_err(fail)?;
    let mode = fs::metadata(path).map_or_else(|_| PermissionsExt::from_mode(0o644), |meta| meta.permissions());
    files::replace_alone(path, text.as_bytes(), mode).map_err(fail)
}

/// Adds a table to those of a key, after them, or after everything else of `owner` if there are none. `false`: they are not
/// written as headers.
fn push(owner: &mut Table, key: &str, mut table: Table) -> bool {
    let everything = last_place(owner);
    let tables = owner.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(tables) = tables.as_array_of_tables_mut() else { return false };
    // Without a place it would stand where the last of them began a table of its own: the rest would be taken for its part.
    table.set_position(tables.iter().filter_map(last_place).max().or(everything));
    tables.push(table);
    true
}

/// The place in the text of the last header of a table and of those below it.
fn last_place(table: &Table) -> Option<isize> {
    let below = |(_, item): (&str, &Item)| match item {
        Item::Table(table) => last_place(table),
        Item::ArrayOfTables(tables) => tables.iter().filter_map(last_place).max(),
        _ => None,
    };
    table.position().max(table.iter().filter_map(below).max())
}

fn tables<'d>(document: &'d mut DocumentMut, key: &str) -> Option<&'d mut ArrayOfTables> {
    document.get_mut(key)?.as_array_of_tables_mut()
}

fn text<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}

/// The user's generation. `None` if the key is absent.
fn generation(user: &Table) -> Option<i64> {
    user.get("generation").and_then(Item::as_integer)
}

fn inline_error(path: &Path, key: &str) -> Error {
    Error::usage(
        format!("{}: `{key}` is not written as [[{key}]] headers, so it cannot be edited here", path.display()),
        "edit it by hand, or write it with headers",
    )
}

/// The header of an account's users.
fn header(account: &str, system: &str) -> &'static str {
    if account == system { "system.user" } else { "tenant.user" }
}

fn user_table(user: &NewUser) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    table["name"] = value(&user.name);
    for (key, word) in [("role", &user.role), ("auth", &user.auth), ("public_key", &user.public_key)] {
        if let Some(word) = word {
            table[key] = value(word);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::TWO_TENANTS;

    const COMMENTED: &str = "# top\nversion = 1 # the only one\n\n[keys]\nroot  =  \"development\"\n\n# the first\n[[tenant]]\nname = \"A\"\n\
        subjects = [\n  \"A.>\", # all\n]\n\n[[tenant.user]]\n# a person\nname = \"one\"\ngeneration = 2 # replaced once\n\n\
        [[tenant.user]]\nname = \"two\"\n\n[[tenant]]\nname = \"B\"\n\n[[tenant.user]]\nname = \"u\"\n\n\
        [[share]]\nfrom = \"A\"\nto = [\"B\"] # wanted\nstream = \"A.x\"\n";

    /// The text of a registry after an edit.
    fn edited(text: &str, edit: impl FnOnce(&mut Editor) -> Result<(), Error>) -> Result<String, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tenants.toml");
        fs::write(&path, text).expect("write");
        let (mut editor, _) = Editor::open(&path)?;
        edit(&mut editor)?;
        editor.save().map(drop).inspect_err(|_| assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some(text)))?;
        Ok(fs::read_to_string(&path).expect("read"))
    }

    fn user_named(name: &str) -> NewUser {
        NewUser { name: name.to_owned(), ..NewUser::default() }
    }

    #[test]
    fn an_edit_that_changes_nothing_keeps_every_byte() {
        assert_eq!(edited(COMMENTED, |_| Ok(())).expect("valid"), COMMENTED);
    }

    #[test]
    fn a_new_tenant_is_added_at_the_end_of_the_tenants_and_nothing_moves() {
        let new = NewTenant {
            name: "C".to_owned(),
            subjects: vec!["c.>".to_owned()],
            user: NewUser { role: Some("admin".to_owned()), ..user_named("u") },
            ..NewTenant::default()
        };
        let after = edited(COMMENTED, |editor| editor.add_tenant(&new, None)).expect("valid");
        let added =
            "\n[[tenant]]\nname = \"C\"\nsubjects = [\"c.>\"]\n\n[[tenant.user]]\nname = \"u\"\nrole = \"admin\"\n";
        assert!(after.contains(added), "{after}");
        assert_eq!(after.replacen(added, "", 1), COMMENTED);
    }

    /// The tables of a tenant may come in any order, and one kind of them again after another.
    #[test]
    fn nothing_moves_whatever_the_order_of_a_tenants_tables() {
        let tables = [
            "[[tenant.user]]\nname = \"one\"\n",
            "[[tenant.user]]\nname = \"two\"\nrole = \"admin\"\n",
            "[tenant.jetstream]\nstorage = \"64MiB\"\n",
            "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n",
            "[[tenant.bucket]]\nname = \"b\"\n",
            "[[tenant.stream]]\nname = \"T\"\nsubjects = [\"A.t\"]\n",
        ];
        let mut orders: Vec<Vec<&str>> = vec![Vec::new()];
        for table in tables {
            let longer = orders.iter().flat_map(|order| {
                (0..=order.len()).map(|at| {
                    let mut order = order.clone();
                    order.insert(at, table);
                    order
                })
            });
            orders = longer.collect();
        }
        let head = "version = 1\n[server.jetstream]\nstorage = \"1GiB\"\n[keys]\nroot = \"development\"\n";
        let parsed = |text: &str| toml::from_str::<toml::Table>(text).expect("TOML");
        for order in orders.iter().step_by(7) {
            let text = format!("{head}[[tenant]]\nname = \"A\"\n{}", order.concat());
            let before = parsed(&text);
            let new = NewTenant { name: "B".into(), user: user_named("app"), ..NewTenant::default() };
            let after = parsed(&edited(&text, |e| e.add_tenant(&new, None)).expect("it fits"));
            assert_eq!(after["tenant"][0], before["tenant"][0], "{text}");
            let after = parsed(&edited(&text, |e| e.remove_user("A", "SYS", "one")).expect("it fits"));
            assert_eq!(after["tenant"][0]["stream"], before["tenant"][0]["stream"], "{text}");
            let after = parsed(&edited(&text, |e| e.add_user("A", "SYS", &user_named("three"))).expect("it fits"));
            assert_eq!(after["tenant"][0]["bucket"], before["tenant"][0]["bucket"], "{text}");
            assert_eq!(after["tenant"][0]["user"].as_array().map(Vec::len), Some(3), "{text}");
        }
    }

    #[test]
    fn a_new_user_is_added_below_its_tenant_and_nothing_moves() {
        let after = edited(COMMENTED, |editor| editor.add_user("A", "SYS", &user_named("three"))).expect("valid");
        let added = "\n[[tenant.user]]\nname = \"three\"\n";
        assert_eq!(after.replacen(added, "", 1), COMMENTED);
        assert!(after.find("\"three\"") < after.find("name = \"B\""), "{after}");
    }

    #[test]
    fn a_rotation_raises_the_generation_and_keeps_its_comment() {
        let after = edited(COMMENTED, |e| e.rotate_user("A", "SYS", "one").map(|n| assert_eq!(n, 3))).expect("valid");
        assert_eq!(after, COMMENTED.replace("generation = 2 # replaced once", "generation = 3 # replaced once"));
        let after = edited(COMMENTED, |e| e.rotate_user("A", "SYS", "two").map(|n| assert_eq!(n, 2))).expect("valid");
        assert_eq!(after, COMMENTED.replace("name = \"two\"\n", "name = \"two\"\ngeneration = 2\n"));
    }

    #[test]
    fn rotating_an_implied_provisioner_declares_it_with_the_next_generation() {
        let after = edited(TWO_TENANTS, |e| e.rotate_user("T", "SYS", PROVISIONER).map(drop)).expect("valid");
        let added = "\n[[tenant.user]]\nname = \"provisioner\"\nrole = \"provisioner\"\ngeneration = 2\n";
        assert_eq!(after.replacen(added, "", 1), TWO_TENANTS);
    }

    #[test]
    fn a_removed_user_is_retired_with_its_last_generation() {
        let after = edited(COMMENTED, |editor| editor.remove_user("A", "SYS", "one")).expect("valid");
        assert!(after.contains("\n[[retired]]\ntenant = \"A\"\nuser = \"one\"\ngeneration = 2\n"), "{after}");
        assert!(!after.contains("name = \"one\"") && after.contains("name = \"two\""), "{after}");
        let after = edited(COMMENTED, |editor| editor.remove_user("A", "SYS", "two")).expect("valid");
        assert!(
            after.contains("[[retired]]\ntenant = \"A\"\nuser = \"two\"\n") && !after.contains("generation = 1"),
            "{after}"
        );
    }

    #[test]
    fn a_user_under_a_retired_name_starts_at_the_next_generation() {
        let removed = edited(COMMENTED, |editor| editor.remove_user("A", "SYS", "one")).expect("valid");
        let after = edited(&removed, |editor| editor.add_user("A", "SYS", &user_named("one"))).expect("valid");
        assert!(after.contains("name = \"one\"\ngeneration = 3\n"), "{after}");
    }

    #[test]
    fn a_removed_tenant_takes_its_shares_along_only_if_told() {
        let refused = edited(COMMENTED, |editor| editor.remove_tenant("B", false)).expect_err("it has a share");
        assert_eq!(refused.to_string(), "`B` takes part in 1 share");
        let after = edited(COMMENTED, |editor| editor.remove_tenant("B", true)).expect("valid");
        assert!(after.contains("[[retired]]\ntenant = \"B\"\n") && !after.contains("[[share]]"), "{after}");
        let kept = &COMMENTED[..COMMENTED.find("\n[[tenant]]\nname = \"B\"").expect("B")];
        assert!(after.starts_with(kept), "{after}");
    }

    #[test]
    fn a_removed_tenant_leaves_what_its_users_had_given_up() {
        let text = format!("{COMMENTED}[[retired]]\ntenant = \"A\"\nuser = \"old\"\ngeneration = 7\n");
        let after = edited(&text, |e| e.remove_tenant("A", true)).expect("it fits");
        assert!(
            after.contains("user = \"old\"\ngeneration = 7") && after.ends_with("[[retired]]\ntenant = \"A\"\n"),
            "{after}"
        );
    }

    #[test]
    fn an_edit_that_would_make_the_registry_invalid_changes_nothing() {
        // `edited` compares the file after the refusal.
        let result = edited(COMMENTED, |editor| editor.add_user("A", "SYS", &user_named("ONE")));
        let Err(Error::RefusedEdit { diagnostics, .. }) = result else { panic!("{result:?}") };
        assert_eq!(diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(), ["duplicate-name"]);
    }

    #[test]
    fn a_file_with_windows_line_ends_keeps_them() {
        let windows = COMMENTED.replace('\n', "\r\n");
        let after = edited(&windows, |editor| editor.add_user("B", "SYS", &user_named("v"))).expect("valid");
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        assert!(after.contains("[[tenant.user]]\r\nname = \"v\"\r\n"), "{after:?}");
    }

    #[test]
    fn users_that_are_written_inline_are_left_to_be_edited_manually() {
        const INLINE: &str = "version = 1\n[[tenant]]\nname = \"A\"\nuser = [{ name = \"u\" }, { name = \"v\" }]\n\
            [system]\nuser = [{ name = \"op\", auth = \"nkey\" }, { name = \"ops\", auth = \"nkey\" }]\n";
        let refused = |edit: &dyn Fn(&mut Editor) -> Result<(), Error>| {
            edited(INLINE, |editor| edit(editor)).expect_err("inline").to_string()
        };
        for (account, user, header) in [("A", "v", "tenant.user"), ("SYS", "op", "system.user")] {
            for error in [
                refused(&|editor| editor.add_user(account, "SYS", &user_named("w"))),
                refused(&|editor| editor.rotate_user(account, "SYS", user).map(drop)),
                refused(&|editor| editor.remove_user(account, "SYS", user)),
            ] {
                let end = format!("`{header}` is not written as [[{header}]] headers, so it cannot be edited here");
                assert!(error.ends_with(&end), "{error}");
            }
        }
        let inline = "version = 1\ntenant = [{ name = \"A\", user = [{ name = \"u\" }] }, { name = \"B\", user = [{ name = \"v\" }] }]\n";
        let error = edited(inline, |editor| editor.remove_tenant("A", false)).expect_err("inline");
        assert!(error.to_string().contains("`tenant` is not written as [[tenant]] headers"), "{error}");
    }
}
