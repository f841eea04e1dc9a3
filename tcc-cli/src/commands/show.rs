//! `tccctl show`: one transaction, what happened to it, and what to do next.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde::Serialize;
use tcc_core::{
    Gid, Timestamp,
    record::Record,
    store::{Store, StoreErrorKind},
};
use tcc_redis::RedisStore;

use crate::{
    args::{Form, ShowArgs},
    connect,
    exit::{Code, Outcome},
    hint::Hint,
    lookup,
    output::{
        Screen,
        paint::Tone,
        table::{Cell, Kind, Table},
        text::{between, clean, duration, wrap},
    },
    situation::Situation,
    timeline::{self, Event},
    view::{BranchView, Summary},
};

/// Between two looks at a transaction that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Under a branch, its error is indented so far.
const INDENT: usize = 8;

/// One transaction in all words.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    summary: Summary,
    branches: Vec<BranchView>,
    events: Vec<Event>,
    #[serde(skip)]
    begun: Option<Timestamp>,
    #[serde(skip)]
    now: Timestamp,
}

/// Something that happened while it was followed.
#[derive(Serialize)]
struct Happened<'a> {
    kind: &'static str,
    gid: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen, args: &ShowArgs) -> Outcome {
    let gid = lookup::gid(store, &args.gid).await?;
    let mut detail = look(store, &gid, args.payloads).await?;
    if args.follow {
        detail = follow(store, screen, &gid, args, detail).await?;
    } else if screen.form == Form::Table {
        show(screen, &detail, args.events)?;
    }
    if screen.form != Form::Table {
        screen.document(&detail)?;
    }
    screen.flush()?;
    Ok(match detail.summary.situation {
        Situation::Unreadable => Code::Unreadable,
        Situation::Over => Code::Done,
        _ if args.follow => Code::Findings,
        _ => Code::Done,
    })
}

async fn look(store: &RedisStore, gid: &Gid, payloads: bool) -> Outcome<Detail> {
    let now = connect::now(store).await?;
    let world = connect::world(store).await?;
    let loaded = store.load(gid).await;
    let history = store.inspect().history(gid).await.unwrap_or_default();
    let events: Vec<Event> = history.iter().map(|line| Event::of(line)).collect();
    match loaded {
        Ok(Some(record)) => {
            let branch = |(place, branch)| BranchView::of(place, branch, &world, now, payloads);
            let branches = Record::branches(&record).map(branch).collect();
            let mut summary = Summary::of(&record, &world, now);
            summary.kind = "transaction_detail";
            Ok(Detail { summary, branches, events, begun: Some(record.begun_at), now })
        }
        Ok(None) => Err(lookup::unknown(store, gid)),
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            let mut summary = Summary::unreadable(gid.as_str(), &error.to_string());
            summary.kind = "transaction_detail";
            Ok(Detail { summary, branches: Vec::new(), events, begun: None, now })
        }
        Err(error) => Err(error.into()),
    }
}

