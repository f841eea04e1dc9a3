//! Why a transaction stands where it stands, and what an operator does about it.

use std::time::Duration;

use tcc_core::{
    ActionName, Name, Ordinal, Pause, Presence, Scope, Timestamp,
    record::{Branch, BranchState, Direction, ParkCause, Record, TransactionState},
};

use crate::hint::Hint;

/// A process announces itself every ten seconds; one that was not heard for this long counts as gone.
pub(crate) const LIVE_WITHIN: Duration = Duration::from_secs(30);
/// A timer that ran out this long ago has nobody who looks after it.
pub(crate) const LATE_AFTER: Duration = Duration::from_secs(15);

/// What stands beside the records: who is there, and what is paused.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) processes: Vec<Presence>,
    pub(crate) pauses: Vec<Pause>,
    /// The server's clock, in which processes are heard. A shard's may be ahead of it.
    pub(crate) clock: Timestamp,
}

impl World {
    pub(crate) fn live(&self) -> impl Iterator<Item = &Presence> {
        self.processes.iter().filter(|process| is_live(process, self.clock))
    }

    /// Whether a live process runs phase two of this action.
    pub(crate) fn hosts(&self, action: &ActionName) -> bool {
        self.live().any(|process| process.actions.contains(action))
    }

    pub(crate) fn lives(&self, process: &Name) -> bool {
        self.live().any(|presence| presence.process == *process)
    }

    /// The pause that holds this action back.
    pub(crate) fn pause_of(&self, action: &ActionName) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.scope.covers(action))
    }
}

pub(crate) fn is_live(process: &Presence, now: Timestamp) -> bool {
    process.heard_at.until(now) <= LIVE_WITHIN
}

/// How a branch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is decided.
    Undecided,
    /// It is final.
    Final,
    /// It waits for an operator.
    Parked { cause: ParkCause, since: Timestamp },
    /// An operator holds it back.
    Paused(Scope),
    /// A process drives it.
    Driven { until: Timestamp },
    /// No live process runs its phase two.
    Hostless,
    /// It failed or is still working, and is driven again later.
    Later { at: Timestamp },
    /// Its message waits for a process.
    Waiting,
}

impl Standing {
    pub(crate) fn of(branch: &Branch, world: &World, now: Timestamp) -> Self {
        if branch.state.is_final() {
            return Self::Final;
        }
        if branch.state.open_direction().is_none() {
            return Self::Undecided;
        }
        if let Some(parked) = branch.parked {
            return Self::Parked { cause: parked.cause, since: parked.at };
        }
        if let Some(until) = branch.leased_until(now) {
            return Self::Driven { until };
        }
        if let Some(pause) = world.pause_of(&branch.action) {
            return Self::Paused(pause.scope.clone());
        }
        if !world.hosts(&branch.action) {
            return Self::Hostless;
        }
        if branch.next_attempt_at > now { Self::Later { at: branch.next_attempt_at } } else { Self::Waiting }
    }
}

/// Why a transaction stands where it stands: the worst of its branches says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Situation {
    /// A branch waits for an operator.
    Parked,
    /// Its record cannot be read.
    Unreadable,
    /// A branch is held back by an operator.
    Paused,
    /// No live process runs a branch's phase two.
    Hostless,
    /// Its time came and nobody looked.
    Overdue,
    /// Nothing is decided, and its initiator is not heard.
    Abandoned,
    /// A branch failed or is still working, and is driven again later.
    Retrying,
    /// It goes on by itself.
    Underway,
    /// Every branch is final.
    Over,
}

impl Situation {
    pub(crate) fn of(record: &Record, world: &World, now: Timestamp) -> Self {
        if record.state.is_final() {
            return Self::Over;
        }
        let standings: Vec<Standing> =
            record.branches.iter().map(|branch| Standing::of(branch, world, now)).collect();
        let any = |wanted: fn(&Standing) -> bool| standings.iter().any(wanted);
        let late = record.due_at(now).is_some_and(|due| due + LATE_AFTER < now);
        match record.state {
            TransactionState::Trying if late => Self::Overdue,
            TransactionState::Trying if !world.lives(&record.initiator) => Self::Abandoned,
            TransactionState::Trying => Self::Underway,
            _ if any(|standing| matches!(standing, Standing::Parked { .. })) => Self::Parked,
            _ if any(|standing| matches!(standing, Standing::Paused(_))) => Self::Paused,
            _ if any(|standing| matches!(standing, Standing::Hostless)) => Self::Hostless,
            _ if late => Self::Overdue,
            _ if any(|standing| matches!(standing, Standing::Later { .. })) => Self::Retrying,
            _ => Self::Underway,
        }
    }

