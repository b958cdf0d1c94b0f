//! Random well-formed arguments of every command: the server is told exactly the keys among them,
//! and its ACL uses them.
//!
//! `COMMAND DOCS` says what is well-formed, as it would tell a client. Values look like options as
//! often as not.

use super::*;
use std::collections::BTreeSet;

/// SplitMix64.
struct Prng(u64);

impl Prng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

/// An argument as the server documents it.
#[derive(Debug, Clone)]
struct Doc {
    name: String,
    kind: String,
    token: Option<String>,
    optional: bool,
    multiple: bool,
    inner: Vec<Doc>,
}

impl Doc {
    fn read(reply: &Reply) -> Doc {
        let text = |field: &str| reply.find(field).map(|value| value.text().to_string());
        let flags = reply.find("flags").map(|flags| flags.texts()).unwrap_or_default();
        let has = |flag: &str| flags.iter().any(|known| known == flag);
        Doc {
            name: text("name").unwrap_or_default(),
            kind: text("type").unwrap_or_default(),
            token: text("token"),
            optional: has("optional"),
            multiple: has("multiple"),
            inner: reply.find("arguments").map_or_else(Vec::new, |args| args.array().iter().map(Doc::read).collect()),
        }
    }

    /// Whether it has a word, so that it may stand in any order with the others that have one.
    fn is_option(&self) -> bool {
        self.token.is_some() || ["oneof", "pure-token"].contains(&&self.kind[..])
    }

    fn words(&self, found: &mut BTreeSet<String>) {
        found.extend(self.token.iter().cloned());
        self.inner.iter().for_each(|doc| doc.words(found));
    }
}

/// Values that have a form of their own, by the argument's name.
const FORMS: &[(&str, &str)] = &[
    ("json", "{}"),
    ("path", "/x"),
    ("revision", "0"),
    ("cursor", "0"),
    ("share", "0.5"),
    ("beta", "1"),
    ("number", "1"),
];

/// Arguments that are being made, and which of them are keys.
struct Made<'a> {
    rng: &'a mut Prng,
    /// The words of all commands, and those of this one.
    all: &'a [String],
    own: BTreeSet<String>,
    args: Vec<String>,
    keys: Vec<usize>,
}

impl Made<'_> {
    fn value(&mut self, doc: &Doc, may_be_option: bool) {
        match &doc.kind[..] {
            "pure-token" => {}
            "oneof" => {
                let one = &doc.inner[self.rng.below(doc.inner.len())];
                self.argument(one, may_be_option);
            }
            "block" => self.sequence(&doc.inner, may_be_option),
            "integer" => self.args.push("1".into()),
            "key" => {
                self.keys.push(self.args.len());
                let name = if self.rng.percent(30) { self.word(may_be_option) } else { "k".into() };
                self.args.push(format!("in:{name}"));
            }
            _ => {
                let form = FORMS.iter().find(|(name, _)| *name == doc.name).map(|(_, value)| value.to_string());
                let any = if self.rng.percent(60) { self.word(may_be_option) } else { "x".into() };
                self.args.push(form.unwrap_or(any));
            }
        }
    }

    /// A word that is an option somewhere, and here only if it cannot be mistaken for one.
    fn word(&mut self, may_be_option: bool) -> String {
        let word = &self.all[self.rng.below(self.all.len())];
        let word = if !may_be_option && self.own.contains(word) { "x".into() } else { word.clone() };
        if self.rng.percent(30) {
            word.to_ascii_lowercase()
        } else {
            word
        }
    }

    fn argument(&mut self, doc: &Doc, may_be_option: bool) {
        self.args.extend(doc.token.iter().cloned());
        self.value(doc, may_be_option);
    }

    /// One after the other. A number before a repeated argument counts it.
    fn sequence(&mut self, docs: &[Doc], may_be_option: bool) {
        for (at, doc) in docs.iter().enumerate() {
            let is_counted = at > 0 && docs[at - 1].kind == "integer";
            if doc.multiple {
                // The second list of LTMC.WATCH is as long as its keys.
                let count = if doc.name == "revision" { self.keys.len() } else { 1 + self.rng.below(3) };
                if is_counted {
                    *self.args.last_mut().expect("the count") = count.to_string();
                }
                (0..count).for_each(|_| self.argument(doc, is_counted));
            } else if !doc.optional {
                self.argument(doc, may_be_option);
            } else if self.rng.percent(50) {
                self.argument(doc, doc.token.is_some());
            }
        }
    }

    /// A command with all its positional arguments, and some of the options in any order.
    fn command(&mut self, docs: &[Doc]) {
        let place = docs.iter().rposition(|doc| !doc.is_option()).map_or(0, |last| last + 1);
        self.sequence(&docs[..place], true);
        let mut options: Vec<&Doc> = docs[place..].iter().filter(|doc| !doc.optional).collect();
        let others: Vec<&Doc> = docs[place..].iter().filter(|doc| doc.optional).collect();
        for doc in others {
            if self.rng.percent(50) {
                options.insert(self.rng.below(options.len() + 1), doc);
            }
        }
        options.into_iter().for_each(|doc| self.argument(doc, true));
    }
}

