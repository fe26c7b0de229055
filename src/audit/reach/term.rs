//! Subjects in which some tokens are not known yet: what is followed from the publisher
//! to the subscriber. A pattern says which tokens are free; a term also says which of
//! them are the same token before and after a rename.

use std::collections::HashMap;

use crate::subject::Subject;

/// A token, or one or more last tokens, that may be anything.
pub type Unknown = u32;

/// A token of a term.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(Box<str>),
    Unknown(Unknown),
    /// A number that the server draws or computes.
    Number,
}

/// A subject with unknown tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    tokens: Vec<Token>,
    /// One or more unknown tokens at the end.
    rest: Option<Unknown>,
}

/// The values of unknowns that make two terms the same.
#[derive(Debug, Default)]
pub struct Known {
    tokens: HashMap<Unknown, Token>,
    rests: HashMap<Unknown, Term>,
}

/// Gives out unknowns that no term has yet.
#[derive(Debug, Clone, Default)]
pub struct Unknowns(Unknown);

impl Unknowns {
    fn next(&mut self) -> Unknown {
        self.0 += 1;
        self.0
    }
}

impl Term {
    /// The term of a pattern: each wildcard is an unknown of its own.
    pub fn of(pattern: &Subject, unknowns: &mut Unknowns) -> Self {
        let mut term = Self { tokens: Vec::new(), rest: None };
        for token in pattern.tokens() {
            match token {
                ">" => term.rest = Some(unknowns.next()),
                "*" => term.tokens.push(Token::Unknown(unknowns.next())),
                _ => term.tokens.push(Token::Text(token.into())),
            }
        }
        term
    }

    /// The pattern of all subjects that the term can be.
    pub fn pattern(&self) -> Subject {
        let token = |token: &Token| match token {
            Token::Text(text) => text.to_string(),
            Token::Unknown(_) | Token::Number => "*".to_owned(),
        };
        let rest = self.rest.map(|_| ">".to_owned());
        let text: Vec<String> = self.tokens.iter().map(token).chain(rest).collect();
        // A term has at least one token, none of them empty.
        Subject::as_the_server_reads(&text.join(".")).unwrap_or_else(Subject::everything)
    }

    /// Whether the term may be a subject of the pattern, by the tokens that both know. Cheaper than
    /// [`Self::unify`], and never false if that succeeds.
    pub fn may_match(&self, pattern: &Subject) -> bool {
        let mut theirs = pattern.tokens();
        for token in &self.tokens {
            match (token, theirs.next()) {
                (_, Some(">")) => return true,
                (_, None) => return false,
                (Token::Text(mine), Some(other)) if other != "*" && **mine != *other => return false,
                _ => {}
            }
        }
        self.rest.is_some() == theirs.next().is_some()
    }

    /// Unifies two terms that share no unknowns. `None`: no subject is both.
    pub fn unify(&self, other: &Self) -> Option<Known> {
        let mut known = Known::default();
        let (mut mine, mut theirs) = (self.tokens.iter(), other.tokens.iter());
        loop {
            match (mine.as_slice(), theirs.as_slice()) {
                ([], []) => break,
                ([], left) => {
                    known.rests.insert(self.rest?, Self { tokens: left.to_vec(), rest: other.rest });
                    return Some(known);
                }
                (left, []) => {
                    known.rests.insert(other.rest?, Self { tokens: left.to_vec(), rest: self.rest });
                    return Some(known);
                }
                _ => {}
            }
            known.equate(mine.next()?, theirs.next()?)?;
        }
        match (self.rest, other.rest) {
            (Some(mine), Some(_)) => {
                known.rests.insert(mine, Self { tokens: Vec::new(), rest: other.rest });
            }
            (None, None) => {}
            _ => return None,
        }
        Some(known)
    }

    /// Adds the rests of the term to `rests`.
    pub fn collect_rests(&self, rests: &mut Vec<Unknown>) {
        if let Some(rest) = self.rest.filter(|rest| !rests.contains(rest)) {
            rests.push(rest);
        }
    }

