//! Subscriptions to subjects on which answers and acknowledgements pass.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "overheard-answers",
    proves: "no user receives answers and acknowledgements that are meant for others",
    why: "Answers to requests of other accounts pass on `_R_.>`, acknowledgements of every consumer on `$JS.ACK.>`: a subscriber there sees what each importer is told",
    mend: "remove these subjects from `subscribe`",
    check,
};

/// Where they pass, with what passes there.
const SPACES: [(&str, &str); 2] =
    [("_R_.>", "the answers to requests of other accounts"), ("$JS.ACK.>", "the acknowledgements of every consumer")];

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (account, user) in system.users() {
        let side = &user.permissions.subscribe;
        for (space, what) in SPACES {
            let Some(space) = Subject::as_the_server_reads(space) else { continue };
            // A user without a list may do everything in its account, which is no slip.
            let listed = side.allow.iter().flatten().find(|pattern| {
                let first = pattern.subject.first_token();
                first == space.first_token() && pattern.subject.overlaps(&space)
            });
            let Some(listed) = listed.filter(|_| side.touches(&space)) else { continue };
            let message =
                format!("`{}/{}` may subscribe to `{}`: {what}", account.name, user.display_name(), listed.subject);
            let place = user.place_of(side);
            out.push(RULE.warning(place, message).related(user.span, "this user"));
        }
    }
}
