//! Guesses whether an account's users are several tenants' where nobody said, as a careful reader of
//! the configuration would. A guess never proves anything: it makes the
//! verdict inconclusive.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::system::{Account, Side, System, User};
use crate::subject::{Subject, SubjectIndex};

/// An account whose users look like several tenants'.
#[derive(Debug)]
pub struct Suspicion<'w> {
    /// The account.
    pub account: &'w Account,
    /// Its users, grouped by presumed tenant. Users that belong to no group are left out.
    pub groups: Vec<Group<'w>>,
    /// Users without lists of allowed subjects, who may do what the groups do. None where other accounts than the system
    /// account have users: there they may be their tenant's.
    pub open: Vec<&'w User>,
    /// Why they look like several.
    pub why: String,
}

/// Users that look like one tenant's.
#[derive(Debug)]
pub struct Group<'w> {
    /// A name for it, from what its users have in common.
    pub name: String,
    /// Its users.
    pub users: Vec<&'w User>,
}

/// The accounts whose users look like several tenants', without the system account and those that `is_asked` leaves out.
pub fn suspicions<'w>(system: &'w System, is_asked: impl Fn(&Account) -> bool) -> Vec<Suspicion<'w>> {
    let names: HashSet<String> =
        system.tenants().filter(|account| account.name.len() > 1).map(|account| account.name.to_lowercase()).collect();
    // With accounts to divide tenants by, inboxes of its users' own divide nobody.
    let is_only = system.accounts.iter().filter(|account| !account.users.is_empty()).count() < 2;
    let is_only_tenant = system.tenants().filter(|account| !account.users.is_empty()).count() < 2;
    let asked = system.tenants().filter(|account| is_asked(account));
    asked.filter_map(|account| suspicion(&names, account, is_only, is_only_tenant)).collect()
}

/// The suspicion that an account's users are several tenants'. `names`: of all accounts, in lower case. `None`:
/// they look like one tenant's. `is_only`: whether no other account has users; `is_only_tenant`: whether none but the
/// system account.
fn suspicion<'w>(
    names: &HashSet<String>,
    account: &'w Account,
    is_only: bool,
    is_only_tenant: bool,
) -> Option<Suspicion<'w>> {
    if let Some(why) = &account.scopes {
        return Some(Suspicion { account, groups: Vec::new(), open: Vec::new(), why: why.clone() });
    }
    let leaves: Vec<Group<'w>> = account
        .users
        .iter()
        .filter(|user| user.is_leaf_login)
        .map(|user| Group { name: user.display_name().to_owned(), users: vec![user] })
        .collect();
    if let [one, other, ..] = leaves.as_slice() {
        let why = format!("leaf nodes log in to it as `{}` and as `{}`", one.name, other.name);
        return Some(Suspicion { account, groups: leaves, open: Vec::new(), why });
    }
    if let Some((one, other)) = denied_by_name(account) {
        let (first, second) = (one.display_name(), other.display_name());
        let why = format!("`{first}` denies subjects with the name of `{second}`");
        let groups = [one, other].map(|user| Group { name: user.display_name().to_owned(), users: vec![user] });
        return Some(Suspicion { account, groups: groups.into(), open: Vec::new(), why });
    }
    if let Some(groups) = denying(account) {
        let why = format!("`{}` and `{}` each deny subjects that the other may use", groups[0].name, groups[1].name);
        return Some(Suspicion { account, groups, open: Vec::new(), why });
    }
    let (open, limited): (Vec<&User>, Vec<&User>) = account.users.iter().partition(|user| is_open(user));
    // With accounts to divide tenants by, one user that may do everything beside others may be their tenant's.
    let accused = if is_only_tenant { open.clone() } else { Vec::new() };
    let spaces: Vec<(&User, Spaces)> = limited.iter().map(|user| (*user, Spaces::of(user))).collect();
    let groups = groups(&spaces);
    if groups.len() > 1 {
        let why = format!("its users `{}` and `{}` have subjects of their own", groups[0].name, groups[1].name);
        return Some(Suspicion { account, groups, open: accused, why });
    }
    let alike = alike(&limited, is_only);
    if let [one, other, ..] = alike.as_slice() {
        let why = format!("the subjects of `{}` and `{}` differ by a name only", one.name, other.name);
        return Some(Suspicion { account, groups: alike, open: accused, why });
    }
    if let Some(groups) = named_like_accounts(names, account) {
        let why = format!("its users are named like the accounts `{}` and `{}`", groups[0].name, groups[1].name);
        return Some(Suspicion { account, groups, open: accused, why });
    }
    if !is_only {
        return None;
    }
    let restricted = groups.into_iter().next().filter(|_| !open.is_empty() && !limited.is_empty())?;
    let why = format!(
        "`{}` has no list of allowed subjects, `{}` has",
        open[0].display_name(),
        restricted.users.first().map_or("", |user| user.display_name())
    );
    Some(Suspicion { account, groups: vec![restricted], open, why })
}

