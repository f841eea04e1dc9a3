//! A place in a list, and how it is told to whoever asks for the next page in another process.

use std::{fmt, str::FromStr};

use tcc_core::SHARDS_MAX;

use crate::place::Place;

/// The longest member of an index that a cursor names, in bytes.
const MEMBER_BYTES_MAX: usize = 512;

/// A place in a list, as plain text for those who go on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whether what has outlived its first timer is listed, and only the rest is left.
    pub(crate) young: bool,
    /// By shard.
    pub(crate) places: Vec<Place>,
}

/// A text that is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in a list; take it as the page before gave it")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.young { "y" } else { "o" })?;
        for place in &self.places {
            match place {
                Place::Start => f.write_str(",s")?,
                Place::End => f.write_str(",e")?,
                Place::After((member, score)) if is_plain(member) => write!(f, ",{score}:{member}")?,
                Place::After((member, score)) => {
                    write!(f, ",{score}:.")?;
                    member.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                }
            }
        }
        Ok(())
    }
}

/// As ids are: an index may hold anything.
fn is_plain(member: &str) -> bool {
    !member.is_empty() && member.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.split(',');
        let young = match parts.next() {
            Some("y") => true,
            Some("o") => false,
            _ => return Err(InvalidCursor),
        };
        let places: Vec<Place> =
            parts.take(usize::from(SHARDS_MAX) + 1).map(place).collect::<Result<_, _>>()?;
        if places.is_empty() || places.len() > usize::from(SHARDS_MAX) {
            return Err(InvalidCursor);
        }
        Ok(Self { young, places })
    }
}

fn place(text: &str) -> Result<Place, InvalidCursor> {
    match text {
        "s" => return Ok(Place::Start),
        "e" => return Ok(Place::End),
        _ => {}
    }
    let (score, member) = text.split_once(':').ok_or(InvalidCursor)?;
    let score = score.parse().map_err(|_| InvalidCursor)?;
    let member = match member.strip_prefix('.') {
        None if is_plain(member) && member.len() <= MEMBER_BYTES_MAX => member.to_owned(),
        Some(hex) if hex.len() % 2 == 0 && hex.len() <= 2 * MEMBER_BYTES_MAX => {
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
            String::from_utf8(bytes.ok_or(InvalidCursor)?).map_err(|_| InvalidCursor)?
        }
        _ => return Err(InvalidCursor),
    };
    Ok(Place::After((member, score)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_and_understood() {
        let after = |member: &str, score| Place::After((member.to_owned(), score));
        let places =
            vec![Place::Start, Place::End, after("01kaj-00", 0), after("not, a gid: ä", 17), after("", 1)];
        for young in [false, true] {
            let cursor = Cursor { young, places: places.clone() };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        let told = Cursor { young: false, places: vec![after("01kaj-00", 5)] }.to_string();
        assert_eq!(told, "o,5:01kaj-00");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let many = format!("o{}", ",s".repeat(65));
        for text in [
            "", "o", "x,s", "o,", "o,5", "o,five:a", "o,5:.zz", "o,5:.abc", "o,5:.616", "o,5:a b", "o,5:.ff",
            &many,
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }

    #[test]
    fn a_place_has_at_most_as_many_shards_and_bytes_as_there_can_be() {
        let places = |count: u16| Cursor { young: false, places: vec![Place::Start; usize::from(count)] };
        assert_eq!(places(SHARDS_MAX).to_string().parse(), Ok(places(SHARDS_MAX)));
        assert_eq!(places(SHARDS_MAX + 1).to_string().parse::<Cursor>(), Err(InvalidCursor));
        for letter in ["a", " "] {
            let named = |bytes| {
                Cursor { young: true, places: vec![Place::After((letter.repeat(bytes), 1))] }.to_string()
            };
            assert!(named(MEMBER_BYTES_MAX).parse::<Cursor>().is_ok());
            assert_eq!(named(MEMBER_BYTES_MAX + 1).parse::<Cursor>(), Err(InvalidCursor));
        }
    }
}
