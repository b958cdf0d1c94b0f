//! The shape of a reply, as a value: one column of the command table. `COMMAND DOCS`, the
//! reference, the checks of the server tests and typed clients are made from it.
//!
//! On the wire, nil, numbers, text and lists are those of Redis. A map is a map in RESP3; in RESP2
//! it is a list in which each name precedes its value. `OK` is a simple string, all other text is a
//! bulk string. Flags are the integers 0 and 1.

pub use super::unit::Unit;
use serde_json::{json, Map, Value};

/// The shape of a reply, or of a part of one.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What it is made of.
    pub kind: ShapeKind,
    /// What it means, where the names around it do not say so.
    pub about: Option<&'static str>,
    /// When it is nil, if it may be.
    pub nil: Option<&'static str>,
    /// When it is 0, if that is possible and means no value.
    pub zero: Option<&'static str>,
}

/// What a shape is made of.
#[derive(Debug, Clone, Copy)]
pub enum ShapeKind {
    /// `OK`.
    Ok,
    /// A whole number.
    Integer(Unit),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text of our own, in UTF-8.
    Text,
    /// A number as text, with a fraction or too large for some clients.
    Decimal,
    /// Bytes that a user gave.
    Bytes,
    /// JSON as text.
    Json,
    /// Any number of values of one shape; an empty list stands for nothing.
    List(&'static Shape),
    /// A list of a fixed length, in which each place has a name.
    Tuple(&'static [Field]),
    /// Named values.
    Map(&'static [Field]),
    /// Values under names that are not fixed: what the names are, and the shape of the values.
    MapOf(&'static str, &'static Shape),
    /// One of several shapes.
    OneOf(&'static [Case]),
    /// Any reply of the wrapped command.
    Any,
}

/// A named part of a tuple or a map.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its shape.
    pub shape: Shape,
    /// When it is there, if not always.
    pub only: Option<&'static str>,
}

/// One of several shapes.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// When it is this one.
    pub when: &'static str,
    /// The shape.
    pub shape: Shape,
}

#[allow(missing_docs)] // a small language: the names say it
impl Shape {
    pub const OK: Shape = Shape::new(ShapeKind::Ok);
    pub const TEXT: Shape = Shape::new(ShapeKind::Text);
    pub const DECIMAL: Shape = Shape::new(ShapeKind::Decimal);
    pub const BYTES: Shape = Shape::new(ShapeKind::Bytes);
    pub const JSON: Shape = Shape::new(ShapeKind::Json);
    pub const ANY: Shape = Shape::new(ShapeKind::Any);
    pub const FENCE: Shape = Shape::integer(Unit::Fence);
    pub const VERSION: Shape = Shape::integer(Unit::Version);
    pub const REVISION: Shape = Shape::integer(Unit::Revision);
    pub const COUNT: Shape = Shape::integer(Unit::Count);
    pub const SIZE: Shape = Shape::integer(Unit::Bytes);
    pub const MS: Shape = Shape::integer(Unit::Ms);
    pub const UNIX_MS: Shape = Shape::integer(Unit::UnixMs);
    pub const US: Shape = Shape::integer(Unit::Us);
    pub const FLAG: Shape = Shape::integer(Unit::Flag);
    pub const NUMBER: Shape = Shape::integer(Unit::Number);

    pub const fn new(kind: ShapeKind) -> Shape {
        Shape { kind, about: None, nil: None, zero: None }
    }
    pub const fn integer(unit: Unit) -> Shape {
        Shape::new(ShapeKind::Integer(unit))
    }
    pub const fn word(words: &'static [&'static str]) -> Shape {
        Shape::new(ShapeKind::Word(words))
    }
    pub const fn list(of: &'static Shape) -> Shape {
        Shape::new(ShapeKind::List(of))
    }
    pub const fn tuple(places: &'static [Field]) -> Shape {
        Shape::new(ShapeKind::Tuple(places))
    }
    pub const fn map(fields: &'static [Field]) -> Shape {
        Shape::new(ShapeKind::Map(fields))
    }
    pub const fn map_of(names: &'static str, values: &'static Shape) -> Shape {
        Shape::new(ShapeKind::MapOf(names, values))
    }
    pub const fn one_of(cases: &'static [Case]) -> Shape {
        Shape::new(ShapeKind::OneOf(cases))
    }
    pub const fn about(self, about: &'static str) -> Shape {
        Shape { about: Some(about), ..self }
    }
    pub const fn or_nil(self, when: &'static str) -> Shape {
        Shape { nil: Some(when), ..self }
    }
    pub const fn or_zero(self, when: &'static str) -> Shape {
        Shape { zero: Some(when), ..self }
    }
}

#[allow(missing_docs)] // as above
impl Field {
    pub const fn new(name: &'static str, shape: Shape) -> Field {
        Field { name, shape, only: None }
    }
    pub const fn only(self, when: &'static str) -> Field {
        Field { only: Some(when), ..self }
    }
    /// Both lists as one, `ALL` long.
    pub const fn join<const A: usize, const B: usize, const ALL: usize>(
        first: [Field; A],
        second: [Field; B],
    ) -> [Field; ALL] {
        assert!(ALL == A + B);
        let mut all = [first[0]; ALL];
        let mut at = 0;
        while at < ALL {
            all[at] = if at < A { first[at] } else { second[at - A] };
            at += 1;
        }
        all
    }
}

#[allow(missing_docs)] // as above
impl Case {
    pub const fn new(when: &'static str, shape: Shape) -> Case {
        Case { when, shape }
    }
}

/// To this depth the text of a shape names the fields of maps.
const NAMED_DEPTH: usize = 2;

impl Shape {
    /// The shape in one line, without a full stop: `map: status, version (count); nil if ...`.
    pub fn text(&self) -> String {
        let absent: Vec<String> = [self.head()].into_iter().chain(self.absent_texts()).collect();
        absent.join("; ")
    }

