//! Logins without credentials, with wrong ones, with revoked ones, and as another user.

use super::{AT_ONCE, Probe};
use crate::keys::{Login, Secret, public_key_of};
use crate::verify::endpoint::OpenError;
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::{Connection, Identity};

pub const PROBE: Probe = Probe {
    id: "entry",
    proves: "no client logs in without credentials, or with wrong, revoked or someone else's",
    mend: "`tenantry up` renders the registry's users and no others; remove what was added to the configuration",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let anonymous = log_in(run, &Identity::Anonymous).await;
    let unknown_user = log_in(run, &with_password("nobody", Secret::new("nothing".into()))).await;
    for (what, result) in [("without credentials", &anonymous), ("as a user that does not exist", &unknown_user)] {
        match result {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => run.ledger.leak(None, None, format!("the server lets in whoever comes {what}")),
            Err(OpenError::Broken(why)) => run.ledger.not_run_for_anybody(why),
        }
    }
    // Users of the system account can read everything, so they must need their password too.
    for user in &run.model.system.users {
        match log_in(run, &with_password(user.name.as_str(), empty())).await {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => run.ledger.leak(None, None, format!("{} operates the server without a password", user.name)),
            Err(OpenError::Broken(why)) => run.ledger.not_run_for_anybody(&why),
        }
    }
    for (owner, login) in &run.logins.revoked {
        match log_in(run, &Identity::User(login.clone())).await {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => {
                run.ledger.leak(None, None, format!("the server still lets in the given up credential of {owner}"));
            }
            Err(OpenError::Broken(why)) => run.ledger.not_run_for_anybody(&why),
        }
    }
    let logins: Vec<Option<Login>> = tenant_runs
        .iter()
        .map(|s| s.sessions.iter().find_map(|m| m.login.clone().filter(|_| m.connection.is_some())))
        .collect();
    each(tenant_runs, AT_ONCE, async |tenant_run| try_wrong_credentials(run, tenant_run, &logins).await).await;
}

async fn log_in(run: &Run<'_>, identity: &Identity) -> Result<(), OpenError> {
    Connection::open(run.endpoint, identity, "_INBOX.nobody", "tenantry verify").await.map(|_| ())
}

/// Tries each of the tenant's users without a secret or with a wrong one, and users of other
/// tenants with the tenant's own secret.
async fn try_wrong_credentials<'p>(run: &Run<'p>, tenant_run: &TenantRun<'p>, logins: &[Option<Login>]) {
    // Nobody of a suspended tenant without JetStream may log in, and nobody's secret may be known.
    if tenant_run.sessions.iter().all(|session| session.is_accepted) {
        return;
    }
    if !tenant_run.is_in() {
        return run
            .ledger
            .not_run(tenant_run.index, "none of its users is let in, so that others are refused proves nothing");
    }
    let mut tried: Vec<(String, Option<usize>, Identity)> = Vec::new();
    let own = logins[tenant_run.index].as_ref();
    for session in &tenant_run.sessions {
        if let Some(Login::Password(user, _)) = &session.login {
            tried.push((format!("as {user} with an empty password"), None, with_password(user, empty())));
        }
    }
    match own {
        Some(Login::Password(user, _)) => {
            tried.push((format!("as {user} with a wrong password"), None, with_password(user, wrong())));
        }
        Some(Login::Seed(seed)) => {
            // The signature is valid, but not for this public key.
            if let Some(public) = unknown_public_key() {
                tried.push((
                    "with a key that the server does not know".into(),
                    None,
                    Identity::Borrowed { public_key: public, seed: seed.clone() },
                ));
            }
        }
        _ => {}
    }
    for other in tenant_run.neighbours.iter().copied().take(2) {
        let name = &run.topology.tenant(other).name;
        match (logins[other].as_ref(), own) {
            (Some(Login::Password(user, _)), Some(Login::Password(_, own))) => {
                let login = with_password(user, own.clone());
                tried.push((format!("as {name}'s {user} with its own password"), Some(other), login));
            }
            (Some(Login::Password(user, _)), _) => {
                tried.push((
                    format!("as {name}'s {user} without a password"),
                    Some(other),
                    with_password(user, empty()),
                ));
            }
            (Some(Login::Seed(theirs)), Some(Login::Seed(own))) => {
                let public = public_key_of(theirs);
                let login = public.map(|public_key| Identity::Borrowed { public_key, seed: own.clone() });
                tried.extend(
                    login.ok().map(|l| (format!("as {name} by its public key with its own signature"), Some(other), l)),
                );
            }
            _ => {}
        }
    }
    let (mut refused, mut sample) = (0, String::new());
    for (what, target, login) in tried {
        match log_in(run, &login).await {
            Err(OpenError::Refused(words)) => (refused, sample) = (refused + 1, words),
            Ok(()) => run.ledger.leak(Some(tenant_run.index), target, format!("the server let it in {what}")),
            Err(OpenError::Broken(why)) => run.ledger.not_run(tenant_run.index, why),
        }
    }
    if refused > 0 {
        run.ledger.pass(
            tenant_run.index,
            format!("{refused} attempts refused, as in: {sample}; the right credentials are let in"),
        );
    }
}

fn with_password(user: &str, password: Secret) -> Identity {
    Identity::User(Login::Password(user.to_owned(), password))
}

fn empty() -> Secret {
    Secret::new(String::new())
}

fn wrong() -> Secret {
    Secret::new("not the password".into())
}

/// A valid public key that belongs to no user.
fn unknown_public_key() -> Option<String> {
    nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [7; 32]).ok().map(|pair| pair.public_key())
}
