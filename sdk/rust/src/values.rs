//! Run-scoped values as texts: a text is kept as it is, so that people, plugins and the masking of
//! secrets see it without quotes; everything else is JSON.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::{Error, Value};

pub(crate) fn to_text(value: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    Ok(match serde_json::to_value(value)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

pub(crate) fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    T::deserialize(Text(text))
}

/// A text that is what the reading type wants it to be.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn plain(&self) -> StrDeserializer<'a, Error> {
        self.0.into_deserializer()
    }
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match serde_json::from_str::<Value>(self.0) {
            Ok(value) if !value.is_string() => value.deserialize_any(visitor),
            _ => self.plain().deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain().deserialize_any(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain().deserialize_any(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain().deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0 == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match serde_json::from_str::<Value>(self.0) {
            Ok(value @ Value::Object(_)) => value.deserialize_enum(name, variants, visitor),
            _ => self.plain().deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Stage {
        Staging,
        Other { name: String },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Session {
        id: Id,
        stage: Stage,
        note: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Id(u64);

    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, text: &str) {
        assert_eq!(to_text(&value).unwrap(), text);
        assert_eq!(from_text::<T>(text).unwrap(), value);
    }

    #[test]
    fn a_text_is_kept_as_it_is() {
        for text in ["token", "", "12", "true", "null", "\"quoted\"", "{\"a\":1}", "größe ✓\n"]
        {
            comes_back(text.to_owned(), text);
        }
        comes_back('c', "c");
        comes_back(Some("a".to_owned()), "a");
    }

    #[test]
    fn everything_else_is_json() {
        comes_back(12_u32, "12");
        comes_back(-1.5_f64, "-1.5");
        comes_back(true, "true");
        comes_back((), "null");
        comes_back(None::<u8>, "null");
        comes_back(Id(7), "7");
        comes_back(vec!["a".to_owned()], "[\"a\"]");
        comes_back(BTreeMap::from([("a".to_owned(), 1)]), "{\"a\":1}");
        comes_back(serde_json::json!({"a": [1]}), "{\"a\":[1]}");
        comes_back(Stage::Staging, "Staging");
        comes_back(Stage::Other { name: "x".into() }, "{\"Other\":{\"name\":\"x\"}}");
        comes_back(
            Session { id: Id(1), stage: Stage::Staging, note: None },
            "{\"id\":1,\"note\":null,\"stage\":\"Staging\"}",
        );
    }

    #[test]
    fn a_value_of_another_type_is_an_error() {
        assert!(from_text::<u32>("token").is_err());
        assert!(from_text::<Session>("[]").is_err());
    }
}