    /// One subject that the term can be, with tokens that only a wildcard matches for its
    /// unknowns. `length`: number of tokens of a rest.
    pub fn example(&self, length: impl Fn(Unknown) -> usize) -> String {
        let mut text: Vec<String> = Vec::new();
        for token in &self.tokens {
            text.push(match token {
                Token::Text(text) => text.to_string(),
                Token::Unknown(unknown) => format!("\u{1}{unknown}"),
                Token::Number => "0".to_owned(),
            });
        }
        if let Some(rest) = self.rest {
            text.extend((0..length(rest)).map(|i| format!("\u{1}{rest}-{i}")));
        }
        text.join(".")
    }

    /// Appends the term to a key, with unknowns numbered in order of appearance in the key.
    pub fn write_key(&self, numbers: &mut HashMap<Unknown, usize>, key: &mut String) {
        let mut number = |unknown: Unknown| {
            let next = numbers.len();
            *numbers.entry(unknown).or_insert(next)
        };
        for token in &self.tokens {
            match token {
                Token::Text(text) => key.push_str(text),
                Token::Unknown(unknown) => key.push_str(&format!("\u{1}{}", number(*unknown))),
                Token::Number => key.push('\u{3}'),
            }
            key.push('.');
        }
        if let Some(rest) = self.rest {
            key.push_str(&format!("\u{2}{}", number(rest)));
        }
        key.push(' ');
    }
}

impl Known {
    fn resolve<'k>(&'k self, mut token: &'k Token) -> &'k Token {
        while let Token::Unknown(unknown) = token
            && let Some(next) = self.tokens.get(unknown)
        {
            token = next;
        }
        token
    }

    fn equate(&mut self, one: &Token, other: &Token) -> Option<()> {
        let (one, other) = (self.resolve(one).clone(), self.resolve(other).clone());
        match (one, other) {
            (Token::Text(a), Token::Text(b)) => (a == b).then_some(()),
            (Token::Number, Token::Number) => Some(()),
            (Token::Number, Token::Text(text)) | (Token::Text(text), Token::Number) => {
                text.bytes().all(|byte| byte.is_ascii_digit()).then_some(())
            }
            (Token::Unknown(a), Token::Unknown(b)) if a == b => Some(()),
            (Token::Unknown(unknown), token) | (token, Token::Unknown(unknown)) => {
                self.tokens.insert(unknown, token);
                Some(())
            }
        }
    }

    /// The term with everything that is known filled in.
    pub fn apply(&self, term: &Term) -> Term {
        let mut tokens: Vec<Token> = term.tokens.iter().map(|token| self.resolve(token).clone()).collect();
        let mut rest = term.rest;
        while let Some(known) = rest.and_then(|rest| self.rests.get(&rest)) {
            tokens.extend(known.tokens.iter().map(|token| self.resolve(token).clone()));
            rest = known.rest;
        }
        Term { tokens, rest }
    }
}

/// A rename of subjects: those that match `from` become `to`, with the tokens at their
/// wildcards carried over. A mapping, or an import under another subject.
#[derive(Debug)]
pub struct Rename {
    /// The subjects that are renamed.
    pub from: Term,
    /// The subjects that they become.
    pub to: Term,
}

