//! Pauses, the audit, and what processes tell of themselves, as they lie in Redis.

use std::collections::BTreeMap;

use redis::Value;
use tcc_core::{
    ActionName, AuditCursor, AuditEntry, AuditPage, Changed, Name, Ordinal, Pause, Presence, Scope,
    Timestamp, Why,
    record::Direction,
    store::{PRESENT_FOR, StoreError, StoreErrorKind},
};

use crate::{
    codec::text::{moment, word_of},
    connect::Link,
    keys::{self, AUDIT, FIXED, NODES, PAUSED},
    scripts::Function,
};

/// Processes kept in the list of nodes.
pub(crate) const NODES_MAX: i64 = 1_024;

fn corrupt(what: &str, why: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        format!("{what} cannot be read: {why}; mend it by hand, or delete it"),
    )
}

/// The pauses that stand.
pub(crate) async fn pauses(link: &Link) -> Result<Vec<Pause>, StoreError> {
    let mut all = redis::cmd("HGETALL");
    let all: BTreeMap<String, String> = link.read(all.arg(link.settings.keys.of(0, PAUSED))).await?;
    let mut pauses = all.iter().map(|(scope, text)| pause(scope, text)).collect::<Result<Vec<_>, _>>()?;
    pauses.sort_by(|one, other| one.scope.cmp(&other.scope));
    Ok(pauses)
}

/// `2099-11-21T05:10:00.250Z by alice: ticket 17`
fn pause(scope: &str, text: &str) -> Result<Pause, StoreError> {
    let strange = |why: &str| corrupt(&format!("the pause of `{scope}`"), why);
    let (since, rest) = text.split_once(" by ").ok_or_else(|| strange("no moment"))?;
    let (by, why) = rest.split_once(": ").ok_or_else(|| strange("no reason"))?;
    Ok(Pause {
        scope: scope.parse().map_err(|_| strange("no participant or action"))?,
        by: by.parse().map_err(|_| strange("no name"))?,
        why: why.parse().map_err(|_| strange("no reason"))?,
        since: moment("since", since).map_err(|_| strange("no moment"))?,
    })
}

/// Pauses or resumes; whether that changed anything.
pub(crate) async fn change_pause(
    link: &Link,
    what: &str,
    scope: &Scope,
    by: &Name,
    why: &Why,
) -> Result<bool, StoreError> {
    let settings = &link.settings;
    let keys: Vec<String> =
        FIXED.into_iter().chain([PAUSED, AUDIT]).map(|suffix| settings.keys.of(0, suffix)).collect();
    let mut call = settings.timed_call(Function::Pause, keys.iter());
    call.argument(what).argument(scope.to_string()).argument(by.as_str()).argument(why.as_str());
    match link.call(&call).await? {
        Value::Int(changed) => Ok(changed == 1),
        _ => Err(StoreError::too_many_pauses()),
    }
}

/// Whether a text is the id of a stream's entry.
fn is_entry_id(text: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().is_ok();
    text.split_once('-').is_some_and(|(millis, count)| number(millis) && number(count))
}

type Entry = (String, Vec<(String, String)>);

/// A page of a shard's audit.
pub(crate) async fn audit(
    link: &Link,
    shard: u16,
    before: Option<&AuditCursor>,
    max: usize,
) -> Result<AuditPage, StoreError> {
    if max == 0 {
        return Ok(AuditPage { entries: Vec::new(), next: before.cloned() });
    }
    if let Some(cursor) = before.filter(|cursor| !is_entry_id(cursor.as_str())) {
        let message = format!("`{}` is no place in an audit; take one that a page gave", cursor.as_str());
        return Err(StoreError::new(StoreErrorKind::Misconfigured, message));
    }
    let from = before.map_or_else(|| "+".to_owned(), |cursor| format!("({}", cursor.as_str()));
    let mut range = redis::cmd("XREVRANGE");
    range.arg(link.settings.keys.of(shard, AUDIT)).arg(from).arg("-").arg("COUNT").arg(max);
    let found: Vec<Entry> = link.read(&range).await?;
    let last = found.last().filter(|_| found.len() == max).map(|(id, _)| AuditCursor::new(id.clone()));
    // One that cannot be read must not hide the others.
    let read = |(id, fields): &Entry| {
        let fields: BTreeMap<&str, &str> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let entry = entry(&fields);
        if entry.is_none() {
            tracing::warn!(shard, id, "an entry of the audit cannot be read");
        }
        entry
    };
    Ok(AuditPage { entries: found.iter().filter_map(read).collect(), next: last })
}