    /// When it is nil, and when 0 means no value.
    pub fn absent_texts(&self) -> impl Iterator<Item = String> {
        let nil = self.nil.map(|when| format!("nil if {when}"));
        nil.into_iter().chain(self.zero.map(|when| format!("0 if {when}")))
    }

    /// The text without when it is nil.
    fn head(&self) -> String {
        match (self.about, self.kind) {
            // These texts say the type well enough.
            (Some(about), ShapeKind::Integer(Unit::Flag) | ShapeKind::Text | ShapeKind::Bytes | ShapeKind::Any) => {
                about.to_string()
            }
            (Some(about), ShapeKind::Integer(unit)) if about.contains(unit.word()) => about.to_string(),
            (Some(about), ShapeKind::Integer(unit)) => format!("{about} ({})", unit.word()),
            (Some(about), _) => format!("{about}: {}", self.inner_text(0)),
            (None, _) => self.inner_text(0),
        }
    }

    fn or_nil_text(&self) -> &'static str {
        match self.nil {
            Some(_) => " or nil",
            None => "",
        }
    }

    /// The text of what it is made of, at this depth within others.
    fn inner_text(&self, depth: usize) -> String {
        let parts = |fields: &[Field]| fields.iter().map(|field| field.text(depth + 1)).collect::<Vec<_>>().join(", ");
        let list = |name: &str, fields: &[Field]| match depth {
            0 => format!("{name}: {}", parts(fields)),
            _ if depth < NAMED_DEPTH => format!("{name} ({})", parts(fields)),
            _ => name.to_string(),
        };
        match self.kind {
            ShapeKind::List(of) if matches!(of.kind, ShapeKind::Map(_)) => {
                format!("list of {}", of.inner_text(depth).replacen("map", "maps", 1))
            }
            ShapeKind::List(of) => format!("list of {}", of.part_text(depth + 1)),
            ShapeKind::Tuple(places) => list("list", places),
            ShapeKind::Map(fields) => list("map", fields),
            ShapeKind::MapOf(names, of) => format!("map of {names} to {}", of.part_text(depth + 1)),
            ShapeKind::OneOf(cases) => {
                let texts: Vec<_> = cases.iter().map(|case| case.text(depth)).collect();
                texts.join(if depth == 0 { "; " } else { " or " })
            }
            _ => self.type_text(),
        }
    }

    /// The text of it within another.
    fn part_text(&self, depth: usize) -> String {
        let text = match (self.about, self.kind) {
            (Some(about), _) => about.to_string(),
            (None, ShapeKind::Integer(unit)) => unit.word().to_string(),
            (None, _) => self.inner_text(depth),
        };
        text + self.or_nil_text()
    }

