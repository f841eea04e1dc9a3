//! Harm that is done to a record by hand.

use redis::aio::MultiplexedConnection;

use super::server::ask;

/// What is done to a record.
#[derive(Clone, Copy)]
pub(crate) enum Harm {
    /// A field gets another value.
    Set(&'static str, &'static str),
    /// A field goes.
    Delete(&'static str),
    /// A text in a field is replaced by another.
    Replace(&'static str, &'static str, &'static str),
    /// A text is added at a field's end.
    Append(&'static str, &'static str),
}

pub(crate) async fn harm(raw: &mut MultiplexedConnection, key: &str, harm: &Harm) {
    match harm {
        Harm::Set(field, value) => {
            let () = ask(raw, &["HSET", key, field, value]).await;
        }
        Harm::Delete(field) => {
            let gone: i64 = ask(raw, &["HDEL", key, field]).await;
            assert_eq!(gone, 1, "{field} was there");
        }
        Harm::Replace(field, from, to) => {
            let value: String = ask(raw, &["HGET", key, field]).await;
            assert!(value.contains(from), "{field} is {value}");
            let () = ask(raw, &["HSET", key, field, &value.replace(from, to)]).await;
        }
        Harm::Append(field, more) => {
            let value: Option<String> = ask(raw, &["HGET", key, field]).await;
            let () = ask(raw, &["HSET", key, field, &(value.unwrap_or_default() + more)]).await;
        }
    }
}

/// Marks a record for the long way, which its next step takes.
pub(crate) async fn mark(raw: &mut MultiplexedConnection, key: &str) {
    let record: String = ask(raw, &["HGET", key, "record"]).await;
    let (mut words, marks): (Vec<&str>, Vec<&str>) = record.split(' ').partition(|word| word.contains('='));
    words.extend(marks.into_iter().filter(|mark| *mark == "looked").chain(["marked"]));
    let () = ask(raw, &["HSET", key, "record", &words.join(" ")]).await;
}
