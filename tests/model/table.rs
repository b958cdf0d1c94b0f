//! Walks the command table: what each row says agrees with itself and with what the handler does.

use crate::host::MemoryHost;
use crate::server::Server;
use ltmc::command::acl::Role;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::engine::missing::Nothing;
use ltmc::command::engine::reply_shape::{Field, Shape, ShapeKind, Unit};
use ltmc::command::engine::roles::Roles;
use ltmc::command::engine::spec::{Acting, Arg, ArgKind, Flags, KeysAt, Spec};
use ltmc::command::table::Table;
use ltmc::domain::Error;
use std::collections::BTreeSet;

/// Runs a command on an empty server.
fn call(words: &[String]) -> Result<Outcome, Error> {
    Server::new().try_run(7, &words.join(" "))
}

fn specs() -> impl Iterator<Item = &'static Spec> {
    Table::<MemoryHost>::COMMANDS.iter().map(|command| command.spec)
}

/// Values for texts with a form of their own. They are found by the argument's name, as people find
/// them who read the syntax.
const FORMS: &[(&str, &str)] = &[
    ("json", "{}"),
    ("path", "/x"),
    ("revision", "0"),
    ("cursor", "0"),
    ("share", "0.5"),
    ("beta", "1"),
    ("state", "ready"),
    ("status", "active"),
    ("class", "read"),
];

/// The shortest way to write an argument.
fn sample(arg: &Arg) -> Vec<String> {
    let form = FORMS.iter().find(|(name, _)| *name == arg.name).map_or("x", |(_, value)| value);
    let value: Vec<String> = match arg.kind {
        ArgKind::Word => Vec::new(),
        ArgKind::OneOf(args) => args.iter().map(sample).min_by_key(Vec::len).unwrap_or_default(),
        ArgKind::Block(args) => args.iter().flat_map(sample).collect(),
        ArgKind::Integer => vec!["1".into()],
        ArgKind::Key | ArgKind::String => vec![form.into()],
    };
    arg.token.map(String::from).into_iter().chain(value).collect()
}

fn required(spec: &Spec) -> Vec<String> {
    let needed = spec.args.iter().filter(|arg| !arg.optional);
    std::iter::once(spec.name.to_string()).chain(needed.flat_map(sample)).collect()
}

/// All ways to write an argument that is a choice, else the only way.
fn choices(arg: &Arg) -> Vec<Vec<String>> {
    match arg.kind {
        ArgKind::OneOf(args) => {
            args.iter().map(|one| arg.token.map(String::from).into_iter().chain(sample(one)).collect()).collect()
        }
        _ => vec![sample(arg)],
    }
}

/// Whether it can be written in more than one length.
fn is_open(arg: &Arg) -> bool {
    let is_inner_open = match arg.kind {
        ArgKind::OneOf(args) | ArgKind::Block(args) => args.iter().any(is_open),
        _ => false,
    };
    arg.optional || arg.multiple || is_inner_open
}

/// The places of positional arguments that repeat without a count.
fn lists(spec: &Spec) -> impl Iterator<Item = usize> + '_ {
    let args = spec.in_place();
    let counts = |at: usize| at > 0 && matches!(args[at - 1].kind, ArgKind::Integer);
    (0..args.len()).filter(move |at| args[*at].multiple && !counts(*at))
}

fn is_not_understood(outcome: &Result<Outcome, Error>) -> bool {
    outcome.as_ref().is_err_and(|error| error.text.contains("is not understood here"))
}

fn tokens(args: &'static [Arg], found: &mut BTreeSet<&'static str>) {
    for arg in args {
        found.extend(arg.token);
        if let ArgKind::OneOf(inner) | ArgKind::Block(inner) = arg.kind {
            tokens(inner, found);
        }
    }
}

fn key_specs(args: &'static [Arg], found: &mut BTreeSet<i32>) {
    for arg in args {
        match arg.kind {
            ArgKind::Key => drop(found.insert(arg.key_spec)),
            ArgKind::OneOf(inner) | ArgKind::Block(inner) => key_specs(inner, found),
            _ => {}
        }
    }
}

#[test]
fn every_command_has_a_name_of_its_own_and_is_found_by_it_in_any_case() {
    let names: BTreeSet<&str> = specs().map(|spec| spec.name).collect();
    assert_eq!(names.len(), specs().count(), "two commands have one name");
    for name in names {
        assert!(name.starts_with("LTMC.") && name == name.to_ascii_uppercase(), "{name}");
        let found = Table::<MemoryHost>::find(name.to_ascii_lowercase().as_bytes());
        assert!(found.is_some_and(|command| command.spec.name == name), "{name}");
    }
    assert!(Table::<MemoryHost>::find(b"LTMC.NONE").is_none());
}