/// Whether a user may do everything: it has no lists, or they say so.
fn is_open(user: &User) -> bool {
    let allows_all = |side: &Side| {
        let mut allow = side.allow.iter().flatten();
        side.deny.is_empty() && allow.any(|p| p.queue.is_none() && matches!(p.subject.as_str(), ">" | "*.>"))
    };
    [&user.permissions.publish, &user.permissions.subscribe].into_iter().all(|side| side.is_open() || allows_all(side))
}

/// The subjects that a user denies to itself on either side, without those of a queue.
fn denied(user: &User) -> impl Iterator<Item = &Subject> {
    let sides = [&user.permissions.publish, &user.permissions.subscribe];
    sides.into_iter().flat_map(|side| &side.deny).filter(|p| p.queue.is_none()).map(|p| &p.subject)
}

/// A user that denies a subject with the name of another one, or with a word that only that name has.
fn denied_by_name(account: &Account) -> Option<(&User, &User)> {
    let mut names: BTreeMap<String, &User> = BTreeMap::new();
    let mut common: BTreeSet<String> = BTreeSet::new();
    for user in &account.users {
        let name = user.display_name().to_lowercase();
        for word in words(&name).into_iter().filter(|word| !word.is_empty()) {
            if names.insert(word.to_owned(), user).is_some_and(|other| !std::ptr::eq(other, user)) {
                common.insert(word.to_owned());
            }
        }
    }
    // A word in several names is no user's own; a whole name is.
    names.retain(|word, _| !common.contains(word));
    names.extend(account.users.iter().map(|user| (user.display_name().to_lowercase(), user)));
    account.users.iter().find_map(|user| {
        let mut others = denied(user).flat_map(Subject::tokens).filter_map(|token| names.get(&token.to_lowercase()));
        others.find(|other| !std::ptr::eq(**other, user)).map(|other| (user, *other))
    })
}

/// Groups users by the application's subjects that they deny, if two of them each deny what the other may use.
fn denying(account: &Account) -> Option<Vec<Group<'_>>> {
    // By what they deny, in the order of its size: unless each contains the one before, two of them exclude each other.
    let mut groups: BTreeMap<(usize, BTreeSet<&Subject>), Vec<&User>> = BTreeMap::new();
    for user in account.users.iter().filter(|user| !user.is_leaf_login) {
        let denied: BTreeSet<&Subject> =
            denied(user).filter(|subject| !subject.first_token().starts_with(['$', '_', '*', '>'])).collect();
        if !denied.is_empty() {
            groups.entry((denied.len(), denied)).or_default().push(user);
        }
    }
    let may_use = |user: &User, subject: &Subject| {
        let (publish, subscribe) = (&user.permissions.publish, &user.permissions.subscribe);
        publish.touches(subject) || subscribe.touches(subject)
    };
    let excludes = |denied: &BTreeSet<&Subject>, other: &User| denied.iter().any(|subject| may_use(other, subject));
    let mut before: Option<(&BTreeSet<&Subject>, &User)> = None;
    let mut is_several = false;
    for ((_, denied), users) in &groups {
        is_several |= before.is_some_and(|(less, other)| excludes(denied, other) && excludes(less, users[0]));
        before = Some((denied, users[0]));
    }
    let groups = groups.into_values().map(|users| Group { name: users[0].display_name().to_owned(), users });
    is_several.then(|| groups.collect())
}

/// The subjects of a user, by what they tell of its tenant.
#[derive(Debug, Default)]
struct Spaces {
    /// Subjects of the application.
    own: Vec<Subject>,
    /// Subjects of the server that name something of an application: a bucket, a stream, an inbox.
    named: Vec<Subject>,
    /// Those of both that it may publish and subscribe to.
    both: Vec<Subject>,
}

