//! Reads the answers of the functions.

use std::str::FromStr;

use redis::Value;
use serde::de::DeserializeOwned;
use tcc_core::{
    ActionName, CallId, Gid, Name, Ordinal, Payload, Timestamp, TryOutcome,
    machine::{
        Alive, Answer, Begun, Change, ClaimWork, Close, Closes, Decided, Drive, Heard, InlineClaim, Op,
        Operated, Refusal, Register, Registered, Reported, Swept,
    },
    record::{Closed, Decision, Direction, Known, Reason, TransactionState},
    store::{Applied, StoreError, StoreErrorKind},
};

use super::text::{Unreadable, word_of};
use crate::trouble::failure;

/// What a step answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The operation was applied or refused.
    Applied(Applied),
    /// Nothing was written: these keys must be declared.
    Need(Vec<String>),
    /// Nothing was written: the record cannot be read.
    Unreadable(Unreadable),
    /// Redis refused a command of the step.
    Failed(StoreError),
}

type Read<T> = Result<T, StoreError>;

/// An answer that this version does not understand.
fn strange(what: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        format!("an answer of the store cannot be read ({what}); is its library replaced?"),
    )
}

/// The values of an answer, taken one by one.
pub(crate) struct Values(std::vec::IntoIter<Value>);

impl Values {
    pub(crate) fn new(value: Value) -> Read<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(strange("no list")),
        }
    }

    fn next(&mut self) -> Read<Value> {
        self.0.next().ok_or_else(|| strange("too short"))
    }

    pub(crate) fn text(&mut self) -> Read<String> {
        match self.next()? {
            Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| strange("no text")),
            Value::Int(number) => Ok(number.to_string()),
            _ => Err(strange("no text")),
        }
    }

    fn parsed<T: FromStr>(&mut self) -> Read<T> {
        self.text()?.parse().map_err(|_| strange("no value"))
    }

    fn word<T: DeserializeOwned>(&mut self) -> Read<T> {
        let text = self.text()?;
        word_of("", &text).map_err(|_| strange("no such word"))
    }

    fn flag(&mut self) -> Read<bool> {
        Ok(self.text()? == "1")
    }

    pub(crate) fn moment(&mut self) -> Read<Timestamp> {
        self.parsed().map(Timestamp::from_millis)
    }

    /// A number that is absent when negative.
    fn optional(&mut self) -> Read<Option<u64>> {
        let number: i64 = self.parsed()?;
        Ok(u64::try_from(number).ok())
    }

    /// A value that is absent when empty.
    fn present<T: FromStr>(&mut self) -> Read<Option<T>> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| strange("no value"))
    }

    fn ordinal(&mut self) -> Read<Ordinal> {
        self.parsed()
    }

    fn payload(&mut self) -> Read<Payload> {
        self.text().map(Payload::from_json)
    }

    fn outcome(&mut self) -> Read<TryOutcome<Payload>> {
        let (word, result) = (self.text()?, self.payload()?);
        outcome(&word, result)
    }

    pub(crate) fn values(&mut self) -> Read<Self> {
        Self::new(self.next()?)
    }

    pub(crate) fn list<T>(&mut self, read: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut values = self.values()?;
        let mut list = Vec::with_capacity(values.0.len());
        while values.0.len() > 0 {
            list.push(read(&mut values)?);
        }
        Ok(list)
    }
}

fn outcome(word: &str, result: Payload) -> Read<TryOutcome<Payload>> {
    match word {
        "succeeded" => Ok(TryOutcome::Succeeded(result)),
        "refused" => Ok(TryOutcome::Refused),
        "unknown" => Ok(TryOutcome::Unknown),
        _ => Err(strange("no outcome")),
    }
}

/// What a step answers that went the short way.
const SHORT: Value = Value::Int(1);

/// The first word of an answer that went the short way and says more.
const QUICK: &str = "quick";

/// Whether the step went the short way.
#[cfg(feature = "testing")]
pub(crate) fn is_short((_, value): &(Value, Value)) -> bool {
    let says = |word: &Value| matches!(word, Value::BulkString(word) if word == QUICK.as_bytes());
    *value == SHORT || matches!(value, Value::Array(values) if values.first().is_some_and(says))
}

