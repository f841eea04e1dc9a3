//! What one step may do.

use tcc_core::{
    Ordinal, Timestamp,
    machine::{Answer, Close, How as RealHow, Op, Step, Transition},
    record::{Branch, BranchState, Closed, Direction, Known, Record, Seen, TransactionState},
};

use crate::{part::NOW, request::Spec, violation::Violation};

/// A step with what was there before and after it.
pub(crate) struct Look<'a> {
    pub(crate) before: Option<&'a Record>,
    pub(crate) after: Option<&'a Record>,
    pub(crate) op: &'a Op,
    pub(crate) step: &'a Step,
}

pub(crate) fn must(holds: bool, violation: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation) }
}

impl Look<'_> {
    pub(crate) fn judge(
        &self,
        spec: Spec,
        timer: Option<Timestamp>,
        deadline_passed: bool,
    ) -> Result<(), Violation> {
        if self.step.result.is_err() && !matches!(self.op, Op::Sweep(_)) {
            must(self.before == self.after, Violation::RefusalActed)?;
        }
        let Some(after) = self.after else { return must(self.before.is_none(), Violation::RecordGone) };
        self.judge_decision(after, deadline_passed)?;
        self.judge_message(after)?;
        if let Some(at) = after.due_at(NOW) {
            must(timer.is_some_and(|timer| timer <= at.max(NOW)), Violation::TimerLate)?;
        }
        if let Some(before) = self.before {
            self.judge_branches(before, after, spec)?;
        }
        match self.op {
            Op::Report(report) => {
                for one in &report.tries {
                    self.judge_late(one.ordinal, &one.known, after)?;
                }
            }
            Op::Decide(decide) => {
                for heard in &decide.heard {
                    if let Some(known) = &heard.known {
                        self.judge_late(heard.ordinal, known, after)?;
                    }
                }
            }
            Op::Close(close) => self.judge_closes(close, after)?,
            _ => {}
        }
        Ok(())
    }

    fn judge_decision(&self, after: &Record, deadline_passed: bool) -> Result<(), Violation> {
        if let Some(before) = self.before.filter(|before| before.decision.is_some()) {
            must(before.decision == after.decision, Violation::DecisionChanged)?;
            must(before.branches.len() == after.branches.len(), Violation::RegisteredAfterDecision)?;
        }
        if let Ok(Answer::Decided(decided)) = &self.step.result {
            must(Some(&decided.decision) == after.decision.as_ref(), Violation::LoserMisled)?;
        }
        let confirms = self
            .step
            .transitions
            .iter()
            .any(|transition| matches!(transition, Transition::Decided(Direction::Confirm, _)));
        if !confirms {
            return Ok(());
        }
        must(!deadline_passed, Violation::CommittedAfterDeadline)?;
        let Op::Decide(decide) = self.op else { return Err(Violation::ConfirmedUnheard) };
        for (ordinal, branch) in after.branches() {
            let heard = decide.heard.iter().find(|heard| heard.ordinal == ordinal);
            match heard.and_then(|heard| heard.known.as_ref()) {
                Some(Known::Succeeded(_)) => must(
                    branch.state.open_direction() == Some(Direction::Confirm)
                        || branch.state == BranchState::Confirmed,
                    Violation::RefusedMishandled,
                )?,
                Some(Known::Refused) => must(
                    branch.state.open_direction() == Some(Direction::Cancel),
                    Violation::RefusedMishandled,
                )?,
                None => return Err(Violation::ConfirmedUnheard),
            }
        }
        Ok(())
    }

    /// Rule 7: whatever makes work leaves a message for it, or claims it.
    fn judge_message(&self, after: &Record) -> Result<(), Violation> {
        for (ordinal, branch) in after.branches() {
            let was = self.before.and_then(|before| before.branch(ordinal));
            let new_work = branch.is_drivable() && !was.is_some_and(|was| was.is_drivable());
            let led_to = branch.leased_until(NOW).is_some()
                || self.step.effects.ring.iter().any(|rung| rung.as_str() == branch.action.participant());
            must(!new_work || led_to, Violation::NoMessage)?;
        }
        Ok(())
    }

    fn judge_branches(&self, before: &Record, after: &Record, spec: Spec) -> Result<(), Violation> {
        for (old, new) in before.branches.iter().zip(&after.branches) {
            use BranchState::{Cancelled, Cancelling, Confirmed, Confirming, Refused, Tried, Trying};
            let allowed = match (old.state, new.state) {
                (Confirming, Confirming | Confirmed) | (Confirmed, Confirmed) => true,
                (Cancelling | Cancelled, Cancelling | Cancelled) => true,
                (Tried, Confirming | Confirmed) => true,
                (Refused | Trying, Confirming | Confirmed) => {
                    // A commit may bring the outcome along.
                    old.state == Trying && new.known == Some(Seen::Succeeded)
                }
                (Trying | Tried | Refused, _) => true,
                (Confirming | Confirmed | Cancelling | Cancelled, _) => false,
            };
            must(allowed, Violation::DecisionChanged)?;
            must(old.known.is_none() || old.known == new.known, Violation::DriveMisled)?;
            let reopened = old.state == Cancelled && new.state == Cancelling;
            must(!reopened || (old.known.is_none() && new.known.is_some()), Violation::LateOutcomeForgotten)?;

            let new_epoch = new.epoch != old.epoch;
            if new_epoch {
                must(new.epoch == old.epoch + 1, Violation::LeaseStolen)?;
                must(old.leased_until(NOW).is_none(), Violation::LeaseStolen)?;
                must(new.attempts == old.attempts + 1, Violation::AttemptMiscounted)?;
                must(
                    old.parked.is_none() && old.next_attempt_at <= NOW
                        || old.state.open_direction().is_none(),
                    Violation::LeaseStolen,
                )?;
            }
            let given_back = matches!(spec, Spec::Close { .. })
                && self.step.transitions.iter().any(|transition| {
                    matches!(transition, Transition::Ongoing | Transition::Released | Transition::HandedOn)
                });
            let afresh = reopened || matches!(spec, Spec::Redrive { .. });
            let unaware = self.step.transitions.contains(&Transition::CompletedUnaware);
            if unaware && new.attempts != old.attempts {
                must(new.attempts == 0, Violation::AttemptMiscounted)?;
            } else if !new_epoch && !given_back && !afresh {
                must(new.attempts == old.attempts, Violation::AttemptMiscounted)?;
            }
            if afresh && new != old {
                must(new.attempts == 0, Violation::AttemptMiscounted)?;
            }
            if matches!(spec, Spec::Claim { .. }) {
                must(new_epoch || old == new, Violation::LeaseStolen)?;
            }
        }
        Ok(())
    }

    fn judge_late(&self, ordinal: Ordinal, known: &Known, after: &Record) -> Result<(), Violation> {
        let Some(old) = self.before.and_then(|before| before.branch(ordinal)) else { return Ok(()) };
        let Some(new) = after.branch(ordinal) else { return Err(Violation::RecordGone) };
        let seen = match known {
            Known::Succeeded(_) => Seen::Succeeded,
            Known::Refused => Seen::Refused,
        };
        must(new.known == Some(old.known.unwrap_or(seen)), Violation::LateOutcomeForgotten)?;
        if old.known.is_none() && old.state == BranchState::Cancelled {
            let reopened = new.state == BranchState::Cancelling
                && new.parked.is_none()
                && new.next_attempt_at <= NOW
                && new.attempts == 0
                && !after.state.is_final()
                && after.expires_at().is_none();
            must(reopened, Violation::LateOutcomeForgotten)?;
        }
        Ok(())
    }

    fn judge_closes(&self, close: &Close, after: &Record) -> Result<(), Violation> {
        let (Some(before), Ok(Answer::Closed(closes))) = (self.before, &self.step.result) else {
            return Ok(());
        };
        for (drive, answer) in close.drives.iter().zip(&closes.drives) {
            let (Some(old), Some(new)) = (before.branch(drive.ordinal), after.branch(drive.ordinal)) else {
                continue;
            };
            let current = drive.epoch == old.epoch;
            let closed_before = old.claim.and_then(|claim| claim.closed).filter(|_| current);
            let payloads_aside = |branch: &Branch| {
                let mut branch = branch.clone();
                (branch.result, branch.arguments) = (None, None);
                branch
            };
            let unchanged = payloads_aside(old) == payloads_aside(new);
            if let Some(first) = closed_before {
                must(unchanged && *answer == Ok(first), Violation::ClosedTwice)?;
                continue;
            }
            if old.state.is_final() {
                let told = current || matches!(drive.how, RealHow::Done { .. });
                must(new.state == old.state, Violation::StaleEpochActed)?;
                must(
                    answer.is_ok() == told && (!told || *answer == Ok(Closed::Final)),
                    Violation::CompletionMishandled,
                )?;
                continue;
            }
            let attempts_less = old.attempts.saturating_sub(1);
            match &drive.how {
                RealHow::Done { seen } if *seen == old.seen() => {
                    must(
                        new.state.is_final() && *answer == Ok(Closed::Final),
                        Violation::CompletionMishandled,
                    )?;
                }
                RealHow::Done { .. } => {
                    must(new.state == old.state, Violation::CompletionMishandled)?;
                    must(*answer == Ok(Closed::DriveAgain), Violation::CompletionMishandled)?;
                    let at_once = !current || new.next_attempt_at <= NOW && new.leased_until(NOW).is_none();
                    must(at_once, Violation::CompletionMishandled)?;
                    must(current || unchanged, Violation::StaleEpochActed)?;
                }
                _ if !current => {
                    must(unchanged && answer.is_err(), Violation::StaleEpochActed)?;
                }
                RealHow::Park { .. } => {
                    must(new.parked.is_some() && *answer == Ok(Closed::Parked), Violation::ClosedTwice)?;
                }
                RealHow::Failed { after_ms, .. } => {
                    let waits = new.next_attempt_at.as_millis() == NOW.as_millis() + after_ms;
                    must(waits && matches!(answer, Ok(Closed::Rescheduled(_))), Violation::ClosedTwice)?;
                }
                RealHow::Ongoing { .. } | RealHow::Release { .. } => {
                    must(new.attempts == attempts_less, Violation::AttemptMiscounted)?;
                    must(matches!(answer, Ok(Closed::Rescheduled(_))), Violation::ClosedTwice)?;
                }
            }
            must(!current || new.leased_until(NOW).is_none(), Violation::ClosedTwice)?;
        }
        let every_final = after.branches.iter().all(|branch| branch.state.is_final());
        let says_so = matches!(after.state, TransactionState::Confirmed | TransactionState::Cancelled);
        must(every_final == says_so && closes.state == after.state, Violation::StatesDisagree)?;
        Ok(())
    }
}
