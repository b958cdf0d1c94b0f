//! Rules of the source tree that the compiler does not check: layers, unsafe code, sizes, and the
//! files at the top.

#[path = "tidy/comments.rs"]
mod comments;
#[path = "tidy/sizes.rs"]
mod sizes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which other layers each layer may name.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("snapshot", &["domain"]),
    ("observe", &["domain"]),
    ("command", &["domain", "observe"]),
    ("ffi", &["domain", "snapshot", "observe", "command"]),
];

const TOP: &[&str] = &[
    ".ci",
    ".git",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "redis.conf.example",
    "rustfmt.toml",
    "scripts",
    "src",
    "target",
    "tests",
];

struct Source {
    /// Path from the repository's top, with `/`.
    path: String,
    lines: Vec<String>,
}

impl Source {
    /// Numbered lines without what follows `//`.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().enumerate();
        lines.map(|(at, line)| (at, line.split("//").next().unwrap_or("")))
    }

    /// Folders and file of the module, without `src` and `mod`.
    fn module(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|part| *part != "mod" && *part != "lib").collect()
    }

    fn layer(&self) -> &str {
        self.module().first().copied().unwrap_or("")
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let path = path.strip_prefix(top()).expect("below the top");
            found.push(Source {
                path: path.to_string_lossy().replace('\\', "/"),
                lines: text.lines().map(String::from).collect(),
            });
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&top().join(folder), &mut found);
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifiers that follow `prefix` where it begins a path.
fn after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let starts = code.match_indices(prefix);
    starts.filter_map(move |(at, _)| {
        let own = !code[..at].ends_with(|c: char| is_ident(c) || c == ':');
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c| !is_ident(c)).unwrap_or(rest.len());
        own.then_some(&rest[..end])
    })
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(is_ident) && !code[at + word.len()..].starts_with(is_ident))
}

#[track_caller]
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn layers_only_name_what_is_below_them() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some((layer, below)) = LAYERS.iter().find(|(layer, _)| *layer == source.layer()) else {
            continue;
        };
        let forbidden =
            |name: &str| name != *layer && LAYERS.iter().any(|(known, _)| *known == name) && !below.contains(&name);
        let depth = source.module().len();
        for (at, code) in source.code() {
            // From a module `depth` deep, this many `super::` lead to the crate's root. Inline test
            // modules are one deeper.
            let roots = [depth, depth + 1].map(|count| "super::".repeat(count));
            let named = ["crate::", &roots[0], &roots[1]]
                .into_iter()
                .flat_map(|root| after(code, root).map(String::from).collect::<Vec<_>>());
            let bad = named.filter(|name| forbidden(name));
            wrong.extend(bad.map(|name| format!("{}:{}: {layer} names {name}", source.path, at + 1)));
        }
    }
    assert_none(wrong);
}

/// Folders of the domain that hold the parts which services share.
const NO_SERVICES: [&str; 6] = ["algorithm", "entity", "json", "queue", "value", "versioned"];

