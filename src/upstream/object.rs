//! Objects that have to come as objects.
//!
//! To serde an array is as good as an object: its items are the fields, in the order in which they are written down. An
//! API that answers so means something else, and a contact without tags is the last thing to read out of `["kari@…"]`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A `T` that was an object; anything else is the wrong shape.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AsObject<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(AsObject(PhantomData))
    }
}

/// For a field that is an object, null, or absent.
///
/// # Errors
/// The deserializer's, where it is anything else.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let found = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(found.map(|it| it.0))
}

/// For a field that is an array of objects, null, or absent.
///
/// # Errors
/// The deserializer's, where it is anything else.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let found = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(found.map(|all| all.into_iter().map(|it| it.0).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Person {
        name: Option<String>,
        #[serde(deserialize_with = "object")]
        friend: Option<Box<Person>>,
        #[serde(deserialize_with = "objects")]
        children: Option<Vec<Person>>,
    }

    fn read(value: &Value) -> Option<Person> {
        serde_json::from_str::<Object<Person>>(&value.to_string()).ok().map(|it| it.0)
    }

    #[test]
    fn what_is_an_object_is_read_and_an_array_is_none() {
        let kari = || Person { name: Some("Kari".to_owned()), ..Person::default() };
        for (value, expected) in [
            (json!({"name": "Kari"}), Some(kari())),
            (json!({}), Some(Person::default())),
            (json!({"friend": null, "children": null}), Some(Person::default())),
            (
                json!({"friend": {"name": "Kari"}}),
                Some(Person { friend: Some(Box::new(kari())), ..Person::default() }),
            ),
            (
                json!({"children": [{"name": "Kari"}]}),
                Some(Person { children: Some(vec![kari()]), ..Person::default() }),
            ),
            (json!([]), None),
            (json!(["Kari"]), None),
            (json!({"friend": ["Kari"]}), None),
            (json!({"children": [["Kari"]]}), None),
            (json!({"children": {}}), None),
            (json!({"name": 5}), None),
            (json!(null), None),
        ] {
            assert_eq!(read(&value), expected, "{value}");
        }
        assert!(serde_json::from_str::<Object<Person>>(r#"{"name": "Kari", "name": "Ola"}"#).is_err());
    }
}