/// Looks again until it is over, waits for an operator, or the time is up.
async fn follow(
    store: &RedisStore,
    screen: &mut Screen,
    gid: &Gid,
    args: &ShowArgs,
    mut detail: Detail,
) -> Outcome<Detail> {
    let started = Instant::now();
    let mut told: BTreeSet<String> = BTreeSet::new();
    if screen.form == Form::Table {
        // How it stands is told at the end.
        let (id, _) = heading(screen, &detail);
        screen.line(id)?;
    }
    loop {
        // A line carries its moment; the same twice in a millisecond tells nothing more.
        let line = |event: &Event| format!("{} {}", event.at, event.what);
        for event in detail.events.iter().filter(|event| !told.contains(&line(event))) {
            happened(screen, gid, event)?;
        }
        // What the history has dropped does not come back.
        told = detail.events.iter().map(line).collect();
        screen.flush()?;
        let waits =
            matches!(detail.summary.situation, Situation::Over | Situation::Parked | Situation::Unreadable);
        if waits {
            break;
        }
        if started.elapsed() >= args.for_at_most {
            screen.say(Tone::Warning, format!("{gid} is not over after {}", duration(args.for_at_most)));
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        detail = look(store, gid, args.payloads).await?;
    }
    if screen.form == Form::Table {
        let (_, standing) = heading(screen, &detail);
        for line in standing {
            screen.line(line)?;
        }
        screen.line("")?;
        branches(screen, &detail)?;
        hint(screen, &detail)?;
    }
    Ok(detail)
}

fn happened(screen: &mut Screen, gid: &Gid, event: &Event) -> Outcome<()> {
    match screen.form {
        Form::Table => {
            let at = screen.paint.text(Tone::Faint, event.at.get(11..23).unwrap_or(&event.at));
            screen.line(format!("{at}  {}", clean(&event.what)))
        }
        Form::Jsonl => screen.document(&Happened { kind: "event", gid: gid.as_str(), event }),
        Form::Json => Ok(()),
    }
}

/// Which transaction it is, and how it stands.
fn heading(screen: &Screen, detail: &Detail) -> (String, Vec<String>) {
    let Summary { gid, name, key, state, .. } = &detail.summary;
    let named = name.as_deref().unwrap_or_default();
    let keyed = key.as_ref().map_or_else(String::new, |key| format!("  key {}", clean(key)));
    let id = format!("{}  {named}{keyed}", screen.paint.text(Tone::Strong, gid));
    let words = match &detail.summary.decision {
        Some(decision) => decision_words(decision),
        None => clean(&detail.summary.what),
    };
    let mut standing = Vec::new();
    for (place, line) in wrap(&format!("{state}: {words}"), screen.width).into_iter().enumerate() {
        let painted = screen.paint.text(detail.summary.tone(), state);
        standing.push(if place == 0 { line.replacen(state.as_str(), &painted, 1) } else { line });
    }
    if let (Some(begun), Some(initiator)) = (detail.begun, &detail.summary.initiator) {
        standing.push(format!("begun {} ago by {initiator}", between(begun, detail.now)));
    }
    (id, standing)
}

fn decision_words(decision: &crate::view::DecisionView) -> String {
    format!("decided to {} by {}, because {}", decision.direction, decision.by, decision.reason)
}

fn show(screen: &mut Screen, detail: &Detail, events: bool) -> Outcome<()> {
    let (id, standing) = heading(screen, detail);
    screen.line(id)?;
    for line in standing {
        screen.line(line)?;
    }
    if !detail.branches.is_empty() {
        screen.line("")?;
    }
    branches(screen, detail)?;
    if events {
        screen.line("")?;
        for event in &detail.events {
            let room = screen.width.saturating_sub(event.at.len() + 2);
            for (place, line) in wrap(&clean(&event.what), room).iter().enumerate() {
                let at = if place == 0 { event.at.clone() } else { " ".repeat(event.at.len()) };
                let at = screen.paint.text(Tone::Faint, &clean(&at));
                screen.line(format!("{at}  {line}"))?;
            }
        }
    } else if let Some(begun) = detail.begun.filter(|_| !detail.events.is_empty()) {
        screen.line("")?;
        let mut table = Table::new(&[("", Kind::Left), ("TIMELINE", Kind::Elastic)]);
        for (place, line) in timeline::lines(&detail.events, begun) {
            let place = place.map_or_else(String::new, |place| place.to_string());
            table.row([Cell::new(Tone::Faint, place), line.into()]);
        }
        screen.table(&table)?;
    }
    hint(screen, detail)
}

fn branches(screen: &mut Screen, detail: &Detail) -> Outcome<()> {
    let mut table = Table::new(&[
        ("BRANCH", Kind::Left),
        ("ACTION", Kind::Left),
        ("STATE", Kind::Left),
        ("TRY", Kind::Optional),
        ("ATTEMPTS", Kind::Right),
        ("WHAT", Kind::Elastic),
    ]);
    for branch in &detail.branches {
        let tried = serde_json::to_value(branch.tried).ok();
        let tried = tried.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        table.row([
            branch.branch.as_str().into(),
            branch.action.as_str().into(),
            Cell::new(branch.tone, &branch.state),
            tried.into(),
            branch.attempts.to_string().into(),
            Cell::new(branch.tone, &branch.what),
        ]);
    }
    if table.is_empty() {
        return Ok(());
    }
    let lines = table.lines(screen.width, screen.paint);
    let below = std::iter::once(None).chain(detail.branches.iter().map(Some));
    for (line, branch) in lines.iter().zip(below) {
        screen.line(line)?;
        let Some(branch) = branch else { continue };
        let more = [("error", &branch.error), ("arguments", &branch.arguments), ("result", &branch.result)];
        for (label, text) in more {
            let Some(text) = text else { continue };
            for line in wrap(&clean(&format!("{label}: {text}")), screen.width - INDENT) {
                let line = screen.paint.text(Tone::Faint, &line);
                screen.line(format!("{:INDENT$}{line}", ""))?;
            }
        }
    }
    Ok(())
}

fn hint(screen: &mut Screen, detail: &Detail) -> Outcome<()> {
    let mut next: Option<&Hint> = detail.summary.hint.as_ref();
    let mut lead = "Next: ";
    if next.is_some() {
        screen.line("")?;
    }
    while let Some(hint) = next {
        for line in wrap(&format!("{lead}{}:", clean(&hint.words)), screen.width) {
            screen.line(line)?;
        }
        // A command is one line, however narrow the screen: it is to be copied.
        let command = screen.paint.text(Tone::Strong, &hint.command);
        screen.line(format!("  {command}"))?;
        next = hint.otherwise.as_deref();
        lead = "Or, ";
    }
    Ok(())
}