    /// Its type with the unit, in a few words: `integer, unix ms`.
    pub fn type_text(&self) -> String {
        match self.kind {
            ShapeKind::Ok => "OK".into(),
            ShapeKind::Integer(unit) => format!("integer, {}", unit.word()),
            ShapeKind::Word([all @ .., last]) if !all.is_empty() => format!("{} or {last}", all.join(", ")),
            ShapeKind::Word(words) => words.concat(),
            ShapeKind::Text => "text".into(),
            ShapeKind::Decimal => "number as text".into(),
            ShapeKind::Bytes => "bytes".into(),
            ShapeKind::Json => "JSON text".into(),
            ShapeKind::List(of) if matches!(of.kind, ShapeKind::Map(_)) => "list of maps".into(),
            ShapeKind::List(of) => match format!("{}{}", of.type_text(), of.or_nil_text()) {
                simple if !simple.contains([',', ';', '(']) => format!("list of {simple}"),
                inner => format!("list of ({inner})"),
            },
            ShapeKind::Tuple(places) => {
                let of =
                    |place: &Field| format!("{}: {}{}", place.name, place.shape.type_text(), place.shape.or_nil_text());
                format!("list of {} ({})", places.len(), places.iter().map(of).collect::<Vec<_>>().join("; "))
            }
            ShapeKind::Map(_) => "map".into(),
            ShapeKind::MapOf(names, of) => format!("map of {names} to {}{}", of.type_text(), of.or_nil_text()),
            ShapeKind::OneOf(cases) => {
                let of = |case: &Case| format!("{}{}", case.shape.type_text(), case.shape.or_nil_text());
                cases.iter().map(of).collect::<Vec<_>>().join(" or ")
            }
            ShapeKind::Any => "any reply".into(),
        }
    }

    /// The shape for programs: its type, and what belongs to that.
    pub fn json(&self) -> Value {
        let fields = |all: &[Field]| Value::Array(all.iter().map(Field::json).collect());
        let mut out = match self.kind {
            ShapeKind::Ok => json!({ "type": "ok" }),
            ShapeKind::Integer(unit) => json!({ "type": "integer", "unit": unit.word() }),
            ShapeKind::Word(words) => json!({ "type": "word", "words": words }),
            ShapeKind::Text => json!({ "type": "text" }),
            ShapeKind::Decimal => json!({ "type": "decimal" }),
            ShapeKind::Bytes => json!({ "type": "bytes" }),
            ShapeKind::Json => json!({ "type": "json" }),
            ShapeKind::List(of) => json!({ "type": "list", "of": of.json() }),
            ShapeKind::Tuple(places) => json!({ "type": "tuple", "fields": fields(places) }),
            ShapeKind::Map(all) => json!({ "type": "map", "fields": fields(all) }),
            ShapeKind::MapOf(names, of) => json!({ "type": "map of", "names": names, "of": of.json() }),
            ShapeKind::OneOf(cases) => {
                let case = |case: &Case| with(case.shape.json(), "when", Some(case.when));
                json!({ "type": "one of", "cases": cases.iter().map(case).collect::<Vec<_>>() })
            }
            ShapeKind::Any => json!({ "type": "any" }),
        };
        out = with(out, "about", self.about);
        out = with(out, "nil", self.nil);
        with(out, "zero", self.zero)
    }

    /// The shapes that it directly consists of.
    pub fn parts(&self) -> Vec<&'static Shape> {
        match self.kind {
            ShapeKind::List(of) | ShapeKind::MapOf(_, of) => vec![of],
            ShapeKind::Tuple(fields) | ShapeKind::Map(fields) => fields.iter().map(|field| &field.shape).collect(),
            ShapeKind::OneOf(cases) => cases.iter().map(|case| &case.shape).collect(),
            _ => Vec::new(),
        }
    }
}

impl Field {
    fn text(&self, depth: usize) -> String {
        let shape = &self.shape;
        let is_clear = match shape.kind {
            // The name says it, or nothing more has to be said here.
            ShapeKind::Integer(unit) => self.name.ends_with(unit.word()) || unit == Unit::Count,
            ShapeKind::Bytes | ShapeKind::Text | ShapeKind::Word(_) => true,
            ShapeKind::List(of) => !matches!(of.kind, ShapeKind::Map(_)),
            _ => depth > 1,
        };
        if is_clear {
            let or_nil = if shape.nil.is_some() { " (or nil)" } else { "" };
            return format!("{}{or_nil}", self.name);
        }
        let inner = match shape.kind {
            ShapeKind::Integer(unit) => unit.word().to_string(),
            _ => shape.inner_text(depth),
        };
        format!("{} ({inner}{})", self.name, shape.or_nil_text())
    }

    fn json(&self) -> Value {
        let named = with(self.shape.json(), "name", Some(self.name));
        with(named, "only", self.only)
    }
}

impl Case {
    fn text(&self, depth: usize) -> String {
        let (shape, when) = (&self.shape, self.when);
        match depth {
            0 => format!("{when}: {}{}", shape.head(), shape.or_nil_text()),
            _ => shape.part_text(depth),
        }
    }
}

