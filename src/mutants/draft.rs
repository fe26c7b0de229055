//! A rendered configuration that is about to be broken: finding its pieces and
//! changing them. It knows how `render::accounts` lays them out.

use std::ops::Range;

use crate::conf::ConfFiles;
use crate::model::permissions::Grant;
use crate::model::{Credential, Model, ShareKind, Tenant, User};

/// The configuration, and the two tenants that a mutant is about.
pub struct Draft<'m> {
    /// What will be run.
    pub conf: ConfFiles,
    /// What was declared.
    pub model: &'m Model,
    /// The tenant that shares a stream with the other, where one does.
    pub a: &'m Tenant,
    /// The other.
    pub b: &'m Tenant,
    /// A port where nothing listens.
    pub port: u16,
}

impl<'m> Draft<'m> {
    /// The draft of a rendered configuration; nothing with fewer than two tenants.
    pub fn new(model: &'m Model, conf: &ConfFiles) -> Option<Self> {
        let shares = |a: &Tenant, b: &Tenant| b.imports.iter().any(|i| i.kind == ShareKind::Stream && i.from == a.name);
        let pairs = model.tenants.iter().flat_map(|a| model.tenants.iter().map(move |b| (a, b)));
        let mut pairs = pairs.filter(|(a, b)| a.name != b.name).peekable();
        let first = *pairs.peek()?;
        let (a, b) = pairs.find(|(a, b)| shares(a, b)).unwrap_or(first);
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).ok()?.port();
        Some(Self { conf: conf.clone(), model, a, b, port })
    }

    /// A user that may publish and subscribe, but not everything.
    pub fn user(&self, tenant: &'m Tenant) -> Option<&'m User> {
        let limited = |grant: &Grant| matches!(grant, Grant::Only(_));
        tenant.users.iter().find(|u| limited(&u.permissions.publish) && limited(&u.permissions.subscribe))
    }

    /// A user with a password.
    pub fn password_user(&self, tenant: &'m Tenant) -> Option<&'m User> {
        tenant.users.iter().find(|u| matches!(u.credential, Credential::Password { .. }))
    }

    /// The public nkey of a tenant's first user that has one.
    pub fn nkey(&self, tenant: &'m Tenant) -> Option<String> {
        let user = tenant.users.iter().find(|u| !matches!(u.credential, Credential::Password { .. }))?;
        let text = &self.conf.accounts[self.user_at(tenant, user)?];
        Some(text.split("nkey: \"").nth(1)?.split('"').next()?.to_owned())
    }

    fn account_at(&self, tenant: &Tenant) -> Option<Range<usize>> {
        block(&self.conf.accounts, 0..self.conf.accounts.len(), &format!("\"{}\" {{", tenant.name))
    }

    fn user_at(&self, tenant: &Tenant, user: &User) -> Option<Range<usize>> {
        let account = self.account_at(tenant)?;
        let remark = self.conf.accounts[account.clone()].find(&format!("# {}: role", user.name))?;
        block(&self.conf.accounts, account.start + remark..account.end, "{")
    }

    /// An account's text.
    pub fn account_text(&self, tenant: &Tenant) -> Option<&str> {
        Some(&self.conf.accounts[self.account_at(tenant)?])
    }

    /// Removes a user of an account and gives its text.
    pub fn take_user(&mut self, tenant: &Tenant, user: &User) -> Option<String> {
        let at = self.user_at(tenant, user)?;
        let text = self.conf.accounts[at.clone()].to_owned();
        self.conf.accounts.replace_range(at, "");
        Some(text)
    }

    /// Replaces a piece of an account's text, which must be there.
    pub fn in_account(&mut self, tenant: &Tenant, from: &str, to: &str) -> Option<()> {
        let at = self.account_at(tenant)?;
        self.replace(at, from, to)
    }

    /// Replaces every such piece of an account's text.
    pub fn everywhere_in_account(&mut self, tenant: &Tenant, from: &str, to: &str) -> Option<()> {
        let at = self.account_at(tenant)?;
        let text = self.conf.accounts[at.clone()].to_owned();
        text.contains(from).then(|| self.conf.accounts.replace_range(at, &text.replace(from, to)))
    }

    /// Gives a limit of an account, which must be there, another value.
    pub fn set(&mut self, tenant: &Tenant, key: &str, value: impl Fn(&str) -> Option<String>) -> Option<()> {
        let text = self.account_text(tenant)?;
        let opener = format!("{key}: ");
        let at = text.find(&opener)?;
        let old = text[at + opener.len()..].split(|c: char| c.is_whitespace()).next()?.to_owned();
        let new = value(&old)?;
        (new != old).then_some(())?;
        self.in_account(tenant, &format!("{opener}{old}"), &format!("{opener}{new}"))
    }

    /// Lets the users of an account connect in one more way.
    pub fn allow_connections(&mut self, tenant: &Tenant, kind: &str) -> Option<()> {
        let standard = "allowed_connection_types: [\"STANDARD\"";
        self.everywhere_in_account(tenant, &format!("{standard}]"), &format!("{standard}, \"{kind}\"]"))
    }

    /// Replaces a piece of a user's text, which must be there.
    pub fn in_user(&mut self, tenant: &Tenant, user: &User, from: &str, to: &str) -> Option<()> {
        let at = self.user_at(tenant, user)?;
        self.replace(at, from, to)
    }

    /// Replaces a block of a user's text, its braces included.
    pub fn user_block(&mut self, tenant: &Tenant, user: &User, opener: &str, to: &str) -> Option<()> {
        let user = self.user_at(tenant, user)?;
        let at = block(&self.conf.accounts, user, opener)?;
        self.conf.accounts.replace_range(at, to);
        Some(())
    }

    /// The same for a block of an account.
    pub fn account_block(&mut self, tenant: &Tenant, opener: &str, to: &str) -> Option<()> {
        let account = self.account_at(tenant)?;
        let at = block(&self.conf.accounts, account, opener)?;
        self.conf.accounts.replace_range(at, to);
        Some(())
    }

    /// Grants a user one more subject on one side, which it has not.
    pub fn grant(&mut self, tenant: &Tenant, user: &User, side: &str, subject: &str) -> Option<()> {
        let user = self.user_at(tenant, user)?;
        let side = block(&self.conf.accounts, user, &format!("{side} {{"))?;
        (!self.conf.accounts[side.clone()].contains(&format!("\"{subject}\""))).then_some(())?;
        self.replace(side, "allow: [", &format!("allow: [\"{subject}\", "))
    }

    fn replace(&mut self, within: Range<usize>, from: &str, to: &str) -> Option<()> {
        let at = self.conf.accounts[within.clone()].find(from)? + within.start;
        self.conf.accounts.replace_range(at..at + from.len(), to);
        Some(())
    }

    /// Adds something to an account: into a list that is there, or as a new one.
    pub fn add_to_list(&mut self, tenant: &Tenant, list: &str, item: &str) -> Option<()> {
        let account = self.account_at(tenant)?;
        if let Some(at) = block(&self.conf.accounts, account.clone(), &format!("{list}: [")) {
            let inside = at.start + self.conf.accounts[at].find('[')? + 1;
            self.conf.accounts.insert_str(inside, &format!("\n{item}\n"));
            return Some(());
        }
        self.add(tenant, &format!("{list}: [ {item} ]"))
    }

    /// Adds a line to an account.
    pub fn add(&mut self, tenant: &Tenant, line: &str) -> Option<()> {
        let end = self.account_at(tenant)?.end - 1;
        self.conf.accounts.insert_str(end, &format!("{line}\n"));
        Some(())
    }

    /// Adds a line to the main file.
    pub fn add_to_server(&mut self, line: &str) -> Option<()> {
        self.conf.main.push_str(&format!("\n{line}\n"));
        Some(())
    }

    /// Replaces a piece of the main file, which must be there.
    pub fn in_server(&mut self, from: &str, to: &str) -> Option<()> {
        self.conf.main.contains(from).then(|| self.conf.main = self.conf.main.replacen(from, to, 1))
    }

    /// Adds a second block of an account, with everything but its users.
    pub fn repeat_without_users(&mut self, tenant: &Tenant) -> Option<()> {
        let mut text = self.conf.accounts[self.account_at(tenant)?].to_owned();
        let users = block(&text, 0..text.len(), "users: [")?;
        text.replace_range(users, "users: []");
        self.add_account(&text)
    }

    /// Adds an account.
    pub fn add_account(&mut self, text: &str) -> Option<()> {
        let end = self.conf.accounts.rfind('}')?;
        self.conf.accounts.insert_str(end, &format!("{text}\n"));
        Some(())
    }

    /// Removes an account and gives what was in it.
    pub fn take_account(&mut self, tenant: &Tenant) -> Option<String> {
        let at = self.account_at(tenant)?;
        let text = self.conf.accounts[at.clone()].to_owned();
        self.conf.accounts.replace_range(at, "");
        Some(text)
    }
}

/// From the line that is `opener` to the line that closes it, without the first
/// one's indentation and the last one's end.
pub fn block(text: &str, within: Range<usize>, opener: &str) -> Option<Range<usize>> {
    let mut offset = within.start;
    let mut open: Option<(usize, usize)> = None;
    for line in text[within].split_inclusive('\n') {
        let bare = line.trim_end();
        let indent = bare.len() - bare.trim_start().len();
        match open {
            None if bare.trim_start() == opener || (opener.ends_with('[') && bare.trim_start().starts_with(opener)) => {
                // A list that fits is on one line.
                if opener.ends_with('[') && bare.ends_with(']') {
                    return Some(offset + indent..offset + bare.len());
                }
                open = Some((offset + indent, indent));
            }
            Some((start, depth)) if indent == depth && matches!(bare.trim_start(), "}" | "]") => {
                return Some(start..offset + bare.len());
            }
            _ => {}
        }
        offset += line.len();
    }
    None
}
