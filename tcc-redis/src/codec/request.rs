//! Writes operations as arguments of the functions.

use std::{
    collections::BTreeSet,
    fmt::{Display, Write},
};

use tcc_core::{
    Gid, Ordinal, Payload, Timestamp, TraceParent,
    machine::{Change, ClaimWork, CloseDrive, Create, Heard, How, InlineClaim, NewBranch, Op, TryReport},
    record::{Known, Token, cut_error},
    store::{StoreError, StoreErrorKind},
};

use super::text::{MOMENT_END, SPAN_MAX_MS, Seal, Word, word};
use crate::{keys, lane::Kind};

/// An operation written out: what it is called in the library, its arguments, and the keys it is likely to
/// need beyond the fixed ones.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) operation: &'static str,
    pub(crate) arguments: Arguments,
    pub(crate) suffixes: Vec<String>,
}

/// Texts and numbers one after the other, as MessagePack: one argument of a call costs Redis as much as some hundred
/// bytes, and a step has some twenty.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    bytes: Vec<u8>,
    count: usize,
    /// What was written last by its [`Display`].
    text: String,
}

impl Default for Arguments {
    /// None, and room for those of most operations.
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(256), count: 0, text: String::with_capacity(64) }
    }
}

impl Arguments {
    fn push(&mut self, text: impl Display) {
        self.text.clear();
        // Writing to memory does not fail, here and below.
        let _ = write!(self.text, "{text}");
        let _ = rmp::encode::write_str(&mut self.bytes, &self.text);
        self.count += 1;
    }

    fn push_text(&mut self, text: &str) {
        let _ = rmp::encode::write_str(&mut self.bytes, text);
        self.count += 1;
    }