/// Reads the answer to an operation, given at this time.
pub(crate) fn reply(op: &Op, (now, value): (Value, Value)) -> Read<Reply> {
    let Value::Int(now) = now else { return Err(strange("no time")) };
    let now = Timestamp::from_millis(now.try_into().map_err(|_| strange("no time"))?);
    if value == SHORT {
        return Ok(Reply::Applied(Applied { now, result: Ok(quick(op, now)?) }));
    }
    let mut values = Values::new(value)?;
    let status = values.text()?;
    let result = match status.as_str() {
        "ok" => Ok(answer(op, &mut values)?),
        QUICK => Ok(quick_values(op, &mut values)?),
        "refused" => Err(refusal(&mut values.values()?)?),
        "need" => return Ok(Reply::Need(values.list(Values::text)?)),
        "failed" => return Ok(Reply::Failed(failure(&values.text()?))),
        "unreadable" => return Ok(Reply::Unreadable(Unreadable::new(values.text()?, values.text()?))),
        _ => return Err(strange("no status")),
    };
    Ok(Reply::Applied(Applied { now, result }))
}

/// The answer to an operation that went as its caller expected: most of it is what the caller said.
fn quick(op: &Op, now: Timestamp) -> Read<Answer> {
    match op {
        Op::Begin(_) => Ok(Answer::Begun(Begun::New)),
        Op::Register(register) => Ok(registered(register, 0)),
        Op::Report(report) => Ok(Answer::Reported(vec![Reported::Recorded; report.tries.len()])),
        Op::Decide(decide) => {
            // Every branch is named, in order.
            let result = |ordinal: Ordinal| match decide.heard.get(ordinal.index()) {
                Some(Heard { known: Some(Known::Succeeded(result)), .. }) => Ok(result),
                _ => Err(strange("no result")),
            };
            let drive = |inline: &InlineClaim, ordinal: Ordinal, action: &ActionName| {
                Ok(Drive {
                    ordinal,
                    action: action.clone(),
                    direction: decide.direction,
                    epoch: 1,
                    attempt: 1,
                    arguments: None,
                    name: None,
                    trace: None,
                    outcome: TryOutcome::Succeeded(result(ordinal)?.clone()),
                    ongoing_ms: None,
                    unhandled_ms: None,
                    lease_ms: inline.lease_ms,
                    decided: decide.direction,
                    reason: decide.reason,
                })
            };
            let drives = decide.inline.iter().flat_map(|inline| {
                let claimed = inline.branches.iter().zip(&inline.actions);
                claimed.map(move |(ordinal, action)| drive(inline, *ordinal, action))
            });
            let decision = Decision {
                direction: decide.direction,
                reason: decide.reason,
                by: decide.by.clone(),
                at: now,
            };
            let drives = drives.collect::<Read<_>>()?;
            Ok(Answer::Decided(Decided {
                decision,
                state: TransactionState::Confirming,
                drives,
                lost: Vec::new(),
            }))
        }
        Op::Close(close) => {
            let state = match close.drives.first().map(|drive| drive.direction) {
                Some(Direction::Confirm) => TransactionState::Confirmed,
                _ => TransactionState::Cancelled,
            };
            Ok(all_closed(close, state))
        }
        Op::Claim(ClaimWork { own: Some(own), lease_ms, .. }) => {
            let drives = own.branches.iter().enumerate().map(|(index, (action, result))| Drive {
                ordinal: Ordinal::from_index(index),
                action: action.clone(),
                direction: Direction::Confirm,
                epoch: 1,
                attempt: 1,
                arguments: None,
                name: None,
                trace: None,
                outcome: TryOutcome::Succeeded(result.clone()),
                ongoing_ms: None,
                unhandled_ms: None,
                lease_ms: *lease_ms,
                decided: Direction::Confirm,
                reason: own.reason,
            });
            Ok(Answer::Claimed(drives.collect()))
        }
        _ => Err(strange("no such short way")),
    }
}