impl Spaces {
    fn of(user: &User) -> Self {
        let (publish, subscribe) = (&user.permissions.publish, &user.permissions.subscribe);
        let listed = |side: &Side| -> Vec<Subject> { side.allow.iter().flatten().map(|p| p.subject.clone()).collect() };
        let (publish, subscribe) = (listed(publish), listed(subscribe));
        let contained = |list: &[Subject], subject: &Subject| list.iter().any(|other| other.contains(subject));
        let mut spaces = Self::default();
        for subject in publish.iter().chain(&subscribe) {
            if contained(&publish, subject) && contained(&subscribe, subject) {
                spaces.both.push(subject.clone());
            }
            // A wildcard in the first token is nobody's own.
            match subject.first_token() {
                "*" | ">" => {}
                // Requests about no stream, and inboxes, are nobody's.
                first if first.starts_with('_') || is_administrative(subject) => {}
                first if first.starts_with('$') => spaces.named.push(subject.clone()),
                _ => spaces.own.push(subject.clone()),
            }
        }
        spaces
    }
}

/// Whether a subject is a request to the server about its own account, or one to JetStream that names no stream.
fn is_administrative(subject: &Subject) -> bool {
    const WORDS: [&str; 33] = [
        "$JS", "API", "EVENT", "ADVISORY", "METRIC", "*", ">", "ACCOUNT", "ACK", "CONSUMER", "CREATE", "DELETE",
        "DIRECT", "DURABLE", "FC", "GET", "INFO", "LEADER", "LIST", "META", "MSG", "NAMES", "NEXT", "PAUSE", "PEER",
        "PURGE", "REMOVE", "RESET", "RESTORE", "SNAPSHOT", "STEPDOWN", "STREAM", "UPDATE",
    ];
    match subject.first_token() {
        "$SYS" => true,
        "$JS" => subject.tokens().all(|token| WORDS.contains(&token)),
        _ => false,
    }
}

/// Groups users whose spaces meet, directly or by way of others, and divides a group whose
/// users have a space of their own beside what they share. If several users have application
/// subjects they are compared by those, otherwise also by their buckets, streams and inboxes.
fn groups<'w>(spaces: &[(&'w User, Spaces)]) -> Vec<Group<'w>> {
    let has_own = spaces.iter().filter(|(_, spaces)| !spaces.own.is_empty()).count() > 1;
    let members = spaces.iter().map(|(user, spaces)| {
        let named: &[Subject] = if has_own { &[] } else { &spaces.named };
        let list: Vec<&Subject> = spaces.own.iter().chain(named).collect();
        let is_both = |subject: &&Subject| spaces.both.contains(subject) && subject.has_wildcard();
        Member { user, private: list.iter().copied().filter(is_both).collect(), list }
    });
    let members: Vec<Member<'_, '_>> = members.filter(|member| !member.list.is_empty()).collect();
    let mut parents: Vec<usize> = (0..members.len()).collect();
    let mut index = SubjectIndex::default();
    for (i, member) in members.iter().enumerate() {
        for subject in &member.list {
            for other in index.overlapping(subject) {
                join(&mut parents, i, *other);
            }
        }
        member.list.iter().for_each(|subject| index.insert(subject, i));
    }
    let mut connected: BTreeMap<usize, Vec<&Member<'_, '_>>> = BTreeMap::new();
    for (i, member) in members.iter().enumerate() {
        connected.entry(root(&parents, i)).or_default().push(member);
    }
    let divided = connected.into_values().flat_map(|members| divided(&members));
    divided.map(|users| Group { name: users[0].display_name().to_owned(), users }).collect()
}

/// A user as it is compared with others.
struct Member<'s, 'w> {
    user: &'w User,
    /// All subjects that count.
    list: Vec<&'s Subject>,
    /// Those with wildcards that the user may both publish and subscribe to: a space.
    private: Vec<&'s Subject>,
}

impl Member<'_, '_> {
    /// Whether the user has a space in which the other one has nothing.
    fn is_alone_beside(&self, other: &Self) -> bool {
        self.private.iter().any(|space| !other.list.iter().any(|subject| subject.overlaps(space)))
    }
}

