//! `tccctl doctor`: whether the server keeps what the store promises, and whether what it holds fits together.

use std::collections::BTreeSet;

use serde::Serialize;
use tcc_core::{Name, store::Store};
use tcc_redis::{Checked, Filter, Finding, Index, RedisStore};

use crate::{
    args::{ConnectionArgs, DoctorArgs, Form},
    commands::stats,
    connect,
    exit::{Code, Outcome},
    output::{
        Screen,
        paint::Tone,
        table::Table,
        text::{clean, wrap},
    },
};

/// Entries checked in one call.
const PAGE: usize = 100;
/// Findings told; more of them tell nothing more.
const FINDINGS_MAX: usize = 1_000;
/// Open transactions whose participants are looked for.
const LISTED_MAX: usize = 1_000;

/// Something that is not as it should be.
#[derive(Serialize)]
struct Problem {
    kind: &'static str,
    /// What it is about: an id, a message, or `server`.
    subject: String,
    problem: String,
    /// Whether it is worth knowing, and no reason to act at once.
    warning: bool,
    means: String,
    detail: String,
}

pub(crate) async fn run(
    store: &RedisStore,
    screen: &mut Screen,
    connection: &ConnectionArgs,
    args: &DoctorArgs,
) -> Outcome {
    let mut problems = server(store, connection, args).await;
    let mut looked = 0;
    let world = connect::world(store).await?;
    let mut participants = BTreeSet::from_iter(stats::participants(&world));
    participants.extend(in_flight(store).await?);
    let queues = participants.into_iter().map(Checked::Queue);
    let checks: Vec<Checked> = [Checked::Open, Checked::Due, Checked::Parked, Checked::Unreadable]
        .into_iter()
        .chain(queues)
        .collect();
    let mut whole = true;
    for shard in 0..store.shards() {
        for checked in &checks {
            whole &= check(store, shard, checked, args.limit as usize, &mut looked, &mut problems).await?;
        }
    }
    let (warnings, findings): (Vec<_>, Vec<_>) = problems.iter().partition(|problem| problem.warning);
    let (warnings, findings) = (warnings.len(), findings.len());
    if screen.form == Form::Table {
        for problem in &problems {
            tell(screen, problem)?;
        }
        screen.flush()?;
    } else {
        screen.list("findings", &problems, None, |_| Table::new(&[]))?;
    }
    let words = format!("{looked} entries looked at, {findings} findings, {warnings} warnings");
    screen.say(if findings > 0 { Tone::Bad } else { Tone::Good }, words);
    if !whole {
        screen.say(Tone::Warning, "not everything was looked at; raise --limit");
    }
    Ok(if findings > 0 { Code::Findings } else { Code::Done })
}

/// Participants of what is open, as far as that is looked through: a queue is found by its participant's name.
async fn in_flight(store: &RedisStore) -> Outcome<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for index in [Index::Open, Index::Parked] {
        let page = store.inspect().list(index, &Filter::default(), None, LISTED_MAX).await?;
        let records = page.rows.iter().filter_map(|row| row.record.as_ref().ok());
        let actions = records.flat_map(|record| &record.branches).map(|branch| branch.action.participant());
        names.extend(actions.filter_map(|name| Name::new(name).ok()));
    }
    Ok(names)
}

/// What a service's start would say of this server.
async fn server(store: &RedisStore, connection: &ConnectionArgs, args: &DoctorArgs) -> Vec<Problem> {
    let mut builder = connect::builder(connection).shards(store.shards());
    if let Some(durability) = args.durability {
        builder = builder.durability(durability.durability());
    }
    let problem = |problem: String, warning, detail: String| Problem {
        kind: "finding",
        subject: "server".into(),
        problem,
        warning,
        means: if warning { "worth knowing" } else { "a service refuses to start on this Redis" }.into(),
        detail,
    };
    match builder.connect().await {
        Ok(strict) => strict
            .warnings()
            .into_iter()
            .map(|warning| problem(snake(&format!("{:?}", warning.kind)), true, warning.message))
            .collect(),
        Err(error) => vec![problem("refused".into(), false, crate::exit::Failure::from(error).to_string())],
    }
}

/// Pages through one index of a shard; false if it was not seen to its end.
async fn check(
    store: &RedisStore,
    shard: u16,
    checked: &Checked,
    limit: usize,
    looked: &mut usize,
    problems: &mut Vec<Problem>,
) -> Outcome<bool> {
    let (mut after, before) = (None, problems.len());
    while *looked < limit && problems.len() < FINDINGS_MAX {
        let room = PAGE.min(limit - *looked);
        let page = store.inspect().check(shard, checked, after.as_ref(), room).await?;
        *looked += page.looked;
        for finding in page.findings {
            let problem = problem(&finding);
            // What is wrong with a transaction is found by way of every index that leads to it.
            let is_known =
                |other: &Problem| other.subject == problem.subject && other.problem == problem.problem;
            let is_message = matches!(checked, Checked::Queue(_));
            if is_message || !problems.iter().take(before).any(is_known) {
                problems.push(problem);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn problem(finding: &Finding) -> Problem {
    Problem {
        kind: "finding",
        subject: finding.subject.clone(),
        problem: snake(&format!("{:?}", finding.kind)),
        warning: false,
        means: finding.kind.to_string(),
        detail: finding.detail.clone(),
    }
}

fn tell(screen: &mut Screen, problem: &Problem) -> Outcome<()> {
    let tone = if problem.warning { Tone::Warning } else { Tone::Bad };
    let label = screen.paint.text(tone, &problem.problem);
    screen.line(format!("{label}  {}", clean(&problem.subject)))?;
    let text = if problem.warning {
        problem.detail.clone()
    } else {
        format!("{}: {}", problem.means, problem.detail)
    };
    for line in wrap(&clean(&text), screen.width - 2) {
        screen.line(format!("  {line}"))?;
    }
    Ok(())
}

/// `NoTls` as `no_tls`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (place, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