/// The answer to an operation that found what it expected, and read what its caller does not know.
fn quick_values(op: &Op, values: &mut Values) -> Read<Answer> {
    match op {
        Op::Register(register) => Ok(registered(register, values.parsed()?)),
        Op::Claim(work) => claimed(work, values),
        // Others are open.
        Op::Close(close) => Ok(all_closed(close, TransactionState::Confirming)),
        _ => Err(strange("no such short way")),
    }
}

/// New branches, which follow so many.
fn registered(register: &Register, there: usize) -> Answer {
    let all = (there..there.saturating_add(register.branches.len())).map(|index| Registered {
        ordinal: Ordinal::from_index(index),
        yours: true,
        outcome: TryOutcome::Unknown,
    });
    Answer::Registered(all.collect())
}

fn all_closed(close: &Close, state: TransactionState) -> Answer {
    Answer::Closed(Closes { state, drives: vec![Ok(Closed::Final); close.drives.len()] })
}

/// What a claim took, as the record has it.
fn claimed(work: &ClaimWork, values: &mut Values) -> Read<Answer> {
    let (decided, reason, name) = (values.word()?, values.word()?, values.parsed::<Name>()?);
    let mut claimed = Vec::with_capacity(values.0.len() / 5);
    while values.0.len() > 0 {
        let ordinal = values.ordinal()?;
        let (line, stood) = (values.text()?, values.text()?);
        let (arguments, result) = (values.payload()?, values.payload()?);
        let (action, words) = line.split_once(' ').ok_or_else(|| strange("no action"))?;
        let trace = words.split(' ').find_map(|word| word.strip_prefix("trace="));
        let mut stood = stood.split(' ');
        let direction = match stood.next() {
            Some("confirming") => Direction::Confirm,
            Some("cancelling") => Direction::Cancel,
            _ => return Err(strange("no direction")),
        };
        claimed.push(Drive {
            ordinal,
            action: action.parse().map_err(|_| strange("no action"))?,
            direction,
            epoch: 1,
            attempt: 1,
            arguments: Some(arguments),
            outcome: outcome(stood.next().unwrap_or_default(), result)?,
            ongoing_ms: None,
            unhandled_ms: None,
            lease_ms: work.lease_ms,
            name: Some(name.clone()),
            trace: trace.map(str::parse).transpose().map_err(|_| strange("no trace"))?,
            decided,
            reason,
        });
    }
    Ok(Answer::Claimed(claimed))
}

fn answer(op: &Op, values: &mut Values) -> Read<Answer> {
    Ok(match op {
        Op::Begin(_) => Answer::Begun(match values.text()?.as_str() {
            "new" => Begun::New,
            "taken" => Begun::Taken(values.parsed::<Gid>()?),
            _ => return Err(strange("no begin")),
        }),
        Op::Register(_) => Answer::Registered(values.list(|values| {
            let mut values = values.values()?;
            let (ordinal, yours) = (values.ordinal()?, values.flag()?);
            Ok(Registered { ordinal, yours, outcome: values.outcome()? })
        })?),
        Op::Report(_) => Answer::Reported(values.list(reported)?),
        Op::Decide(_) => {
            let (direction, reason) = (values.word()?, values.word()?);
            let decision = Decision { direction, reason, by: values.parsed::<Name>()?, at: values.moment()? };
            let state = values.word()?;
            let drives = values.list(|values| drive(values, direction, reason))?;
            Answer::Decided(Decided { decision, state, drives, lost: values.list(Values::ordinal)? })
        }
        Op::Claim(_) => {
            let drives = values.next()?;
            let (direction, reason) = (values.word()?, values.word()?);
            let mut drives = Values::new(Value::Array(vec![drives]))?;
            Answer::Claimed(drives.list(|values| drive(values, direction, reason))?)
        }
        Op::Renew(_) => Answer::Renewed(values.list(Values::flag)?),
        Op::KeepAlive(_) => Answer::Alive(match values.text()?.as_str() {
            "" => Alive::Undecided,
            word => Alive::Decided(word_of("", word).map_err(|_| strange("no direction"))?),
        }),
        Op::Close(_) => {
            let state = values.word()?;
            Answer::Closed(Closes { state, drives: values.list(|values| closed(&mut values.values()?))? })
        }
        Op::Sweep(_) => Answer::Swept(Swept {
            decided: match values.text()?.as_str() {
                "" => None,
                word => Some(word_of("", word).map_err(|_| strange("no reason"))?),
            },
            rung: values.parsed()?,
            next: values.optional()?.map(Timestamp::from_millis),
        }),
        Op::Redrive(_) => Answer::Redriven(values.parsed()?),
        Op::Operate(operate) => Answer::Operated(match &operate.change {
            Change::Cancel => {
                let changed = values.flag()?;
                let (direction, reason) = (values.word()?, values.word()?);
                let decision =
                    Decision { direction, reason, by: values.parsed::<Name>()?, at: values.moment()? };
                Operated::Cancelled { decision, changed }
            }
            Change::Redrive { .. } => Operated::Redriven(values.parsed()?),
            Change::Resolve { .. } => {
                let changed = values.flag()?;
                Operated::Resolved { state: values.word()?, changed }
            }
        }),
    })
}

