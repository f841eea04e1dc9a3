//! Names: of participants, transactions, actions, processes, and the business keys beside them.

use std::{borrow::Borrow, fmt, num::NonZeroU16, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::InvalidInput;

/// The longest a [`Name`] may be, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest a [`BusinessKey`] may be, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

const NAME_RULE: &str = "1 to 128 of the characters A-Z, a-z, 0-9, '.', '_' and '-'";

macro_rules! text_type {
    ($type:ident) => {
        impl $type {
            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidInput;

            fn from_str(text: &str) -> Result<Self, InvalidInput> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidInput;

            fn try_from(text: String) -> Result<Self, InvalidInput> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

/// Name of a participant, a transaction or a process: 1 to 128 of `[A-Za-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// When the text is empty, longer than [`NAME_BYTES_MAX`] or holds another character.
    pub fn new(text: &str) -> Result<Self, InvalidInput> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(InvalidInput::new("name", text, NAME_RULE)) }
    }
}

pub(crate) use text_type;

text_type!(Name);

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A user's own id for a business operation, unique within the transaction's name: 1 to 512 bytes of
/// any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BusinessKey(Arc<str>);

impl BusinessKey {
    /// Checks and keeps a business key.
    ///
    /// # Errors
    /// When the text is empty or longer than [`KEY_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self, InvalidInput> {
        if (1..=KEY_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInput::new("business key", text, "1 to 512 bytes"))
        }
    }
}

text_type!(BusinessKey);

/// Stable wire name of an action, for example `inventory.reserve@1`: the participant's name, the
/// action's own name (which has no dot), and its version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionName(Arc<str>);

impl ActionName {
    /// Parses a wire name.
    ///
    /// # Errors
    /// When the text is not `participant.action@version`.
    pub fn new(text: &str) -> Result<Self, InvalidInput> {
        let parts = text.rsplit_once('@').and_then(|(path, version)| {
            let (participant, action) = path.rsplit_once('.')?;
            let canonical = version.parse::<u32>().is_ok_and(|parsed| parsed.to_string() == version);
            (is_name(participant) && is_name(action) && canonical).then_some(())
        });
        match parts {
            Some(()) => Ok(Self(text.into())),
            None => Err(InvalidInput::new(
                "action",
                text,
                "a wire name such as inventory.reserve@1: participant, dot, action without a dot, '@', version",
            )),
        }
    }

    /// Puts a wire name together.
    ///
    /// # Errors
    /// When the action's own name is no name or holds a dot.
    pub fn from_parts(participant: &Name, action: &str, version: u32) -> Result<Self, InvalidInput> {
        if !is_name(action) || action.contains('.') {
            return Err(InvalidInput::new(
                "action",
                action,
                "1 to 128 of A-Z, a-z, 0-9, '_' and '-', no dot",
            ));
        }
        Ok(Self(format!("{participant}.{action}@{version}").into()))
    }

    /// The participant's name.
    #[must_use]
    pub fn participant(&self) -> &str {
        self.path().rsplit_once('.').map_or("", |(participant, _)| participant)
    }

    /// The action's own name.
    #[must_use]
    pub fn action(&self) -> &str {
        self.path().rsplit_once('.').map_or("", |(_, action)| action)
    }

    /// The action's version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.rsplit_once('@').and_then(|(_, version)| version.parse().ok()).unwrap_or(0)
    }

    fn path(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(path, _)| path)
    }
}

text_type!(ActionName);

/// Id of a call inside one transaction: `3` for the initiator's third, `3.1` for the first call made by
/// the service that received it. Registering the same id again returns the first branch (rule 16).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallId(Arc<str>);

impl CallId {
    /// Parses a call id.
    ///
    /// # Errors
    /// When the text is not numbers joined by dots, or longer than [`NAME_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self, InvalidInput> {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() <= NAME_BYTES_MAX && text.split('.').all(number) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInput::new("call id", text, "numbers joined by dots, such as 3 or 3.1"))
        }
    }

    /// The initiator's `n`th call.
    #[must_use]
    pub fn top(n: u32) -> Self {
        Self(n.to_string().into())
    }

    /// The `n`th call made by the service that received this one.
    ///
    /// # Errors
    /// When the id would be longer than [`NAME_BYTES_MAX`]: services call each other in a circle.
    pub fn child(&self, n: u32) -> Result<Self, InvalidInput> {
        Self::new(&format!("{}.{n}", self.0))
    }
}

text_type!(CallId);

/// Place of a branch in its transaction, from 1; written `01`, `02`, ….
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(NonZeroU16);

impl Ordinal {
    /// The ordinal of the branch at `index`, counted from 0; the last there is if that is too large.
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        let place = u16::try_from(index.saturating_add(1)).unwrap_or(u16::MAX);
        Self(NonZeroU16::new(place).unwrap_or(NonZeroU16::MIN))
    }

    /// Where the branch stands in its transaction's list, counted from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

impl FromStr for Ordinal {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        text.parse().map(Self).map_err(|_| InvalidInput::new("branch", text, "a number from 1, such as 02"))
    }
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl fmt::Debug for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        assert!(Name::new("inventory-eu.v2_x").is_ok());
        assert!(Name::new(&"a".repeat(128)).is_ok());
        for bad in ["", "with space", "naïve", "a/b", &"a".repeat(129)] {
            let error = Name::new(bad).unwrap_err().to_string();
            assert!(error.contains("name") && error.contains("1 to 128"), "{error}");
        }
    }

    #[test]
    fn business_keys_hold_any_text_to_512_bytes() {
        assert!(BusinessKey::new("order 17 / ä").is_ok());
        assert!(BusinessKey::new(&"k".repeat(512)).is_ok());
        assert!(BusinessKey::new("").is_err());
        assert!(BusinessKey::new(&"k".repeat(513)).unwrap_err().to_string().contains("512"));
    }

    #[test]
    fn wire_names_come_apart_where_they_were_joined() {
        let action = ActionName::from_parts(&Name::new("shop.inventory").unwrap(), "reserve", 3).unwrap();
        assert_eq!(action.as_str(), "shop.inventory.reserve@3");
        assert_eq!(
            (action.participant(), action.action(), action.version()),
            ("shop.inventory", "reserve", 3)
        );
        assert_eq!(ActionName::new(action.as_str()).unwrap(), action);
        for bad in [
            "",
            "reserve",
            "inventory.reserve",
            "inventory.reserve@",
            "inventory.reserve@01",
            ".reserve@1",
            "a b.c@1",
        ] {
            assert!(ActionName::new(bad).is_err(), "{bad}");
        }
        assert!(ActionName::from_parts(&Name::new("a").unwrap(), "b.c", 1).is_err());
    }

    #[test]
    fn ordinals_print_in_two_digits() {
        assert_eq!(Ordinal::from_index(0).to_string(), "01");
        assert_eq!(Ordinal::from_index(999).to_string(), "1000");
        assert_eq!("02".parse::<Ordinal>().unwrap().index(), 1);
        assert!("0".parse::<Ordinal>().is_err());
    }

    #[test]
    fn call_ids_are_dotted_numbers() {
        assert_eq!(CallId::top(3).as_str(), "3");
        assert_eq!(CallId::new("3.1").unwrap().child(12).unwrap().as_str(), "3.1.12");
        assert!(CallId::new(&"1".repeat(NAME_BYTES_MAX)).unwrap().child(1).is_err());
        for bad in ["", ".", "3.", "a", "3..1"] {
            assert!(CallId::new(bad).is_err(), "{bad}");
        }
    }
}
