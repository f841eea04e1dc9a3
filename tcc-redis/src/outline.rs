//! Records without their payloads, many at a time.

use redis::{Value, from_redis_value};
use tcc_core::{Gid, record::Record, store::StoreError};

use crate::{
    codec::{
        Unreadable,
        record::{self, Fields},
    },
    connect::Link,
};

/// The fields of the head; the first one tells how many branches there are.
const HEAD: [&str; 10] =
    ["record", "name", "key", "state", "begun", "until", "decided", "ended", "held", "bells"];
/// The fields of a branch that hold no payload.
const PARTS: [&str; 5] = ["", ".state", ".drive", ".wait", ".error"];

/// A record without its payloads, or why it cannot be read; nothing if there is none.
pub(crate) type Outline = Option<Result<Record, String>>;

/// Records without their payloads, in the order asked.
pub(crate) async fn outlines(link: &Link, gids: &[Gid]) -> Result<Vec<Outline>, StoreError> {
    let types = types(link, gids).await?;
    let hashes = gids.iter().zip(&types).filter(|(_, found)| *found == HASH).map(|(gid, _)| gid.clone());
    let mut outlines = together(link, &hashes.collect::<Vec<_>>()).await?.into_iter();
    let outline = |found: &String| match found.as_str() {
        HASH => outlines.next().flatten(),
        "none" => None,
        _ => Some(Err(no_hash().to_string())),
    };
    Ok(types.iter().map(outline).collect())
}

/// The type that records are of.
pub(crate) const HASH: &str = "hash";

/// What is wrong with a record of another type.
pub(crate) fn no_hash() -> Unreadable {
    Unreadable::new("type", "no hash")
}

/// Of which type each record is: a command for another one would fail a whole pipeline.
pub(crate) async fn types(link: &Link, gids: &[Gid]) -> Result<Vec<String>, StoreError> {
    if gids.is_empty() {
        return Ok(Vec::new());
    }
    let mut types = redis::pipe();
    for gid in gids {
        types.cmd("TYPE").arg(link.settings.keys.transaction(gid));
    }
    link.query(&types).await
}

async fn together(link: &Link, gids: &[Gid]) -> Result<Vec<Outline>, StoreError> {
    if gids.is_empty() {
        return Ok(Vec::new());
    }
    let keys = &link.settings.keys;
    let mut pipeline = redis::pipe();
    for gid in gids {
        pipeline.cmd("HMGET").arg(keys.transaction(gid)).arg(&HEAD);
    }
    let heads: Vec<Vec<Option<Vec<u8>>>> = link.query(&pipeline).await?;
    let counts = heads.iter().map(|head| head.first().and_then(Option::as_deref).and_then(count));
    let counts: Vec<u32> = counts.map(Option::unwrap_or_default).collect();
    let branches: Vec<Vec<String>> = counts.iter().map(|count| branch_fields(*count)).collect();
    let mut pipeline = redis::pipe();
    for (gid, fields) in gids.iter().zip(&branches) {
        pipeline.cmd("HMGET").arg(keys.transaction(gid)).arg(fields);
    }
    let values: Vec<Value> = link.query(&pipeline).await?;
    let outline = |(((gid, head), fields), values): (((&Gid, Vec<_>), Vec<String>), Value)| {
        let values: Vec<Option<Vec<u8>>> = from_redis_value(values).unwrap_or_default();
        let head = HEAD.iter().map(|name| (*name).to_owned()).zip(head);
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = head
            .chain(fields.into_iter().zip(values))
            .filter_map(|(name, value)| Some((name.into_bytes(), value?)))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let read = Fields::new(pairs).and_then(|fields| record::read(gid, &fields.without_payloads()));
        Some(read.map_err(|unreadable| unreadable.to_string()))
    };
    Ok(gids.iter().zip(heads).zip(branches).zip(values).map(outline).collect())
}

/// The number of branches a field `record` tells.
fn count(text: &[u8]) -> Option<u32> {
    let (count, _) = record::numbers(std::str::from_utf8(text).ok()?).ok()?;
    Some(u32::from(count))
}

/// Those of so many branches, and the first of one too many.
fn branch_fields(count: u32) -> Vec<String> {
    let mut fields: Vec<String> =
        (1..=count).flat_map(|place| PARTS.iter().map(move |part| format!("{place:02}{part}"))).collect();
    fields.push(format!("{:02}", count + 1));
    fields
}