#[test]
fn services_do_not_name_each_other() {
    let services: Vec<String> = fs::read_dir(top().join("src/domain"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .filter(|name| !NO_SERVICES.contains(&name.as_str()))
        .collect();
    let mut wrong = Vec::new();
    for source in sources("src/domain") {
        let module = source.module();
        let Some(own) = module.get(1).filter(|name| services.iter().any(|known| known == *name)) else {
            continue;
        };
        for (at, code) in source.code() {
            let up = "super::".repeat(module.len() - 1);
            for other in after(code, "crate::domain::").chain(after(code, &up)) {
                if other != *own && services.iter().any(|known| known == other) {
                    wrong.push(format!("{}:{}: {own} names {other}", source.path, at + 1));
                }
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn redis_time_and_chance_are_named_in_ffi_only() {
    const WORDS: [&str; 6] = ["redis_module", "SystemTime", "Instant", "rand", "getrandom", "thread_rng"];
    let mut wrong = Vec::new();
    for source in sources("src") {
        // `lib.rs` calls the crate's macro: that is all its wiring.
        if source.layer() == "ffi" || source.path == "src/lib.rs" {
            continue;
        }
        for (at, code) in source.code() {
            let named = WORDS.iter().filter(|word| has_word(code, word));
            wrong.extend(named.map(|word| format!("{}:{}: names {word}", source.path, at + 1)));
        }
    }
    assert_none(wrong);
}

#[test]
fn unsafe_code_is_in_ffi_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        for (at, code) in source.code() {
            if !has_word(code, "unsafe") {
                continue;
            }
            if source.layer() != "ffi" {
                wrong.push(format!("{}:{}: unsafe outside of ffi", source.path, at + 1));
            }
            let above = &source.lines[at.saturating_sub(3)..=at];
            if !above.iter().any(|line| line.contains("// SAFETY:")) {
                wrong.push(format!("{}:{}: unsafe without a SAFETY line", source.path, at + 1));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn only_the_codec_knows_bincode() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let named = source.code().find(|(_, code)| has_word(code, "bincode"));
        if let Some((at, _)) = named.filter(|_| source.path != "src/snapshot/codec.rs") {
            wrong.push(format!("{}:{}: names bincode", source.path, at + 1));
        }
    }
    assert_none(wrong);
}

/// The module graph: which file takes names from which. A name that a module passes on belongs to
/// the file that defines it. Imports of tests do not count.
struct Graph {
    /// By module: the file and its code without comments and tests.
    modules: BTreeMap<String, String>,
    /// By module and name: where a name comes from that the module passes on with `pub use`.
    passed_on: BTreeMap<(String, String), String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(folder: &str) -> Self {
        let mut modules = BTreeMap::new();
        for source in sources(folder) {
            let code: Vec<&str> = source.code().map(|(_, code)| code).collect();
            let code = code.join("\n");
            let end = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
            modules.insert(source.module().join("::"), code[..end].to_string());
        }
        let (passed_on, edges) = Default::default();
        let mut graph = Self { modules, passed_on, edges };
        for (module, code) in graph.modules.clone() {
            for (is_public, path) in uses(&code) {
                if let Some(path) = graph.absolute(&module, &path).filter(|_| is_public) {
                    let name = path.rsplit("::").next().unwrap_or_default().to_string();
                    graph.passed_on.insert((module.clone(), name), path);
                }
            }
        }
        for (module, code) in graph.modules.clone() {
            let used = uses(&code).into_iter().filter(|(is_public, _)| !is_public).map(|(_, path)| path);
            for path in used.chain(paths(&code)) {
                let Some(path) = graph.absolute(&module, &path) else { continue };
                let target = graph.defining(&path);
                if target != module {
                    graph.edges.entry(module.clone()).or_default().insert(target);
                }
            }
        }
        graph
    }

    /// A path from the root of the crate; `None` if it leads out of it.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
        let mut parts = path.split("::").peekable();
        match *parts.peek()? {
            "crate" => {
                parts.next();
                base.clear();
            }
            "self" => drop(parts.next()),
            "super" => {
                while parts.next_if_eq(&"super").is_some() {
                    base.pop()?;
                }
            }
            first => drop(self.modules.get(&[&base[..], &[first]].concat().join("::"))?),
        }
        base.extend(parts);
        Some(base.join("::"))
    }

    /// The module that defines what a path from the root names.
    fn defining(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split("::").collect();
        let known = (0..=parts.len()).rev().find(|end| self.modules.contains_key(&parts[..*end].join("::")));
        let end = known.unwrap_or(0);
        let module = parts[..end].join("::");
        let passed_on = parts.get(end).and_then(|name| self.passed_on.get(&(module.clone(), name.to_string())));
        passed_on.map_or(module, |origin| self.defining(origin))
    }

    /// A circle, as the modules along it.
    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        self.modules.keys().find_map(|module| self.circle_from(module, &mut Vec::new(), &mut done))
    }

    fn circle_from(&self, at: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(first) = way.iter().position(|passed| passed == at) {
            return Some([&way[first..], &[at.to_string()]].concat());
        }
        if !done.insert(at.to_string()) {
            return None;
        }
        way.push(at.to_string());
        let found = self.edges.get(at).into_iter().flatten().find_map(|next| self.circle_from(next, way, done));
        way.pop();
        found
    }
}

/// The paths of all `use` lines, one for each name, and whether they pass it on.
fn uses(code: &str) -> Vec<(bool, String)> {
    fn spread(tree: &str, prefix: &str, found: &mut Vec<String>) {
        let (mut depth, mut start) = (0, 0);
        let ends = tree.char_indices().chain([(tree.len(), ',')]).filter(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            *c == ',' && depth == 0
        });
        let parts: Vec<(usize, usize)> = ends.map(|(end, _)| (std::mem::replace(&mut start, end + 1), end)).collect();
        for part in parts.iter().map(|(start, end)| tree[*start..*end].trim()).filter(|part| !part.is_empty()) {
            match part.split_once('{') {
                Some((head, rest)) => spread(rest.trim_end_matches('}'), &format!("{prefix}{head}"), found),
                None => {
                    let name = part.split(" as ").next().unwrap_or(part);
                    found.push(format!("{prefix}{name}").trim_end_matches("::self").to_string());
                }
            }
        }
    }
    let mut found = Vec::new();
    let lines = code.match_indices("use ").filter(|(at, _)| {
        let line = code[..*at].rsplit('\n').next().unwrap_or_default().trim();
        line.is_empty() || (line.starts_with("pub") && line.ends_with([')', 'b']))
    });
    for (at, word) in lines {
        let is_public = code[..at].rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with("pub"));
        let rest = &code[at + word.len()..];
        let mut paths = Vec::new();
        spread(&rest[..rest.find(';').unwrap_or(0)].replace('\n', " "), "", &mut paths);
        found.extend(paths.into_iter().map(|path| (is_public, path)));
    }
    found
}

/// The paths that are written out where a name is used.
fn paths(code: &str) -> Vec<String> {
    let starts = ["crate::", "super::"].into_iter().flat_map(|root| code.match_indices(root));
    let starts = starts.filter(|(at, _)| !code[..*at].ends_with(|c: char| is_ident(c) || c == ':'));
    let path = |(at, _): (usize, &str)| {
        let rest = &code[at..];
        let end = rest.find(|c| !is_ident(c) && c != ':').unwrap_or(rest.len());
        rest[..end].trim_end_matches(':').to_string()
    };
    starts.map(path).collect()
}

/// Which services may import which others. Each is a folder of `src/command/services`.
const SERVICE_EDGES: [(&str, &str); 4] =
    [("flow", "lock"), ("context", "registry"), ("context", "versioned"), ("session", "versioned")];

/// The parts that all services share name none, except these: bindings depend on which agents of a
/// registry are alive.
const KNOWS_REGISTRIES: [&str; 2] = ["command::engine::bindings", "command::engine::reactions"];

/// The folder of a service that a module is in.
fn service_of<'a>(module: &'a str, folder: &str) -> Option<&'a str> {
    let (service, _) = module.strip_prefix(folder)?.split_once("::").or(Some((&module[folder.len()..], "")))?;
    top().join("src").join(folder.replace("::", "/")).join(service).is_dir().then_some(service)
}

