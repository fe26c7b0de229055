//! Our reader of configurations against the server's own: the same verdict on
//! every text, and the same values, which the server's digest of them shows.

use std::path::Path;
use std::process::Command;

use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest::{collection, sample};
use rayon::prelude::*;
use tenantry::conf;
use tenantry::diag::Sources;

use crate::support::{Project, nats_server};

/// What the server says to a configuration.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Not the language.
    Syntax,
    /// The language, but not options.
    Options,
    /// Good, with this digest.
    Valid(String),
}

fn server(path: &Path) -> Verdict {
    let mut command = Command::new(nats_server());
    command.arg("-t").arg("-c").arg(path).env_clear().envs(ENVIRONMENT.iter().copied());
    let output = command.output().expect("nats-server runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        let digest = said.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(d, _)| d.to_owned());
        return Verdict::Valid(digest.unwrap_or_else(|| panic!("no digest: {said}")));
    }
    const SYNTAX: [&str; 7] = [
        "Parse error on line",
        "config is invalid",
        "variable reference for",
        "error parsing include",
        "is out of the range",
        "expected integer, but got",
        "expected Zulu",
    ];
    if SYNTAX.iter().any(|mark| said.contains(mark)) { Verdict::Syntax } else { Verdict::Options }
}

/// Ours, as far as the language goes.
fn ours(path: &Path) -> Result<String, String> {
    let mut sources = Sources::default();
    let lookup = |name: &str| ENVIRONMENT.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    conf::read(path, &lookup, &mut sources).map(|document| conf::digest(&document.map)).map_err(|e| {
        let places = e.diagnostics().map(|(sources, d)| sources.finding(&d[0]));
        format!("{e} {places:?}")
    })
}

fn compare(project: &Project, name: &str, text: &str) -> Option<String> {
    project.write(name, text);
    let path = project.path().join(name);
    match (server(&path), ours(&path)) {
        (Verdict::Syntax, Err(_)) | (Verdict::Options, Ok(_)) => None,
        (Verdict::Valid(digest), Ok(own)) if digest == own => None,
        (server, own) => Some(format!("{text:?}: server {server:?}, ours {own:?}")),
    }
}

#[track_caller]
fn agree(project: &Project, texts: &[String]) {
    let compared = texts.par_iter().enumerate().map(|(i, text)| compare(project, &format!("{i}.conf"), text));
    let different: Vec<String> = compared.flatten().collect();
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), texts.len(), different.join("\n"));
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CONF_PORT", "4222"),
    ("CONF_WORD", "word"),
    ("CONF_BROKEN", "[ 1"),
    ("CONF_LOOP", "$CONF_LOOP"),
    ("CONF_CHAIN", "$CONF_PORT"),
    ("CONF_MAP", "{ user: a, password: $CONF_WORD }"),
    ("CONF_EMPTY", ""),
];

/// A key whose value a variable takes may hold anything; and the key that takes
/// it is then written over. So the file is valid, and its digest shows the value.
fn holding(value: &str) -> String {
    format!("any: {value}\nserver_name: $any\nserver_name: x\n")
}

