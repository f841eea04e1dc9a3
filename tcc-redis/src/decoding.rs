//! Ways into what reads bytes, for tests that feed it any.

use redis::{Value, parse_redis_value};
use tcc_core::{
    Gid,
    machine::Op,
    record::Record,
    store::{StoreError, StoreErrorKind},
};

use crate::{
    RedisStore,
    codec::{
        record::{self, Fields},
        reply,
        request::{Arguments, request},
    },
    lane::Step,
    reader,
};

/// Reads a record from its fields.
///
/// # Errors
/// The field that cannot be read.
pub fn record(gid: &Gid, fields: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Record, String> {
    let unreadable = |unreadable: crate::codec::Unreadable| unreadable.of(gid).to_string();
    record::read(gid, &Fields::new(fields).map_err(unreadable)?).map_err(unreadable)
}

/// Reads what a queue answered, as Redis writes it.
#[must_use]
pub fn messages(queue: &str, answer: &[u8]) -> Vec<(String, Option<Gid>)> {
    let (Ok(answer), Ok(participant)) = (parse_redis_value(answer), "stock".parse()) else {
        return Vec::new();
    };
    let entries = reader::entries(&[(queue.to_owned(), participant)], answer);
    entries.into_iter().map(|entry| (entry.id, entry.gid)).collect()
}

/// Reads what a function answered to an operation, as Redis writes it.
///
/// # Errors
/// What cannot be understood.
pub fn reply(op: &Op, answer: &[u8]) -> Result<(), StoreError> {
    let strange = |_| StoreError::new(StoreErrorKind::Corrupt, "no answer of Redis");
    let answer = parse_redis_value(answer).map_err(strange)?;
    reply::reply(op, (Value::Int(0), answer)).map(drop)
}

/// What the functions are sent for an operation.
///
/// # Errors
/// As [`Store::apply`](tcc_core::store::Store::apply), when it cannot be written out.
pub fn arguments(gid: &Gid, op: &Op) -> Result<(&'static str, Vec<Vec<u8>>), StoreError> {
    let request = request(gid, op)?;
    let (mut texts, mut rest) = (Vec::new(), request.arguments.bytes());
    for _ in 0..request.arguments.count() {
        texts.push(read_text(&mut rest).ok_or_else(|| {
            StoreError::new(StoreErrorKind::Corrupt, "an argument is neither a text nor a number")
        })?);
    }
    Ok((request.operation, texts))
}

/// Takes an argument off, a number as its digits.
fn read_text(from: &mut &[u8]) -> Option<Vec<u8>> {
    let mut number = *from;
    if let Ok(found) = rmp::decode::read_int::<u64, _>(&mut number) {
        *from = number;
        return Some(found.to_string().into_bytes());
    }
    let length = usize::try_from(rmp::decode::read_str_len(from).ok()?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(text.to_vec())
}

/// The number these are the digits of.
fn number(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

impl RedisStore {
    /// Sends a step with any arguments, and gives the answer's first word; nothing for the short way.
    ///
    /// # Errors
    /// When the call fails.
    #[doc(hidden)]
    pub async fn send_step(
        &self,
        gid: &Gid,
        operation: &'static str,
        arguments: &[Vec<u8>],
        suffixes: Vec<String>,
    ) -> Result<Option<String>, StoreError> {
        let mut written = Arguments::default();
        for argument in arguments {
            match number(argument) {
                Some(number) => written.push_number(number),
                None => written.push_bytes(argument),
            }
        }
        let step = Step { operation, gid: gid.clone(), arguments: written, suffixes };
        let (_, answer) = self.lane_of(gid, operation).take(step).await?;
        Ok(match answer {
            Value::Array(values) => match values.into_iter().next() {
                Some(Value::BulkString(word)) => Some(String::from_utf8_lossy(&word).into_owned()),
                other => Some(format!("{other:?}")),
            },
            _ => None,
        })
    }
}