#[test]
fn services_import_each_other_only_where_it_was_agreed() {
    const COMMANDS: &str = "command::services::";
    let mut wrong = Vec::new();
    for (module, targets) in &Graph::of("src").edges {
        let Some(own) = service_of(module, COMMANDS) else { continue };
        let others = targets.iter().filter_map(|target| Some((target, service_of(target, COMMANDS)?)));
        let bad = others.filter(|(_, other)| *other != own && !SERVICE_EDGES.contains(&(own, other)));
        wrong.extend(bad.map(|(target, _)| format!("{module} -> {target}")));
    }
    assert_none(wrong);
}

#[test]
fn what_holds_for_all_services_names_none() {
    let shared = ["command::engine", "command::node", "command::scheduler", "command::host", "command::reply"];
    let no_service = |name: &str| NO_SERVICES.contains(&name);
    let mut wrong = Vec::new();
    for (module, targets) in &Graph::of("src").edges {
        if !shared.iter().any(|room| module.starts_with(room)) {
            continue;
        }
        for target in targets {
            let rules = service_of(target, "domain::").filter(|name| !no_service(name));
            let is_known = rules == Some("registry") && KNOWS_REGISTRIES.contains(&module.as_str());
            if target.starts_with("command::services") || (rules.is_some() && !is_known) {
                wrong.push(format!("{module} -> {target}"));
            }
        }
    }
    for source in sources("src") {
        let module = source.module().join("::");
        let one_service = |code: &str| {
            let names = code.split("Service::").skip(1);
            names.into_iter().any(|name| name.starts_with(char::is_uppercase) && !name.starts_with("ALL"))
        };
        if shared.iter().any(|room| module.starts_with(room)) {
            wrong.extend(
                source
                    .code()
                    .filter(|(_, code)| one_service(code))
                    .map(|(at, _)| format!("{}:{}", source.path, at + 1)),
            );
        }
    }
    assert_none(wrong);
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let (mut graph, mut wrong) = (Graph::of("src"), Vec::new());
    while let Some(circle) = graph.circle() {
        wrong.push(circle.join(" -> "));
        // Leaves out its last step, so that the next circle is found.
        if let [.., from, to] = &circle[..] {
            graph.edges.get_mut(from).expect("it was walked").remove(to);
        }
    }
    assert_none(wrong);
}

#[test]
fn the_top_of_the_repository_holds_what_was_agreed() {
    let ignored = |name: &str| name.ends_with(".rdb") || name.ends_with(".aof") || name == "appendonlydir";
    let wrong = fs::read_dir(top())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !TOP.contains(&name.as_str()) && !ignored(name))
        .map(|name| format!("{name} does not belong there"));
    assert_none(wrong.collect());
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert_eq!(after("use crate::ffi::state;", "crate::").collect::<Vec<_>>(), ["ffi"]);
    assert_eq!(after("use super::super::Lock;", "super::").collect::<Vec<_>>(), ["super"]);
    assert!(has_word("unsafe { x }", "unsafe") && !has_word("deny(unsafe_code)", "unsafe"));
    let lines = ["fn long() {", "    a();", "}", "fn short() {}", "    pub const fn of<T>(", "    ) -> T {", "    }"];
    let source = Source { path: "src/x.rs".into(), lines: lines.iter().map(|line| line.to_string()).collect() };
    let found = sizes::functions(&source);
    assert_eq!(found[0], ("long".into(), 1, 3));
    assert_eq!(found[1], ("short".into(), 4, 1));
    assert_eq!(found[2], ("of".into(), 5, 3));
}
