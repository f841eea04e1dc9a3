//! What this process committed and left to messages, kept until one of them comes: whose claim need not read it again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    gid::Gid,
    machine::{Drive, OwnCommit},
    name::{ActionName, Name},
    payload::Payload,
    record::Reason,
    trace_parent::TraceParent,
};

/// Commits kept at most; the oldest goes for the newest.
const COMMITS_MAX: usize = 1_024;
/// The most bytes of arguments and results of a commit that is kept: for larger ones, to read them is not what takes
/// the time.
const BYTES_MAX: usize = 4_096;

/// A commit as its initiator has it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) name: Name,
    pub(crate) reason: Reason,
    /// All branches, in order.
    pub(crate) branches: Vec<KeptBranch>,
}

#[derive(Debug)]
pub(crate) struct KeptBranch {
    pub(crate) action: ActionName,
    pub(crate) arguments: Payload,
    pub(crate) result: Payload,
    pub(crate) trace: Option<TraceParent>,
}

impl Kept {
    pub(crate) fn own(&self) -> OwnCommit {
        let branches = self.branches.iter().map(|branch| (branch.action.clone(), branch.result.clone()));
        OwnCommit { reason: self.reason, branches: branches.collect() }
    }

    /// Gives drives what the record was not asked for.
    ///
    /// Its seals were not looked at: a record that was spoiled meanwhile must not send the arguments to another action.
    /// What it would is left to its timer, which finds it when the lease is over.
    pub(crate) fn complete(&self, drives: Vec<Drive>) -> Vec<Drive> {
        let completed = drives.into_iter().filter_map(|drive| {
            let branch = self.branches.get(drive.ordinal.index())?;
            (branch.action == drive.action).then(|| Drive {
                name: Some(self.name.clone()),
                arguments: Some(branch.arguments.clone()),
                trace: branch.trace.clone(),
                ..drive
            })
        });
        completed.collect()
    }

    fn bytes(&self) -> usize {
        self.branches.iter().map(|branch| branch.arguments.len() + branch.result.len()).sum()
    }
}

/// Commits of this process whose messages it awaits.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    // Ids begin with the time they were made at.
    kept: Mutex<BTreeMap<Gid, Kept>>,
}

impl Commits {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<Gid, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, gid: &Gid, commit: Kept) {
        if commit.bytes() > BYTES_MAX {
            return;
        }
        let mut kept = self.kept();
        kept.insert(gid.clone(), commit);
        if kept.len() > COMMITS_MAX {
            kept.pop_first();
        }
    }

    /// What was kept of a transaction, for a claim of all its branches.
    pub(crate) fn take(&self, gid: &Gid, participants: &[Name]) -> Option<Kept> {
        let mut kept = self.kept();
        let named = |name: &str| participants.iter().any(|participant| participant.as_str() == name);
        let commit = kept.get(gid)?;
        let all = commit.branches.iter().all(|branch| named(branch.action.participant()));
        if all { kept.remove(gid) } else { None }
    }

    pub(crate) fn forget(&self, gid: &Gid) {
        self.kept().remove(gid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name::Ordinal, outcome::TryOutcome, record::Direction, time::Timestamp};

    fn gid(number: u64) -> Gid {
        Gid::new(Timestamp::from_millis(number), 0, 0)
    }

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn payload(text: &str) -> Payload {
        Payload::from_json(text)
    }

    fn commit(arguments: &str) -> Kept {
        let branch = |action: &str| KeptBranch {
            action: action.parse().unwrap(),
            arguments: payload(arguments),
            result: payload("2"),
            trace: None,
        };
        let branches = vec![branch("stock.reserve@1"), branch("pay.hold@1")];
        Kept { name: "order".parse().unwrap(), reason: Reason::Committed, branches }
    }

    #[test]
    fn a_commit_is_taken_once_by_a_claim_of_all_its_participants() {
        let commits = Commits::default();
        commits.keep(&gid(1), commit("1"));
        assert!(commits.take(&gid(2), &names(&["pay", "stock"])).is_none());
        assert!(commits.take(&gid(1), &names(&["pay"])).is_none());
        let own = commits.take(&gid(1), &names(&["mail", "pay", "stock"])).unwrap().own();
        assert_eq!(own.reason, Reason::Committed);
        let expected =
            ["stock.reserve@1", "pay.hold@1"].map(|action| (action.parse().unwrap(), payload("2")));
        assert_eq!(own.branches, expected);
        assert!(commits.take(&gid(1), &names(&["pay", "stock"])).is_none());
        commits.keep(&gid(3), commit("1"));
        commits.forget(&gid(3));
        assert!(commits.take(&gid(3), &names(&["pay", "stock"])).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let commits = Commits::default();
        let limit = BYTES_MAX / 2 - 1;
        commits.keep(&gid(0), commit(&"1".repeat(limit + 1)));
        assert!(commits.kept().is_empty(), "large ones are not kept");
        for number in 1..=COMMITS_MAX as u64 + 1 {
            commits.keep(&gid(number), commit(&"1".repeat(limit)));
        }
        assert_eq!(commits.kept().len(), COMMITS_MAX);
        assert!(!commits.kept().contains_key(&gid(1)), "the oldest went");
    }

    #[test]
    fn drives_of_another_action_are_left() {
        let drive = |ordinal: usize, action: &str| Drive {
            ordinal: Ordinal::from_index(ordinal),
            action: action.parse().unwrap(),
            direction: Direction::Confirm,
            epoch: 1,
            attempt: 1,
            arguments: None,
            name: None,
            trace: None,
            outcome: TryOutcome::Succeeded(payload("2")),
            ongoing_ms: None,
            unhandled_ms: None,
            lease_ms: 1,
            decided: Direction::Confirm,
            reason: Reason::Committed,
        };
        let drives = vec![drive(0, "stock.release@1"), drive(1, "pay.hold@1"), drive(2, "pay.hold@1")];
        let completed = commit("1").complete(drives);
        let expected = Drive {
            arguments: Some(payload("1")),
            name: Some("order".parse().unwrap()),
            ..drive(1, "pay.hold@1")
        };
        assert_eq!(completed, [expected]);
    }
}
