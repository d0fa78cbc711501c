//! How fields of bodies are read where serde alone would take too much or too little: what has named
//! fields is read from an object and never from a list of values, which nobody means; and null stands for
//! what is left out.

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Null is as if the field were left out.
pub(super) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// From named fields alone.
pub(super) fn by_name<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(Named(from))
}

/// From named fields alone; null is as if the field were left out.
pub(super) fn by_name_or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    struct ByName<T>(T);

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            by_name(from).map(Self)
        }
    }

    Ok(Option::<ByName<T>>::deserialize(from)?.map(|read| read.0).unwrap_or_default())
}

/// Gives a structure the map that it asks for, and nothing in place of it.
struct Named<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Named<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::views::{PolicyView, RunBody, ScheduledSuite};

    #[test]
    fn a_list_does_not_stand_for_named_fields() {
        let limits = json!({"limits": [1, 2]});
        let error = serde_json::from_value::<PolicyView>(limits).unwrap_err().to_string();
        assert!(error.contains("expected an object of limits"), "{error}");
        let tags = json!({"tags": [["a"], ["b"]]});
        assert!(serde_json::from_value::<RunBody>(tags).is_err());
        assert!(serde_json::from_value::<ScheduledSuite>(json!(["default", "a"])).is_err());
    }

    #[test]
    fn null_stands_for_what_is_left_out() {
        let fields = |shown: serde_json::Value| shown.as_object().unwrap().clone();
        let nulls = |all: &serde_json::Value| {
            let names = all.as_object().unwrap().keys();
            names.map(|name| (name.clone(), json!(null))).collect::<serde_json::Value>()
        };
        let run = serde_json::to_value(RunBody::default()).unwrap();
        let read: RunBody = serde_json::from_value(nulls(&run)).unwrap();
        assert_eq!(fields(serde_json::to_value(read).unwrap()), fields(run));
        let policy = serde_json::to_value(PolicyView::default()).unwrap();
        let read: PolicyView = serde_json::from_value(nulls(&policy)).unwrap();
        assert_eq!(read, PolicyView::default());
    }
}