const VALUES: &[&str] = &[
    "1",
    "0",
    "-1",
    "12345678901",
    "99999999999999999999",
    "1k",
    "1K",
    "1kb",
    "1KB",
    "1ki",
    "1KiB",
    "1kB",
    "2m",
    "2MB",
    "2mi",
    "1g",
    "1GB",
    "1GiB",
    "1t",
    "1TB",
    "1p",
    "1e",
    "8e",
    "9EB",
    "1x",
    "1kx",
    "1kbb",
    "1k2",
    "1kib2",
    "1e5",
    "5e88x",
    "1m30s",
    "-1k2",
    "1ki2b",
    "1b",
    "-1k",
    "-5mb",
    "1.5",
    "-1.5",
    "1.",
    ".5",
    "1.5k",
    "0.0000001",
    "1.2.3.4",
    "1.2.3.4:4222",
    "1.2.3",
    "1,",
    "1;",
    "true",
    "TRUE",
    "yes",
    "On",
    "off",
    "No",
    "truely",
    "\"true\"",
    "'true'",
    "abc",
    "a-b_c",
    "a.b.>",
    "a*",
    "a/b",
    "a//b",
    "a#b",
    "a b",
    "a\tb",
    "\"a b\"",
    "'a b'",
    "\"a\nb\"",
    "'a\nb'",
    "\"a",
    "'a",
    "a'",
    "a'b",
    "a\"b",
    "\"a\\tb\"",
    "\"a\\x41b\"",
    "\"a\\xb\"",
    "\"a\\q\"",
    "a\\tb",
    "a\\x41",
    "a\\",
    "'a\\tb'",
    "\"\\\"\"",
    "\"\"",
    "''",
    "",
    "$",
    "$x",
    "$any",
    "\"$any\"",
    "$2a$11$abcdefghijklmnopqrstuv",
    "$2b$11$abcdefghijk",
    "2a$11$x",
    "{}",
    "{ }",
    "{ a: 1 }",
    "{a: 1}",
    "{ a 1 }",
    "{ a: 1, b: 2 }",
    "{ a: 1 b: 2 }",
    "{ a: 1; b: 2 }",
    "{ a: 1\nb: 2\n}",
    "{ a: 1,, b: 2 }",
    "{ a: }",
    "{ a }",
    "{ , }",
    "{ a: 1, }",
    "{ a: 1 ",
    "{ a: { b: { c: 1 } } }",
    "{ a: [1, 2 ] }",
    "{ 'a b': 1 }",
    "{ \"a\\tb\": 1 }",
    "{ a = 1 }",
    "{ a=1 }",
    "{ a =1 }",
    "{ a: 1 # c\n }",
    "{ a: 1 // c\n }",
    "{ // c\n a: 1 }",
    "{ / a: 1 }",
    "{ /a: 1 }",
    "{ a: 1 / b: 2 }",
    "{ a: 1 ] }",
    "{ ] }",
    "[]",
    "[ ]",
    "[1]",
    "[ 1 ]",
    "[1,2]",
    "[1, 2 ]",
    "[1\n2\n]",
    "[1, 2, ]",
    "[,]",
    "[1,,2]",
    "[a]",
    "[a, b]",
    "[a b]",
    "[\"a\" \"b\"]",
    "[\"a\"\n\"b\"]",
    "[[a], [b]]",
    "[{a: 1}, {a: 2}]",
    "[{a: 1} {a: 2}]",
    "[ # c\n a ]",
    "[ // c\n a ]",
    "[ a / b ]",
    "[ / a ]",
    "[ true, 1k, x ]",
    "[ a",
    "[ 'a",
    "[ 1.5 ]",
    "[1.5]",
    "[2026-01-31T23:59:59Z]",
    "2026-01-31T23:59:59Z",
    "2026-01-31",
    "2026-13-31T23:59:59Z",
    "2026-1",
    "12-3",
    "1a",
    "1a]b",
    "1]",
    "4222 # c",
    "4222 // c",
    "x # c",
    "x // c",
    "x //c",
    "( a\n b\n)\n",
    "(\n)\n",
    "( a )",
    "( a\n)",
    "(a\n )\n)\n",
    "( a\r\n)\r\n",
    "\r\n1",
    "\n1",
    " \t 1",
    "1\r\n",
    "é",
    "\"é€\"",
    "<a>&b",
    "\u{2028}x",
    "\"a\\x80b\"",
    "٣",
    "-",
    "-x",
    "--1",
    "1-",
    "}",
    "]",
    ")",
    "(",
    "1 }",
    "1 ,",
    "1 ;;",
    "\u{0}",
    "a\u{0}b",
    "\u{feff}1",
];

