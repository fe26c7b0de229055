//! The accounts of nats-server.conf. This text isolates the tenants, so it is written
//! here and not by a template: the code cannot produce any of the forms that the server
//! reads as "allow everything".

use crate::conf::Writer;
use crate::model::names::AccountName;
use crate::model::permissions::{Grant, Permissions};
use crate::model::{ShareKind, SystemAccount, Tenant, User};

use super::credentials::{IssuedCredential, ServerAuth};

/// The block of the system account.
pub fn system(system: &SystemAccount, access: &[IssuedCredential]) -> String {
    let mut w = Writer::at_depth(1);
    w.comment("The system account operates the server; its users can do anything. No tenant is in it.");
    w.named_block(system.account.as_str(), |w| users(w, &system.users, access));
    w.into_text()
}

/// The account block of one tenant.
pub fn tenant(tenant: &Tenant, access: &[IssuedCredential]) -> String {
    let mut w = Writer::at_depth(1);
    let subjects: Vec<&str> = tenant.subjects.iter().map(crate::subject::Subject::as_str).collect();
    w.line("");
    w.comment(&format!("{}: {}", tenant.name, subjects.join(" ")));
    w.named_block(tenant.name.as_str(), |w| {
        users(w, &tenant.users, access);
        w.block("limits", |w| {
            w.number("max_connections", tenant.limits.connections.into());
            w.comment("for each connection");
            w.number("max_subscriptions", tenant.limits.subscriptions.into());
            w.size("max_payload", tenant.limits.payload);
            w.number("max_leafnodes", 0);
        });
        if let Some(jetstream) = tenant.jetstream {
            w.block("jetstream", |w| {
                w.size("max_memory", jetstream.memory);
                w.size("max_store", jetstream.storage);
                w.number("max_streams", jetstream.streams.into());
                w.comment("for each stream");
                w.number("max_consumers", jetstream.consumers.into());
                w.number("max_ack_pending", jetstream.max_ack_pending.into());
            });
        }
        shares(w, tenant);
    });
    w.into_text()
}

fn shares(w: &mut Writer, tenant: &Tenant) {
    if !tenant.exports.is_empty() || !tenant.stream_exports.is_empty() {
        w.array("exports", |w| {
            for export in &tenant.exports {
                w.item(|w| {
                    w.text(export.kind.as_str(), export.subject.as_str());
                    w.list("accounts", export.to.iter().map(AccountName::as_str));
                });
            }
            for copy in &tenant.stream_exports {
                w.comment(&format!("{} may copy stream {}", copy.to, copy.stream));
                for (kind, subject, _) in copy.ways() {
                    w.item(|w| {
                        w.text(kind.as_str(), &subject);
                        w.list("accounts", [copy.to.as_str()].into_iter());
                    });
                }
            }
        });
    }
    if !tenant.imports.is_empty() || !tenant.stream_imports.is_empty() {
        w.array("imports", |w| {
            for import in &tenant.imports {
                let subject = import.subject.as_str();
                self::import(w, import.kind, &import.from, subject, subject);
            }
            for copy in &tenant.stream_imports {
                w.comment(&format!(
                    "a copy of stream {} of {}: for the server, no user may use it",
                    copy.stream, copy.from
                ));
                for (kind, subject, local) in copy.ways() {
                    import(w, kind, &copy.from, &subject, &local);
                }
            }
        });
    }
}

fn import(w: &mut Writer, kind: ShareKind, from: &AccountName, subject: &str, local: &str) {
    let to = if local == subject { String::new() } else { format!(", to: \"{}\"", crate::conf::escape(local)) };
    let (from, subject) = (crate::conf::escape(from.as_str()), crate::conf::escape(subject));
    w.line(&format!("{{ {}: {{ account: \"{from}\", subject: \"{subject}\" }}{to} }}", kind.as_str()));
}

fn users(w: &mut Writer, users: &[User], access: &[IssuedCredential]) {
    w.array("users", |w| {
        for (user, access) in users.iter().zip(access) {
            w.comment(&format!("{}: role {}, {}", user.name, user.role, user.credential.kind()));
            w.item(|w| {
                match &access.auth {
                    ServerAuth::Nkey(public) => w.text("nkey", public),
                    ServerAuth::Password(hash) => {
                        w.text("user", user.name.as_str());
                        w.text("password", hash);
                    }
                }
                w.list("allowed_connection_types", ["STANDARD"].into_iter());
                permissions(w, &user.permissions);
            });
        }
    });
}

fn permissions(w: &mut Writer, permissions: &Permissions) {
    w.block("permissions", |w| {
        grant(w, "publish", &permissions.publish);
        grant(w, "subscribe", &permissions.subscribe);
        match permissions.responses {
            Some(responses) => w.block("allow_responses", |w| {
                w.number("max", responses.max.into());
                w.text("expires", &format!("{}s", responses.expires_secs));
            }),
            None => w.line("allow_responses: false"),
        }
    });
}

/// Writes the publish or the subscribe permissions. No permission is written as
/// `deny: [">"]`: the server reads an empty `allow` list as "allow everything".
fn grant(w: &mut Writer, side: &str, grant: &Grant) {
    w.block(side, |w| match grant {
        Grant::Nothing => w.list("deny", [">"].into_iter()),
        Grant::Everything => w.list("allow", [">"].into_iter()),
        Grant::Only(allowed) => {
            w.list("allow", allowed.subjects().iter().map(crate::subject::Subject::as_str));
            let no_queue: Vec<String> = allowed.no_queue_on().iter().map(|s| format!("{s} >")).collect();
            if !no_queue.is_empty() {
                w.comment(
                    "shared by another tenant: plain subscriptions only, a queue would take its workers' messages",
                );
                w.list("deny", no_queue.iter().map(String::as_str));
            }
        }
    });
}
