//! Coming in as nobody, or as somebody else.

use super::{AT_ONCE, Probe};
use crate::keys::{Login, Secret};
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::{Connection, Identity, OpenError};

pub const PROBE: Probe = Probe {
    id: "entry",
    proves: "nobody comes in without credentials, or with wrong or borrowed ones",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let nobody = attempt(run, &Identity::Anonymous).await;
    let stranger = attempt(run, &with_password("nobody", Secret::new("nothing".into()))).await;
    for (what, got_in) in [("without credentials", &nobody), ("as a user that does not exist", &stranger)] {
        match got_in {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => run.ledger.leak(None, None, format!("the server lets in whoever comes {what}")),
            Err(OpenError::Broken(why)) => run.ledger.not_run_for_anybody(why),
        }
    }
    // Whoever operates the server can do anything: not without a password either.
    for user in &run.model.system.users {
        match attempt(run, &with_password(user.name.as_str(), empty())).await {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => run.ledger.leak(None, None, format!("{} operates the server without a password", user.name)),
            Err(OpenError::Broken(why)) => run.ledger.not_run_for_anybody(&why),
        }
    }
    for (whose, login) in &run.logins.revoked {
        match attempt(run, &Identity::User(login.clone())).await {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => {
                run.ledger.leak(None, None, format!("the server still lets in the given up credential of {whose}"))
            }
            Err(OpenError::Broken(why)) => run.ledger.not_run_for_anybody(&why),
        }
    }
    let logins: Vec<Option<Login>> = tenant_runs
        .iter()
        .map(|s| s.sessions.iter().find_map(|m| m.login.clone().filter(|_| m.connection.is_some())))
        .collect();
    each(tenant_runs, AT_ONCE, async |tenant_run| borrow(run, tenant_run, &logins).await).await;
}

async fn attempt(run: &Run<'_>, identity: &Identity) -> Result<(), OpenError> {
    Connection::open(run.address, identity, "_INBOX.nobody", "tenantry verify").await.map(|_| ())
}

/// With one's own secret as another, and with no or a wrong secret as oneself.
async fn borrow<'p>(run: &Run<'p>, tenant_run: &TenantRun<'p>, logins: &[Option<Login>]) {
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
            // Signed, but not with the key that is named.
            if let Some(public) = stranger() {
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
                let public = nkeys::KeyPair::from_seed(theirs.expose()).map(|pair| pair.public_key());
                let login = public.map(|public_key| Identity::Borrowed { public_key, seed: own.clone() });
                tried.extend(
                    login.ok().map(|l| (format!("as {name} by its public key with its own signature"), Some(other), l)),
                );
            }
            _ => {}
        }
    }
    let (mut refused, mut sample) = (0, String::new());
    for (what, against, login) in tried {
        match attempt(run, &login).await {
            Err(OpenError::Refused(words)) => (refused, sample) = (refused + 1, words),
            Ok(()) => run.ledger.leak(Some(tenant_run.index), against, format!("the server let it in {what}")),
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

/// A public key that nobody has.
fn stranger() -> Option<String> {
    nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [7; 32]).ok().map(|pair| pair.public_key())
}