fn with(value: Value, name: &str, text: Option<&str>) -> Value {
    let Value::Object(mut fields) = value else { return value };
    add(&mut fields, name, text);
    Value::Object(fields)
}

fn add(fields: &mut Map<String, Value>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        fields.insert(name.into(), text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDER: Shape = Shape::map(&[Field::new("owner", Shape::BYTES), Field::new("fence", Shape::FENCE)]);
    const LOCK: Shape = Shape::map(&[
        Field::new("mode", Shape::word(&["free", "shared"])),
        Field::new("version", Shape::VERSION),
        Field::new("since", Shape::UNIX_MS.or_nil("it is free")),
        Field::new("holders", Shape::list(&HOLDER)),
        Field::new("note", Shape::TEXT).only("it is held"),
    ])
    .or_nil("there is no lock");

    #[test]
    fn a_shape_is_described_in_one_line() {
        const TEXTS: &[(Shape, &str)] = &[
            (Shape::OK, "OK"),
            (Shape::FENCE.or_nil("the lock is busy"), "integer, fence; nil if the lock is busy"),
            (Shape::COUNT.about("the number of keys"), "the number of keys (count)"),
            (Shape::VERSION.about("the new version").or_zero("it is new"), "the new version; 0 if it is new"),
            (Shape::FLAG.about("1 if released, else 0"), "1 if released, else 0"),
            (Shape::word(&["RETRY", "DEAD", "CANCELLED"]), "RETRY, DEAD or CANCELLED"),
            (Shape::list(&Shape::BYTES.or_nil("gone")), "list of bytes or nil"),
            (Shape::map_of("field", &Shape::JSON), "map of field to JSON text"),
            (
                Shape::tuple(&[Field::new("agent", Shape::BYTES), Field::new("claim", Shape::FENCE)]),
                "list: agent, claim (fence)",
            ),
            (LOCK, "map: mode, version, since (unix ms or nil), holders (list of maps (owner, fence)), note; nil if there is no lock"),
            (Shape::list(&HOLDER).about("as many as fit"), "as many as fit: list of maps: owner, fence"),
            (
                Shape::one_of(&[Case::new("with it", Shape::list(&HOLDER)), Case::new("without NEXT", Shape::OK)]),
                "with it: list of maps: owner, fence; without NEXT: OK",
            ),
            (Shape::ANY.about("that of the command"), "that of the command"),
        ];
        for (shape, text) in TEXTS {
            assert_eq!(shape.text(), *text);
        }
    }

    #[test]
    fn a_shape_is_given_to_programs_whole() {
        let holders = json!({ "type": "list", "name": "holders", "of": { "type": "map", "fields": [
            { "type": "bytes", "name": "owner" },
            { "type": "integer", "name": "fence", "unit": "fence" },
        ] } });
        let fields = json!([
            { "type": "word", "name": "mode", "words": ["free", "shared"] },
            { "type": "integer", "name": "version", "unit": "version" },
            { "type": "integer", "name": "since", "unit": "unix ms", "nil": "it is free" },
            holders,
            { "type": "text", "name": "note", "only": "it is held" },
        ]);
        assert_eq!(LOCK.json(), json!({ "type": "map", "fields": fields, "nil": "there is no lock" }));
        const EITHER: Shape =
            Shape::one_of(&[Case::new("with json", Shape::OK), Case::new("else", Shape::JSON.about("a patch"))]);
        let cases =
            json!([{ "type": "ok", "when": "with json" }, { "type": "json", "when": "else", "about": "a patch" }]);
        assert_eq!(EITHER.json(), json!({ "type": "one of", "cases": cases }));
        const PAIR: Shape = Shape::tuple(&[Field::new("cursor", Shape::DECIMAL)]);
        assert_eq!(PAIR.json(), json!({ "type": "tuple", "fields": [{ "type": "decimal", "name": "cursor" }] }));
        const NAMED: Shape = Shape::map_of("field", &Shape::ANY);
        assert_eq!(NAMED.json(), json!({ "type": "map of", "names": "field", "of": { "type": "any" } }));
    }

    #[test]
    fn lists_of_fields_are_joined() {
        const BOTH: [Field; 3] =
            Field::join([Field::new("a", Shape::OK)], [Field::new("b", Shape::OK), Field::new("c", Shape::OK)]);
        assert_eq!(BOTH.map(|field| field.name), ["a", "b", "c"]);
        assert_eq!(Shape::map(&BOTH).parts().len(), 3);
    }
}
