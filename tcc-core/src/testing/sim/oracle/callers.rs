//! What closures and callers hear, held against what is written.

use super::Oracle;
use crate::{
    error::{TransactionError, TransactionErrorKind as Kind},
    gid::Gid,
    name::Ordinal,
    outcome::Outcome,
    record::{Decision, Direction, Reason, TransactionState},
    time::Timestamp,
};

/// What a caller got for its transaction.
pub(in crate::testing::sim) enum Caller<'a> {
    /// It was confirmed, and if the caller waited for that, it is final.
    Confirmed {
        gid: &'a Gid,
        waited: bool,
    },
    /// The caller asked for cancel and got it.
    Cancelled {
        gid: &'a Gid,
    },
    /// Another transaction holds the key.
    Repeated(&'a Outcome),
    Failed(&'a TransactionError),
}

impl Oracle {
    /// A closure was given a branch's value.
    pub(in crate::testing::sim) fn hear(&mut self, gid: &Gid, branch: Ordinal) {
        self.heard.insert((gid.clone(), branch));
    }

    /// A closure runs under a business key (rule 15).
    pub(in crate::testing::sim) fn keyed(&mut self, key: &str, gid: &Gid, again: bool, now: Timestamp) {
        // A closure that starts when its transaction is decided can do nothing in it.
        if self.records.get(gid).is_some_and(|record| record.decision.is_some()) {
            return;
        }
        // Those before it were cancelled when it began; a late outcome may reopen one, to be cancelled once more.
        let earlier = self.keyed.insert(key.to_owned(), gid.clone()).filter(|earlier| earlier != gid);
        let clash = earlier.filter(|other| {
            if self.is_excused(other) {
                return false;
            }
            let Some(record) = self.records.get(other) else { return true };
            let cancelled = again && record.state == TransactionState::Cancelled;
            !cancelled && super::gone_rightly(record, now).is_err()
        });
        let clash =
            clash.map(|other| format!("key {key} runs in {gid}, and its run {other} stands (rule 15)"));
        if let Some(clash) = clash {
            self.violate(clash);
        }
    }

    pub(in crate::testing::sim) fn told(&mut self, caller: &Caller<'_>, now: Timestamp) {
        self.answers += 1;
        let checked = self.check_told(caller, now);
        self.check(checked);
    }

    /// Subscribers were told a decision.
    pub(in crate::testing::sim) fn event_decided(&mut self, gid: &Gid, decision: &Decision) {
        let written = self.records.get(gid).and_then(|record| record.decision.as_ref());
        if written != Some(decision) && !self.is_undone(gid, decision.direction) {
            let what = format!("{gid}: subscribers heard {decision:?}, and {written:?} is written");
            self.violate(what);
        }
    }

    /// An operator was told a decision.
    pub(in crate::testing::sim) fn told_decision(&mut self, gid: &Gid, direction: Direction) {
        let checked = self.hear_decision(gid, direction, true);
        self.check(checked);
    }

    fn check_told(&mut self, caller: &Caller<'_>, now: Timestamp) -> Result<(), String> {
        match caller {
            Caller::Confirmed { gid, waited } => {
                self.hear_decision(gid, Direction::Confirm, true)?;
                let state = self.records.get(gid).map(|record| record.state);
                // Nothing is written of a transaction without branches.
                let shaken = self.is_shaken(gid);
                if *waited && !shaken && state.is_some_and(|state| state != TransactionState::Confirmed) {
                    return Err(format!("{gid}: a caller heard that it is final, and it is {state:?}"));
                }
                Ok(())
            }
            Caller::Cancelled { gid } => self.hear_decision(gid, Direction::Cancel, true),
            Caller::Repeated(outcome) => self.check_repeated(outcome),
            Caller::Failed(error) => self.check_failed(error, now),
        }
    }

    fn check_repeated(&self, outcome: &Outcome) -> Result<(), String> {
        let gid = &outcome.gid;
        if outcome.decision.as_ref().is_none_or(|decision| self.is_undone(gid, decision.direction))
            && self.is_shaken(gid)
        {
            return Ok(());
        }
        let Some(record) = self.records.get(gid) else {
            return Err(format!("{gid}: a caller heard of it, and nothing was ever written"));
        };
        match &outcome.decision {
            Some(decision) if record.decision.as_ref() != Some(decision) => {
                Err(format!("{gid}: a caller heard {decision:?}, and {:?} is written", record.decision))
            }
            _ => Ok(()),
        }
    }

    fn check_failed(&mut self, error: &TransactionError, now: Timestamp) -> Result<(), String> {
        let Some(gid) = error.gid() else { return Ok(()) };
        let written = self.records.get(gid).and_then(|record| record.decision.clone());
        match error.kind() {
            // The closure gave up: nobody can commit, whether or not the store has answered.
            Kind::Aborted => self.hear_decision(gid, Direction::Cancel, false),
            Kind::Cancelled(reason) => {
                self.hear_decision(gid, Direction::Cancel, false)?;
                match written {
                    // Whose deadline passed while the store was away cannot know who was first.
                    Some(_) if self.is_undone(gid, Direction::Cancel) => Ok(()),
                    Some(decision) if decision.reason != reason && reason != Reason::DeadlinePassed => {
                        Err(format!("{gid}: a caller heard {reason:?}, and {:?} is written", decision.reason))
                    }
                    _ => Ok(()),
                }
            }
            Kind::NotFinal if written.is_none() && !self.is_shaken(gid) => {
                Err(format!("{gid}: a caller heard that it is decided, and it is not"))
            }
            Kind::Lost if self.is_shaken(gid) => Ok(()),
            Kind::Lost => match self.records.get(gid) {
                Some(record) => super::gone_rightly(record, now),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A caller was told a decision: it stands, and it is written down unless nothing ever was.
    fn hear_decision(
        &mut self,
        gid: &Gid,
        direction: Direction,
        must_be_written: bool,
    ) -> Result<(), String> {
        self.told.insert(gid.clone(), direction);
        if self.is_undone(gid, direction) {
            return Ok(());
        }
        let Some(record) = self.records.get(gid) else {
            if !must_be_written {
                self.unwritten.insert(gid.clone());
            }
            return match direction {
                Direction::Confirm => {
                    // A transaction without branches leaves no record.
                    let tried = self.by_branch.keys().any(|(other, _)| other == gid);
                    if tried {
                        Err(format!("{gid}: a caller heard confirm, and nothing is written"))
                    } else {
                        Ok(())
                    }
                }
                Direction::Cancel => Ok(()),
            };
        };
        match &record.decision {
            Some(decision) if decision.direction == direction => Ok(()),
            None if !must_be_written => Ok(()),
            other => Err(format!("{gid}: a caller heard {direction}, and {other:?} is written (rule 2)")),
        }
    }
}
