//! One walk over a body: refuses what plain `serde_json` lets pass, keeps three fields, stores nothing else.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{EventError, MAX_DEPTH};

/// What stood in one place of the body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Field<'de> {
    #[default]
    Absent,
    Null,
    Text(Cow<'de, str>),
    /// A number, a boolean, an array, an object.
    Other,
}

/// The fields of the outermost object that anybody asks for.
#[derive(Debug, Default)]
pub(super) struct Fields<'de> {
    pub event_type: Field<'de>,
    pub vendor_id: Field<'de>,
    pub user_id: Field<'de>,
}

/// Reads `text` to its end.
///
/// # Errors
/// `NotJson`, `NotAnObject`, `DuplicateKey` or `TooDeep`.
pub(super) fn read(text: &str) -> Result<Fields<'_>, EventError> {
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let outermost = Outermost { walk: Walk { depth: 0, fault: &fault } };
    let read = outermost.deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
    // serde_json's own message may quote the body, so nothing of it is kept but the place.
    read.map_err(|error| match (fault.get(), error.classify()) {
        (Some(fault), _) => fault,
        (None, Category::Data) => EventError::NotAnObject,
        (None, _) => EventError::NotJson { line: error.line(), column: error.column() },
    })
}

/// Reads a value at `depth` (how many containers it lies in). Says in `fault` what it refused, because serde's errors
/// carry only text.
#[derive(Clone, Copy)]
struct Walk<'a> {
    depth: usize,
    fault: &'a Cell<Option<EventError>>,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(self, fault: EventError) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(EventError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, fault: self.fault })
    }

    /// Reads an object's entries and hands each to `entry`.
    fn object<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        mut entry: impl FnMut(&str, Field<'de>),
    ) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        let mut keys = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            entry(&key, map.next_value_seed(inside)?);
            keys.push(key);
        }
        // Sorted rather than looked up one by one: thousands of keys must not cost their square.
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.refuse(EventError::DuplicateKey));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Field<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Field<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Null)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Field<'de>, A::Error> {
        let inside = self.deeper()?;
        while array.next_element_seed(inside)?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field<'de>, A::Error> {
        self.object(map, |_, _| ()).map(|()| Field::Other)
    }
}

/// The outermost value: an object whose three fields are kept, or an error.
struct Outermost<'a> {
    walk: Walk<'a>,
}

impl<'de> DeserializeSeed<'de> for Outermost<'_> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Fields<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outermost<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        self.walk.object(map, |key, value| match key {
            "eventType" => fields.event_type = value,
            "vendorId" => fields.vendor_id = value,
            "userId" => fields.user_id = value,
            _ => {}
        })?;
        Ok(fields)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Fields<'de>, A::Error> {
        // Walked all the same, so that what is no JSON at all is called that.
        self.walk.visit_seq(array)?;
        Err(A::Error::custom("an array"))
    }
}

/// A key, as written or, where it has escapes, as meant: `"a"` and `"\u0061"` are the same key.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
