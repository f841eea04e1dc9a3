//! Writes operations as arguments of the functions.

use std::{collections::BTreeSet, fmt::Display, io::Write};

use tcc_core::{
    Gid, Ordinal, Timestamp,
    machine::{Change, CloseDrive, Create, Heard, How, InlineClaim, NewBranch, Op, TryReport},
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

/// Texts one after the other in one piece of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arguments {
    fn push(&mut self, text: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{text}");
        self.ends.push(self.bytes.len());
    }

    fn push_text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

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
            to.text(register.branches_max);
            to.text(register.payload_bytes_max);
            to.list(&register.branches, Request::new_branch)?;
        }
        Op::Report(report) => to.list(&report.tries, Request::try_report)?,
        Op::Decide(decide) => {
            to.text(decide.direction);
            to.text(Word(decide.reason));
            to.text(&decide.by);
            to.create(gid, decide.create.as_ref())?;
            to.list(&decide.heard, Request::heard)?;
            to.inline(decide.inline.as_ref(), &decide.heard)?;
        }
        Op::Claim(work) => {
            to.suffixes.push(keys::queue_suffix(&work.participant));
            to.text(&work.participant);
            to.token(Some(work.token));
            to.span("lease_ms", work.lease_ms)?;
            to.list(&work.except, |to, action| {
                to.text(action);
                Ok(())
            })?;
        }
        Op::Renew(renew) => {
            to.token(Some(renew.token));
            to.span("lease_ms", renew.lease_ms)?;
            to.list(&renew.branches, |to, (ordinal, epoch)| {
                to.ordinal(*ordinal);
                to.text(epoch);
                Ok(())
            })?;
        }
        Op::KeepAlive(keep) => to.span("lease_ms", keep.lease_ms)?,
        Op::Close(close) => to.list(&close.drives, Request::close_drive)?,
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

    fn flag(&mut self, flag: bool) {
        self.text(u8::from(flag));
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T) -> Encoded) -> Encoded {
        self.text(items.len());
        items.iter().try_for_each(|item| write(self, item))
    }

    fn ordinals(&mut self, ordinals: &[Ordinal]) -> Encoded {
        self.list(ordinals, |to, ordinal| {
            to.ordinal(*ordinal);
            Ok(())
        })
    }

    fn ordinal(&mut self, ordinal: Ordinal) {
        self.text(ordinal.index() + 1);
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
        self.text(millis);
        Ok(())
    }

    fn moment(&mut self, field: &str, at: Timestamp) -> Encoded {
        if at >= MOMENT_END {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{field} is {at}; the limit is the end of the year 9999"),
            ));
        }
        self.text(at.as_millis());
        Ok(())
    }

    fn create(&mut self, gid: &Gid, create: Option<&Create>) -> Encoded {
        self.text(create.map_or("", |_| "1"));
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
        let (action, call, seal) = (&new.action, &new.call, Seal::of(&new.arguments));
        match new.runner {
            Some(runner) => {
                self.text(format_args!("{action} call={call} runner={runner:?} arguments={seal}"))
            }
            None => self.text(format_args!("{action} call={call} arguments={seal}")),
        }
        self.arguments.push_text(new.arguments.as_str());
        Ok(())
    }

    fn known(&mut self, known: Option<&Known>) {
        match known {
            None => ["", "", ""].into_iter().for_each(|text| self.text(text)),
            Some(Known::Refused) => ["refused", "", ""].into_iter().for_each(|text| self.text(text)),
            Some(Known::Succeeded(result)) => {
                self.text("succeeded");
                self.arguments.push_text(result.as_str());
                self.text(Seal::of(result));
            }
        }
    }

    fn try_report(&mut self, report: &TryReport) -> Encoded {
        self.ordinal(report.ordinal);
        self.known(Some(&report.known));
        Ok(())
    }

    fn heard(&mut self, heard: &Heard) -> Encoded {
        self.ordinal(heard.ordinal);
        self.known(heard.known.as_ref());
        Ok(())
    }

    fn inline(&mut self, inline: Option<&InlineClaim>, heard: &[Heard]) -> Encoded {
        self.token(inline.map(|inline| inline.token));
        let Some(inline) = inline else { return Ok(()) };
        self.span("lease_ms", inline.lease_ms)?;
        self.flag(!inline.actions.is_empty());
        if inline.branches.iter().eq(heard.iter().map(|heard| &heard.ordinal)) {
            self.text("*");
            return Ok(());
        }
        self.ordinals(&inline.branches)
    }

    fn close_drive(&mut self, drive: &CloseDrive) -> Encoded {
        self.ordinal(drive.ordinal);
        self.text(drive.epoch);
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