impl Rename {
    /// Reads `to` as the server does: the tokens at the wildcards of `from` replace those of
    /// `to`, in order or as `$1` or `{{wildcard(1)}}`. Other functions may make any token, and
    /// those that split a token any number of them. `None`: `to` does not fit `from`.
    pub fn new(from: &Subject, to: &str, unknowns: &mut Unknowns) -> Option<Self> {
        let from = Term::of(from, unknowns);
        let wild: Vec<Token> = from.tokens.iter().filter(|t| matches!(t, Token::Unknown(_))).cloned().collect();
        let mut in_order = wild.iter();
        let mut made = Term { tokens: Vec::new(), rest: None };
        for token in to.split('.') {
            made.tokens.push(match token {
                ">" => {
                    made.rest = Some(from.rest?);
                    break;
                }
                "*" => (*in_order.next()?).clone(),
                // Without a wildcard there is nothing to number: `$1` is text.
                _ if wild.is_empty() && from.rest.is_none() && !token.starts_with("{{") => Token::Text(token.into()),
                // A function that the server does not know may make anything.
                _ => match Function::of(token).unwrap_or(Function::Split(0)) {
                    // The server finds no wildcard 0, and takes the first token.
                    Function::Wildcard(0) => {
                        from.tokens.first().cloned().unwrap_or_else(|| Token::Unknown(unknowns.next()))
                    }
                    Function::Wildcard(number) => (*wild.get(number - 1)?).clone(),
                    Function::OneToken(_) => Token::Unknown(unknowns.next()),
                    Function::Number(_) => Token::Number,
                    Function::Split(_) => {
                        made.rest = Some(unknowns.next());
                        break;
                    }
                    Function::None => Token::Text(token.into()),
                },
            });
        }
        Some(Self { from, to: made })
    }

    /// The rename in the other direction.
    pub fn reversed(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

/// The functions of destinations.
const FUNCTIONS: [&str; 10] = [
    "Wildcard",
    "Partition",
    "SplitFromLeft",
    "SplitFromRight",
    "SliceFromLeft",
    "SliceFromRight",
    "Split",
    "Left",
    "Right",
    "Random",
];

/// A token of a rename's destination, as the server reads it.
#[derive(Debug, PartialEq, Eq)]
pub enum Function {
    /// Text that stands for itself.
    None,
    /// The token at the wildcard of this number, from 1.
    Wildcard(usize),
    /// A token that is computed from the one at this wildcard.
    OneToken(usize),
    /// A number, of chance or computed from the tokens at these wildcards or from the whole subject.
    Number(Vec<usize>),
    /// One or more tokens that are computed from the one at this wildcard.
    Split(usize),
}

/// The number of a wildcard. Negative numbers find none, like 0.
fn numbered(text: &str) -> Option<usize> {
    Some(usize::try_from(text.parse::<i64>().ok()?).unwrap_or(0))
}

impl Function {
    /// Reads a token: text, `$1`, `{{wildcard(1)}}`, `{{partition(3,1)}}`. Errors: why the server
    /// knows no such function.
    pub fn of(token: &str) -> Result<Self, &'static str> {
        if let Some(number) = token.strip_prefix('$') {
            return Ok(numbered(number).map_or(Self::None, Self::Wildcard));
        }
        let inside = token.strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).filter(|inside| !inside.is_empty());
        let Some(inside) = inside else { return Ok(Self::None) };
        let (name, arguments) = inside.trim().split_once('(').ok_or("a function needs arguments in brackets")?;
        let arguments: Vec<&str> = arguments.trim_end_matches(')').split(',').map(str::trim).collect();
        let number = |text: &str| numbered(text).ok_or("a wildcard is named by its number");
        let limit = |text: &str| text.parse::<i32>().map_err(|_| "a function's limit is a number");
        // The first letter of each word of a name may be small, the others are.
        let is = |known: &&&str| {
            let same = |(known, given): (char, char)| known == given || known.to_ascii_lowercase() == given;
            let given = name.trim();
            given.len() == known.len() && known.chars().zip(given.chars()).all(same)
        };
        let known = FUNCTIONS.iter().find(is).ok_or("the server knows no such function")?;
        match (*known, arguments.as_slice()) {
            ("Wildcard", [wildcard]) => Ok(Self::Wildcard(number(wildcard)?)),
            ("Partition", [partitions, wildcards @ ..]) => {
                limit(partitions)?;
                Ok(Self::Number(wildcards.iter().map(|wildcard| number(wildcard)).collect::<Result<_, _>>()?))
            }
            ("Random", [most]) => limit(most).map(|_| Self::Number(Vec::new())),
            ("Split", [wildcard, delimiter]) if !delimiter.contains(' ') => Ok(Self::Split(number(wildcard)?)),
            ("Left" | "Right", [wildcard, length]) => {
                limit(length)?;
                Ok(Self::OneToken(number(wildcard)?))
            }
            ("SplitFromLeft" | "SplitFromRight" | "SliceFromLeft" | "SliceFromRight", [wildcard, length]) => {
                limit(length)?;
                Ok(Self::Split(number(wildcard)?))
            }
            _ => Err("the server knows no such function with these arguments"),
        }
    }
}

