//! JSON values whose copies share what is the same.
//!
//! Objects and arrays are [trees](crate::domain::algorithm::tree) that know their size and depth,
//! so a value is cloned and measured at once, and changed at the cost of the way to the change.

use super::size::{number_bytes, shared_bytes, string_bytes, Size};
use crate::domain::algorithm::tree::{room_for, Measure, Tree};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Number;
use std::fmt;
use std::sync::Arc;

/// The members of an object, ordered by name.
pub type Object = Tree<Arc<str>, Value, Size>;

/// The elements of an array.
pub type Array = Tree<(), Value, Size>;

/// A JSON value.
#[derive(Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the words of RFC 8259")]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    Array(Array),
    Object(Object),
}

impl Value {
    /// An object without members.
    pub fn object() -> Self {
        Value::Object(Object::default())
    }

    /// An array of these elements.
    pub fn array(items: impl IntoIterator<Item = Value>) -> Self {
        Value::Array(Array::of_ordered(items.into_iter().map(|item| ((), item)).collect()))
    }

    /// Its members, if it is an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Its elements, if it is an array.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        match self {
            Value::Null => Size::of_single("null".len()),
            Value::Bool(is_true) => Size::of_single(if *is_true { "true".len() } else { "false".len() }),
            Value::Number(number) => Size::of_single(number_bytes(number)),
            Value::String(text) => Size { heap: shared_bytes(text), ..Size::of_single(string_bytes(text)) },
            Value::Array(items) => items.measure().enclosed(room_for::<(), Value, Size>(items.len())),
            Value::Object(members) => members.measure().enclosed(room_for::<Arc<str>, Value, Size>(members.len())),
        }
    }

    /// Bytes of its compact text.
    pub fn text_bytes(&self) -> usize {
        let size = self.size();
        size.text - size.filled
    }

    /// How deep it is: 0 for a single value, 1 for a flat array.
    pub fn depth(&self) -> usize {
        self.size().depth
    }

    /// Whether it equals another one. Numbers are compared by value: 1, 1.0 and 1e0 are equal
    /// (RFC 6902, 4.6).
    pub fn is_same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Number(one), Value::Number(other)) => is_same_number(one, other),
            (Value::Array(one), Value::Array(other)) => are_same(one, other),
            (Value::Object(one), Value::Object(other)) => are_same(one, other),
            (one, other) => one == other,
        }
    }

    /// Whether all that is kept of it besides the values is right.
    pub fn is_sound(&self) -> bool {
        match self {
            Value::Array(items) => items.is_sound() && items.iter().all(|(_, item)| item.is_sound()),
            Value::Object(members) => members.is_sound() && members.iter().all(|(_, member)| member.is_sound()),
            _ => true,
        }
    }

    /// The same value with all that is kept besides made anew.
    pub fn rebuilt(&self) -> Self {
        match self {
            Value::Array(items) => Value::array(items.iter().map(|(_, item)| item.rebuilt())),
            Value::Object(members) => {
                let member = |(name, member): (&Arc<str>, &Value)| (name.clone(), member.rebuilt());
                Value::Object(Tree::of_ordered(members.iter().map(member).collect()))
            }
            single => single.clone(),
        }
    }
}

impl Measure<Arc<str>, Value> for Size {
    /// The size of a member, with its name, colon and comma.
    fn of(name: &Arc<str>, member: &Value) -> Self {
        let size = member.size();
        Size { text: string_bytes(name) + ":,".len() + size.text, heap: shared_bytes(name) + size.heap, ..size }
    }
    fn and(self, other: Self) -> Self {
        self.with(other)
    }
    fn without(self, part: Self) -> Option<Self> {
        self.less(part)
    }
}

impl Measure<(), Value> for Size {
    /// The size of an element, with its comma.
    fn of(_at: &(), item: &Value) -> Self {
        let size = item.size();
        Size { text: size.text + ",".len(), ..size }
    }
    fn and(self, other: Self) -> Self {
        self.with(other)
    }
    fn without(self, part: Self) -> Option<Self> {
        self.less(part)
    }
}

fn are_same<K: Ord>(one: &Tree<K, Value, Size>, other: &Tree<K, Value, Size>) -> bool {
    let mut pairs = one.differences(other);
    one.len() == other.len()
        && pairs.all(|(one, other)| one.zip(other).is_some_and(|(one, other)| one.1.is_same(&other.1)))
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    if let (Some(one), Some(other)) = (one.as_i128(), other.as_i128()) {
        return one == other;
    }
    one.as_f64() == other.as_f64()
}

