//! Whose the drawn users are, drawn as well: those of different tenants who met beyond what was shared must be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use tenantry::audit::tenants::Tenants;
use tenantry::audit::{self, Audit};
use tenantry::diag::{Diagnostic, Severity};

use super::{Dice, everybody};

const TENANTS: [&str; 4] = ["one", "two", "three", "four"];
/// Tenants files for one system.
const FILES: usize = 12;

/// Who got something of whom: sender and receiver.
type Met = BTreeSet<(String, String)>;

/// Which tenant's each account and user is.
struct Assignment<'a> {
    accounts: BTreeMap<&'a str, &'static str>,
    /// Account and tenant of each user.
    users: BTreeMap<&'a str, (&'a str, &'static str)>,
}

impl<'a> Assignment<'a> {
    /// Most have those for one tenant's who met inside an account, since there is no more to see otherwise.
    fn draw(dice: &mut Dice, audit: &'a Audit, met: &Met) -> Self {
        let everybody = everybody(audit);
        let mut users: BTreeMap<&str, (&str, &'static str)> =
            everybody.iter().map(|(a, u)| (u.name.as_str(), (a.name.as_str(), dice.pick(&TENANTS)))).collect();
        if !dice.is_one_in(4) {
            // An account has two users.
            for (from, to) in met {
                let (one, other) = (users[from.as_str()], users[to.as_str()]);
                if let Some(user) = users.get_mut(to.as_str()).filter(|_| one.0 == other.0) {
                    *user = one;
                }
            }
        }
        let accounts: BTreeSet<&str> = everybody.iter().map(|(account, _)| account.name.as_str()).collect();
        let mut declared = BTreeMap::new();
        for account in accounts {
            if dice.is_one_in(3) {
                declared.insert(account, dice.pick(&TENANTS));
            }
        }
        Self { accounts: declared, users }
    }

    fn file(&self) -> String {
        let mut text = String::new();
        for tenant in TENANTS {
            let accounts: Vec<&str> = self.accounts.iter().filter(|(_, t)| **t == tenant).map(|(a, _)| *a).collect();
            let users = self.users.iter().filter(|(_, (_, t))| *t == tenant);
            let users: Vec<String> = users.map(|(user, (account, _))| format!("{account}/{user}")).collect();
            if !accounts.is_empty() || !users.is_empty() {
                let _ = writeln!(text, "[[tenant]]\nname = \"{tenant}\"\naccounts = {accounts:?}\nusers = {users:?}");
            }
        }
        text
    }

    fn has_users(&self, account: &str, tenant: &str) -> bool {
        self.users.values().any(|(a, t)| *a == account && *t == tenant)
    }

    /// Whether an account is not simply one tenant's.
    fn is_mixed(&self, account: &str) -> bool {
        let tenants = self.users.values().filter(|(a, _)| *a == account).map(|(_, tenant)| *tenant);
        let tenants: BTreeSet<&str> = tenants.chain(self.accounts.get(account).copied()).collect();
        tenants.len() > 1
    }

    /// The tenant that has the say over an account.
    fn owner(&self, account: &str) -> Option<&str> {
        let first = || self.users.values().find(|(a, _)| *a == account).map(|(_, tenant)| *tenant);
        self.accounts.get(account).copied().or_else(|| first().filter(|_| !self.is_mixed(account)))
    }

    /// Whether nobody can have meant that one user gets something of another: inside an account always; between two, if
    /// one has several tenants' users, and those of the other end could have been meant instead.
    fn is_against(&self, from: &str, to: &str) -> bool {
        let ((from, sender), (to, receiver)) = (self.users[from], self.users[to]);
        if sender == receiver || from == to {
            return sender != receiver;
        }
        let owners = [self.owner(from), self.owner(to)];
        [(from, sender, receiver), (to, receiver, sender)].into_iter().any(|(account, tenant, other)| {
            let has_say = owners.contains(&Some(tenant));
            let is_guest = self.owner(account).is_some() || self.has_users(account, other);
            self.is_mixed(account) && !has_say && is_guest
        })
    }
}

/// What the proof found, wrong or undecided, about who reaches whom.
fn crossings(audit: &Audit) -> Vec<&str> {
    let says = |f: &&Diagnostic| f.severity == Severity::Error || f.rule == "decided-elsewhere";
    let crossings = audit.findings.iter().filter(says).filter(|f| f.rule != "public-export");
    crossings.map(|f| f.message.as_str()).collect()
}

fn names(message: &str, account: &str) -> bool {
    message.contains(&format!("`{account}`")) || message.contains(&format!("`{account}/"))
}

/// What tenants files for a system led to.
#[derive(Default)]
pub struct Counts {
    /// Pairs of users who met although nobody can have meant it, each told by the proof.
    pub told: u64,
    /// Files for which the tenants are isolated.
    pub isolated: u64,
    /// Those of them in which tenants met by what they share.
    pub sharing: u64,
}

/// Draws tenants files for a system and holds what the proof says of them against who met: whoever did, and cannot have
/// been meant to, must be told. `by_streams`: who met only by streams and consumers that somebody made.
pub fn compare(seed: u64, path: &Path, text: &str, audit: &Audit, (met, by_streams): (&Met, &Met)) -> Counts {
    let mut dice = Dice::new(seed);
    let mut counts = Counts::default();
    for _ in 0..FILES {
        let assignment = Assignment::draw(&mut dice, audit, met);
        let (account, tenant) = (|user: &str| assignment.users[user].0, |user: &str| assignment.users[user].1);
        let file = path.with_extension("tenants.toml");
        std::fs::write(&file, assignment.file()).expect("a file");
        let judged = audit::audit_of(path, &|_| None, |_| Tenants::read(&file)).expect("accepted");
        let crossings = crossings(&judged);
        // By their accounts, or as tenants: by way of further users of theirs, say.
        let is_told = |(from, to): &&(String, String)| {
            let ends = [(account(from), account(to)), (tenant(from), tenant(to))];
            crossings.iter().any(|said| ends.iter().any(|(from, to)| names(said, from) && names(said, to)))
        };
        // Whose account it is may hand on what is shared with it, by a stream: it reaches the other one, which is told.
        let is_handed_on = |pair: &(String, String)| {
            let (from, to) = (account(&pair.0), account(&pair.1));
            let owners = assignment
                .users
                .keys()
                .filter(|user| account(user) == to && Some(tenant(user)) == assignment.owner(to));
            let mut ways = owners.map(|user| (user.to_string(), pair.1.clone()));
            from != to && by_streams.contains(pair) && ways.any(|way| way.0 != way.1 && is_told(&&way))
        };
        let wrong = met.iter().filter(|pair| assignment.is_against(&pair.0, &pair.1) && !is_handed_on(pair));
        let (told, untold): (Vec<_>, Vec<_>) = wrong.partition(is_told);
        assert!(
            untold.is_empty(),
            "seed {seed}: met untold: {untold:?}\n{text}\n{}\n{crossings:#?}",
            assignment.file()
        );
        counts.told += told.len() as u64;
        if judged.verdict().as_str() == "isolated" {
            counts.isolated += 1;
            counts.sharing += u64::from(met.iter().any(|(from, to)| tenant(from) != tenant(to)));
        }
    }
    counts
}
