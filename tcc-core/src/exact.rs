//! Refuses values that JSON cannot hold exactly.
//!
//! `serde_json` writes a float that is not a number, and `Some(None)`, as `null` without a word; what is
//! read back later is another value. This serializer writes nothing and only looks.

use std::fmt;

use serde::{Serialize, ser};

/// Looks through a value for what JSON would not give back as it was.
pub(crate) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Inexact> {
    value.serialize(Look).map(|_| ())
}

/// Why a value cannot be written as JSON exactly.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inexact(String);

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Inexact {}

impl ser::Error for Inexact {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Whether a value is written as `null`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Null,
    Other,
}

#[derive(Clone, Copy)]
struct Look;

macro_rules! plain {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<Seen, Inexact> {
            Ok(Seen::Other)
        })*
    };
}

impl ser::Serializer for Look {
    type Ok = Seen;
    type Error = Inexact;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain! {
        serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
    }

    fn serialize_f32(self, value: f32) -> Result<Seen, Inexact> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Seen, Inexact> {
        if value.is_finite() { Ok(Seen::Other) } else { Err(Inexact(format!("JSON has no {value}"))) }
    }

    fn serialize_none(self) -> Result<Seen, Inexact> {
        Ok(Seen::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Seen, Inexact> {
        match value.serialize(self)? {
            Seen::Null => Err(Inexact("JSON cannot tell Some(null) from None".into())),
            Seen::Other => Ok(Seen::Other),
        }
    }

    fn serialize_unit(self) -> Result<Seen, Inexact> {
        Ok(Seen::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Seen, Inexact> {
        Ok(Seen::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Seen, Inexact> {
        Ok(Seen::Other)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Seen, Inexact> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Seen, Inexact> {
        value.serialize(self).map(|_| Seen::Other)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Inexact> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Inexact> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Inexact> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Inexact> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Inexact> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Inexact> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Inexact> {
        Ok(self)
    }
}

macro_rules! compound {
    ($($trait:ident: $method:ident($($key:ty)?)),* $(,)?) => {
        $(impl ser::$trait for Look {
            type Ok = Seen;
            type Error = Inexact;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<(), Inexact> {
                value.serialize(*self).map(|_| ())
            }

            fn end(self) -> Result<Seen, Inexact> {
                Ok(Seen::Other)
            }
        })*
    };
}

compound! {
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
}

impl ser::SerializeMap for Look {
    type Ok = Seen;
    type Error = Inexact;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Inexact> {
        key.serialize(*self).map(|_| ())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Inexact> {
        value.serialize(*self).map(|_| ())
    }

    fn end(self) -> Result<Seen, Inexact> {
        Ok(Seen::Other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Line {
        price: f64,
        note: Option<Option<u8>>,
    }

    #[test]
    fn floats_that_are_no_numbers_are_found_at_any_depth() {
        for price in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let nested = vec![BTreeMap::from([("a", Some(Line { price, note: None }))])];
            assert!(check(&nested).unwrap_err().to_string().starts_with("JSON has no"));
        }
        assert!(check(&f32::NAN).is_err());
        assert_eq!(check(&Line { price: -0.0, note: Some(Some(1)) }), Ok(()));
    }

    #[test]
    fn options_that_fold_into_each_other_are_found() {
        assert!(check(&Line { price: 1.0, note: Some(None) }).is_err());
        assert!(check(&Some(())).is_err());
        assert_eq!(check(&None::<Option<u8>>), Ok(()));
    }

    #[test]
    fn ordinary_values_pass() {
        #[derive(Serialize)]
        enum Kind {
            Unit,
            Wrapped(Option<u8>),
            Pair(u8, i128),
            Fields { a: char },
        }
        let kinds = (Kind::Unit, Kind::Wrapped(None), Kind::Pair(1, i128::MIN), Kind::Fields { a: 'ß' });
        assert_eq!(check(&kinds), Ok(()));
        assert_eq!(check(&((), [1_u64], "text", u128::MAX)), Ok(()));
    }
}