/// Divides users that are connected: each joins the first group whose first user does not have,
/// as it has itself, a space that the other knows nothing of.
fn divided<'w>(members: &[&Member<'_, 'w>]) -> Vec<Vec<&'w User>> {
    let mut groups: Vec<(&Member<'_, 'w>, Vec<&'w User>)> = Vec::new();
    // Those with the narrowest spaces first: a user who has a part in every space is nobody's beginning.
    let mut members = members.to_vec();
    members.sort_by_key(|member| {
        let tokens = member.private.iter().map(|subject| subject.tokens().count());
        std::cmp::Reverse(tokens.min().unwrap_or(0))
    });
    for member in &members {
        let apart = |first: &Member<'_, 'w>| member.is_alone_beside(first) && first.is_alone_beside(member);
        match groups.iter_mut().find(|(first, _)| !apart(first)) {
            Some((_, users)) => users.push(member.user),
            None => groups.push((member, vec![member.user])),
        }
    }
    groups.into_iter().map(|(_, users)| users).collect()
}

fn join(parents: &mut [usize], one: usize, other: usize) {
    let (one, other) = (root(parents, one), root(parents, other));
    parents[one.max(other)] = one.min(other);
}

fn root(parents: &[usize], mut node: usize) -> usize {
    while parents[node] != node {
        node = parents[node];
    }
    node
}

/// Users whose subjects are the same but for one name: `jobs.a.>` and `results.a.>` beside `jobs.b.>` and `results.b.>`,
/// or the requests about two buckets. Users who have the same name in them are one group.
fn alike<'w>(users: &[&'w User], by_inbox: bool) -> Vec<Group<'w>> {
    // By the subjects without the name, then by the name.
    let mut shapes: BTreeMap<[Vec<String>; 2], BTreeMap<String, Vec<&'w User>>> = BTreeMap::new();
    for user in users {
        let listed = |side: &Side| -> Vec<String> {
            let mut texts: Vec<String> = side.allow.iter().flatten().map(|p| p.subject.to_string()).collect();
            texts.sort();
            texts
        };
        let (publish, subscribe) = (listed(&user.permissions.publish), listed(&user.permissions.subscribe));
        if subscribe.is_empty() {
            continue;
        }
        // Users of one kind may each have an inbox of their own.
        let is_inbox = |text: &&String| by_inbox && text.starts_with("_INBOX");
        let texts = publish.iter().chain(&subscribe).filter(|text| is_inbox(text) || !text.starts_with('_'));
        let mut names: BTreeSet<&str> = texts.flat_map(|text| parts(text)).collect();
        names.retain(|name| !matches!(*name, "*" | ">" | "INBOX"));
        for name in names {
            let has_name = |text: &String| parts(text).any(|part| part == name);
            // A subject that all of them hear is nobody's space, and neither is a single one to publish to, unless it bears
            // the user's own name.
            let is_own = user.display_name().eq_ignore_ascii_case(name) && publish.iter().any(has_name);
            let mut reads = subscribe.iter().chain(publish.iter().filter(|text| text.starts_with("$JS.API.")));
            let is_space = |text: &String| text.ends_with(['*', '>']) && has_name(text);
            if !is_own && !reads.any(has_name) && !publish.iter().any(is_space) {
                continue;
            }
            let without = |texts: &[String]| texts.iter().map(|text| without(text, name)).collect::<Vec<_>>();
            let shape = [without(&publish), without(&subscribe)];
            shapes.entry(shape).or_default().entry(name.to_owned()).or_default().push(user);
        }
    }
    let largest = shapes.into_values().filter(|names| names.len() > 1).max_by_key(BTreeMap::len).unwrap_or_default();
    largest.into_iter().map(|(name, users)| Group { name, users }).collect()
}

/// The parts of a subject that may be names: its tokens, and what is between `_` and `-` in them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(['.', '_', '-']).filter(|part| !part.is_empty())
}

/// A subject with a placeholder for each occurrence of a name.
fn without(text: &str, name: &str) -> String {
    text.split_inclusive(['.', '_', '-'])
        .map(|piece| {
            let part = piece.trim_end_matches(['.', '_', '-']);
            if part == name { piece.replacen(name, "?", 1) } else { piece.to_owned() }
        })
        .collect()
}

/// Groups users by the other accounts whose name theirs contains, if there are several.
fn named_like_accounts<'w>(names: &HashSet<String>, account: &'w Account) -> Option<Vec<Group<'w>>> {
    let own = account.name.to_lowercase();
    let is_other = |name: &str| name != own && names.contains(name);
    let mut groups: BTreeMap<String, Vec<&'w User>> = BTreeMap::new();
    for user in &account.users {
        let name = user.display_name().to_lowercase();
        let other = match is_other(&name) {
            true => Some(name.as_str()),
            false => words(&name).into_iter().find(|word| is_other(word)),
        };
        if let Some(other) = other {
            groups.entry(other.to_owned()).or_default().push(user);
        }
    }
    let groups: Vec<Group<'w>> = groups.into_iter().map(|(name, users)| Group { name, users }).collect();
    (groups.len() > 1).then_some(groups)
}

