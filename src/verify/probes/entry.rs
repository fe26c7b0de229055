//! Coming in as nobody, or as somebody else.

use super::{AT_ONCE, Probe};
use crate::keys::{Login, Secret};
use crate::verify::run::{Side, Stage, each};
use crate::verify::wire::{Connection, Identity, OpenError};

pub const PROBE: Probe = Probe {
    id: "entry",
    proves: "nobody comes in without credentials, or with wrong or borrowed ones",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    let nobody = attempt(stage, &Identity::Anonymous).await;
    let stranger = attempt(stage, &with_password("nobody", Secret::new("nothing".into()))).await;
    for (what, got_in) in [("without credentials", &nobody), ("as a user that does not exist", &stranger)] {
        match got_in {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => stage.leak(None, None, format!("the server lets in whoever comes {what}")),
            Err(OpenError::Broken(why)) => stage.not_run_for_anybody(why),
        }
    }
    // Whoever operates the server can do anything: not without a password either.
    for user in &stage.model.system.users {
        match attempt(stage, &with_password(user.name.as_str(), empty())).await {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => stage.leak(None, None, format!("{} operates the server without a password", user.name)),
            Err(OpenError::Broken(why)) => stage.not_run_for_anybody(&why),
        }
    }
    for (whose, login) in &stage.logins.revoked {
        match attempt(stage, &Identity::User(login.clone())).await {
            Err(OpenError::Refused(_)) => {}
            Ok(()) => stage.leak(None, None, format!("the server still lets in the given up credential of {whose}")),
            Err(OpenError::Broken(why)) => stage.not_run_for_anybody(&why),
        }
    }
    let logins: Vec<Option<Login>> = sides
        .iter()
        .map(|s| s.members.iter().find_map(|m| m.login.clone().filter(|_| m.connection.is_some())))
        .collect();
    each(sides, AT_ONCE, async |side| borrow(stage, side, &logins).await).await;
}

async fn attempt(stage: &Stage<'_>, identity: &Identity) -> Result<(), OpenError> {
    Connection::open(stage.address, identity, "_INBOX.nobody", "tenantry verify").await.map(|_| ())
}

/// With one's own secret as another, and with no or a wrong secret as oneself.
async fn borrow<'p>(stage: &Stage<'p>, side: &Side<'p>, logins: &[Option<Login>]) {
    if !side.is_in() {
        return stage.not_run(side.index, "none of its users is let in, so that others are refused proves nothing");
    }
    let mut tried: Vec<(String, Option<usize>, Identity)> = Vec::new();
    let own = logins[side.index].as_ref();
    for member in &side.members {
        if let Some(Login::Password(user, _)) = &member.login {
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
    for other in side.neighbours.iter().copied().take(2) {
        let name = &stage.tenant(other).name;
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
        match attempt(stage, &login).await {
            Err(OpenError::Refused(words)) => (refused, sample) = (refused + 1, words),
            Ok(()) => stage.leak(Some(side.index), against, format!("the server let it in {what}")),
            Err(OpenError::Broken(why)) => stage.not_run(side.index, why),
        }
    }
    if refused > 0 {
        stage
            .pass(side.index, format!("{refused} attempts refused, as in: {sample}; the right credentials are let in"));
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