    /// Whether it needs somebody to go on.
    pub(crate) fn is_stuck(self) -> bool {
        matches!(self, Self::Parked | Self::Unreadable | Self::Paused | Self::Hostless | Self::Overdue)
    }
}

/// What an operator does next about a transaction; nothing about one that is over.
pub(crate) fn hint(record: &Record, world: &World, now: Timestamp) -> Option<Hint> {
    let gid = record.gid.as_str();
    let follow = |words: String| Some(Hint::new(words, &["show", gid, "--follow"]));
    let standings =
        || record.branches().map(|(place, branch)| (place, branch, Standing::of(branch, world, now)));
    match Situation::of(record, world, now) {
        Situation::Over | Situation::Unreadable => None,
        Situation::Parked => parked(record),
        Situation::Paused => standings().find_map(|(_, _, standing)| match standing {
            Standing::Paused(scope) => Some(Hint::changing(
                format!("{scope} is paused, and goes on when it is resumed"),
                &["resume", &scope.to_string()],
            )),
            _ => None,
        }),
        Situation::Hostless => {
            let action = standings().find_map(|(_, branch, standing)| {
                (standing == Standing::Hostless).then(|| branch.action.to_string())
            })?;
            follow(format!("no live process hosts {action}: start one, and it goes on by itself"))
        }
        Situation::Overdue if record.state == TransactionState::Trying => Some(Hint::changing(
            "nobody cancelled it when its time was over, because no process sweeps: start one, or cancel it now",
            &["cancel", gid],
        )),
        Situation::Overdue => follow(
            "its time came and nobody looked: no process sweeps; start one, and it goes on by itself".into(),
        ),
        Situation::Abandoned => Some(Hint::changing(
            format!(
                "its initiator {} is not heard; it is cancelled when the lease ends, or now",
                record.initiator
            ),
            &["cancel", gid],
        )),
        Situation::Retrying => follow("it is tried again by itself".into()),
        Situation::Underway => follow("it goes on by itself".into()),
    }
}

/// What to do about the first parked branch, or about all if their cause is the same.
fn parked(record: &Record) -> Option<Hint> {
    let parked: Vec<(Ordinal, &Branch, ParkCause)> = record
        .branches()
        .filter_map(|(place, branch)| branch.parked.map(|parked| (place, branch, parked.cause)))
        .collect();
    let (place, branch, cause) = parked.first().copied()?;
    let (gid, place, action) = (record.gid.as_str(), place.to_string(), &branch.action);
    let done = match branch.state {
        BranchState::Cancelling => "cancelled",
        _ => "confirmed",
    };
    let resolve = ["resolve", gid, "--branch", &place, "--as", done];
    let alike = parked.iter().all(|(_, _, other)| *other == cause);
    let retry: &[&str] = if alike { &["retry", gid] } else { &["retry", gid, "--branch", &place] };
    let verb = if done == "confirmed" { Direction::Confirm } else { Direction::Cancel };
    let by_hand = format!("if you did the {verb} of {place} by hand");
    let hint = match cause {
        ParkCause::Handler => {
            return Some(
                Hint::changing(
                    format!("its handler gave up on {place}: do its {verb} by hand, then attest it"),
                    &resolve,
                )
                .or_changing("if its cause is gone", retry),
            );
        }
        ParkCause::AttemptsExhausted => format!("mend what {action} failed of, then let it try again"),
        ParkCause::OngoingTooLong => format!("see why {action} takes so long, then let it ask again"),
        ParkCause::Undecodable => format!("start a version of {action} that reads its payload, then retry"),
        ParkCause::UnknownAction => format!("start a process that knows {action}, then retry"),
        _ => format!("see why {action} is parked, then retry"),
    };
    Some(Hint::changing(hint, retry).or_changing(&by_hand, &resolve))
}
