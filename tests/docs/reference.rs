//! The reference of all commands, for people and for programs: made from the command table.

use crate::host::MemoryHost;
use crate::whole;
use ltmc::command::engine::missing::Nothing;
use ltmc::command::engine::reply_shape::{Field, Shape, ShapeKind};
use ltmc::command::engine::spec::{Acting, Arg, ArgKind, Flags, KeySpec, KeysAt, Spec};
use ltmc::command::engine::work;
use ltmc::command::host::Access;
use ltmc::command::settings::Settings;
use ltmc::command::table::Table;
use ltmc::domain::Service;
use serde_json::{json, Map, Value};
use std::fmt::Write;

const PAGE: &str = "src/command/services/README.md";
const DATA: &str = "src/command/services/reference.json";

const INTRODUCTION: &str = "\
# All commands

Made from the command table by `make docs`. [reference.json](reference.json) has the same for programs.

Options may come in any order behind what stands in its place, in upper or lower case. `PX ms` and `EX s` are the same time in two units.
An expected outcome is a reply; misuse and lost races are errors that begin with a word of their own.

\"Work\" is the most that a command does in one go on the event loop, with the default settings, beside a few elements and log n of what is
stored: in looks, which take 0.4 microseconds on average. [Long work](../README.md#long-work) says what goes on elsewhere.

## How replies are written here

| type | RESP2 | RESP3 |
|---|---|---|
| OK | simple string | simple string |
| integer | integer | integer |
| bytes, text, JSON text, number as text, a fixed word | bulk string | bulk string |
| list | array | array |
| map | array: each name, then its value | map |
| nil | null bulk string | null |

Bytes are what a user gave, and may hold any byte; text and words are the module's own, in UTF-8. A list in which there is nothing is empty,
not nil. A list of a fixed length has a name for each place. A list that is said to hold as many as fit is bounded by
`ltmc.reply-bytes-max`. Fields may be added to a map later.

| unit of an integer | what it is |
|---|---|
| fence | a number that only grows: the later of two is the greater |
| version | it grows by one with each change: of a lock from 0 on, of anything else from 1 |
| revision | the revision of a key, as `LTMC.WATCH` counts it |
| count, bytes, percent, permille, points | as they say |
| ms, us | a duration in milli- or microseconds |
| unix ms | a point in time, in milliseconds since 1970 |
| 0 or 1 | no or yes |
| number | of something that has no other name |
| priority | the higher, the sooner |
";

const ON_MISSING_KEYS: &str = "
## On a key that is not there

A single thing is nil, a list is empty, a count of what was done is 0. What begins something makes the key. Only a command that needs the
thing to act answers an error: `NO...`, or `STALE` for a fence or ticket, which is of nothing any more. A key whose value has ended is not
there. With `BLOCK` the answer is the same if nothing has come in time, unless the table says otherwise. Of a map, the other fields are nil.

| answer | commands |
|---|---|
";

pub fn specs() -> impl Iterator<Item = &'static Spec> {
    let all = Table::<MemoryHost>::COMMANDS.iter().map(|command| command.spec);
    // It exists in test builds only.
    all.filter(|spec| spec.name != "LTMC.DEBUG")
}

/// The services in their order, then the module itself.
fn services() -> impl Iterator<Item = Option<Service>> {
    Service::ALL.iter().copied().map(Some).chain([None])
}

fn title(service: Option<Service>) -> &'static str {
    match service {
        Some(Service::Registry) => "Agent registry",
        Some(Service::Context) => "Contexts",
        Some(Service::Lock) => "Locks",
        Some(Service::Session) => "Sessions",
        Some(Service::Cache) => "Tool cache",
        Some(Service::Buffer) => "Chunk buffers",
        Some(Service::Watch) => "Watching keys",
        Some(Service::Mail) => "Mailboxes",
        Some(Service::Flow) => "Flows and tasks",
        None => "The module itself",
    }
}

/// The name of a heading in links.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-").replace('.', "")
}

fn page() -> String {
    let mut page = INTRODUCTION.to_string();
    page += "\n## Commands by service\n\n";
    for service in services() {
        let of_service = specs().filter(|spec| spec.service == service);
        let names: Vec<_> = of_service.map(|spec| format!("[{0}](#{1})", spec.name, anchor(spec.name))).collect();
        let title = title(service);
        let _ = writeln!(page, "- [{title}](#{}): {}", anchor(title), names.join(", "));
    }
    page += &on_missing_keys();
    for service in services() {
        let _ = write!(page, "\n## {}\n", title(service));
        specs().filter(|spec| spec.service == service).for_each(|spec| page += &section(spec));
    }
    page
}

