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

#[cfg(test)]
mod tests {
    use tcc_core::{
        Ordinal, Payload, Timestamp,
        machine::{Report, TryReport},
        record::Known,
    };

    use super::*;

    fn gid() -> Gid {
        Gid::new(Timestamp::from_millis(1_795_000_000_000), 17, 0)
    }

    fn report() -> Op {
        let known = Known::Succeeded(Payload::from_json("{}"));
        Report { tries: vec![TryReport { ordinal: Ordinal::from_index(0), known }] }.into()
    }

    #[test]
    fn messages_are_read_as_redis_writes_them() {
        let gid = gid();
        let whole = format!("*2\r\n$3\r\n1-0\r\n*2\r\n$3\r\ngid\r\n${}\r\n{gid}\r\n", gid.as_str().len());
        let answer = format!("*1\r\n*2\r\n$5\r\nqueue\r\n*2\r\n{whole}*2\r\n$3\r\n2-0\r\n*-1\r\n");
        let read = messages("queue", answer.as_bytes());
        assert_eq!(read, [("1-0".to_owned(), Some(gid)), ("2-0".to_owned(), None)]);
        assert_eq!(messages("other", answer.as_bytes()), []);
    }

    #[test]
    fn answers_are_read_as_functions_give_them() {
        let recorded = b"*2\r\n$2\r\nok\r\n*1\r\n$8\r\nrecorded\r\n";
        assert!(reply(&report(), recorded).is_ok());
        for strange in [&b"*1\r\n$3\r\nyes\r\n"[..], b"*"] {
            assert!(reply(&report(), strange).is_err());
        }
    }

    #[test]
    fn arguments_are_those_that_functions_are_sent() {
        let (operation, arguments) = arguments(&gid(), &report()).unwrap();
        let arguments = arguments.into_iter().map(|text| String::from_utf8(text).unwrap());
        assert_eq!(operation, "report");
        assert_eq!(arguments.collect::<Vec<_>>(), ["1", "1", "succeeded", "2:bf21a9e8 {}"]);
        for (text, is) in [("0", Some(0)), ("17", Some(17)), ("017", None), ("-1", None), ("", None)] {
            assert_eq!(number(text.as_bytes()), is, "{text}");
        }
    }
}