/// The words of a name.
fn words(name: &str) -> BTreeSet<&str> {
    name.split(['-', '_', '.', '@', ' ']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    /// Names of the users of each group of account A, and whether A is suspected.
    fn groups_of(users: &[(&str, &str)], others: &str) -> Option<Vec<Vec<String>>> {
        let user = |(name, permissions): &(&str, &str)| match *permissions {
            "" => format!("{{ user: {name} }}"),
            list => format!("{{ user: {name}, permissions {{ {list} }} }}"),
        };
        let users: Vec<String> = users.iter().map(user).collect();
        let system = system(&format!("accounts {{ A {{ users: [{}] }}, {others} }}", users.join(", ")));
        let found = suspicions(&system, |_| true).into_iter().find(|s| s.account.name == "A")?;
        Some(found.groups.iter().map(|g| g.users.iter().map(|u| u.name.clone()).collect()).collect())
    }

    fn names(groups: &[&[&str]]) -> Option<Vec<Vec<String>>> {
        Some(groups.iter().map(|group| group.iter().map(|name| (*name).to_owned()).collect()).collect())
    }

    #[test]
    fn users_whose_subjects_never_meet_look_like_several_tenants() {
        for (one, two, groups) in [
            ("publish: a.>, subscribe: a.>", "publish: b.>, subscribe: b.>", names(&[&["u", "v"], &["w"]])),
            ("publish: o.a.>, subscribe: o.a.>", "publish: o.b.>, subscribe: o.b.>", names(&[&["u", "v"], &["w"]])),
            ("publish: a.x, subscribe: a.>", "publish: a.y, subscribe: a.>", None),
            (
                "publish: [a.>, all.>], subscribe: [a.>, all.>]",
                "publish: [b.>, all.>], subscribe: [b.>, all.>]",
                names(&[&["u", "v"], &["w"]]),
            ),
            ("publish: [a.>, all.>], subscribe: [a.>, all.>]", "publish: all.x, subscribe: all.>", None),
            ("publish: orders.>, subscribe: pay.>", "publish: pay.>, subscribe: log", None),
            (
                "publish: a.>, subscribe: _INBOX_1.>",
                "publish: a.>, subscribe: _INBOX_2.>",
                names(&[&["u", "v"], &["w"]]),
            ),
            ("publish: a.>, subscribe: _INBOX_1.>", "publish: a.x, subscribe: [a.>, _INBOX_2.>]", None),
            (
                "publish: \"$KV.A.>\", subscribe: \"$KV.A.>\"",
                "publish: \"$KV.B.>\", subscribe: \"$KV.B.>\"",
                names(&[&["u", "v"], &["w"]]),
            ),
        ] {
            assert_eq!(groups_of(&[("u", one), ("v", one), ("w", two)], ""), groups, "{one} | {two}");
        }
    }

    #[test]
    fn an_open_user_beside_others_divides_only_where_accounts_divide_nobody() {
        let users = [("u", ""), ("v", "publish: x, subscribe: y")];
        assert!(groups_of(&users, "").is_some());
        assert_eq!(groups_of(&users, "B { users: [{ user: b }] }"), None);
    }

    #[test]
    fn inboxes_of_their_own_divide_users_only_where_accounts_divide_nobody() {
        let users = [("u", "publish: a, subscribe: _INBOX_1.>"), ("v", "publish: a, subscribe: _INBOX_2.>")];
        assert!(groups_of(&users, "").is_some());
        assert_eq!(groups_of(&users, "B { users: [{ user: b }] }"), None);
    }

    #[test]
    fn users_whose_subjects_differ_by_a_name_look_like_several_tenants() {
        let ta = "publish: jobs.a.>, subscribe: results.a.>";
        let tb = "publish: jobs.b.>, subscribe: results.b.>";
        let worker = "publish: results.>, subscribe: jobs.>";
        assert_eq!(groups_of(&[("w", worker), ("u", ta), ("v", tb)], ""), names(&[&["u"], &["v"]]));
        assert_eq!(groups_of(&[("w", worker), ("u", ta), ("v", ta)], ""), None, "the same subjects");
        let bucket = |name: &str| {
            format!(
                "publish: [\"$KV.{name}.>\", \"$JS.API.DIRECT.GET.KV_{name}.>\", \"$JS.API.INFO\"], subscribe: \"_INBOX.>\""
            )
        };
        let all = "publish: [\"$KV.>\", \"$JS.API.>\"], subscribe: \"_INBOX.>\"";
        assert_eq!(groups_of(&[("w", all), ("u", &bucket("x")), ("v", &bucket("y"))], ""), names(&[&["u"], &["v"]]));
        let watcher = |name: &str| {
            format!(
                "publish: [\"$KV.{name}.>\", \"$JS.API.DIRECT.GET.KV_{name}.>\", \"$JS.FC.>\"], subscribe: \"_INBOX.>\""
            )
        };
        assert_eq!(
            groups_of(&[("u", &watcher("x")), ("v", &watcher("y"))], ""),
            names(&[&["u"], &["v"]]),
            "one in common"
        );
        let upload = |name: &str| format!("publish: upload.{name}.>, subscribe: \"_INBOX.>\"");
        let backend = "publish: \"_INBOX.>\", subscribe: upload.>";
        assert_eq!(
            groups_of(&[("w", backend), ("u", &upload("x")), ("v", &upload("y"))], ""),
            names(&[&["u"], &["v"]])
        );
        let device = |name: &str| format!("publish: s.{name}, subscribe: all");
        assert_eq!(groups_of(&[("u", &device("x")), ("v", &device("y"))], ""), None, "they hear the same");
    }

    #[test]
    fn who_only_makes_streams_or_looks_on_is_no_tenant_of_its_own() {
        let maker = "publish: [\"$JS.API.STREAM.CREATE.*\", \"$JS.API.INFO\"], subscribe: \"_INBOX_maker.>\"";
        let monitor = "publish: [\"$SYS.REQ.USER.INFO\", \"$SYS.REQ.ACCOUNT.PING.CONNZ\", \"$JS.API.STREAM.INFO.*\"], \
                       subscribe: [\"_INBOX_monitor.>\", \"$JS.EVENT.ADVISORY.>\"]";
        let user = "publish: a.>, subscribe: _INBOX_u.>";
        assert_eq!(groups_of(&[("maker", maker), ("u", user), ("monitor", monitor)], ""), None);
    }

    #[test]
    fn the_order_of_users_does_not_matter() {
        let wide = ("platform", "publish: t.>, subscribe: t.>");
        let narrow = [
            ("acme", "publish: t.acme.>, subscribe: t.acme.>"),
            ("globex", "publish: t.globex.>, subscribe: t.globex.>"),
        ];
        let count = |users: &[(&str, &str)]| groups_of(users, "").map(|groups| groups.len());
        assert!(count(&[wide, narrow[0], narrow[1]]).is_some_and(|groups| groups > 1));
        assert_eq!(count(&[wide, narrow[0], narrow[1]]), count(&[narrow[0], narrow[1], wide]));
    }

    #[test]
    fn logins_of_leaf_nodes_look_like_a_tenant_each() {
        let suspected = |logins: &str| {
            let text = format!(
                "leafnodes {{ port: 7422, authorization {{ users: [{logins}] }} }}\naccounts {{ A {{ users: [{{ user: ops }}] }} }}"
            );
            let system = system(&text);
            suspicions(&system, |_| true).iter().map(|s| s.groups.len()).collect::<Vec<_>>()
        };
        let login = |name: &str| format!("{{ user: {name}, password: p, account: A }}");
        assert_eq!(suspected(&format!("{}, {}", login("x"), login("y"))), [2]);
        assert!(suspected(&login("x")).is_empty());
    }

    #[test]
    fn one_user_or_only_open_users_look_like_one_tenant() {
        assert_eq!(groups_of(&[("u", "publish: a, subscribe: a")], ""), None);
        assert_eq!(groups_of(&[("u", ""), ("v", "")], ""), None);
    }

    #[test]
    fn an_open_user_beside_a_limited_one_is_suspicious() {
        assert_eq!(groups_of(&[("u", ""), ("v", "publish: a, subscribe: a")], ""), names(&[&["v"]]));
    }

    #[test]
    fn users_named_like_other_accounts_look_like_several_tenants() {
        let others = "ACME { users: [{ user: x }] }, GLOBEX { users: [{ user: y }] }";
        assert_eq!(groups_of(&[("acme", ""), ("globex-app", "")], others), names(&[&["acme"], &["globex-app"]]));
        assert_eq!(groups_of(&[("acme", ""), ("acme-app", "")], others), None);
        assert_eq!(groups_of(&[("one", ""), ("two", "")], others), None);
    }
}