    /// What `before` writes, and a text, as one.
    fn push_before(&mut self, before: impl Display, text: &str) {
        self.text.clear();
        let _ = write!(self.text, "{before}");
        let length = u32::try_from(self.text.len() + text.len()).unwrap_or(u32::MAX);
        let _ = rmp::encode::write_str_len(&mut self.bytes, length);
        self.bytes.extend_from_slice(self.text.as_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.count += 1;
    }

    #[cfg(feature = "testing")]
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        let _ = rmp::encode::write_str_len(&mut self.bytes, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    pub(crate) fn push_number(&mut self, number: u64) {
        let _ = rmp::encode::write_uint(&mut self.bytes, number);
        self.count += 1;
    }

    /// How many there are.
    #[cfg(feature = "testing")]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// All of them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes the steps of a call as one list: how many there are; then of each its operation, how many arguments, and
/// these.
pub(crate) fn write_steps<'a>(
    steps: impl ExactSizeIterator<Item = (&'static str, &'a Arguments)> + Clone,
) -> Vec<u8> {
    let (values, bytes) = steps.clone().fold((1, 16), |(values, bytes), (operation, arguments)| {
        (values + 2 + arguments.count, bytes + operation.len() + arguments.bytes.len() + 16)
    });
    let mut to = Vec::with_capacity(bytes);
    let _ = rmp::encode::write_array_len(&mut to, u32::try_from(values).unwrap_or(u32::MAX));
    let _ = rmp::encode::write_uint(&mut to, steps.len() as u64);
    for (operation, arguments) in steps {
        let _ = rmp::encode::write_str(&mut to, operation);
        let _ = rmp::encode::write_uint(&mut to, arguments.count as u64);
        to.extend_from_slice(&arguments.bytes);
    }
    to
}

/// Says that a list is what it most often is, so that less has to be said of it.
const ALL: &str = "*";

type Encoded = Result<(), StoreError>;

/// What the store is sent to apply an operation.
pub(crate) fn request(gid: &Gid, op: &Op) -> Result<Request, StoreError> {
    let (kind, operation) = name(op);
    let mut to = Request { kind, operation, arguments: Arguments::default(), suffixes: Vec::new() };
    match op {
        Op::Begin(begin) => {
            to.create(gid, Some(&begin.create))?;
            to.flag(begin.again_after_cancel);
        }
        Op::Register(register) => {
            to.create(gid, register.create.as_ref())?;
            let calls: BTreeSet<_> = register.branches.iter().map(|new| &new.call).collect();
            to.flag(calls.len() == register.branches.len());
            to.number(register.branches_max.into());
            to.number(register.payload_bytes_max);
            to.list(&register.branches, Request::new_branch)?;
        }
        Op::Report(report) => to.list(&report.tries, Request::try_report)?,
        Op::Decide(decide) => {
            to.text(decide.direction);
            to.text(Word(decide.reason));
            to.text(&decide.by);
            to.create(gid, decide.create.as_ref())?;
            to.inline(decide.inline.as_ref(), &decide.heard)?;
            to.all_heard(&decide.heard)?;
        }
        Op::Claim(work) => {
            to.suffixes.extend(work.participants.iter().map(keys::queue_suffix));
            to.token(Some(work.token));
            to.span("lease_ms", work.lease_ms)?;
            to.list(&work.except, |to, action| {
                to.text(action);
                Ok(())
            })?;
            to.list(&work.participants, |to, participant| {
                to.text(participant);
                Ok(())
            })?;
            to.own(work);
        }
        Op::Renew(renew) => {
            to.token(Some(renew.token));
            to.span("lease_ms", renew.lease_ms)?;
            to.list(&renew.branches, |to, (ordinal, epoch)| {
                to.ordinal(*ordinal);
                to.number(*epoch);
                Ok(())
            })?;
        }
        Op::KeepAlive(keep) => to.span("lease_ms", keep.lease_ms)?,
        Op::Close(close) => to.closes(&close.drives)?,
        Op::Sweep(sweep) => to.text(&sweep.by),
        Op::Redrive(redrive) => to.ordinals(&redrive.branches)?,
        Op::Operate(operate) => {
            to.suffixes.push(keys::AUDIT.to_owned());
            to.text(&operate.by);
            to.text(&operate.why);
            match &operate.change {
                Change::Cancel => to.text("cancel"),
                Change::Redrive { branches } => {
                    to.text("redrive");
                    to.ordinals(branches)?;
                }
                Change::Resolve { branch, direction } => {
                    to.text("resolve");
                    to.ordinal(*branch);
                    to.text(direction);
                }
            }
        }
    }
    Ok(to)
}

/// What an operation does, and its name in the library.
fn name(op: &Op) -> (Kind, &'static str) {
    match op {
        Op::Begin(_) => (Kind::Beginning, "begin"),
        Op::Register(_) => (Kind::Beginning, "register"),
        Op::Report(_) => (Kind::Finishing, "report"),
        Op::Decide(_) => (Kind::Finishing, "decide"),
        Op::Claim(_) => (Kind::Finishing, "claim"),
        Op::Renew(_) => (Kind::Finishing, "renew"),
        Op::KeepAlive(_) => (Kind::Finishing, "keep_alive"),
        Op::Close(_) => (Kind::Finishing, "close"),
        Op::Sweep(_) => (Kind::Finishing, "sweep"),
        Op::Redrive(_) => (Kind::Finishing, "redrive"),
        Op::Operate(_) => (Kind::Finishing, "operate"),
    }
}

impl Request {
    fn text(&mut self, text: impl Display) {
        self.arguments.push(text);
    }

    fn number(&mut self, number: u64) {
        self.arguments.push_number(number);
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn flag(&mut self, flag: bool) {
        self.number(u64::from(flag));
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T) -> Encoded) -> Encoded {
        self.count(items.len());
        items.iter().try_for_each(|item| write(self, item))
    }

    fn ordinals(&mut self, ordinals: &[Ordinal]) -> Encoded {
        self.list(ordinals, |to, ordinal| {
            to.ordinal(*ordinal);
            Ok(())
        })
    }

    fn ordinal(&mut self, ordinal: Ordinal) {
        self.count(ordinal.index() + 1);
    }

    fn token(&mut self, token: Option<Token>) {
        match token {
            Some(token) => self.text(format_args!("{token:?}")),
            None => self.text(""),
        }
    }

    /// Times beyond these could not be written in the record's form.
    fn span(&mut self, field: &str, millis: u64) -> Encoded {
        if millis > SPAN_MAX_MS {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{field} is {millis} ms; the limit is a hundred years ({SPAN_MAX_MS} ms)"),
            ));
        }
        self.number(millis);
        Ok(())
    }

