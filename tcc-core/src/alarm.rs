//! Telling people: what is parked or stuck, once each time, to whoever is to know.

use std::fmt;

use async_trait::async_trait;
use serde::{Serialize, Serializer};

use crate::{
    config::Config,
    gid::Gid,
    name::{ActionName, Name, Ordinal},
    outcome::BoxError,
    record::{Branch, Direction, ParkCause, Record, TransactionState},
    time::Timestamp,
};

/// Every kind of alarm, as it is written.
pub(crate) const KINDS: [&str; 3] = ["parked", "stuck", "unreadable"];

/// Tells people of alarms.
///
/// It is called at least once for every alarm that lasts, by one of the processes that have a notifier, off the
/// execution path: phase two does not wait for it. It may be called again for the same alarm, by another process too,
/// with the same [`Alarm::id`]: receivers tell repetitions apart by it.
///
/// Cancellation safety: the future is dropped when it takes longer than 30 s, which counts as an error.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Tells of one alarm. After an error it is told again, a minute later or more.
    ///
    /// # Errors
    /// When it is not known that the alarm arrived.
    async fn notify(&self, alarm: &Alarm) -> Result<(), BoxError>;
}

/// Something that an operator has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Alarm {
    /// The same however often and by whomever it is told, and no other alarm's.
    pub id: String,
    /// What it is about.
    pub kind: AlarmKind,
    /// The transaction.
    pub gid: Gid,
    /// Its name; not known where the record cannot be read.
    pub name: Option<Name>,
    /// How far it is; not known where the record cannot be read.
    pub state: Option<TransactionState>,
    /// The branch; none if it is about the transaction as a whole.
    #[serde(serialize_with = "as_text")]
    pub branch: Option<Ordinal>,
    /// The branch's action.
    pub action: Option<ActionName>,
    /// What phase two was to do with the branch.
    pub direction: Option<Direction>,
    /// Why, in a word: of what is parked its cause, such as `attempts_exhausted`; of what is stuck `undecided`, `overdue`
    /// or `attempts`; `unreadable`.
    pub cause: &'static str,
    /// Attempts at confirm or cancel so far.
    pub attempts: u32,
    /// Since when it is so, in server time.
    #[serde(serialize_with = "as_text")]
    pub since: Option<Timestamp>,
    /// Age of the transaction when this was noticed, in milliseconds.
    pub age_ms: u64,
    /// The newest error of the branch, or why the record cannot be read.
    pub last_error: Option<String>,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlarmKind {
    /// A branch waits for an operator.
    Parked,
    /// A transaction nobody decides, or a branch that phase two does not finish: it goes on by itself, and takes too long.
    Stuck,
    /// A record cannot be read.
    Unreadable,
}

impl AlarmKind {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parked => KINDS[0],
            Self::Stuck => KINDS[1],
            Self::Unreadable => KINDS[2],
        }
    }
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn as_text<T: fmt::Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

impl Alarm {
    fn of(record: &Record, kind: AlarmKind, id: String, cause: &'static str, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            gid: record.gid.clone(),
            name: Some(record.name.clone()),
            state: Some(record.state),
            branch: None,
            action: None,
            direction: None,
            cause,
            attempts: 0,
            since: None,
            age_ms: crate::time::millis(record.begun_at.until(now)),
            last_error: None,
        }
    }

    fn about(self, ordinal: Ordinal, branch: &Branch, since: Timestamp) -> Self {
        Self {
            branch: Some(ordinal),
            action: Some(branch.action.clone()),
            direction: branch.state.open_direction(),
            attempts: branch.attempts,
            since: Some(since),
            last_error: branch.last_error.clone(),
            ..self
        }
    }

    /// That a record cannot be read.
    pub(crate) fn unreadable(gid: &Gid, error: String, now: Timestamp) -> Self {
        Self {
            id: format!("{gid}/unreadable"),
            kind: AlarmKind::Unreadable,
            gid: gid.clone(),
            name: None,
            state: None,
            branch: None,
            action: None,
            direction: None,
            cause: "unreadable",
            attempts: 0,
            since: None,
            age_ms: crate::time::millis(gid.begun_at().until(now)),
            last_error: Some(error),
        }
    }
}

/// What is to be told of a transaction as it stands.
pub(crate) fn alarms(record: &Record, config: &Config, now: Timestamp) -> Vec<Alarm> {
    let gid = &record.gid;
    let Some(decision) = record.decision.as_ref() else {
        let since = record.deadline_at + config.stuck_after;
        let undecided = || Alarm::of(record, AlarmKind::Stuck, format!("{gid}/stuck"), "undecided", now);
        return (now >= since).then(|| Alarm { since: Some(since), ..undecided() }).into_iter().collect();
    };
    let overdue_at = decision.at + config.stuck_after;
    let of_branch = |(ordinal, branch): (Ordinal, &Branch)| {
        let direction = branch.state.open_direction()?;
        if let Some(parked) = branch.parked {
            let id = format!("{gid}/{ordinal}/parked/{}", branch.epoch);
            let alarm = Alarm::of(record, AlarmKind::Parked, id, cause(parked.cause), now);
            return Some(alarm.about(ordinal, branch, parked.at));
        }
        let (why, since) = if now >= overdue_at {
            ("overdue", overdue_at)
        } else if branch.attempts >= config.stuck_attempts {
            ("attempts", decision.at)
        } else {
            return None;
        };
        let id = format!("{gid}/{ordinal}/stuck/{direction}");
        Some(Alarm::of(record, AlarmKind::Stuck, id, why, now).about(ordinal, branch, since))
    };
    record.branches().filter_map(of_branch).collect()
}

fn cause(cause: ParkCause) -> &'static str {
    match cause {
        ParkCause::AttemptsExhausted => "attempts_exhausted",
        ParkCause::OngoingTooLong => "ongoing_too_long",
        ParkCause::Handler => "handler",
        ParkCause::Undecodable => "undecodable",
        ParkCause::UnknownAction => "unknown_action",
    }
}
