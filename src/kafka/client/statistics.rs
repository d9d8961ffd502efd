//! Reading what librdkafka tells of itself (its STATISTICS.md).

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// The values of an object, whatever they are called: a broker that the client has struck off, and one that it has learned
/// of since, are both told under one name, and a map would keep one of them.
///
/// # Errors
/// It is no object of such values.
pub fn values<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Values<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
        type Value = Vec<T>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some((_, value)) = map.next_entry::<serde::de::IgnoredAny, T>()? {
                values.push(value);
            }
            Ok(values)
        }
    }

    from.deserialize_map(Values(PhantomData))
}
