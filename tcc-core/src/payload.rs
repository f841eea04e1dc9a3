//! Payloads: the arguments and results of branches, as JSON text.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::exact;

/// Key prefix of an argument marked `#[tcc(redact)]`. No Rust argument can begin with it, and it travels
/// with the payload, so that whoever lists records knows what to hide without the action's code.
pub(crate) const REDACTED_PREFIX: &str = "!";

/// JSON text of a branch's arguments or of its try's result.
///
/// `Debug` and `Display` hide the arguments marked `#[tcc(redact)]`; [`Payload::as_str`] does not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Arc<str>);

/// Why a value cannot become a payload. Nothing was registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} cannot be kept as JSON: {cause}; store what JSON holds exactly, such as an integer or text")]
pub struct EncodeError {
    field: String,
    cause: String,
}

/// Why a stored payload cannot be read as what the action expects. Its branch is parked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} cannot be read: {cause}")]
pub struct DecodeError {
    field: String,
    cause: String,
}

impl DecodeError {
    pub(crate) fn new(field: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { field: field.into(), cause: cause.to_string() }
    }
}

impl Payload {
    /// Writes a value as JSON.
    ///
    /// # Errors
    /// When JSON cannot hold it exactly: a float that is no number, `Some(None)`, a map whose keys are
    /// no text.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        encode_field(&"the value", value).map(|text| Self(text.into()))
    }

    /// Reads the value back.
    ///
    /// # Errors
    /// When the text is not the JSON of a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_str(&self.0).map_err(|error| DecodeError::new("the payload", error))
    }

    /// Takes JSON text as it stands, for stores; nothing is checked until it is decoded.
    #[must_use]
    pub fn from_json(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text, redacted arguments included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty, which no JSON is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hides_something = self.0.contains("\"!");
        let fields = hides_something.then(|| serde_json::from_str::<BTreeMap<String, &RawValue>>(&self.0));
        let Some(fields) = fields else { return f.write_str(&self.0) };
        let Ok(fields) = fields else { return f.write_str("\"(unreadable, hidden)\"") };
        f.write_str("{")?;
        for (place, (name, value)) in fields.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match name.strip_prefix(REDACTED_PREFIX) {
                Some(name) => write!(f, "{comma}{name:?}:\"(redacted)\"")?,
                None => write!(f, "{comma}{name:?}:{}", value.get())?,
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn encode_field<T: Serialize + ?Sized>(field: &dyn fmt::Display, value: &T) -> Result<String, EncodeError> {
    let fail = |cause: String| EncodeError { field: field.to_string(), cause };
    exact::check(value).map_err(|error| fail(error.to_string()))?;
    serde_json::to_string(value).map_err(|error| fail(error.to_string()))
}

/// Room for the arguments of most calls.
const ARGUMENTS_BYTES: usize = 256;

/// Writes arguments as one JSON object, in the order they are declared.
#[derive(Debug)]
pub struct ArgumentsWriter {
    text: String,
    failed: Option<EncodeError>,
}

impl Default for ArgumentsWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ArgumentsWriter {
    /// No arguments yet.
    #[must_use]
    pub fn new() -> Self {
        let mut text = String::with_capacity(ARGUMENTS_BYTES);
        text.push('{');
        Self { text, failed: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn field<T: Serialize>(self, name: &'static str, value: &T) -> Self {
        self.push("", name, value)
    }

    /// Adds an argument that logs and listings must hide.
    #[must_use]
    pub fn redacted<T: Serialize>(self, name: &'static str, value: &T) -> Self {
        self.push(REDACTED_PREFIX, name, value)
    }

    fn push<T: Serialize>(mut self, prefix: &str, name: &'static str, value: &T) -> Self {
        if self.failed.is_some() {
            return self;
        }
        match encode_field(&format_args!("argument `{name}`"), value) {
            Ok(json) => {
                let comma = if self.text.len() == 1 { "" } else { "," };
                self.text.extend([comma, "\"", prefix, name, "\":", &json]);
            }
            Err(error) => self.failed = Some(error),
        }
        self
    }

    /// The finished payload.
    ///
    /// # Errors
    /// The first argument that could not be written.
    pub fn finish(mut self) -> Result<Payload, EncodeError> {
        match self.failed {
            Some(error) => Err(error),
            None => {
                self.text.push('}');
                Ok(Payload(self.text.into()))
            }
        }
    }
}

/// Reads arguments written by [`ArgumentsWriter`].
#[derive(Debug)]
pub struct ArgumentsReader<'a> {
    fields: Fields<'a>,
}

/// The fields of an object, as they stand in its text.
#[derive(Debug)]
struct Fields<'a>(Vec<(FieldName<'a>, &'a RawValue)>);

#[derive(Debug, Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Deserialize<'a> for Fields<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'a> Visitor<'a> for Object {
            type Value = Fields<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Fields<'a>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = object.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'a> ArgumentsReader<'a> {
    /// Takes the JSON object apart.
    ///
    /// # Errors
    /// When the payload is no JSON object.
    pub fn parse(payload: &'a Payload) -> Result<Self, DecodeError> {
        let fields = serde_json::from_str(payload.as_str());
        Ok(Self { fields: fields.map_err(|error| DecodeError::new("the arguments", error))? })
    }

    /// Takes out one argument. One that is absent is read as `null`, so that an `Option` added later
    /// reads old payloads.
    ///
    /// # Errors
    /// When the argument is no `T`.
    pub fn field<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, DecodeError> {
        let fields = &mut self.fields.0;
        let plain = |field: &'_ str| field.strip_prefix(REDACTED_PREFIX).unwrap_or(field) == name;
        let place = fields.iter().rposition(|(field, _)| plain(&field.0));
        let value = place.map(|place| fields.swap_remove(place).1);
        let text = value.map_or("null", RawValue::get);
        serde_json::from_str(text).map_err(|error| {
            let absent = if value.is_none() { "it is absent, and " } else { "" };
            DecodeError::new(format!("argument `{name}`"), format!("{absent}{error}"))
        })
    }
}

/// A payload of an older action version, for an upgrade function to rewrite.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The arguments, as a JSON object of the names they had. Redacted ones keep their `!` prefix.
    pub arguments: serde_json::Value,
    /// What try returned, if its result is known and it succeeded.
    pub result: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Payload {
        ArgumentsWriter::new()
            .field("sku", &"tea")
            .redacted("card", &"4111")
            .field("qty", &2_u32)
            .finish()
            .unwrap()
    }

    #[test]
    fn arguments_round_trip_in_their_order() {
        assert_eq!(sample().as_str(), r#"{"sku":"tea","!card":"4111","qty":2}"#);
        let payload = sample();
        let mut reader = ArgumentsReader::parse(&payload).unwrap();
        assert_eq!(reader.field::<String>("card").unwrap(), "4111");
        assert_eq!(reader.field::<u32>("qty").unwrap(), 2);
        assert_eq!(ArgumentsWriter::new().finish().unwrap().as_str(), "{}");
    }

    #[test]
    fn redacted_arguments_stay_out_of_listings() {
        for shown in [format!("{}", sample()), format!("{:?}", sample())] {
            assert!(!shown.contains("4111"), "{shown}");
            assert!(
                shown.contains("\"sku\":\"tea\"") && shown.contains("\"card\":\"(redacted)\""),
                "{shown}"
            );
        }
        let broken = Payload::from_json(r#"{"!card":"4111""#);
        assert!(!format!("{broken}").contains("4111"));
    }

    #[test]
    fn what_json_cannot_hold_is_refused_by_name() {
        let error = ArgumentsWriter::new().field("rate", &f64::NAN).field("x", &1).finish().unwrap_err();
        assert!(error.to_string().contains("`rate`") && error.to_string().contains("NaN"), "{error}");
        assert!(Payload::encode(&Some(())).is_err());
        assert!(Payload::encode(&BTreeMap::from([((1, 2), 3)])).is_err());
    }

    #[test]
    fn floats_come_back_bit_for_bit() {
        for value in [0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, 5e-324, -0.0, 1.0 / 3.0] {
            let back: f64 = Payload::encode(&value).unwrap().decode().unwrap();
            assert_eq!(back.to_bits(), value.to_bits());
        }
    }

    #[test]
    fn an_unreadable_argument_is_named() {
        let payload = sample();
        let mut reader = ArgumentsReader::parse(&payload).unwrap();
        let wrong = reader.field::<u32>("sku").unwrap_err().to_string();
        assert!(wrong.contains("`sku`"), "{wrong}");
        let absent = reader.field::<u32>("colour").unwrap_err().to_string();
        assert!(absent.contains("`colour`") && absent.contains("absent"), "{absent}");
        assert_eq!(reader.field::<Option<u32>>("colour").unwrap(), None);
        assert!(ArgumentsReader::parse(&Payload::from_json("[1]")).is_err());
    }
}