fn documented(server: &Server) -> Vec<(String, Vec<Doc>)> {
    let names = words(&server.run("COMMAND LIST FILTERBY MODULE ltmc"));
    let names = names.into_iter().filter(|name| !name.eq_ignore_ascii_case("ltmc.debug"));
    let docs = |name: &String| {
        let reply = server.cmd(&["COMMAND", "DOCS", name]);
        let (_, doc) = reply.pairs()[0];
        doc.find("arguments").map_or_else(Vec::new, |args| args.array().iter().map(Doc::read).collect())
    };
    names.map(|name| (name.to_ascii_uppercase(), docs(&name))).collect()
}

#[test]
fn the_server_is_told_exactly_the_keys_of_whatever_is_well_formed() {
    let server = Server::start();
    let seed =
        std::env::var("LTMC_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(std::process::id().into());
    println!("LTMC_MODEL_SEED={seed}");
    let mut rng = Prng(seed);
    let documented = documented(&server);
    let mut all = BTreeSet::new();
    documented.iter().for_each(|(_, docs)| docs.iter().for_each(|doc| doc.words(&mut all)));
    let all: Vec<String> = all.into_iter().collect();
    server.run("ACL SETUSER inside on >p ~in:* +@all").ok();
    let mut inside = server.client();
    inside.auth("inside", "p");
    let mut named = 0;
    for round in 0..40 {
        for (name, docs) in &documented {
            let mut own = BTreeSet::new();
            docs.iter().for_each(|doc| doc.words(&mut own));
            let mut made = Made { rng: &mut rng, all: &all, own, args: vec![name.clone()], keys: Vec::new() };
            made.command(docs);
            let Made { mut args, keys, .. } = made;
            let expected: Vec<String> = keys.iter().map(|at| args[*at].clone()).collect();
            let question = [&["COMMAND".to_string(), "GETKEYS".to_string()], &args[..]].concat();
            let mut told = match server.cmd(&question) {
                Reply::Error(line) => {
                    assert!(expected.is_empty(), "round {round}: {args:?}: {line}");
                    continue;
                }
                told => words(&told),
            };
            // The arguments behind LTMC.GUARD are a command of their own.
            told.truncate(if name == "LTMC.GUARD" { 1 } else { told.len() });
            assert_eq!(told, expected, "round {round}: {args:?}");
            named += expected.len();
            if name == "LTMC.GUARD" {
                continue;
            }
            let reply = inside.cmd(&args);
            if let Reply::Error(line) = &reply {
                assert!(
                    !line.starts_with("NOPERM") && !line.contains("internal error"),
                    "round {round}: {args:?}: {line}"
                );
                assert!(!line.contains("is not understood here"), "round {round}: {args:?}: {line}");
            }
            for at in keys {
                args[at].replace_range(..2, "out");
                let reply = inside.cmd(&args);
                assert!(reply.is_error() && reply.error_code() == "NOPERM", "round {round}: {args:?}: {reply:?}");
                args[at].replace_range(..3, "in");
            }
        }
    }
    assert!(named > 3_000, "{named} keys are few");
}
