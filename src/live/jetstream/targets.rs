//! The streams and consumers that `--replace` and `--delete` name.

use std::collections::HashSet;

use super::Report;
use super::change::Change;
use crate::error::Error;
use crate::model::{Model, Tenant};

/// Streams and consumers that may be replaced or deleted, as `TENANT/STREAM` or
/// `TENANT/STREAM/CONSUMER`.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    replace: HashSet<String>,
    delete: HashSet<String>,
}

/// A `--replace` or `--delete` argument that matched no change.
pub struct Unmatched {
    /// The tenant that it names.
    pub tenant: String,
    /// The error message.
    pub error: String,
    /// How to fix it.
    pub hint: String,
}

/// The name of a stream or consumer on the command line.
pub fn address(tenant: &str, stream: &str, consumer: Option<&str>) -> String {
    consumer.map_or_else(|| format!("{tenant}/{stream}"), |consumer| format!("{tenant}/{stream}/{consumer}"))
}

impl Targets {
    /// Whether `--replace` names it: it may be deleted and created again.
    pub fn is_replaced(&self, tenant: &Tenant, stream: &str, consumer: Option<&str>) -> bool {
        self.replace.contains(&address(tenant.name.as_str(), stream, consumer))
    }

    /// Whether `--delete` names it.
    pub fn is_deleted(&self, tenant: &Tenant, stream: &str, consumer: Option<&str>) -> bool {
        self.delete.contains(&address(tenant.name.as_str(), stream, consumer))
    }

    /// Removes the target of a completed change, so that it is carried out once only.
    pub fn remove(&mut self, tenant: &Tenant, change: &Change) {
        let address = address(tenant.name.as_str(), &change.stream, change.consumer.as_deref());
        self.replace.remove(&address);
        self.delete.remove(&address);
    }

    /// Parses the arguments. `--replace` must name what is in the registry, `--delete` what
    /// is not.
    pub fn parse(model: &Model, replace: &[String], delete: &[String]) -> Result<Self, Error> {
        let declared = declared(model);
        let known: Vec<&str> = declared.iter().map(String::as_str).collect();
        let tenants: Vec<&str> = model.tenants.iter().map(|t| t.name.as_str()).collect();
        replace.iter().try_for_each(|name| refuse_undeclared(name, &known))?;
        delete.iter().try_for_each(|name| refuse_declared(name, &known, &tenants))?;
        Ok(Self { replace: replace.iter().cloned().collect(), delete: delete.iter().cloned().collect() })
    }

    /// `--replace` and `--delete` arguments that matched no change, although their tenant
    /// could be read.
    pub fn unmatched(&self, reports: &[Report<'_>]) -> Vec<Unmatched> {
        let arguments =
            self.delete.iter().map(|n| ("--delete", n)).chain(self.replace.iter().map(|n| ("--replace", n)));
        let mut unmatched: Vec<Unmatched> =
            arguments.filter_map(|(option, name)| unmatched(option, name, reports)).collect();
        unmatched.sort_by(|a, b| a.error.cmp(&b.error));
        unmatched
    }
}

/// The name of every declared stream and consumer.
fn declared(model: &Model) -> Vec<String> {
    let mut declared = Vec::new();
    for tenant in &model.tenants {
        for stream in &tenant.streams {
            let (tenant, stream, consumers) = (tenant.name.as_str(), stream.name.as_str(), &stream.consumers);
            declared.push(address(tenant, stream, None));
            declared.extend(consumers.iter().map(|c| address(tenant, stream, Some(c.name.as_str()))));
        }
    }
    declared
}

fn refuse_undeclared(name: &str, known: &[&str]) -> Result<(), Error> {
    if known.contains(&name) {
        return Ok(());
    }
    let ends = format!("/{name}");
    Err(match known.iter().find(|k| k.ends_with(&ends)) {
        Some(near) => Error::usage(format!("`{name}` names no tenant"), format!("did you mean `{near}`?")),
        None => Error::unknown_name("stream or consumer", name, known),
    })
}

fn refuse_declared(name: &str, known: &[&str], tenants: &[&str]) -> Result<(), Error> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [tenant, _] | [tenant, _, _] if !tenants.contains(tenant) => {
            return Err(Error::unknown_name("tenant", tenant, tenants));
        }
        [_, _] | [_, _, _] => {}
        _ => return Err(Error::usage(format!("`{name}` is not TENANT/STREAM"), "such as --delete TENANT_A/OLD")),
    }
    if known.contains(&name) {
        return Err(Error::usage(
            format!("`{name}` is in the registry"),
            "remove it there first; or --replace it, to make it again",
        ));
    }
    Ok(())
}

fn unmatched(option: &str, name: &str, reports: &[Report<'_>]) -> Option<Unmatched> {
    let (tenant, rest) = name.split_once('/').unwrap_or((name, ""));
    let report = reports.iter().find(|r| r.tenant.name.as_str() == tenant)?;
    let changes = || report.result.iter().flatten().map(|(change, _)| change);
    report.result.as_ref().ok()?;
    let address_of = |change: &Change| address(tenant, &change.stream, change.consumer.as_deref());
    // A blocked change is reported with its own reason.
    if changes().any(|c| address_of(c) == name && c.action.is_open()) {
        return None;
    }
    let behind = [format!("KV_{rest}"), format!("OBJ_{rest}")];
    let near = changes().find(|c| behind.contains(&c.stream) && c.consumer.is_none());
    let hint = match (option, near) {
        ("--delete", Some(near)) => format!("did you mean {}?", address_of(near)),
        ("--delete", None) => "there is none of that name on the server: `tenantry plan` shows what is".to_owned(),
        _ => "there is nothing about it that cannot be changed in place: leave --replace out".to_owned(),
    };
    Some(Unmatched { tenant: tenant.to_owned(), error: format!("{option} {name} did nothing"), hint })
}