/// What commands answer on a key that is not there, by answer.
fn on_missing_keys() -> String {
    let mut answers: Vec<(Nothing, Vec<String>)> = Vec::new();
    for spec in services().flat_map(|service| specs().filter(move |spec| spec.service == service)) {
        for (when, answer) in spec.on_missing() {
            let when = when.map(|when| format!(" {when}")).unwrap_or_default();
            let name = format!("[{}](#{}){when}", spec.name, anchor(spec.name));
            match answers.iter_mut().find(|(known, _)| *known == answer) {
                Some((_, names)) => names.push(name),
                None => answers.push((answer, vec![name])),
            }
        }
    }
    answers.sort_by_key(|(answer, _)| answer.rank());
    let rows = answers.iter().map(|(answer, names)| format!("| {} | {} |\n", answer.text(), names.join(", ")));
    rows.fold(ON_MISSING_KEYS.to_string(), |table, row| table + &row)
}

fn section(spec: &Spec) -> String {
    let mut text = format!("\n### {}\n\n```\n{}\n```\n\n{}\n\n", spec.name, spec.syntax(), spec.summary);
    let mut say = |what: &str, how: &str| text += &format!("- {what}: {how}\n");
    say("Cost", spec.complexity);
    say("Work", &work_text(spec));
    say("Flags", &spec.flags.names());
    let categories: Vec<_> = spec.categories.split(' ').map(|name| format!("@{name}")).collect();
    say("ACL categories", &categories.join(" "));
    say("Roles", &spec.roles.names().collect::<Vec<_>>().join(" "));
    if !spec.keys.is_empty() {
        say("Keys", &spec.keys.iter().map(key_text).collect::<Vec<_>>().join("; "));
    }
    say("Since", spec.since);
    let tables = tables(&spec.reply);
    match tables.is_empty() {
        true => say("Reply", &sentence(&spec.reply)),
        false => text += &format!("- Reply: {}\n{tables}", sentence(&spec.reply)),
    }
    text
}

fn work_text(spec: &Spec) -> String {
    let parts = work::words(spec.work);
    match work::of_command(spec.work, &Settings::default()) {
        u64::MAX => parts,
        looks => format!("up to {looks} looks: {parts}"),
    }
}

fn key_text(keys: &KeySpec) -> String {
    let place = match keys.at {
        KeysAt::Index(at) => format!("argument {at}"),
        KeysAt::From(at) => format!("the arguments from {at} on"),
        KeysAt::CountAt(at) => format!("as many as argument {at} says, behind it"),
        KeysAt::AfterWord(word, _) => format!("the one behind {word}"),
        KeysAt::CountAfter(word, _) => format!("those behind {word} and their number"),
        KeysAt::Behind(lists) => {
            let of = |words: &[(i32, &str)]| words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ... ");
            let lists: Vec<_> = lists.iter().map(|words| of(words)).collect();
            format!("the one behind {}", lists.join(" or "))
        }
    };
    format!("{place} ({})", access_word(keys.access))
}

fn access_word(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Update => "update",
        Access::Delete => "delete",
    }
}

/// The reply in words. The tables say the rest.
fn sentence(shape: &Shape) -> String {
    let mut text = match (shape.about, shape.kind) {
        (Some(about), ShapeKind::Integer(_) | ShapeKind::Bytes | ShapeKind::Text) => {
            format!("{}: {about}", shape.type_text())
        }
        (about, ShapeKind::List(of)) if matches!(of.kind, ShapeKind::OneOf(_)) => {
            format!("list{}: {}", about.map(|about| format!(", {about}")).unwrap_or_default(), sentence(of))
        }
        (None, ShapeKind::List(of)) if of.about.is_some() => {
            format!("{}: {}", shape.type_text(), of.about.unwrap_or_default())
        }
        (Some(about), _) => format!("{}: {about}", shape.type_text()),
        (None, ShapeKind::OneOf(cases)) => {
            let case = |when: &str, shape: &Shape| format!("{when}: {}", sentence(shape));
            cases.iter().map(|one| case(one.when, &one.shape)).collect::<Vec<_>>().join("; ")
        }
        (None, _) => shape.type_text(),
    };
    shape.absent_texts().for_each(|absent| text += &format!("; {absent}"));
    text
}

/// One table for each map in the reply. Nested maps are rows with the names of the maps around
/// them.
fn tables(shape: &Shape) -> String {
    match shape.kind {
        ShapeKind::Map(fields) => {
            let rows = fields.iter().map(|field| rows("", field)).collect::<String>();
            format!("\n| field | type | what | nil, 0 or missing |\n|---|---|---|---|\n{rows}")
        }
        ShapeKind::List(of) => tables(of),
        ShapeKind::Tuple(places) => places.iter().map(|place| tables(&place.shape)).collect(),
        ShapeKind::OneOf(cases) => {
            let with_title = |when: &str, tables: String| match tables.is_empty() {
                true => tables,
                false => format!("\nFields {when}:\n{tables}"),
            };
            cases.iter().map(|case| with_title(case.when, tables(&case.shape))).collect()
        }
        _ => String::new(),
    }
}