fn reported(values: &mut Values) -> Read<Reported> {
    Ok(match values.text()?.as_str() {
        "recorded" => Reported::Recorded,
        "late" => Reported::Late,
        "again" => Reported::Again,
        "conflict" => Reported::Conflict,
        "lost" => Reported::Lost,
        _ => return Err(strange("no report")),
    })
}

fn drive(values: &mut Values, decided: Direction, reason: Reason) -> Read<Drive> {
    let mut values = values.values()?;
    let (ordinal, action) = (values.ordinal()?, values.parsed()?);
    let (direction, epoch, attempt) = (values.word()?, values.parsed()?, values.parsed()?);
    let (has_arguments, arguments) = (values.flag()?, values.payload()?);
    Ok(Drive {
        ordinal,
        action,
        direction,
        epoch,
        attempt,
        arguments: has_arguments.then_some(arguments),
        outcome: values.outcome()?,
        ongoing_ms: values.optional()?,
        unhandled_ms: values.optional()?,
        lease_ms: values.parsed()?,
        name: values.present()?,
        trace: values.present()?,
        decided,
        reason,
    })
}

fn closed(values: &mut Values) -> Read<Result<Closed, Refusal>> {
    match values.text()?.as_str() {
        "closed" => {
            let (word, again) = (values.text()?, values.moment()?);
            Ok(Ok(match word.as_str() {
                "final" => Closed::Final,
                "drive_again" => Closed::DriveAgain,
                "parked" => Closed::Parked,
                "rescheduled" => Closed::Rescheduled(again),
                _ => return Err(strange("no close")),
            }))
        }
        "refused" => Ok(Err(refusal(values)?)),
        _ => Err(strange("no close")),
    }
}

fn refusal(values: &mut Values) -> Read<Refusal> {
    Ok(match values.text()?.as_str() {
        "not_found" => Refusal::NotFound,
        "too_late_to_create" => Refusal::TooLateToCreate,
        "gid_taken" => Refusal::GidTaken,
        "already_decided" => Refusal::AlreadyDecided(values.word()?),
        "deadline_passed" => Refusal::DeadlinePassed,
        "call_mismatch" => Refusal::CallMismatch(values.parsed::<CallId>()?),
        "too_many_branches" => Refusal::TooManyBranches { max: values.parsed()? },
        "too_many_payload_bytes" => Refusal::TooManyPayloadBytes { max: values.parsed()? },
        "not_decided" => Refusal::NotDecided,
        "no_such_branch" => Refusal::NoSuchBranch(values.ordinal()?),
        "wrong_direction" => Refusal::WrongDirection(values.ordinal()?),
        "stale_epoch" => Refusal::StaleEpoch(values.ordinal()?),
        "not_parked" => Refusal::NotParked,
        "would_flip" => Refusal::WouldFlip(values.word()?),
        "branch_leased" => Refusal::BranchLeased(values.ordinal()?),
        _ => return Err(strange("no refusal")),
    })
}
