//! Words, moments and seals: how single values are written.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::StrDeserializer},
};
use sha1_smol::Sha1;
use tcc_core::{
    Gid, Payload, Timestamp,
    store::{StoreError, StoreErrorKind},
};

/// The first moment that has no four-digit year.
pub(crate) const MOMENT_END: Timestamp = Timestamp::from_millis(253_402_300_800_000);
/// The longest span a request may carry: a hundred years, in milliseconds.
pub(crate) const SPAN_MAX_MS: u64 = 3_155_760_000_000;

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {why}")]
pub(crate) struct Unreadable {
    pub(crate) field: String,
    pub(crate) why: String,
}

impl Unreadable {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }

    /// The same as an error of the store.
    pub(crate) fn of(&self, gid: &Gid) -> StoreError {
        StoreError::new(
            StoreErrorKind::Corrupt,
            format!(
                "transaction {gid} cannot be read: {self}; mend the record by hand: deleting it would leave standing what its tries hold"
            ),
        )
    }
}

/// A value of a closed set, by its name.
pub(crate) fn word_of<'a, T: Deserialize<'a>>(field: &str, text: &'a str) -> Result<T, Unreadable> {
    let word: StrDeserializer<'a, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(word).map_err(|_| Unreadable::new(field, "no such word"))
}

/// The name of a value of a closed set.
pub(crate) fn word<T: Serialize>(value: T) -> String {
    Word(value).to_string()
}

/// Reads a moment as [`Timestamp`] writes it.
pub(crate) fn moment(field: &str, text: &str) -> Result<Timestamp, Unreadable> {
    read_moment(text)
        .filter(|moment| moment.to_string() == text)
        .ok_or_else(|| Unreadable::new(field, "no moment"))
}

fn read_moment(text: &str) -> Option<Timestamp> {
    if text.len() != "2026-11-21T05:10:00.000Z".len() || !text.is_ascii() {
        return None;
    }
    let part = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second, rest) = (part(11, 13)?, part(14, 16)?, part(17, 19)?, part(20, 23)?);
    if month == 0 || day == 0 || year < 1970 {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(Timestamp::from_millis(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + rest))
}

/// Length and checksum of a payload: the first eight hexadecimal digits of its SHA-1, which Redis computes
/// itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    length: usize,
    checksum: u32,
}

impl Seal {
    pub(crate) fn of(payload: &Payload) -> Self {
        Self::from_hash(payload, &Sha1::from(payload.as_str().as_bytes()))
    }

    /// The seal of a branch's arguments: it covers what stands before it in the branch's first field, so that they
    /// cannot reach another participant than the one they were made for.
    pub(crate) fn of_arguments(head: &str, arguments: &Payload) -> Self {
        let mut hash = Sha1::from(head.as_bytes());
        hash.update(b"\n");
        hash.update(arguments.as_str().as_bytes());
        Self::from_hash(arguments, &hash)
    }

    fn from_hash(payload: &Payload, hash: &Sha1) -> Self {
        let hash = hash.digest().bytes();
        Self { length: payload.len(), checksum: u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) }
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:08x}", self.length, self.checksum)
    }
}

/// Writes a value of a closed set by its name.
pub(crate) struct Word<T>(pub(crate) T);

impl<T: Serialize> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use tcc_core::record::{Reason, TransactionState};

    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for millis in [0, 951_782_400_000, 1_795_237_800_123, 4_107_542_399_999, MOMENT_END.as_millis() - 1] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(moment("f", &at.to_string()), Ok(at));
        }
        let none = ["2026-02-30", "2026-03-00", "2026-00-10", "0000-01-01", "1969-12-31"];
        let none = none.map(|day| format!("{day}T00:00:00.000Z"));
        let bad = ["", "2026-11-21T24:00:00.000Z", "2026-11-21 05:10:00.000Z"];
        for bad in bad.into_iter().chain(none.iter().map(String::as_str)) {
            assert!(moment("f", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_the_names_of_variants() {
        assert_eq!(word(Reason::DeadlinePassed), "deadline_passed");
        assert_eq!(word_of::<Reason>("reason", "initiator_lost"), Ok(Reason::InitiatorLost));
        assert!(word_of::<TransactionState>("state", "Trying").is_err());
    }

    #[test]
    fn seals_tell_payloads_apart() {
        let seal = Seal::of(&Payload::from_json("{}"));
        assert_eq!(seal.to_string(), "2:bf21a9e8");
        let seals = ["mail.book@1 call=1", "mail.book@3 call=1", "mail.book@1 call=3"]
            .map(|head| Seal::of_arguments(head, &Payload::from_json("{}")).to_string());
        assert!(seals[0] != seals[1] && seals[0] != seals[2], "{seals:?}");
    }
}
