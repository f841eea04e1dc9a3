//! `tccctl audit`: what operators changed.

use serde::Serialize;
use tcc_core::{AuditEntry, Changed, Gid, store::Store};
use tcc_redis::RedisStore;

use crate::{
    args::{AuditArgs, Form},
    exit::{Code, Outcome},
    lookup,
    output::{
        Screen,
        paint::Tone,
        table::Table,
        text::{clean, wrap},
    },
};

/// Entries read in one call.
const PAGE: usize = 200;
/// Entries looked through for those of one transaction.
const LOOKED_MAX: usize = 10_000;
/// A reason is indented so far.
const INDENT: usize = 4;

#[derive(Serialize)]
struct Entry {
    kind: &'static str,
    at: String,
    by: String,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    branches: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<String>,
    why: String,
}

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen, args: &AuditArgs) -> Outcome {
    let gid = match &args.gid {
        Some(text) => Some(lookup::gid(store, text).await?),
        None => None,
    };
    let shards = match &gid {
        Some(gid) if gid.shard() >= store.shards() => return Err(lookup::unknown(store, gid)),
        Some(gid) => gid.shard()..gid.shard() + 1,
        None => 0..store.shards(),
    };
    let limit = args.limit as usize;
    let mut entries: Vec<AuditEntry> = Vec::new();
    for shard in shards {
        entries.extend(of_shard(store, shard, gid.as_ref(), limit).await?);
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    entries.truncate(limit);
    let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
    if screen.form == Form::Table {
        entries.iter().try_for_each(|entry| tell(screen, entry))?;
        screen.flush()?;
    } else {
        screen.list("audit", &entries, None, |_| Table::new(&[]))?;
    }
    if entries.is_empty() && screen.form == Form::Table {
        screen.say(Tone::Faint, "no operator changed anything");
    }
    Ok(Code::Done)
}

/// The newest entries of a shard, newest first.
async fn of_shard(
    store: &RedisStore,
    shard: u16,
    gid: Option<&Gid>,
    limit: usize,
) -> Outcome<Vec<AuditEntry>> {
    let (mut found, mut looked, mut before) = (Vec::new(), 0, None);
    while found.len() < limit && looked < LOOKED_MAX {
        let page = store.audit(shard, before.as_ref(), PAGE).await?;
        looked += page.entries.len().max(1);
        found.extend(
            page.entries.into_iter().filter(|entry| gid.is_none_or(|gid| of_changed(entry) == Some(gid))),
        );
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    Ok(found)
}

fn of_changed(entry: &AuditEntry) -> Option<&Gid> {
    match &entry.changed {
        Changed::Cancelled { gid } | Changed::Retried { gid, .. } | Changed::Resolved { gid, .. } => {
            Some(gid)
        }
        _ => None,
    }
}

fn entry(entry: AuditEntry) -> Entry {
    let gid = of_changed(&entry).map(ToString::to_string);
    let mut shown = Entry {
        kind: "audit_entry",
        at: entry.at.to_string(),
        by: entry.by.to_string(),
        what: "other",
        gid,
        scope: None,
        branches: Vec::new(),
        direction: None,
        why: entry.why.to_string(),
    };
    match entry.changed {
        Changed::Cancelled { .. } => shown.what = "cancelled",
        Changed::Retried { branches, .. } => {
            shown.what = "retried";
            shown.branches = branches.iter().map(ToString::to_string).collect();
        }
        Changed::Resolved { branch, direction, .. } => {
            shown.what = "resolved";
            shown.branches = vec![branch.to_string()];
            shown.direction = Some(direction.to_string());
        }
        Changed::Paused(scope) => {
            shown.what = "paused";
            shown.scope = Some(scope.to_string());
        }
        Changed::Resumed(scope) => {
            shown.what = "resumed";
            shown.scope = Some(scope.to_string());
        }
        _ => {}
    }
    shown
}

fn tell(screen: &mut Screen, entry: &Entry) -> Outcome<()> {
    let at = screen.paint.text(Tone::Faint, entry.at.get(..19).unwrap_or(&entry.at));
    let mut what = format!(
        "{}  {} {}",
        entry.by,
        entry.what,
        entry.gid.as_ref().or(entry.scope.as_ref()).map_or("", String::as_str)
    );
    if !entry.branches.is_empty() {
        what.push_str(&format!("/{}", entry.branches.join(",")));
    }
    screen.line(format!("{at}  {}", clean(&what)))?;
    let why = match entry.direction.as_deref() {
        Some("confirm") => format!("as confirmed: {}", entry.why),
        Some(_) => format!("as cancelled: {}", entry.why),
        None => entry.why.clone(),
    };
    for line in wrap(&clean(&why), screen.width - INDENT) {
        screen.line(format!("{:INDENT$}{line}", ""))?;
    }
    Ok(())
}
