//! What must hold when faults are over and everything has come to rest.

use std::collections::BTreeMap;

use super::{Ending, Oracle, Phase, runs::Run};
use crate::{
    record::{Direction, Record, Seen, TransactionState},
    testing::sim::{
        bank::{Books, Effect, openings},
        plan::{ACCOUNTS, BANKS},
    },
    time::Timestamp,
};

/// How far the records are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::testing::sim) struct Settled {
    pub(in crate::testing::sim) confirmed: u64,
    pub(in crate::testing::sim) cancelled: u64,
    /// Decided, every open branch parked.
    pub(in crate::testing::sim) parked: Vec<crate::gid::Gid>,
    /// Anything else, with how it stands.
    pub(in crate::testing::sim) open: Vec<String>,
}

impl Oracle {
    /// How every transaction stands that was ever written.
    pub(in crate::testing::sim) fn settled(&self) -> Settled {
        let mut settled = Settled::default();
        for (gid, record) in &self.records {
            let open = || record.branches.iter().filter(|branch| !branch.state.is_final());
            match record.state {
                TransactionState::Confirmed => settled.confirmed += 1,
                TransactionState::Cancelled => settled.cancelled += 1,
                TransactionState::Trying => settled.open.push(format!("{gid} trying")),
                _ if open().all(|branch| branch.parked.is_some()) => settled.parked.push(gid.clone()),
                state => settled.open.push(format!("{gid} {state}")),
            }
        }
        settled
    }

    /// Whether a handler still runs.
    pub(in crate::testing::sim) fn is_running(&self) -> bool {
        self.runs.iter().any(|run| run.ended.is_none())
    }

    pub(in crate::testing::sim) fn check_end(&mut self, kept: &[Record], books: &Books, now: Timestamp) {
        let checked = self
            .check_kept(kept, now)
            .and_then(|()| self.check_late_tries())
            .and_then(|()| self.check_reserved(books))
            .and_then(|()| self.check_balances(books));
        self.check(checked);
    }

    fn check_kept(&self, kept: &[Record], now: Timestamp) -> Result<(), String> {
        let kept: BTreeMap<_, _> = kept.iter().map(|record| (&record.gid, record)).collect();
        for (gid, known) in &self.records {
            match kept.get(gid) {
                Some(record) if *record == known => {}
                Some(_) => return Err(format!("{gid} changed beside every operation")),
                None => super::gone_rightly(known, now)?,
            }
        }
        Ok(())
    }

    /// A try's outcome is never forgotten while the process lives that ran it (rule 6c): the record has
    /// it, or a cancel that came after it made up for it.
    fn check_late_tries(&self) -> Result<(), String> {
        for run in self.runs.iter().filter(|run| run.is_try()) {
            let Some((Ending::Succeeded | Ending::Refused, ended)) = run.ended else { continue };
            let start = &run.start;
            let place = (start.gid.clone(), start.branch);
            let Some(branch) = self.records.get(&start.gid).and_then(|record| record.branch(start.branch))
            else {
                continue;
            };
            let told = branch.known.is_some() || self.abandoned.contains(&place) || self.is_unlearned(&place);
            if told || self.deaths.contains_key(&start.process) {
                continue;
            }
            let made_up = self.runs_of(&place).any(|other| {
                matches!(other.start.phase, Phase::Cancel { .. })
                    && other.effect.is_some_and(|(_, at)| at >= ended)
                    && matches!(other.ended, Some((Ending::Succeeded, _)))
            });
            if !made_up {
                return Err(format!(
                    "{}/{}: its late outcome is forgotten (rule 6c)",
                    start.gid, start.branch
                ));
            }
        }
        Ok(())
    }

    /// Nothing is reserved in the end (I5, I6), but for what no framework can promise without a fence: a
    /// try that took effect after its cancel, in a run whose outcome nobody lived to tell.
    fn check_reserved(&self, books: &Books) -> Result<(), String> {
        for (bank, place, _) in books.reserved() {
            let told = |run: &Run| {
                matches!(run.ended, Some((Ending::Succeeded | Ending::Refused, _)))
                    && !self.deaths.contains_key(&run.start.process)
            };
            let fenced = bank == BANKS[0];
            let unlearned = bank != BANKS[0] && self.is_unlearned(&place);
            if self.abandoned.contains(&place) || self.is_forgotten(&place) || unlearned {
                continue;
            }
            // What a failover left on both sides stays with the operator, and siblings that were parked with it.
            let record = self.records.get(&place.0).filter(|_| self.is_excused(&place.0));
            if record.and_then(|record| record.branch(place.1)).is_some_and(|branch| branch.parked.is_some())
            {
                continue;
            }
            if fenced || self.runs_of(&place).filter(|run| run.is_try()).any(told) {
                return Err(format!("{bank} still holds a reservation of {}/{} (I5)", place.0, place.1));
            }
        }
        Ok(())
    }

    /// Balances are the opening ones and what confirmed transactions moved, and none was created or lost.
    fn check_balances(&self, books: &Books) -> Result<(), String> {
        let mut expected: BTreeMap<&str, [i64; ACCOUNTS]> =
            BANKS.iter().map(|bank| (*bank, openings())).collect();
        let mut created = 0;
        for run in &self.runs {
            let Phase::Try { bank, movement } = run.start.phase else { continue };
            if self.is_excused(&run.start.gid) {
                // Whatever half of it was confirmed.
                let place = (run.start.gid.clone(), run.start.branch);
                let moved = |run: &&Run| matches!(run.effect, Some((Effect::Moved(_), _)));
                let confirmed =
                    self.runs_of(&place).filter(moved).any(|run| run.start.phase == Phase::Confirm);
                if let Some(balances) = expected.get_mut(bank).filter(|_| confirmed) {
                    balances[movement.account] += movement.amount;
                }
                continue;
            }
            let Some(record) = self.records.get(&run.start.gid) else { continue };
            let Some(branch) = record.branch(run.start.branch) else { continue };
            let confirm =
                record.decision.as_ref().is_some_and(|decision| decision.direction == Direction::Confirm);
            let moved = confirm && branch.known == Some(Seen::Succeeded);
            if moved && !matches!(run.effect, Some((Effect::Moved(_), _))) {
                return Err(format!(
                    "{}/{} is confirmed and reserved nothing",
                    run.start.gid, run.start.branch
                ));
            }
            if moved {
                created += movement.amount;
                if let Some(balances) = expected.get_mut(bank) {
                    balances[movement.account] += movement.amount;
                }
            }
        }
        for (bank, _, movement) in books.reserved() {
            if let Some(balances) = expected.get_mut(bank) {
                balances[movement.account] += movement.amount.min(0);
            }
        }
        if created != 0 {
            return Err(format!("confirmed transactions created {created} of money"));
        }
        let found = books.balances();
        if found != expected {
            return Err(format!("balances are {found:?}; confirmed transactions make {expected:?}"));
        }
        Ok(())
    }
}