impl FromIterator<(Arc<str>, Value)> for Object {
    /// Of two members with one name the last counts.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Value)>>(members: I) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        if !members.is_sorted_by(|one, next| one.0 < next.0) {
            members.sort_by(|one, next| one.0.cmp(&next.0));
            members.dedup_by(|later, earlier| {
                let is_again = later.0 == earlier.0;
                if is_again {
                    std::mem::swap(later, earlier);
                }
                is_again
            });
        }
        Tree::of_ordered(members)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(is_true) => serializer.serialize_bool(*is_true),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|(_, item)| list.serialize_element(item))?;
                list.end()
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, member)| map.serialize_entry(&**name, member))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, is_true: bool) -> Result<Value, E> {
        Ok(Value::Bool(is_true))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element()? {
            read.push(((), item));
        }
        Ok(Value::Array(Tree::of_ordered(read)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some((Name(name), member)) = members.next_entry()? {
            read.push((name, member));
        }
        Ok(Value::Object(read.into_iter().collect()))
    }
}

/// The name of a member.
struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name.into()))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The compact text.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(is_true) => Value::Bool(is_true),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => Value::String(text.into()),
            serde_json::Value::Array(items) => Value::array(items.into_iter().map(Value::from)),
            serde_json::Value::Object(members) => {
                Value::Object(members.into_iter().map(|(name, member)| (name.into(), member.into())).collect())
            }
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(is_true) => serde_json::Value::Bool(*is_true),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::String(text) => serde_json::Value::String(text.as_ref().into()),
            Value::Array(items) => items.iter().map(|(_, item)| serde_json::Value::from(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.as_ref().into(), serde_json::Value::from(member)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

impl PartialEq<serde_json::Value> for Value {
    fn eq(&self, other: &serde_json::Value) -> bool {
        match (self, other) {
            (Value::Null, serde_json::Value::Null) => true,
            (Value::Bool(one), serde_json::Value::Bool(other)) => one == other,
            (Value::Number(one), serde_json::Value::Number(other)) => one == other,
            (Value::String(one), serde_json::Value::String(other)) => **one == **other,
            (Value::Array(one), serde_json::Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|((_, one), other)| one == other)
            }
            (Value::Object(one), serde_json::Value::Object(other)) => {
                let is_in = |(name, one): (&Arc<str>, &Value)| other.get(&**name).is_some_and(|other| one == other);
                one.len() == other.len() && one.iter().all(is_in)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_knows_its_size() {
        let value = Value::from(json!({"a": [1, {"b": "x"}], "c": null}));
        let size = value.size();
        // A comma follows the last one as well.
        assert_eq!((size.text, value.text_bytes()), (value.to_string().len() + 3, value.to_string().len()));
        assert_eq!((size.depth, size.values, size.filled), (3, 6, 3));
        assert_eq!(Value::from(json!([])).size(), Size { text: 2, depth: 1, values: 1, ..Size::default() });
        assert_eq!([json!(1), json!([]), json!({"a": [1]})].map(|value| Value::from(value).depth()), [0, 1, 2]);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let same = |one: serde_json::Value, other: serde_json::Value| Value::from(one).is_same(&other.into());
        assert!(same(json!({"a": [1, 2.0]}), json!({"a": [1.0, 2]})));
        assert!(!same(json!(9_007_199_254_740_993i64), json!(9_007_199_254_740_992i64)));
        assert!(!same(json!([1]), json!([1, 1])) && !same(json!({"a": 1}), json!({"b": 1})));
    }

    #[test]
    fn what_is_read_is_written_again_in_the_order_of_names() {
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON").to_string();
        assert_eq!(read(r#" {"b":1,"a":[ 1.50 ,null],"b":{"é":"\u0041"}} "#), r#"{"a":[1.5,null],"b":{"é":"A"}}"#);
        let members: Vec<String> = (0..3000).rev().map(|n| format!(r#""{n}":{n}"#)).collect();
        let text = format!("{{{}}}", members.join(","));
        let naive: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert!(value == naive && value.is_sound() && value.rebuilt() == value);
        assert_eq!(value.to_string(), naive.to_string());
    }
}
