//! The id of a global transaction.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::InvalidInput,
    name::{BusinessKey, Name},
    time::Timestamp,
};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TIME_CHARS: usize = 10;
const RANDOM_CHARS: usize = 12;
const LENGTH: usize = TIME_CHARS + RANDOM_CHARS + 3;

/// The largest number of shards a namespace can have. Blocking readers need one connection per shard and
/// process, so the number is capped.
pub const SHARDS_MAX: u16 = 64;

/// Id of a global transaction: text that sorts by time of begin and ends in the shard that holds it,
/// for example `01kaj0p5zk4t8m2qw7rxbcd1-07`.
///
/// Ten characters of milliseconds since the Unix epoch and twelve of randomness (60 bits), both in
/// Crockford's base 32 in lower case, a hyphen, and two digits of shard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Gid(Arc<str>);

impl Gid {
    /// Makes an id from the time of begin, randomness (its low 60 bits count) and a shard below
    /// [`SHARDS_MAX`]; a larger shard wraps round.
    #[must_use]
    pub fn new(at: Timestamp, random: u64, shard: u16) -> Self {
        let mut text = String::with_capacity(LENGTH);
        push_base32(&mut text, at.as_millis(), TIME_CHARS);
        push_base32(&mut text, random, RANDOM_CHARS);
        let shard = shard % SHARDS_MAX;
        text.push('-');
        text.push(char::from(b'0' + (shard / 10) as u8));
        text.push(char::from(b'0' + (shard % 10) as u8));
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was made, which is when its transaction was to begin, by its initiator's notion of server time.
    #[must_use]
    pub fn begun_at(&self) -> Timestamp {
        let digit = |byte: &u8| ALPHABET.iter().position(|known| known == byte).unwrap_or(0) as u64;
        let time = self.0.as_bytes().iter().take(TIME_CHARS);
        Timestamp::from_millis(time.fold(0, |millis, byte| (millis << 5) | digit(byte)))
    }

    /// The shard that holds the transaction.
    #[must_use]
    pub fn shard(&self) -> u16 {
        let digits = &self.0.as_bytes()[LENGTH - 2..];
        u16::from(digits[0] - b'0') * 10 + u16::from(digits[1] - b'0')
    }
}

fn push_base32(text: &mut String, value: u64, chars: usize) {
    for place in (0..chars).rev() {
        let digit = (value >> (5 * place)) & 31;
        text.push(char::from(ALPHABET[digit as usize]));
    }
}

/// The shard of a keyed transaction: FNV-1a (64 bits) over name, a zero byte and key, modulo the number of
/// shards (rule 17). It must never change, or the same key could begin twice.
pub(crate) fn shard_of_key(name: &Name, key: &BusinessKey, shards: u16) -> u16 {
    let bytes = name.as_str().bytes().chain([0]).chain(key.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % u64::from(shards.max(1))) as u16
}

impl FromStr for Gid {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let invalid = || {
            InvalidInput::new(
                "gid",
                text,
                "22 characters of Crockford's base 32 in lower case, a hyphen and two digits of shard below 64",
            )
        };
        let bytes = text.as_bytes();
        if bytes.len() != LENGTH || bytes[LENGTH - 3] != b'-' {
            return Err(invalid());
        }
        let (id, shard) = (&bytes[..LENGTH - 3], &bytes[LENGTH - 2..]);
        if !id.iter().all(|byte| ALPHABET.contains(byte)) || !shard.iter().all(u8::is_ascii_digit) {
            return Err(invalid());
        }
        let gid = Self(text.into());
        if gid.shard() >= SHARDS_MAX { Err(invalid()) } else { Ok(gid) }
    }
}

impl TryFrom<String> for Gid {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<Gid> for String {
    fn from(gid: Gid) -> Self {
        gid.0.as_ref().to_owned()
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gid({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_carry_their_shard() {
        let early = Gid::new(Timestamp::from_millis(1_000), u64::MAX, 63);
        let late = Gid::new(Timestamp::from_millis(1_001), 0, 0);
        assert!(early < late);
        assert_eq!(early.shard(), 63);
        assert_eq!(late.shard(), 0);
    }

    #[test]
    fn a_keys_shard_never_changes() {
        let shard = |key| shard_of_key(&Name::new("checkout").unwrap(), &BusinessKey::new(key).unwrap(), 16);
        assert_eq!([shard("order-1"), shard("order-2"), shard("ä")], [3, 6, 4]);
    }

    #[test]
    fn text_round_trips() {
        let gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 0x0123_4567_89ab_cdef, 7);
        assert_eq!(gid.as_str().len(), LENGTH);
        assert_eq!(gid.as_str().parse::<Gid>().unwrap(), gid);
    }

    #[test]
    fn foreign_text_is_refused() {
        let gid = Gid::new(Timestamp::from_millis(1), 0xabcd_ef01, 7).to_string();
        for bad in
            ["", "x", &gid[1..], &gid.to_uppercase(), &gid.replace("-07", "-64"), &gid.replace("-07", "-é")]
        {
            assert!(bad.parse::<Gid>().is_err(), "{bad}");
        }
    }
}