#[test]
fn every_command_says_what_it_does() {
    for spec in specs() {
        let name = spec.name;
        assert!(spec.summary.ends_with('.') && spec.summary.len() > 10, "{name}: {}", spec.summary);
        assert!(spec.summary.starts_with(|c: char| c.is_ascii_uppercase()), "{name}: {}", spec.summary);
        let reply = spec.reply.text();
        assert!(!reply.is_empty() && !reply.ends_with('.'), "{name}: {reply}");
        assert!(!spec.complexity.is_empty() && !spec.complexity.ends_with('.'), "{name}: {}", spec.complexity);
        assert_eq!(spec.since.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{name}");
        assert!(spec.syntax().starts_with(name), "{name}");
    }
}

#[test]
fn the_arity_is_that_of_the_required_arguments() {
    for spec in specs() {
        let least = required(spec).len() as i32;
        let is_open = spec.args.iter().any(is_open);
        assert_eq!(spec.arity, if is_open { -least } else { least }, "{}", spec.syntax());
    }
}

#[test]
fn a_wrong_number_of_arguments_shows_the_syntax() {
    for spec in specs() {
        let words = required(spec);
        let mut wrong = vec![words[..words.len() - 1].to_vec()];
        if spec.arity > 0 {
            wrong.push([&words[..], &["x".into()]].concat());
        }
        for words in wrong.into_iter().filter(|words| !words.is_empty()) {
            let error = call(&words).expect_err(spec.name);
            assert!(error.line().starts_with("ERR ") && error.text.contains(&spec.syntax()), "{}", error.text);
        }
    }
}

#[test]
fn flags_and_acl_categories_agree() {
    for spec in specs() {
        let categories: Vec<&str> = spec.categories.split(' ').collect();
        let both = |flag, category: &str| {
            assert_eq!(spec.flags.has(flag), categories.contains(&category), "{}: {category}", spec.name);
        };
        both(Flags::WRITE, "write");
        both(Flags::READONLY, "read");
        both(Flags::BLOCKING, "blocking");
        both(Flags::ADMIN, "admin");
        both(Flags::ADMIN, "dangerous");
        both(Flags::FAST, "fast");
        assert_ne!(spec.flags.has(Flags::WRITE), spec.flags.has(Flags::READONLY), "{}", spec.name);
        assert!(spec.writes() || !spec.flags.has(Flags::DENY_OOM), "{}", spec.name);
        assert_eq!(
            spec.flags.names().split(' ').count(),
            (spec.flags.0 & !Flags::WRAPS.0).count_ones() as usize,
            "{}",
            spec.name
        );
    }
}

#[test]
fn every_command_is_in_a_role_that_fits_it() {
    for spec in specs() {
        let (name, has) = (spec.name, |role| spec.roles.has(role));
        assert_ne!(spec.roles.names().count(), 0, "{name} is in no role");
        assert!(!spec.writes() || !has(Roles::OBSERVER) && !has(Roles::AUDITOR), "{name} writes");
        assert!(spec.keys.is_empty() || !has(Roles::AUDITOR), "{name} has keys");
        assert!(!spec.flags.has(Flags::ADMIN) || !has(Roles::AGENT), "{name} is for admins");
        assert!(!has(Roles::AGENT) || has(Roles::COORDINATOR), "{name}: a coordinator is an agent, too");
        let reads_keys = !spec.writes() && !spec.keys.is_empty();
        assert!(!reads_keys || has(Roles::TEAM.and(Roles::OBSERVER)), "{name} only reads keys");
    }
    let all = Role::ALL.iter().fold(Roles(0), |all, role| all.and(role.bit));
    assert_eq!((all, all.0.count_ones() as usize), (Roles::ALL, Role::ALL.len()));
}

/// Arguments that name an agent, and do not say who the caller is: whose state is shown, who gets a
/// message, whose lock is broken.
const NAMED: &[&str] =
    &["LTMC.AGENT.GET", "LTMC.AUDIT", "LTMC.CHUNK.LIST", "LTMC.CTX.BUILD", "LTMC.LOCK.BREAK", "LTMC.MSG.SEND TO"];

fn unmarked(args: &'static [Arg], around: &str, found: &mut Vec<String>) {
    for arg in args {
        let around = arg.token.filter(|token| *token == "TO").map_or(around.to_string(), |to| format!("{around} {to}"));
        match arg.kind {
            ArgKind::OneOf(inner) | ArgKind::Block(inner) => unmarked(inner, &around, found),
            _ if ["agent", "owner", "from"].contains(&arg.name) && arg.acting == Acting::No => found.push(around),
            _ => {}
        }
    }
}

#[test]
fn every_argument_that_says_who_the_caller_is_is_marked() {
    let mut found = Vec::new();
    specs().for_each(|spec| unmarked(spec.args, spec.name, &mut found));
    found.sort();
    assert_eq!(found, NAMED);
}

#[test]
fn key_specs_point_at_arguments_that_are_keys() {
    for spec in specs() {
        let mut known = BTreeSet::new();
        tokens(spec.args, &mut known);
        for keys in spec.keys {
            // The server asks the command itself for all keys whose place is not fixed.
            assert!(spec.flags.has(Flags::GETKEYS_API) || matches!(keys.at, KeysAt::Index(_)), "{}", spec.name);
            match keys.at {
                KeysAt::Index(at) | KeysAt::From(at) => {
                    assert!((1..=spec.args.len() as i32).contains(&at), "{}", spec.name)
                }
                KeysAt::AfterWord(word, from) | KeysAt::CountAfter(word, from) => {
                    assert!(known.contains(word) && from >= 1, "{}: {word}", spec.name);
                }
                KeysAt::Behind(lists) => {
                    let words = lists.iter().copied().flatten();
                    words.for_each(|(at, word)| assert!(known.contains(word) && *at >= 1, "{}: {word}", spec.name));
                    assert!(spec.flags.has(Flags::GETKEYS_API), "{}", spec.name);
                }
                KeysAt::CountAt(at) => {
                    assert!(matches!(spec.args[at as usize - 1].kind, ArgKind::Integer), "{}", spec.name);
                }
            }
        }
        let mut pointed = BTreeSet::new();
        key_specs(spec.args, &mut pointed);
        let all: BTreeSet<i32> = (0..spec.keys.len() as i32).collect();
        assert_eq!(pointed, all, "{}: every key spec has its argument", spec.name);
    }
}

#[test]
fn every_option_in_the_table_is_understood() {
    for spec in specs().filter(|spec| spec.name != "LTMC.DEBUG") {
        for arg in spec.args.iter().filter(|arg| arg.optional) {
            for option in choices(arg) {
                let words = [required(spec), option].concat();
                let outcome = call(&words);
                assert!(!is_not_understood(&outcome), "{words:?}: {outcome:?}");
            }
        }
    }
}

#[test]
fn no_option_is_understood_that_is_not_in_the_table() {
    let mut all = BTreeSet::from(["BOGUS"]);
    specs().for_each(|spec| tokens(spec.args, &mut all));
    for spec in specs() {
        let mut known = BTreeSet::new();
        tokens(spec.args, &mut known);
        // Any word may be a field with the next word as its value, or an optional argument.
        let takes_anything = lists(spec).next().is_some() || spec.in_place().iter().any(|arg| arg.optional);
        if spec.arity > 0 || takes_anything {
            continue;
        }
        for word in all.difference(&known) {
            let words = [required(spec), vec![word.to_string(), "1".into()]].concat();
            let outcome = call(&words);
            assert!(is_not_understood(&outcome), "{words:?}: {outcome:?}");
        }
    }
}

#[test]
fn an_option_given_twice_is_refused() {
    for spec in specs() {
        let with_token = |arg: &&Arg| arg.optional && arg.token.is_some() && !arg.multiple;
        for arg in spec.args.iter().filter(with_token) {
            // It is refused the first time already; or a second one behind a list of keys is one of
            // the keys.
            if arg.token == Some("REGISTRY") || lists(spec).next().is_some() {
                continue;
            }
            let option = choices(arg).remove(0);
            let words = [required(spec), option.clone(), option].concat();
            let error = call(&words).expect_err(spec.name);
            assert!(error.text.contains("is given twice"), "{words:?}: {}", error.text);
        }
    }
}

#[test]
fn behind_a_list_without_a_count_every_option_has_one_value() {
    for spec in specs() {
        for at in lists(spec) {
            let behind = spec.args[at + 1..].iter().flat_map(choices);
            behind.for_each(|option| assert_eq!(option.len(), 2, "{}: {option:?}", spec.syntax()));
        }
    }
}

/// Looks at a shape and at all its parts.
fn each_shape(shape: &Shape, look: &mut impl FnMut(&Shape)) {
    look(shape);
    shape.parts().into_iter().for_each(|part| each_shape(part, look));
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.ends_with('.') && !text.contains(['\n', '|', '`'])
}

/// The texts of a shape.
fn words_of(shape: &Shape) -> Vec<&'static str> {
    let mut words: Vec<&str> = shape.about.into_iter().chain(shape.nil).chain(shape.zero).collect();
    match shape.kind {
        ShapeKind::Map(fields) | ShapeKind::Tuple(fields) => words.extend(fields.iter().filter_map(|field| field.only)),
        ShapeKind::OneOf(cases) => words.extend(cases.iter().map(|case| case.when)),
        ShapeKind::MapOf(names, _) => words.push(names),
        ShapeKind::Word(all) => words.extend(all),
        _ => {}
    }
    words
}