/// Whether the server puts the tokens of an import's local name back in another order than it took them: it reads an order
/// that does not undo itself, such as `$2.$3.$1`, the wrong way round.
pub fn is_misread(from: &Subject, to: &str) -> bool {
    let mut next = 0;
    let place = |token: &str| match Function::of(token) {
        Ok(Function::Wildcard(number)) => Some(number),
        _ if token == "*" => {
            next += 1;
            Some(next)
        }
        _ => None,
    };
    let places: Vec<usize> = to.split('.').filter_map(place).collect();
    let comes_back = |(i, place): (usize, &usize)| {
        place.checked_sub(1).and_then(|place| places.get(place)).is_none_or(|back| *back == i + 1)
    };
    from.has_wildcard() && !places.iter().enumerate().all(comes_back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(text: &str) -> Subject {
        Subject::as_the_server_reads(text).expect(text)
    }

    /// What `from` renamed to `to` makes of the subjects in `text`.
    fn renamed(text: &str, from: &str, to: &str) -> Option<String> {
        let mut unknowns = Unknowns::default();
        let term = Term::of(&subject(text), &mut unknowns);
        let rename = Rename::new(&subject(from), to, &mut unknowns)?;
        let known = term.unify(&rename.from)?;
        Some(known.apply(&rename.to).pattern().to_string())
    }

    #[test]
    fn a_renamed_subject_has_the_tokens_of_its_wildcards_in_their_new_places() {
        for (from, to, text, expected) in [
            ("a", "b", "a", Some("b")),
            ("a.*", "b.*", "a.x", Some("b.x")),
            ("a.*", "b.*", "*.x", Some("b.x")),
            ("a.>", "b.c.>", "a.x.y", Some("b.c.x.y")),
            ("a.>", "b.c.>", ">", Some("b.c.>")),
            ("*.*", "$2.$1", "x.y", Some("y.x")),
            ("*.*", "$2.$1", "x.>", Some("*.x")),
            ("*.*", "$1.$1", "*.y", Some("*.*")),
            ("*.*", "{{wildcard(2)}}.{{ Wildcard(1) }}", "x.y", Some("y.x")),
            ("*.*", "{{wildcard(3)}}.a", "x.y", None),
            ("*.*", "p.{{partition(3,1)}}", "x.y", Some("p.*")),
            ("*", "p.{{split(1,-)}}.z", "x", Some("p.>")),
            ("*", "p.{{splitFromLeft(1,2)}}.z", "x", Some("p.>")),
            ("*", "p.{{SliceFromLeft(1,2)}}", "x", Some("p.>")),
            ("*", "p.{{left(1,2)}}", "x", Some("p.*")),
            ("a.*.>", "b.$1.>", "a.x.y.z", Some("b.x.y.z")),
            ("a.*", "a.*", "a.x", Some("a.x")),
            ("a.*", "b.$2", "a.x", None),
            ("a.*", "b.$0", "a.x", Some("b.a")),
            ("*.b", "{{wildcard(0)}}.c", "x.b", Some("x.c")),
            ("a.*", "b.$-1", "a.x", Some("b.a")),
            ("a", "b.{{partition(3)}}", "a", Some("b.*")),
            ("a.>", "b.$0.>", "a.x", Some("b.a.x")),
            ("a.*", "$SYS.$1", "a.x", Some("$SYS.x")),
            ("a", "b.*", "a", None),
            ("a", "b.$1", "a", Some("b.$1")),
            ("a.*", "b.$1", "a.*", Some("b.*")),
            ("a.>", "b.>", "a.>", Some("b.>")),
            ("a.*", "b.*", "c.x", None),
            ("a.>", "b.>", "a", None),
        ] {
            assert_eq!(renamed(text, from, to).as_deref(), expected, "{from} to {to}: {text}");
        }
    }

    #[test]
    fn a_rename_backwards_undoes_it() {
        let mut unknowns = Unknowns::default();
        let rename = Rename::new(&subject("x.*.*.>"), "my.$2.do.$1.>", &mut unknowns).expect("it fits").reversed();
        let term = Term::of(&subject("my.a.*.b.c.d"), &mut unknowns);
        let known = term.unify(&rename.from).expect("it matches");
        assert_eq!(known.apply(&rename.to).pattern().as_str(), "x.b.a.c.d");
        assert_eq!(known.apply(&term).pattern().as_str(), "my.a.do.b.c.d");
    }

    #[test]
    fn a_token_that_is_carried_twice_is_the_same_twice() {
        let mut unknowns = Unknowns::default();
        let rename = Rename::new(&subject("a.*"), "$1.b.$1", &mut unknowns).expect("it fits");
        let both = |text: &str, unknowns: &mut Unknowns| rename.to.unify(&Term::of(&subject(text), unknowns)).is_some();
        assert!(both("x.b.x", &mut unknowns) && both("*.b.x", &mut unknowns));
        assert!(!both("x.b.y", &mut unknowns));
    }

    #[test]
    fn two_terms_have_one_key_if_they_differ_in_the_numbers_of_their_unknowns_only() {
        let key = |text: &str, skip: u32| {
            let (mut key, mut unknowns) = (String::new(), Unknowns(skip));
            Term::of(&subject(text), &mut unknowns).write_key(&mut HashMap::new(), &mut key);
            key
        };
        assert_eq!(key("a.*.>", 0), key("a.*.>", 7));
        assert_ne!(key("a.*.>", 0), key("a.>", 0));
    }

    /// Measured on nats-server 2.15.1.
    #[test]
    fn an_order_is_misread_unless_it_undoes_itself() {
        let is = |from: &str, to: &str| is_misread(&subject(from), to);
        assert!(is("q.*.*.*", "w.$2.$3.$1") && is("q.*.*.*", "$3.ev.$1.$2"));
        assert!(
            !is("q.*.*.*", "$2.ev.$1.$3") && !is("q.*.*.*", "$3.$2.$1") && !is("q.*.*", "a.*.*") && !is("q.>", "a.>")
        );
    }

    #[test]
    fn a_number_meets_numbers_only() {
        let mut unknowns = Unknowns::default();
        let made = Rename::new(&subject("a"), "b.{{random(3)}}.c", &mut unknowns).expect("it fits").to;
        let mut meets = |text: &str| made.unify(&Term::of(&subject(text), &mut unknowns)).is_some();
        assert!(meets("b.2.c") && meets("b.*.c") && meets("b.>") && !meets("b.x.c"));
    }

    proptest! {
        /// Unifying the terms of two patterns is what [`Subject::meet`] computes.
        #[test]
        fn unifying_two_patterns_is_their_intersection(
            a in "(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?",
            b in "(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?",
        ) {
            let mut unknowns = Unknowns::default();
            let (one, other) = (Term::of(&subject(&a), &mut unknowns), Term::of(&subject(&b), &mut unknowns));
            let known = one.unify(&other);
            let met = subject(&a).meet(&subject(&b));
            prop_assert_eq!(known.as_ref().map(|k| k.apply(&one).pattern()), met.clone());
            prop_assert!(known.is_none() || one.may_match(&subject(&b)), "{} {}", a, b);
            prop_assert_eq!(known.map(|k| k.apply(&other).pattern()), met);
        }
    }
}