fn rows(around: &str, field: &Field) -> String {
    let name = format!("{around}{}", field.name);
    let missing = field.only.map(|when| format!("only if {when}"));
    let absent: Vec<String> = missing.into_iter().chain(field.shape.absent_texts()).collect();
    let inner_about = match field.shape.kind {
        ShapeKind::List(of) => of.about,
        _ => None,
    };
    let about: Vec<&str> = inner_about.into_iter().chain(field.shape.about).collect();
    let kind = field.shape.type_text();
    let mut text = format!("| `{name}` | {kind} | {} | {} |\n", about.join(", "), absent.join("; "));
    let (inner, around) = match field.shape.kind {
        ShapeKind::List(of) => (of.kind, format!("{name}[].")),
        ShapeKind::MapOf(names, of) => (of.kind, format!("{name}.<{names}>.")),
        kind => (kind, format!("{name}.")),
    };
    if let ShapeKind::Map(fields) | ShapeKind::Tuple(fields) = inner {
        text += &fields.iter().map(|field| rows(&around, field)).collect::<String>();
    }
    text
}

fn data() -> String {
    let commands: Vec<String> = services()
        .flat_map(|service| specs().filter(move |spec| spec.service == service))
        .map(|spec| command(spec).to_string())
        .collect();
    format!("[\n{}\n]\n", commands.join(",\n"))
}

fn command(spec: &Spec) -> Value {
    json!({
        "name": spec.name,
        "service": spec.service.map(Service::name),
        "arity": spec.arity,
        "flags": spec.flags.names().split(' ').collect::<Vec<_>>(),
        "wraps": spec.flags.has(Flags::WRAPS),
        "categories": spec.categories.split(' ').collect::<Vec<_>>(),
        "roles": spec.roles.names().collect::<Vec<_>>(),
        "keys": spec.keys.iter().map(key_spec).collect::<Vec<_>>(),
        "syntax": spec.syntax(),
        "summary": spec.summary,
        "complexity": spec.complexity,
        "work": work::words(spec.work),
        "looks": Some(work::of_command(spec.work, &Settings::default())).filter(|looks| *looks < u64::MAX),
        "since": spec.since,
        "arguments": spec.args.iter().map(argument).collect::<Vec<_>>(),
        "reply": spec.reply.json(),
        "missing": spec.on_missing().into_iter().map(on_missing).collect::<Vec<_>>(),
    })
}

fn on_missing((when, answer): (Option<&str>, Nothing)) -> Value {
    let mut value = answer.json();
    if let Some(when) = when {
        value["when"] = when.into();
    }
    value
}

fn key_spec(keys: &KeySpec) -> Value {
    let mut value = match keys.at {
        KeysAt::Index(at) => json!({ "at": "index", "index": at }),
        KeysAt::From(at) => json!({ "at": "from", "index": at }),
        KeysAt::CountAt(at) => json!({ "at": "count at", "index": at }),
        KeysAt::AfterWord(word, from) => json!({ "at": "after word", "word": word, "index": from }),
        KeysAt::CountAfter(word, from) => json!({ "at": "count after", "word": word, "index": from }),
        KeysAt::Behind(lists) => json!({ "at": "behind", "words": lists }),
    };
    value["access"] = access_word(keys.access).into();
    value
}

fn argument(arg: &Arg) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| drop(fields.insert(name.into(), value));
    let (kind, inner) = match arg.kind {
        ArgKind::Key => ("key", None),
        ArgKind::String => ("string", None),
        ArgKind::Integer => ("integer", None),
        ArgKind::Word => ("word", None),
        ArgKind::OneOf(args) => ("one of", Some(args)),
        ArgKind::Block(args) => ("block", Some(args)),
    };
    add("name", arg.name.into());
    add("type", kind.into());
    if let Some(token) = arg.token {
        add("token", token.into());
    }
    if arg.optional {
        add("optional", true.into());
    }
    if arg.multiple {
        add("multiple", true.into());
    }
    if arg.key_spec >= 0 {
        add("key", arg.key_spec.into());
    }
    match arg.acting {
        Acting::No => {}
        Acting::Yes => add("acting", true.into()),
        Acting::With(word) => add("acting", word.into()),
    }
    if let Some(args) = inner {
        add("arguments", args.iter().map(argument).collect());
    }
    Value::Object(fields)
}

#[test]
fn the_page_of_all_commands_is_made_from_the_table() {
    whole(PAGE, &page());
}

#[test]
fn the_reference_for_programs_is_made_from_the_table() {
    let made = data();
    let read: Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(read.as_array().map(Vec::len), Some(specs().count()));
    whole(DATA, &made);
}