fn check_unit(name: &str, field: &Field) {
    let ShapeKind::Integer(unit) = field.shape.kind else { return };
    let wants = |ending: &str, units: &[Unit]| {
        let ends = field.name == ending || field.name.ends_with(&format!("_{ending}"));
        assert!(!ends || units.contains(&unit), "{name}: {} is no {}", field.name, unit.word());
    };
    wants("at_ms", &[Unit::UnixMs]);
    wants("ms", &[Unit::Ms, Unit::UnixMs]);
    wants("us", &[Unit::Us]);
    wants("bytes", &[Unit::Bytes]);
    wants("fence", &[Unit::Fence]);
    wants("version", &[Unit::Version]);
    wants("revision", &[Unit::Revision]);
    wants("count", &[Unit::Count]);
    wants("permille", &[Unit::Permille]);
    let is_told = match unit {
        Unit::Ms => field.name.ends_with("_ms"),
        Unit::UnixMs => field.name == "at_ms" || field.name.ends_with("_at_ms"),
        _ => true,
    };
    assert!(is_told, "{name}: the unit of {} is not in its name", field.name);
}

#[test]
fn shapes_of_replies_are_said_well() {
    for spec in specs() {
        let name = spec.name;
        each_shape(&spec.reply, &mut |shape| {
            words_of(shape).into_iter().for_each(|text| assert!(is_one_line(text), "{name}: {text:?}"));
            match shape.kind {
                ShapeKind::Map(fields) | ShapeKind::Tuple(fields) => {
                    let names: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
                    assert_eq!(names.len(), fields.len(), "{name}: a field is there twice");
                    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                    assert!(names.iter().all(|field| field.chars().all(is_plain)), "{name}: {names:?}");
                    fields.iter().for_each(|field| check_unit(name, field));
                }
                ShapeKind::Word(words) => {
                    assert!(!words.is_empty(), "{name}");
                    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "{name}: {words:?}");
                }
                ShapeKind::OneOf(cases) => assert!(cases.len() > 1, "{name}"),
                _ => {}
            }
        });
    }
}

