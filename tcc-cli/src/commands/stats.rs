//! `tccctl stats`: counts, which cost the same however many transactions there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tcc_core::{Name, Scope, Timestamp, store::Store};
use tcc_redis::RedisStore;

use crate::{
    args::Form,
    connect,
    exit::{Code, Outcome},
    output::{
        Screen,
        paint::Tone,
        table::{Cell, Kind, Table},
        text::between,
    },
    situation::World,
};

#[derive(Serialize)]
struct Stats {
    kind: &'static str,
    at: String,
    shards: u16,
    /// At least so many; what just began is counted by its timer.
    open: u64,
    /// Whose time has come and nobody looked yet.
    overdue: u64,
    parked: u64,
    unreadable: u64,
    paused: usize,
    processes: usize,
    audit_entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_open: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_since: Option<String>,
    /// Messages that wait, by participant.
    queued: BTreeMap<String, u64>,
}

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen) -> Outcome {
    let now = connect::now(store).await?;
    let world = connect::world(store).await?;
    let participants: Vec<Name> = participants(&world);
    let mut stats = Stats {
        kind: "stats",
        at: now.to_string(),
        shards: store.shards(),
        open: 0,
        overdue: 0,
        parked: 0,
        unreadable: 0,
        paused: world.pauses.len(),
        processes: world.live().count(),
        audit_entries: 0,
        oldest_open: None,
        parked_since: None,
        queued: BTreeMap::new(),
    };
    let mut parked_since: Option<Timestamp> = None;
    for shard in 0..store.shards() {
        let counts = store.inspect().counts(shard, &participants).await?;
        stats.open += counts.open_at_least();
        stats.overdue += counts.overdue;
        stats.parked += counts.parked;
        stats.unreadable += counts.unreadable;
        stats.audit_entries += counts.audit;
        let oldest = counts.oldest_open.map(|gid| gid.to_string());
        stats.oldest_open = stats.oldest_open.into_iter().chain(oldest).min();
        parked_since = parked_since.into_iter().chain(counts.longest_parked).min();
        for (participant, queued) in counts.queued {
            *stats.queued.entry(participant.to_string()).or_default() += queued;
        }
    }
    stats.parked_since = parked_since.map(|since| since.to_string());
    if screen.form != Form::Table {
        screen.document(&stats)?;
        return Ok(Code::Done);
    }
    screen.table(&table(&stats, parked_since, now))?;
    screen.flush()?;
    if stats.parked + stats.unreadable > 0 {
        screen.say(Tone::Warning, "see what waits for an operator with: tccctl list --parked");
    }
    Ok(Code::Done)
}

/// Those that a process hosts or an operator paused; a queue of another is found by `doctor`.
pub(crate) fn participants(world: &World) -> Vec<Name> {
    let actions = world.processes.iter().flat_map(|process| &process.actions);
    let hosted = actions.filter_map(|action| Name::new(action.participant()).ok());
    let paused = world.pauses.iter().filter_map(|pause| match &pause.scope {
        Scope::Participant(name) => Some(name.clone()),
        Scope::Action(action) => Name::new(action.participant()).ok(),
    });
    BTreeSet::from_iter(hosted.chain(paused)).into_iter().collect()
}

fn table(stats: &Stats, parked_since: Option<Timestamp>, now: Timestamp) -> Table {
    let mut table = Table::new(&[("WHAT", Kind::Left), ("COUNT", Kind::Right), ("", Kind::Elastic)]);
    let mut row = |what: &str, count: u64, tone: Tone, more: String| {
        let tone = if count == 0 { Tone::Plain } else { tone };
        table.row([what.into(), Cell::new(tone, count.to_string()), Cell::new(Tone::Faint, more)]);
    };
    let oldest = stats.oldest_open.as_ref().map_or_else(String::new, |gid| format!("oldest {gid}"));
    let longest =
        parked_since.map_or_else(String::new, |since| format!("longest for {}", between(since, now)));
    row("open, at least", stats.open, Tone::Plain, oldest);
    row("parked", stats.parked, Tone::Bad, longest);
    row("unreadable", stats.unreadable, Tone::Bad, String::new());
    row("due now", stats.overdue, Tone::Plain, String::new());
    row("pauses", stats.paused as u64, Tone::Warning, String::new());
    row("processes", stats.processes as u64, Tone::Plain, String::new());
    row("audit entries", stats.audit_entries, Tone::Plain, String::new());
    for (participant, queued) in &stats.queued {
        row(&format!("queued for {participant}"), *queued, Tone::Plain, String::new());
    }
    table
}
