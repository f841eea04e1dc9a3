//! Records, read with plain commands and not through the framework.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;

use super::server::ask;

/// A record as `HGETALL` shows it.
pub(crate) type Fields = BTreeMap<String, String>;

pub(crate) async fn records(raw: &mut MultiplexedConnection) -> BTreeMap<String, Fields> {
    let mut records = BTreeMap::new();
    for key in ask::<Vec<String>>(raw, &["KEYS", "{tcc:00}:tx:*"]).await {
        let gid = key.rsplit(':').next().expect("a gid").to_owned();
        // What was spoiled may be no text.
        let fields: BTreeMap<Vec<u8>, Vec<u8>> = ask(raw, &["HGETALL", &key]).await;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        records.insert(gid, fields.into_iter().map(|(name, value)| (text(name), text(value))).collect());
    }
    records
}

/// What is known of its branches, by ordinal: a line each, with what its fields leave unsaid.
pub(crate) fn branches(record: &Fields) -> BTreeMap<&str, String> {
    let ordinals = record.keys().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let line = |ordinal: &str| {
        let part = |name: &str| record.get(&format!("{ordinal}.{name}")).map_or("", String::as_str);
        let unsaid = match record.get("state").map(String::as_str) {
            Some("confirming") if record.contains_key("held") => "confirming succeeded held",
            Some("confirming") => "confirming succeeded",
            Some("confirmed") => "confirmed succeeded once",
            _ => "trying unknown",
        };
        let state = Some(part("state")).filter(|state| !state.is_empty()).unwrap_or(unsaid);
        let state = state.replace(" held", " attempts=1 epoch=1");
        let state = state.replace(" once", " attempts=1 epoch=1 closed=final");
        [&state, part("drive"), part("wait")].join(" ")
    };
    ordinals.map(|ordinal| (ordinal.as_str(), line(ordinal))).collect()
}

/// The value of a word in a branch's line.
pub(crate) fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The state in a branch's line.
pub(crate) fn state(line: &str) -> &str {
    line.split(' ').next().expect("a state")
}

/// What was decided, why, and by whom; nothing of what was spoiled.
pub(crate) fn decision(record: &Fields) -> Option<[&str; 3]> {
    let mut words = record.get("decided")?.split(' ').skip(1);
    let (direction, reason) = (words.next()?, words.next()?);
    Some([direction, reason, words.nth(1).unwrap_or_else(|| initiator(record))])
}

/// The process that began it; nobody, where that was spoiled.
pub(crate) fn initiator(record: &Fields) -> &str {
    record.get("begun").and_then(|begun| begun.split(' ').nth(2)).unwrap_or("nobody")
}
