//! What a command answers on a key that is not there: one column of the command table. One rule
//! holds for all commands; rows to which it does not apply say what they answer instead.

use super::reply_shape::{Shape, ShapeKind, Unit};
use crate::domain::Code;
use serde_json::{json, Value};

/// The column: what a command answers on a key that is not there.
#[derive(Debug, Clone, Copy)]
pub enum Missing {
    /// What the shape of its reply has for nothing: a single thing is nil, a list empty, a count 0.
    Rule,
    /// This, always.
    Always(Nothing),
    /// One of several, each with when.
    OneOf(&'static [(&'static str, Nothing)]),
}

/// One such answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// Nil.
    Nil,
    /// A list with nil for each thing that was asked for by name.
    Nils,
    /// An empty list; with a cursor, behind 0.
    Empty,
    /// 0.
    Zero,
    /// This reply, as JSON; of a map only the fields that are not nil.
    Reply(&'static str),
    /// It makes the key, and answers as always.
    Made,
    /// This error: it needs the thing to act.
    Error(Code),
}

impl Missing {
    /// The answers of a command with this reply, each with when, if that depends.
    pub fn answers(self, reply: &Shape) -> Vec<(Option<&'static str>, Nothing)> {
        let cases: Vec<(Option<&'static str>, Nothing)> = match (self, reply.kind) {
            (Missing::Always(one), _) => vec![(None, one)],
            (Missing::OneOf(cases), _) => cases.iter().map(|(when, one)| (Some(*when), *one)).collect(),
            (Missing::Rule, ShapeKind::OneOf(cases)) => {
                cases.iter().map(|case| (Some(case.when), Nothing::by_rule(&case.shape))).collect()
            }
            (Missing::Rule, _) => vec![(None, Nothing::by_rule(reply))],
        };
        match cases[..] {
            [(_, first), ..] if cases.iter().all(|(_, other)| *other == first) => vec![(None, first)],
            _ => cases,
        }
    }
}

impl Nothing {
    fn by_rule(reply: &Shape) -> Nothing {
        match reply.kind {
            ShapeKind::List(of) if of.nil.is_some() => Nothing::Nils,
            ShapeKind::List(_) => Nothing::Empty,
            // A page: the next cursor, and a list.
            ShapeKind::Tuple([.., last]) if matches!(last.shape.kind, ShapeKind::List(_)) => Nothing::Empty,
            ShapeKind::Integer(Unit::Count | Unit::Flag) => Nothing::Zero,
            _ => Nothing::Nil,
        }
    }

    /// Its place in a table of all.
    pub fn rank(self) -> (u8, &'static str) {
        match self {
            Nothing::Nil => (0, ""),
            Nothing::Nils => (1, ""),
            Nothing::Empty => (2, ""),
            Nothing::Zero => (3, ""),
            Nothing::Reply(json) => (4, json),
            Nothing::Made => (5, ""),
            Nothing::Error(code) => (6, code.word()),
        }
    }

    /// It in a few words.
    pub fn text(self) -> String {
        match self {
            Nothing::Nil => "nil".into(),
            Nothing::Nils => "a list with nil for each that was named".into(),
            Nothing::Empty => "an empty list".into(),
            Nothing::Zero => "0".into(),
            Nothing::Reply(json) => format!("`{json}`"),
            Nothing::Made => "it makes the key, and answers as always".into(),
            Nothing::Error(code) => format!("`{}`", code.word()),
        }
    }

    /// It for programs.
    pub fn json(self) -> Value {
        let word = match self {
            Nothing::Nil => "nil",
            Nothing::Nils => "nils",
            Nothing::Empty => "empty",
            Nothing::Zero => "zero",
            Nothing::Reply(json) => return json!({ "answer": "reply", "reply": json }),
            Nothing::Made => "made",
            Nothing::Error(code) => return json!({ "answer": "error", "code": code.word() }),
        };
        json!({ "answer": word })
    }
}
