//! JSON that nobody in the middle looks into, kept as text: a tree of it takes ten times the memory, and a large team has a thousand.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

/// Valid JSON, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque(String);

impl Opaque {
    /// A value as text; `null` where it cannot be written as JSON.
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
    }

    /// Takes text over.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn parse(text: String) -> serde_json::Result<Self> {
        serde_json::from_str::<serde::de::IgnoredAny>(&text)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says, to whoever knows.
    ///
    /// # Errors
    /// It says something else.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: serde_json::Value = self.read().map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| Self(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_nonsense_does_not_go_in() {
        let value = serde_json::json!({ "by_events": true, "nested": [1, { "a": null }] });
        let opaque = Opaque::of(&value);
        assert_eq!(opaque.read::<serde_json::Value>().expect("JSON"), value);
        assert_eq!(serde_json::to_value(&opaque).expect("a tree"), value);
        assert_eq!(serde_json::from_value::<Opaque>(value).expect("text"), opaque);
        assert_eq!(Opaque::parse(opaque.as_str().to_owned()).expect("JSON"), opaque);
        for nonsense in ["", "{", "{} {}", "truth"] {
            assert!(Opaque::parse(nonsense.to_owned()).is_err(), "{nonsense:?}");
        }
    }
}
