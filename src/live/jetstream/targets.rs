//! The streams and consumers that `--replace` and `--delete` name.

use std::collections::HashSet;

use super::TenantReport;
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

    /// The options that name them again, for a command line.
    pub fn options(&self) -> String {
        let options = |option: &str, names: &HashSet<String>| {
            let mut names: Vec<String> = names.iter().map(|name| format!(" {option} {name}")).collect();
            names.sort();
            names.concat()
        };
        options("--replace", &self.replace) + &options("--delete", &self.delete)
    }

    /// Parses the arguments. `--replace` must name what is in the registry, `--delete` what
    /// is not.
    pub fn parse(model: &Model, replace: &[String], delete: &[String]) -> Result<Self, Error> {
        let declared = declared(model);
        let known: Vec<&str> = declared.iter().map(String::as_str).collect();
        let tenants: Vec<&str> = model.tenants.iter().map(|t| t.name.as_str()).collect();
        replace.iter().try_for_each(|name| refuse_undeclared(name, &known))?;
        delete.iter().try_for_each(|name| refuse_declared(name, &known, &tenants))?;
        model.tenants.iter().try_for_each(|tenant| refuse_crossed(tenant, replace))?;
        Ok(Self { replace: replace.iter().cloned().collect(), delete: delete.iter().cloned().collect() })
    }

    /// `--replace` and `--delete` arguments that matched no change, although their tenant
    /// could be read.
    pub fn unmatched(&self, reports: &[TenantReport<'_>]) -> Vec<Unmatched> {
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
    // The stream behind a bucket or an object store.
    let behind =
        name.split_once('/').map(|(tenant, bucket)| ["KV_", "OBJ_"].map(|kind| format!("{tenant}/{kind}{bucket}")));
    let behind = behind.iter().flatten().find(|stream| known.contains(&stream.as_str()));
    Err(match (known.iter().find(|k| k.ends_with(&ends)), behind) {
        (Some(near), _) => Error::usage(format!("`{name}` names no tenant"), format!("did you mean `{near}`?")),
        (None, Some(stream)) => {
            Error::usage(format!("`{name}` is no stream or consumer"), format!("did you mean `{stream}`?"))
        }
        (None, None) => Error::unknown_name("stream or consumer", name, known),
    })
}

/// Refuses a copy of another tenant's stream that is named with its origin, if its tenant has a named stream as well that others
/// copy. Tenants are applied one after the other then, and the copy would come after its origin, which is empty.
fn refuse_crossed(tenant: &Tenant, replace: &[String]) -> Result<(), Error> {
    let is_named = |tenant: &str, stream: &str| replace.contains(&address(tenant, stream, None));
    let own = tenant.name.as_str();
    if !tenant.stream_exports.iter().any(|copy| is_named(own, copy.stream.as_str())) {
        return Ok(());
    }
    let copies = tenant.streams.iter().flat_map(|stream| stream.copies.iter().map(move |copy| (stream, copy)));
    let mut crossed = copies.filter(|(stream, copy)| {
        is_named(own, stream.name.as_str()) && is_named(copy.from.as_str(), copy.stream.as_str())
    });
    crossed.next().map_or(Ok(()), |(stream, copy)| {
        let (copy_name, origin) = (address(own, stream.name.as_str(), None), address(copy.from.as_str(), copy.stream.as_str(), None));
        Err(Error::usage(
            format!("`{copy_name}` copies `{origin}`, and `{own}` is to replace streams that others copy too: their order could not be kept"),
            format!("replace the copies first, in a command of their own: tenantry apply --replace {copy_name}; nothing was changed"),
        ))
    })
}

fn refuse_declared(name: &str, known: &[&str], tenants: &[&str]) -> Result<(), Error> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        parts if parts.iter().any(|part| part.is_empty()) => {
            return Err(Error::usage(format!("`{name}` is not TENANT/STREAM"), "such as --delete TENANT_A/OLD"));
        }
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

fn unmatched(option: &str, name: &str, reports: &[TenantReport<'_>]) -> Option<Unmatched> {
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
        ("--delete", None) => {
            "no such stream, and no such consumer of a declared one, is on the server: `tenantry plan` shows what is"
                .to_owned()
        }
        _ => "there is nothing about it that cannot be changed in place: leave --replace out".to_owned(),
    };
    Some(Unmatched { tenant: tenant.to_owned(), error: format!("{option} {name} did nothing"), hint })
}

#[cfg(test)]
mod tests {
    use super::super::apply::ChangeOutcome;
    use super::super::change::{Action, Kind};
    use super::*;
    use crate::live::jetstream::api::Failure;
    use crate::project::tests::model;

    fn registry() -> Model {
        model(
            "[[tenant]]\nname = \"ACME\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"app\"\n\
             [[tenant.stream]]\nname = \"ORDERS\"\nsubjects = [\"ACME.orders\"]\n[[tenant.stream.consumer]]\n\
             name = \"billing\"\n[[tenant.bucket]]\nname = \"flags\"\n[[tenant]]\nname = \"GLOBEX\"\n[[tenant.user]]\nname = \"app\"\n",
        )
    }

    fn targets(replace: &[&str], delete: &[&str]) -> Result<Targets, Error> {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Targets::parse(&registry(), &list(replace), &list(delete))
    }

    fn error(targets: Result<Targets, Error>) -> (String, String) {
        let error = targets.expect_err("refused");
        (error.to_string(), error.hint().unwrap_or_default())
    }

    #[test]
    fn replace_names_what_is_declared() {
        for good in ["ACME/ORDERS", "ACME/ORDERS/billing"] {
            assert!(targets(&[good], &[]).is_ok(), "{good}");
        }
        let cases = [
            ("ORDERS", "`ORDERS` names no tenant", "did you mean `ACME/ORDERS`?"),
            ("ORDERS/billing", "`ORDERS/billing` names no tenant", "did you mean `ACME/ORDERS/billing`?"),
            ("ACME/flags", "`ACME/flags` is no stream or consumer", "did you mean `ACME/KV_flags`?"),
            ("ACME/ORDER", "there is no stream or consumer `ACME/ORDER`", "did you mean `ACME/ORDERS`?"),
            (
                "zzz",
                "there is no stream or consumer `zzz`",
                "there are: ACME/ORDERS, ACME/ORDERS/billing, ACME/KV_flags",
            ),
        ];
        for (name, message, hint) in cases {
            assert_eq!(error(targets(&[name], &[])), (message.to_owned(), hint.to_owned()));
        }
    }

    #[test]
    fn delete_names_what_is_not_declared_of_a_tenant_that_is() {
        for good in ["ACME/OLD", "ACME/ORDERS/old", "ACME/OLD/old", "GLOBEX/ORDERS"] {
            assert!(targets(&[], &[good]).is_ok(), "{good}");
        }
        let registered = "remove it there first; or --replace it, to make it again";
        let cases = [
            ("OLD", "`OLD` is not TENANT/STREAM", "such as --delete TENANT_A/OLD"),
            ("ACME/OLD/old/x", "`ACME/OLD/old/x` is not TENANT/STREAM", "such as --delete TENANT_A/OLD"),
            ("ACNE/OLD", "there is no tenant `ACNE`", "did you mean `ACME`?"),
            ("zzz/OLD/old", "there is no tenant `zzz`", "there are: ACME, GLOBEX"),
            ("ACME/ORDERS", "`ACME/ORDERS` is in the registry", registered),
            ("ACME/ORDERS/billing", "`ACME/ORDERS/billing` is in the registry", registered),
        ];
        for (name, message, hint) in cases {
            assert_eq!(error(targets(&[], &[name])), (message.to_owned(), hint.to_owned()));
        }
    }

    #[test]
    fn copies_that_cross_are_not_replaced_with_their_origins() {
        let tenant = |name: &str, own: &str, copy: &str, of: &str, from: &str| {
            format!(
                "[[tenant]]\nname = \"{name}\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"app\"\n\
                 [[tenant.stream]]\nname = \"{own}\"\nsubjects = [\"{name}.s\"]\n[[tenant.stream]]\nname = \"{copy}\"\n\
                 [[tenant.stream.source]]\nname = \"{of}\"\nfrom = \"{from}\"\n"
            )
        };
        let share = |from: &str, to: &str, stream: &str| {
            format!("[[share]]\nfrom = \"{from}\"\nto = [\"{to}\"]\njetstream = \"{stream}\"\n")
        };
        let text = [
            tenant("A", "S", "TC", "T", "B"),
            tenant("B", "T", "SC", "S", "A"),
            share("A", "B", "S"),
            share("B", "A", "T"),
        ];
        let model = model(&text.concat());
        let parse = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Targets::parse(&model, &names, &[]).map(drop)
        };
        let (message, _) = error(parse(&["A/S", "A/TC", "B/SC", "B/T"]).map(|()| Targets::default()));
        assert!(message.starts_with("`A/TC` copies `B/T`"), "{message}");
        for good in [&["A/S", "B/SC"][..], &["A/TC", "B/SC"], &["A/S", "B/T"], &["A/S", "A/TC"]] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_target_is_of_one_tenant_and_one_option_and_is_used_once() {
        let model = registry();
        let [acme, globex] = model.tenants.as_slice() else { panic!("two tenants") };
        let mut targets = targets(&["ACME/ORDERS"], &["ACME/OLD", "ACME/ORDERS/old"]).expect("valid");
        assert!(targets.is_replaced(acme, "ORDERS", None) && targets.is_deleted(acme, "OLD", None));
        assert!(targets.is_deleted(acme, "ORDERS", Some("old")));
        assert!(!targets.is_replaced(globex, "ORDERS", None) && !targets.is_replaced(acme, "OLD", None));
        assert!(!targets.is_deleted(acme, "ORDERS", None) && !targets.is_replaced(acme, "ORDERS", Some("old")));
        targets.remove(acme, &change("OLD", Action::Delete { messages: 0 }));
        assert!(!targets.is_deleted(acme, "OLD", None) && targets.is_replaced(acme, "ORDERS", None));
    }

    fn change(stream: &str, action: Action) -> Change {
        Change { kind: Kind::Stream, stream: stream.into(), consumer: None, action, note: None }
    }

    #[test]
    fn an_argument_that_matched_no_change_is_reported_with_a_hint() {
        let model = registry();
        let left_alone = |stream: &str| (change(stream, Action::Unmanaged { messages: 0 }), ChangeOutcome::NotTried);
        let done = (change("OLD", Action::Delete { messages: 0 }), ChangeOutcome::Done);
        let report = |result| [TenantReport { tenant: &model.tenants[0], result }];
        let targets = targets(&["ACME/ORDERS"], &["ACME/OLD", "ACME/GONE", "ACME/bucket", "GLOBEX/X"]).expect("valid");
        let found = targets.unmatched(&report(Ok(vec![done, left_alone("KV_bucket")])));
        let shown: Vec<_> = found.iter().map(|u| (u.tenant.as_str(), u.error.as_str(), u.hint.as_str())).collect();
        assert_eq!(
            shown,
            [
                (
                    "ACME",
                    "--delete ACME/GONE did nothing",
                    "no such stream, and no such consumer of a declared one, is on the server: `tenantry plan` shows what is"
                ),
                ("ACME", "--delete ACME/bucket did nothing", "did you mean ACME/KV_bucket?"),
                (
                    "ACME",
                    "--replace ACME/ORDERS did nothing",
                    "there is nothing about it that cannot be changed in place: leave --replace out"
                ),
            ],
            "GLOBEX was not looked at"
        );
        assert!(targets.unmatched(&report(Err(Failure::NoSecret))).is_empty(), "nothing is known of ACME");
    }
}