const WHOLE: &[&str] = &[
    "",
    "\n",
    " ",
    "# c",
    "// c",
    "/",
    "/ x",
    "{}",
    "{",
    "{{}}",
    "{ port: 4222 }",
    "{ port: 4222, }",
    "{ port: 4222 } }",
    "{ \"port\": 4222, \"server_name\": \"x\" }",
    "{ port: 4222\n # c\n}",
    "{ port: 4222 # c\n}",
    "{ port: 4222\n",
    "{ port: 4222",
    "{ port: 4222 } port: 4223",
    "port: 4222\n}",
    "port: 4222\n}\n",
    "port: 4222 }",
    "port: 4222\n}}",
    "port: 4222\n} }",
    "}",
    "port",
    "port:",
    "port: ",
    "port 4222",
    "port=4222",
    "port = 4222",
    "port\n4222",
    "port:\n4222",
    "port : 4222",
    ": 4222",
    "= 4222",
    "port 4222 server_name x",
    "port 4222; server_name x",
    "port 4222, server_name x",
    "port: 4222 x",
    "\"port\": 4222",
    "'port': 4222",
    "\"port: 4222",
    "'po",
    "port: 4222 / \n",
    "port: 4222 /x\n",
    "PORT: 4222",
    "Port: 4222\nport: 4223",
    "port: 4222\nport: 4223",
    "include",
    "include x.conf",
    "include \"nowhere.conf\"",
    "include 'nowhere.conf'",
    "include ./nowhere.conf",
    "include 1",
    "include [",
    "include",
    "include: 1",
    "\"include\" x",
    "Include nowhere.conf",
    "accounts{ A: {} }",
    "accounts { A{ users: [] } }",
    "accounts: { A: { users: [] } }",
    "x: 1",
    "x: 1\nport: $x",
    "port: $x\nx: 1",
    "x: 4222\ny: $x\nport: $y",
    "x: 4222\nx: 4333\nport: $x",
    "x: 4222\nport: $x\nx: 4333",
    "port: $NOT_THERE_AT_ALL",
    "port: $CONF_PORT",
    "server_name: $CONF_WORD",
    "port: $CONF_BROKEN",
    "port: $CONF_LOOP",
    "server_name: \"$CONF_WORD\"",
    "port: $CONF_CHAIN",
    "server_name: $CONF_EMPTY",
    "authorization { users: [ $CONF_MAP ] }",
    "accounts { x: 1, A { users: [ {user: u, password: $x} ] } }",
    "authorization { u: { user: a, password: b }, users: [ $u ] }",
    "authorization { token: $2a$11$UP3xizk94sWF9SHF/wkklOfBT9jphTGNrhZqz2OHoBdk9yO1kvErG }",
    "cluster { port: -1\n include \"nowhere.conf\" }",
    "cluster { include }",
    "jetstream",
    "jetstream: enabled",
    "jetstream {}",
    "jetstream: {}",
];

#[test]
fn what_is_the_language_is_the_servers_to_say() {
    let project = Project::new();
    let mut texts: Vec<String> = WHOLE.iter().map(|t| (*t).to_owned()).collect();
    texts.extend(VALUES.iter().map(|value| holding(value)));
    texts.extend(
        VALUES.iter().map(|value| format!("any: {{ a: {value}\n b: 2 }}\nserver_name: $any\nserver_name: x\n")),
    );
    texts.extend(
        VALUES.iter().map(|value| format!("{{ any: [ 1\n {value}\n ]\nserver_name: $any\nserver_name: x\n }}")),
    );
    agree(&project, &texts);
}

/// Pieces that mean something, in any order.
const PIECES: &[&str] = &[
    "a",
    "b",
    ":",
    "=",
    " ",
    " ",
    "\n",
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ";",
    "\"",
    "'",
    "x y",
    "1",
    "12",
    "1k",
    "kb",
    "-",
    ".",
    "1.5",
    "true",
    "$a",
    "$",
    "#",
    "//",
    "/",
    "(",
    ")",
    "(\n",
    "\n)\n",
    "\\",
    "\\n",
    "include ",
    "\t",
    "\r\n",
    "a: 1\n",
    "b: { a: 2 }\n",
    "c: [ x ]\n",
    "é",
    "*",
    ">",
];

#[test]
fn on_any_text_the_server_agrees() {
    let project = Project::new();
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(1), ..Config::default() });
    let strategy = collection::vec(sample::select(PIECES), 1..14);
    let mut texts = Vec::new();
    for _ in 0..400 {
        use proptest::strategy::{Strategy as _, ValueTree as _};
        let pieces = strategy.new_tree(&mut runner).expect("a text").current();
        texts.push(if texts.len() % 2 == 0 { pieces.concat() } else { holding(&pieces.concat()) });
    }
    agree(&project, &texts);
}