#[test]
fn an_integer_that_is_the_whole_reply_says_what_it_is() {
    for spec in specs() {
        let is_number =
            matches!(spec.reply.kind, ShapeKind::Integer(Unit::Flag | Unit::Count | Unit::Number | Unit::Ms));
        assert!(!is_number || spec.reply.about.is_some(), "{}: {}", spec.name, spec.reply.text());
    }
}

#[test]
fn what_can_wait_can_be_nil_or_an_empty_list() {
    // Work that does not come in time.
    const LISTS: [&str; 3] = ["LTMC.TASK.CLAIM", "LTMC.TASK.COMPLETE", "LTMC.MSG.RECV"];
    for spec in specs().filter(|spec| spec.flags.has(Flags::BLOCKING)) {
        assert_ne!(spec.reply.nil.is_some(), LISTS.contains(&spec.name), "{}: {}", spec.name, spec.reply.text());
    }
}

#[test]
fn what_is_answered_for_a_missing_key_is_in_the_shape_of_the_reply() {
    for spec in specs() {
        let may_be_nil = spec.reply.nil.is_some() || spec.reply.parts().iter().any(|part| part.nil.is_some());
        for (when, answer) in spec.on_missing() {
            assert!(answer != Nothing::Nil || may_be_nil, "{} {when:?}: {}", spec.name, spec.reply.text());
            assert!(when.is_none_or(is_one_line), "{}: {when:?}", spec.name);
        }
    }
}
