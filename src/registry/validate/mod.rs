//! Validation of the registry as a whole. Each validation is one small function that
//! reports everything it finds; [`VALIDATIONS`] lists them. Decoding has already
//! checked single values.

mod conflicts;
mod consumers;
mod jetstream;
mod server;
mod shares;
mod tenants;
mod users;

use std::collections::HashMap;

use super::raw::{Registry, Tenant};
use crate::diag::{Diagnostic, Span};
use crate::registry::codes;
use crate::subject::Subject;

/// Input of every validation.
pub(super) struct RegistryContext<'r> {
    registry: &'r Registry,
    /// Tenants by name. The first wins if two have the same name.
    tenants: HashMap<&'r str, &'r Tenant>,
    /// False if an included file or a tenant was unreadable: an unknown tenant may be declared there.
    whole: bool,
}

impl RegistryContext<'_> {
    /// Subjects of the stream shares to a tenant.
    fn imported_streams(&self, tenant: &Tenant) -> Vec<&Subject> {
        let to_it = |share: &&super::raw::Share| share.to().iter().any(|to| to.value == tenant.name.value);
        self.registry.share.iter().filter(to_it).filter_map(|s| s.stream.get()).map(|s| &s.value).collect()
    }

    /// Subjects of the services that a tenant offers: others send requests there.
    fn offered_services(&self, tenant: &Tenant) -> Vec<&Subject> {
        let by_it = |share: &&super::raw::Share| share.from.value == tenant.name.value;
        self.registry.share.iter().filter(by_it).filter_map(|s| s.service.get()).map(|s| &s.value).collect()
    }

    /// Number of tenants that may copy a stream. Each needs one consumer.
    fn copies_of(&self, tenant: &Tenant, stream: &super::raw::Stream) -> usize {
        let copies = self.registry.share.iter().flat_map(super::raw::Share::copies);
        copies.filter(|copy| copy.from == tenant.name.value && copy.stream == stream.name.value).count()
    }
}

type Validation = fn(&RegistryContext<'_>, &mut Vec<Diagnostic>);

/// Every validation, in the order of the registry's tables.
const VALIDATIONS: &[Validation] = &[
    server::auth_mode_is_supported,
    server::development_stays_on_loopback,
    server::monitoring_stays_on_loopback,
    server::clients_are_told_where,
    server::image_is_new_enough,
    server::addresses_differ,
    server::payload_is_what_the_server_accepts,
    server::system_account_has_users,
    tenants::there_is_a_tenant,
    tenants::names_are_unique,
    tenants::names_are_not_retired,
    tenants::subjects_are_outside_reserved_spaces,
    tenants::subjects_belong_to_one_tenant,
    tenants::limits_fit_the_server,
    users::every_tenant_has_a_user,
    users::names_are_unique,
    users::the_provisioners_name_is_its_own,
    users::password_names_are_unique_everywhere,
    users::credentials_are_of_one_kind,
    users::secrets_are_not_shared,
    users::roles_exist,
    users::declared_roles_are_usable,
    users::declared_roles_are_not_widened,
    jetstream::is_on_where_it_is_used,
    jetstream::sums_fit_the_server,
    jetstream::streams_fit_the_tenant,
    jetstream::stream_names_are_unique,
    jetstream::placement_has_an_effect,
    jetstream::stream_subjects_are_the_tenants,
    jetstream::copies_are_kept_apart,
    jetstream::what_others_send_does_no_harm,
    jetstream::streams_do_not_overlap,
    consumers::consumers_fit_their_stream,
    jetstream::origins_exist,
    consumers::deliveries_leave_their_stream,
    consumers::work_is_given_once,
    conflicts::stream_keys_agree,
    conflicts::consumer_keys_agree,
    shares::have_both_ends,
    shares::offer_what_is_theirs,
    shares::are_declared_once,
    shares::copied_streams_are_there,
    shares::copies_are_shared,
];

pub use conflicts::codes as conflict_codes;

/// Runs every validation.
pub(super) fn validate(registry: &Registry, whole: bool, diagnostics: &mut Vec<Diagnostic>) {
    let mut tenants = HashMap::new();
    for tenant in &registry.tenant {
        tenants.entry(tenant.name.value.as_str()).or_insert(tenant);
    }
    // Only version 1 is readable: nothing depends on it yet.
    let _ = &registry.version;
    let context = RegistryContext { registry, tenants, whole };
    for validation in VALIDATIONS {
        validation(&context, diagnostics);
    }
}

/// Reports every name that equals an earlier one, ignoring letter case.
fn report_duplicates<'n>(
    names: impl IntoIterator<Item = (&'n str, Span)>,
    what: &str,
    remedy: &str,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<String, (&str, Span)> = HashMap::new();
    for (name, span) in names {
        let folded = name.to_ascii_lowercase();
        match seen.get(&folded) {
            None => {
                seen.insert(folded, (name, span));
            }
            Some((first, first_span)) => {
                let message = if *first == name {
                    format!("{what} `{name}` is declared twice")
                } else {
                    format!("{what} `{name}` differs from `{first}` in letter case only")
                };
                diagnostics.push(
                    Diagnostic::error(codes::DUPLICATE_NAME, span, message)
                        .label("declared again")
                        .related(*first_span, "first declared here")
                        .hint(remedy),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::registry::testing::{TWO_TENANTS, codes_of, codes_with, load_text};

    /// A mistake, its code, and the same text corrected.
    pub(super) type Case = (&'static str, &'static str, &'static str);

    /// Asserts that each text inside `T` gives its code alone, and that the corrected one gives none.
    pub(super) fn check_added(cases: &[Case]) {
        for (code, wrong, right) in cases {
            assert_eq!(codes_with(wrong), [*code], "{wrong}");
            assert_eq!(codes_with(right), [""; 0], "{right}");
        }
    }

    /// The same for texts that replace another in the registry of two tenants.
    pub(super) fn check_replaced(cases: &[(&'static str, Case)]) {
        let replaced = |from: &str, to: &str| {
            assert!(TWO_TENANTS.contains(from), "{from}");
            codes_of(&TWO_TENANTS.replacen(from, to, 1))
        };
        for (from, (code, wrong, right)) in cases {
            assert_eq!(replaced(from, wrong), [*code], "{wrong}");
            assert_eq!(replaced(from, right), [""; 0], "{right}");
        }
    }

    #[test]
    fn the_registry_that_the_cases_start_from_is_valid() {
        assert_eq!(codes_of(TWO_TENANTS), [""; 0]);
    }

    #[test]
    fn names_that_differ_in_letter_case_only_are_duplicates() {
        let loaded = load_text(&format!("{TWO_TENANTS}[[tenant.user]]\nname = \"App\"\n"));
        let messages: Vec<_> = loaded.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["user `App` differs from `app` in letter case only"]);
        let loaded = load_text(&format!("{TWO_TENANTS}[[tenant.user]]\nname = \"app\"\n"));
        let messages: Vec<_> = loaded.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["user `app` is declared twice"]);
    }
}
