//! Why a message of one user does not arrive at another.

use super::{Question, paths, published, what_becomes};
use crate::audit::system::{Account, System, User};
use crate::diag::Span;

/// Explains why no path exists, by the first obstacle: missing shares between the
/// accounts, then the publisher's permissions, then the subscriber's.
pub fn obstacle(system: &System, question: Question<'_>) -> (String, Span) {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let anything = format!("anything that `{}/{}` may publish", account.name, sender.display_name());
    let what = question.subject.map_or(anything, |subject| format!("`{subject}`"));
    let anybody = User::anybody(String::new(), account.span);
    let between =
        |from: &User, to: &User| paths(system, Question { from: (account, from), to: (target, to), ..question }).paths;
    let Some(way) = between(&anybody, &anybody).into_iter().next() else {
        let takes_part = |a: &Account, other: &str| a.imports.iter().any(|i| i.from.0 == other);
        let message = if !takes_part(target, &account.name) && !takes_part(account, &target.name) {
            format!("`{}` imports nothing from `{}`, nor the other way round", target.name, account.name)
        } else if question.subject.is_some() {
            format!("no share carries {what} from `{}` to `{}`", account.name, target.name)
        } else {
            format!("what they share passes the other way, not from `{}` to `{}`", account.name, target.name)
        };
        return (message, target.span);
    };
    // `way` is a path that unlimited permissions would have.
    // Of what it may not publish it may have traces at most.
    let is_published = || question.subject.is_none_or(|subject| !published(account, sender, Some(subject)).is_empty());
    let Some(sent) = between(sender, &anybody).into_iter().next().filter(|_| is_published()) else {
        let may_not = |what: &str| format!("`{}/{}` may not publish {what}", account.name, sender.display_name());
        let at = sender.place_of(&sender.permissions.publish);
        if question.subject.is_none() && account.name == target.name {
            return (may_not("anything"), at);
        }
        let asked = question.subject.unwrap_or(&way.subject);
        // Permissions apply after mappings.
        let message = match what_becomes(account, asked).into_iter().find(|made| made != asked) {
            Some(made) => may_not(&format!("`{made}`, to which `{}` maps `{asked}`", account.name)),
            None => may_not(&format!("`{asked}`")),
        };
        return (message, at);
    };
    let what = match (account.name == target.name, question.subject) {
        (_, Some(_)) => format!("`{}`", sent.arrives),
        (true, None) => what,
        (false, None) => format!("what comes from `{}`", account.name),
    };
    let at = receiver.place_of(&receiver.permissions.subscribe);
    (format!("`{}/{}` may not subscribe to {what}", target.name, receiver.display_name()), at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reach::tests::{account, question, system};
    use crate::audit::testing;
    use crate::subject::Subject;

    #[test]
    fn the_obstacle_is_the_first_of_shares_publisher_and_subscriber() {
        let text = account("A", "a.>", "a.>", "exports: [{ stream: s.>, accounts: [B] }]")
            + &account("B", "b", "b", "imports: [{ stream: { account: A, subject: s.> }, prefix: in }]")
            + &account("C", "s.>", "in.>", "");
        let blocked_subscriber = text.replace("publish: a.>", "publish: [a.>, s.>]");
        for (text, from, to, subject, expected) in [
            (&text, "A/a", "C/c", None, "`C` imports nothing from `A`, nor the other way round"),
            (&text, "B/b", "A/a", None, "what they share passes the other way, not from `B` to `A`"),
            (&text, "A/a", "B/b", Some("a.b"), "no share carries `a.b` from `A` to `B`"),
            (&text, "A/a", "B/b", None, "`A/a` may not publish `s.>`"),
            (&text, "A/a", "B/b", Some("s.x"), "`A/a` may not publish `s.x`"),
            (&blocked_subscriber, "A/a", "B/b", None, "`B/b` may not subscribe to what comes from `A`"),
            (&blocked_subscriber, "A/a", "B/b", Some("s.x"), "`B/b` may not subscribe to `in.s.x`"),
            (&text, "A/a", "A/a", Some("x"), "`A/a` may not publish `x`"),
            (&blocked_subscriber, "A/a", "A/a", Some("s.x"), "`A/a` may not subscribe to `s.x`"),
        ] {
            let system = system(text);
            let subject = subject.and_then(Subject::as_the_server_reads);
            let question = question(&system, from, to, subject.as_ref());
            assert!(paths(&system, question).paths.is_empty(), "{from} to {to}: {subject:?}");
            assert_eq!(obstacle(&system, question).0, expected, "{from} to {to}: {subject:?}");
        }
    }

    #[test]
    fn an_obstacle_is_named_as_it_is_behind_mappings() {
        let text = |publish: &str, subscribe: &str| account("A", publish, subscribe, "mappings { x: y }");
        let x = Subject::as_the_server_reads("x");
        let obstacle = |publish: &str, subscribe: &str| {
            let system = system(&text(publish, subscribe));
            obstacle(&system, question(&system, "A/a", "A/a", x.as_ref())).0
        };
        assert_eq!(obstacle("x", "y"), obstacle("z", "y"));
        assert_eq!(obstacle("x", "y"), "`A/a` may not publish `y`, to which `A` maps `x`");
        assert_eq!(obstacle("y", "z"), "`A/a` may not subscribe to `y`");
    }

    #[test]
    fn an_obstacle_and_every_step_of_a_path_show_the_place_that_decides() {
        let text = "accounts {\n A { users: [{ user: a, permissions {\n publish: x\n subscribe: y } }] }\n}";
        let audit = testing::audit_text(text).expect("accepted");
        let line = |span: Span| audit.sources.position(span).0;
        let x = Subject::as_the_server_reads("x");
        let (_, place) = obstacle(&audit.system, question(&audit.system, "A/a", "A/a", x.as_ref()));
        assert_eq!(line(place), 4, "the subscriber's list");
        let y = Subject::as_the_server_reads("y");
        let (_, place) = obstacle(&audit.system, question(&audit.system, "A/a", "A/a", y.as_ref()));
        assert_eq!(line(place), 3, "the publisher's list");
        let both = testing::audit_text(&text.replace('y', "x")).expect("accepted");
        let found = paths(&both.system, question(&both.system, "A/a", "A/a", None)).paths;
        let lines: Vec<usize> = found[0].steps.iter().map(|(_, span)| both.sources.position(*span).0).collect();
        assert_eq!(lines, [3, 4]);
    }
}
