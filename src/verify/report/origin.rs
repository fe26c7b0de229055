//! What a report is about: the registry, what it declares to be shared, and what it grants.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::model::permissions::Grant;
use crate::model::{Model, ShareKind};
use crate::project::Project;

/// The registry of a report.
#[derive(Debug, Default, Serialize)]
pub struct Origin {
    /// Its file.
    pub registry: String,
    /// The name of its server.
    pub system: String,
    /// The commit that is checked out where it is. `None`: it is in no repository of git.
    pub commit: Option<String>,
    /// What may pass between tenants.
    pub shares: Vec<Share>,
    /// What each user may do.
    #[serde(skip)]
    pub grants: Vec<Granted>,
    #[serde(skip)]
    places: BTreeMap<String, String>,
}

/// A declared share.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// The exporter.
    pub from: String,
    /// The importer.
    pub to: String,
    /// What is shared: `stream A.public.>`.
    pub what: String,
    /// Whether messages go from `from` to `to`; otherwise requests come the other way, and answers go back.
    pub is_stream: bool,
}

/// What a user may do, in words.
#[derive(Debug, Serialize)]
pub struct Granted {
    /// Its tenant.
    pub tenant: String,
    /// Its name.
    pub user: String,
    /// Its role.
    pub role: String,
    /// What it may publish.
    pub publish: String,
    /// What it may subscribe to.
    pub subscribe: String,
}

impl Origin {
    /// What `project` declares.
    pub fn of(project: &Project) -> Self {
        let (model, valid) = (project.model(), &project.valid);
        let places = model.tenants.iter().map(|tenant| (tenant.name.to_string(), valid.sources.place(tenant.span)));
        Self {
            registry: valid.path.display().to_string(),
            system: model.server.name.to_string(),
            commit: commit(valid.folder()),
            shares: shares(model),
            grants: grants(model),
            places: places.collect(),
        }
    }

    /// Where the registry declares a tenant, as `file:line`.
    pub fn place(&self, tenant: &str) -> Option<String> {
        self.places.get(tenant).cloned()
    }

    /// The names of all tenants and users.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().flat_map(|granted| [granted.tenant.as_str(), granted.user.as_str()])
    }
}

fn shares(model: &Model) -> Vec<Share> {
    let mut shares = Vec::new();
    for tenant in &model.tenants {
        for export in &tenant.exports {
            shares.extend(export.to.iter().map(|to| Share {
                from: tenant.name.to_string(),
                to: to.to_string(),
                what: format!("{} {}", export.kind.as_str(), export.subject),
                is_stream: export.kind == ShareKind::Stream,
            }));
        }
        shares.extend(tenant.stream_exports.iter().map(|copy| Share {
            from: tenant.name.to_string(),
            to: copy.to.to_string(),
            what: format!("JetStream stream {}", copy.stream),
            is_stream: true,
        }));
    }
    shares
}

fn grants(model: &Model) -> Vec<Granted> {
    let words = |grant: &Grant| match grant {
        Grant::Nothing => "nothing".to_owned(),
        Grant::Everything => "everything".to_owned(),
        Grant::Only(allowed) => allowed.subjects().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let users = model.tenants.iter().flat_map(|tenant| tenant.users.iter().map(move |user| (tenant, user)));
    let granted = users.map(|(tenant, user)| Granted {
        tenant: tenant.name.to_string(),
        user: user.name.to_string(),
        role: user.role.to_string(),
        publish: words(&user.permissions.publish),
        subscribe: words(&user.permissions.subscribe),
    });
    granted.collect()
}

/// The commit that is checked out in a folder.
fn commit(folder: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["rev-parse", "HEAD"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|commit| !commit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{SHARING, System};

    #[test]
    fn each_share_is_between_two_tenants_and_each_user_has_its_grants() {
        let model = System::load(SHARING).model;
        let shares: Vec<String> = shares(&model).iter().map(|s| format!("{}>{}: {}", s.from, s.to, s.what)).collect();
        assert_eq!(
            shares,
            [
                "ORDERS>BILLING: stream ORDERS.events.>",
                "ORDERS>AUDIT: JetStream stream EVENTS",
                "BILLING>ORDERS: service BILLING.quote.>",
            ]
        );
        let grants = grants(&model);
        let clerk = grants.iter().find(|granted| granted.user == "clerk").expect("a user");
        assert_eq!((clerk.tenant.as_str(), clerk.role.as_str()), ("ORDERS", "subscriber"));
        assert!(clerk.subscribe.starts_with("ORDERS.>"), "{clerk:?}");
    }
}