fn entry(fields: &BTreeMap<&str, &str>) -> Option<AuditEntry> {
    let field = |name: &str| fields.get(name).copied();
    let gid = || field("gid")?.parse().ok();
    let changed = match field("changed")? {
        "cancelled" => Changed::Cancelled { gid: gid()? },
        "retried" => Changed::Retried {
            gid: gid()?,
            branches: field("branches")?
                .split(' ')
                .map(|text| text.parse().ok())
                .collect::<Option<Vec<Ordinal>>>()?,
            count: field("count")?.parse().ok()?,
        },
        "resolved" => Changed::Resolved {
            gid: gid()?,
            branch: field("branch")?.parse().ok()?,
            direction: word_of::<Direction>("direction", field("direction")?).ok()?,
        },
        "paused" => Changed::Paused(field("scope")?.parse().ok()?),
        "resumed" => Changed::Resumed(field("scope")?.parse().ok()?),
        _ => return None,
    };
    let at = moment("at", field("at")?).ok()?;
    Some(AuditEntry { at, by: field("by")?.parse().ok()?, why: field("why")?.parse().ok()?, changed })
}

pub(crate) async fn server_time(link: &Link) -> Result<u64, StoreError> {
    let (seconds, micros): (u64, u64) = link.read(&redis::cmd("TIME")).await?;
    Ok(seconds * 1_000 + micros / 1_000)
}

/// Keeps what a process tells of itself, for as long as it counts.
pub(crate) async fn announce(link: &Link, presence: &Presence) -> Result<(), StoreError> {
    let keys = &link.settings.keys;
    let now = server_time(link).await?;
    let actions = presence.actions.iter().map(ActionName::as_str);
    let text: Vec<&str> = std::iter::once(presence.version.as_str()).chain(actions).collect();
    let mut pipeline = redis::pipe();
    let node = keys.of(0, &keys::node_suffix(presence.process.as_str()));
    pipeline.cmd("SET").arg(node).arg(text.join(" ")).arg("PX").arg(PRESENT_FOR.as_millis() as u64).ignore();
    let nodes = keys.of(0, NODES);
    pipeline.cmd("ZADD").arg(&nodes).arg(now).arg(presence.process.as_str()).ignore();
    pipeline.cmd("ZREMRANGEBYRANK").arg(&nodes).arg(0).arg(-NODES_MAX - 1).ignore();
    match link.query(&pipeline).await {
        // When memory is full, this may wait.
        Err(error) if error.kind() == StoreErrorKind::Full => Ok(()),
        told => told,
    }
}

/// Processes heard lately. Those of a version that does not tell what it hosts come without actions.
pub(crate) async fn processes(link: &Link, max: usize) -> Result<Vec<Presence>, StoreError> {
    let keys = &link.settings.keys;
    let since = server_time(link).await?.saturating_sub(PRESENT_FOR.as_millis() as u64);
    let mut range = redis::cmd("ZRANGE");
    range.arg(keys.of(0, NODES)).arg("+inf").arg(format!("({since}")).arg("BYSCORE").arg("REV");
    range.arg("LIMIT").arg(0).arg(max).arg("WITHSCORES");
    let heard: Vec<(String, f64)> = link.read(&range).await?;
    if heard.is_empty() {
        return Ok(Vec::new());
    }
    let mut told = redis::cmd("MGET");
    heard.iter().for_each(|(process, _)| {
        told.arg(keys.of(0, &keys::node_suffix(process)));
    });
    let told: Vec<Option<String>> = link.read(&told).await?;
    let presence = |((process, heard_at), text): ((String, f64), Option<String>)| {
        let text = text.unwrap_or_default();
        let mut words = text.split(' ');
        Some(Presence {
            process: process.parse().ok()?,
            version: words.next().unwrap_or_default().to_owned(),
            actions: words.filter_map(|action| action.parse().ok()).collect(),
            heard_at: Timestamp::from_millis(heard_at as u64),
        })
    };
    let mut processes: Vec<Presence> = heard.into_iter().zip(told).filter_map(presence).collect();
    processes.sort_by(|one, other| one.process.cmp(&other.process));
    Ok(processes)
}