    fn moment(&mut self, field: &str, at: Timestamp) -> Encoded {
        if at >= MOMENT_END {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{field} is {at}; the limit is the end of the year 9999"),
            ));
        }
        self.number(at.as_millis());
        Ok(())
    }

    fn create(&mut self, gid: &Gid, create: Option<&Create>) -> Encoded {
        self.flag(create.is_some());
        let Some(create) = create else { return Ok(()) };
        if create.gid != *gid {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{gid} was asked to create {}", create.gid),
            ));
        }
        if let Some(key) = &create.key {
            self.suffixes.push(keys::business_suffix(&create.name, key));
        }
        self.text(&create.name);
        self.text(create.key.as_ref().map_or("", |key| key.as_str()));
        self.text(&create.initiator);
        self.moment("deadline_at", create.deadline_at)?;
        self.span("lease_ms", create.lease_ms)?;
        self.span("retention_ms", create.retention_ms)
    }

    /// Its first field as it is to be stored, and its arguments.
    fn new_branch(&mut self, new: &NewBranch) -> Encoded {
        let mut line = format!("{} call={}", new.action, new.call);
        if let Some(runner) = new.runner {
            let _ = write!(line, " runner={runner:?}");
        }
        if let Some(trace) = new.trace.as_ref().map(TraceParent::kept) {
            let _ = write!(line, " trace={trace}");
        }
        let seal = Seal::of_arguments(&line, &new.arguments);
        let _ = write!(line, " arguments={seal}");
        self.arguments.push_text(&line);
        self.arguments.push_text(new.arguments.as_str());
        Ok(())
    }

    fn known(&mut self, known: Option<&Known>) {
        match known {
            None => ["", ""].into_iter().for_each(|text| self.text(text)),
            Some(Known::Refused) => ["refused", ""].into_iter().for_each(|text| self.text(text)),
            Some(Known::Succeeded(result)) => {
                self.text("succeeded");
                self.result(result);
            }
        }
    }

    fn try_report(&mut self, report: &TryReport) -> Encoded {
        self.ordinal(report.ordinal);
        self.known(Some(&report.known));
        Ok(())
    }

    /// Most often, all branches in their order, and all succeeded.
    fn all_heard(&mut self, heard: &[Heard]) -> Encoded {
        self.count(heard.len());
        let in_order = heard.iter().enumerate().all(|(place, heard)| heard.ordinal.index() == place);
        let results = heard.iter().map(|heard| match &heard.known {
            Some(Known::Succeeded(result)) => Some(result),
            _ => None,
        });
        match results.collect::<Option<Vec<_>>>().filter(|_| in_order) {
            Some(results) => {
                self.text(ALL);
                results.into_iter().for_each(|result| self.result(result));
            }
            None => {
                self.text("");
                heard.iter().for_each(|heard| {
                    self.ordinal(heard.ordinal);
                    self.known(heard.known.as_ref());
                });
            }
        }
        Ok(())
    }

    /// A result after its seal, as it is to be stored.
    fn result(&mut self, result: &Payload) {
        self.arguments.push_before(format_args!("{} ", Seal::of(result)), result.as_str());
    }

    fn inline(&mut self, inline: Option<&InlineClaim>, heard: &[Heard]) -> Encoded {
        self.token(inline.map(|inline| inline.token));
        let Some(inline) = inline else { return Ok(()) };
        self.span("lease_ms", inline.lease_ms)?;
        self.flag(!inline.actions.is_empty());
        if inline.branches.iter().eq(heard.iter().map(|heard| &heard.ordinal)) {
            self.text(ALL);
            return Ok(());
        }
        self.ordinals(&inline.branches)
    }

    /// How many branches the caller has all there is to know of, if the participants it names are theirs.
    fn own(&mut self, work: &ClaimWork) {
        self.flag(work.own.is_some());
        let Some(own) = &work.own else { return };
        let named = |name: &str| work.participants.iter().any(|participant| participant.as_str() == name);
        let covers = own.branches.iter().all(|(action, _)| named(action.participant()));
        self.count(if covers { own.branches.len() } else { 0 });
        self.text(Word(own.reason));
    }

    /// Most often, each is done by its first claim, and all in one direction.
    fn closes(&mut self, drives: &[CloseDrive]) -> Encoded {
        self.count(drives.len());
        let direction = drives.first().map(|drive| drive.direction);
        let usual = |drive: &CloseDrive| match drive.how {
            How::Done { seen } if drive.epoch == 1 && Some(drive.direction) == direction => {
                Some((drive.ordinal, seen))
            }
            _ => None,
        };
        let seen = drives.iter().map(usual).collect::<Option<Vec<_>>>();
        let Some((direction, seen)) = direction.zip(seen) else {
            self.text("");
            return drives.iter().try_for_each(|drive| self.close_drive(drive));
        };
        self.text(ALL);
        self.text(direction);
        for (ordinal, seen) in seen {
            self.ordinal(ordinal);
            self.text(Word(seen));
        }
        Ok(())
    }

    fn close_drive(&mut self, drive: &CloseDrive) -> Encoded {
        self.ordinal(drive.ordinal);
        self.number(drive.epoch);
        self.text(drive.direction);
        let (how, seen, after_ms, error) = match &drive.how {
            How::Done { seen } => {
                self.text("done");
                self.text(Word(*seen));
                return Ok(());
            }
            How::Failed { after_ms, error } => ("failed", None, *after_ms, error.as_str()),
            How::Ongoing { after_ms } => ("ongoing", None, *after_ms, ""),
            How::Park { cause, error } => ("park", Some(*cause), 0, error.as_str()),
            How::Release { after_ms, unhandled: true } => ("unhandled", None, *after_ms, ""),
            How::Release { after_ms, unhandled: false } => ("released", None, *after_ms, ""),
        };
        self.text(how);
        self.text(seen.map(word).unwrap_or_default());
        self.span("after_ms", after_ms)?;
        self.text(cut_error(error.to_owned()));
        Ok(())
    }
}
