//! Transactions as answers show them. The fields are those of `docs/schema/tccctl.schema.json`.

use serde::Serialize;
use tcc_core::{
    Ordinal, Timestamp,
    record::{Branch, Record, Seen},
};

use crate::{
    hint::Hint,
    output::{paint::Tone, text::between},
    situation::{self, Situation, Standing, World},
};

/// One transaction in few words.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) kind: &'static str,
    pub(crate) gid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// `unreadable` if its record is.
    pub(crate) state: String,
    pub(crate) situation: Situation,
    pub(crate) stuck: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) initiator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) begun_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<DecisionView>,
    pub(crate) branches_total: usize,
    pub(crate) branches_open: usize,
    pub(crate) branches_parked: usize,
    /// Of the branch that is worst off, or why the record cannot be read.
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<Hint>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DecisionView {
    pub(crate) direction: String,
    pub(crate) reason: String,
    pub(crate) by: String,
    pub(crate) at: String,
}

/// One branch.
#[derive(Debug, Serialize)]
pub(crate) struct BranchView {
    pub(crate) branch: String,
    pub(crate) action: String,
    pub(crate) state: String,
    /// What is known of its try: `succeeded`, `refused` or `unknown`.
    pub(crate) tried: Seen,
    pub(crate) attempts: u32,
    /// Why it stands where it stands.
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<ParkedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leased_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<String>,
    #[serde(skip)]
    pub(crate) tone: Tone,
}

#[derive(Debug, Serialize)]
pub(crate) struct ParkedView {
    pub(crate) cause: String,
    pub(crate) since: String,
}

impl Summary {
    pub(crate) fn of(record: &Record, world: &World, now: Timestamp) -> Self {
        let situation = Situation::of(record, world, now);
        let decision = record.decision.as_ref().map(|decision| DecisionView {
            direction: decision.direction.to_string(),
            reason: decision.reason.to_string(),
            by: decision.by.to_string(),
            at: decision.at.to_string(),
        });
        let branches = &record.branches;
        Self {
            kind: "transaction",
            gid: record.gid.to_string(),
            name: Some(record.name.to_string()),
            key: record.key.as_ref().map(ToString::to_string),
            state: record.state.to_string(),
            situation,
            stuck: situation.is_stuck(),
            initiator: Some(record.initiator.to_string()),
            begun_at: Some(record.begun_at.to_string()),
            age_ms: Some(millis(record.begun_at, now)),
            deadline_at: record.ended_at.is_none().then(|| record.deadline_at.to_string()),
            ended_at: record.ended_at.map(|at| at.to_string()),
            decision,
            branches_total: branches.len(),
            branches_open: branches.iter().filter(|branch| !branch.state.is_final()).count(),
            branches_parked: branches.iter().filter(|branch| branch.parked.is_some()).count(),
            what: what(record, world, now),
            hint: situation::hint(record, world, now),
        }
    }

    pub(crate) fn unreadable(gid: &str, why: &str) -> Self {
        Self {
            kind: "transaction",
            gid: gid.to_owned(),
            name: None,
            key: None,
            state: "unreadable".into(),
            situation: Situation::Unreadable,
            stuck: true,
            initiator: None,
            begun_at: None,
            age_ms: None,
            deadline_at: None,
            ended_at: None,
            decision: None,
            branches_total: 0,
            branches_open: 0,
            branches_parked: 0,
            what: why.to_owned(),
            hint: Some(Hint::changing(
                "its record cannot be read: mend the field named, as docs/src/inspect-with-redis-cli.md tells, then have it looked at again",
                &["retry", gid],
            )),
        }
    }

    pub(crate) fn tone(&self) -> Tone {
        match self.situation {
            Situation::Parked | Situation::Unreadable => Tone::Bad,
            Situation::Over => Tone::Good,
            Situation::Underway => Tone::Plain,
            _ => Tone::Warning,
        }
    }
}

pub(crate) fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(from.until(to).as_millis()).unwrap_or(u64::MAX)
}

/// What the worst of its branches says; of one that is undecided, how long it may stay so.
fn what(record: &Record, world: &World, now: Timestamp) -> String {
    if record.state.is_final() {
        return record.ended_at.map_or_else(String::new, |at| format!("ended {} ago", between(at, now)));
    }
    if record.decision.is_none() {
        let until = record.lease_until.min(record.deadline_at);
        return if until > now {
            format!("undecided, at the most {} more", between(now, until))
        } else {
            format!("undecided, its time was over {} ago", between(until, now))
        };
    }
    let rank = |standing: &Standing| match standing {
        Standing::Parked { .. } => 0,
        Standing::Paused(_) => 1,
        Standing::Hostless => 2,
        Standing::Later { .. } => 3,
        Standing::Waiting => 4,
        Standing::Driven { .. } => 5,
        Standing::Undecided | Standing::Final => 6,
    };
    let standings =
        record.branches().map(|(place, branch)| (place, branch, Standing::of(branch, world, now)));
    let worst = standings.min_by_key(|(_, _, standing)| rank(standing));
    worst.map_or_else(String::new, |(place, branch, standing)| {
        let error = branch.last_error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        format!("{place} {}{error}", words(branch, &standing, now))
    })
}

/// How a branch stands, in words.
fn words(branch: &Branch, standing: &Standing, now: Timestamp) -> String {
    match standing {
        Standing::Undecided => match branch.seen() {
            Seen::Succeeded => "its try succeeded".into(),
            Seen::Refused => "its try was refused".into(),
            Seen::Unknown => "its try was not heard of".into(),
        },
        Standing::Final => "done".into(),
        Standing::Parked { cause, since } => format!("parked: {cause}, {}", between(*since, now)),
        Standing::Paused(scope) => format!("{scope} is paused"),
        Standing::Driven { until } => format!("being driven, lease {}", between(now, *until)),
        Standing::Hostless => format!("no live process hosts {}", branch.action),
        Standing::Later { at } => {
            let why =
                if branch.ongoing_since.is_some() { "still working, asked again" } else { "tried again" };
            format!("{why} in {}", between(now, *at))
        }
        Standing::Waiting => "waits for a process".into(),
    }
}

impl BranchView {
    pub(crate) fn of(place: Ordinal, branch: &Branch, world: &World, now: Timestamp, payloads: bool) -> Self {
        let standing = Standing::of(branch, world, now);
        let payload = |payload: &Option<tcc_core::Payload>| {
            payload.as_ref().filter(|_| payloads).map(|payload| payload.as_str().to_owned())
        };
        let open = !branch.state.is_final();
        Self {
            branch: place.to_string(),
            action: branch.action.to_string(),
            state: branch.state.to_string(),
            tried: branch.seen(),
            attempts: branch.attempts,
            what: words(branch, &standing, now),
            parked: branch
                .parked
                .map(|parked| ParkedView { cause: parked.cause.to_string(), since: parked.at.to_string() }),
            next_attempt_at: match standing {
                Standing::Later { at } => Some(at.to_string()),
                _ => None,
            },
            leased_until: branch.leased_until(now).filter(|_| open).map(|until| until.to_string()),
            error: branch.last_error.clone().filter(|_| open),
            arguments: payload(&branch.arguments),
            result: payload(&branch.result),
            tone: match standing {
                Standing::Parked { .. } => Tone::Bad,
                Standing::Paused(_) | Standing::Hostless | Standing::Later { .. } => Tone::Warning,
                Standing::Final => Tone::Good,
                _ => Tone::Plain,
            },
        }
    }
}
