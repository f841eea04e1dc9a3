//! What must hold of every record, and between a record before a step and after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    gid::Gid,
    machine::{self, Answer, Begin, Decide, Due, Effects, Op, Refusal},
    memory::MemoryStore,
    name::{BusinessKey, Name, Ordinal},
    record::{Branch, BranchState, Closed, Direction, Record, Seen, TransactionState},
    store::Doorbell,
    time::Timestamp,
};

/// Everything a store holds at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snapshot {
    pub(super) records: BTreeMap<Gid, Record>,
    pub(super) timers: BTreeMap<Gid, Timestamp>,
    pub(super) standing: BTreeSet<Doorbell>,
    pub(super) keys: BTreeMap<(Name, BusinessKey), Gid>,
}

impl Snapshot {
    pub(super) fn of(store: &MemoryStore) -> Self {
        Self {
            records: store.records().into_iter().map(|record| (record.gid.clone(), record)).collect(),
            timers: store.timers(),
            standing: store.standing(),
            keys: store.keys(),
        }
    }

    /// What holds at any moment.
    pub(super) fn check(&self, now: Timestamp) {
        for record in self.records.values() {
            check_record(record);
            check_timer(record, self.timers.get(&record.gid).copied(), now);
        }
        for gid in self.timers.keys() {
            assert!(self.records.contains_key(gid), "{gid} has a timer and no record");
        }
        for Doorbell { gid, participant } in &self.standing {
            let rung = self.records.get(gid).is_some_and(|record| record.bells.contains_key(participant));
            assert!(rung, "a message to {participant} stands that the record of {gid} does not know");
        }
        for ((name, key), gid) in &self.keys {
            let holder = &self.records[gid];
            assert_eq!((&holder.name, holder.key.as_ref()), (name, Some(key)), "a key leads to a stranger");
        }
    }

    /// What holds of the passing of time: only terminal records are forgotten, and with them their keys.
    pub(super) fn check_forgotten(&self, after: &Self, now: Timestamp) {
        for (gid, record) in &self.records {
            match after.records.get(gid) {
                Some(kept) => assert_eq!(kept, record, "time alone changed a record"),
                None => {
                    assert!(record.expires_at().is_some_and(|at| at <= now), "{gid} was forgotten too early")
                }
            }
        }
    }

    /// What holds of every operation.
    pub(super) fn check_step(
        &self,
        after: &Self,
        gid: &Gid,
        op: &Op,
        result: &Result<Answer, Refusal>,
        now: Timestamp,
    ) {
        if result.is_err() {
            assert_eq!(self, after, "a refused operation changed something");
        }
        let others = |records: &BTreeMap<Gid, Record>| {
            records
                .iter()
                .filter(|(other, _)| *other != gid)
                .map(|(_, record)| record.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(others(&self.records), others(&after.records), "an operation touched another record");
        check_key(self, after, gid, op, result);
        let Some(record) = after.records.get(gid) else {
            assert!(!self.records.contains_key(gid), "an operation deleted its record");
            return;
        };
        check_drives(record, op, result, now);
        if let Ok(Answer::Swept(swept)) = result {
            assert_eq!(
                after.timers.get(gid).copied(),
                swept.next,
                "a sweep answered another time than it set"
            );
            assert!(swept.next.is_none_or(|next| next > now), "a sweep did not move the timer on");
        }
        if let Some(before) = self.records.get(gid) {
            check_change(before, record, op, now);
        }
    }

    /// What holds of an operation that is sent twice at once (rule 14): the second changes nothing.
    pub(super) fn check_repetition(
        &self,
        gid: &Gid,
        op: &Op,
        first: &Result<Answer, Refusal>,
        now: Timestamp,
    ) {
        let record = self.records.get(gid);
        let rival = match op {
            Op::Begin(Begin { create, .. }) => create
                .key
                .as_ref()
                .and_then(|key| self.keys.get(&(create.name.clone(), key.clone())))
                .filter(|holder| *holder != gid)
                .map(|holder| &self.records[holder]),
            _ => None,
        };
        let mut slot = record.cloned();
        let step = machine::apply(&mut slot, rival, op, now);
        assert_eq!(slot.as_ref(), record, "rule 14: {op:?} came twice");
        let may_differ = match op {
            Op::Report(_) | Op::Sweep(_) | Op::Redrive(_) | Op::Operate(_) => true,
            // An older epoch hears what a newer one has done since.
            Op::Close(close) => {
                let ordinals: BTreeSet<_> = close.drives.iter().map(|drive| drive.ordinal).collect();
                ordinals.len() < close.drives.len()
            }
            _ => false,
        };
        if !may_differ {
            assert_eq!(step.result, *first, "rule 14: {op:?} came twice");
        }
        let Effects { due, ring, hush, take_key, audit } = step.effects;
        let timer = self.timers.get(gid).copied();
        let kept = match due {
            Due::Keep => true,
            Due::Set(at) => timer == Some(at),
            Due::Earlier(at) => timer.is_some_and(|timer| timer <= at),
            Due::Remove => timer.is_none(),
        };
        assert!(kept && ring.is_empty() && !take_key && audit.is_none(), "rule 14: {op:?} came twice");
        let stands = |participant: &Name| {
            self.standing.iter().any(|bell| bell.gid == *gid && bell.participant == *participant)
        };
        assert!(!hush.iter().any(stands), "rule 14: {op:?} came twice and took a message");
    }
}

/// Whoever is given a drive holds the branch's claim.
fn check_drives(record: &Record, op: &Op, result: &Result<Answer, Refusal>, now: Timestamp) {
    let (token, bare, drives) = match (op, result) {
        (Op::Claim(work), Ok(Answer::Claimed(drives))) => (Some(work.token), work.own.is_some(), drives),
        (Op::Decide(Decide { inline, .. }), Ok(Answer::Decided(decided))) => {
            let bare = inline.as_ref().is_some_and(|inline| !inline.actions.is_empty());
            (inline.as_ref().map(|inline| inline.token), bare, &decided.drives)
        }
        _ => return,
    };
    for drive in drives {
        let branch = record.branch(drive.ordinal).expect("a drive of a branch there is");
        let claim = branch.claim.expect("a drive of a claimed branch");
        assert_eq!((Some(claim.token), claim.closed), (token, None), "I4: a drive of another's claim");
        assert!(branch.leased_until(now).is_some(), "I4: a drive of a claim that ran out");
        assert_eq!((drive.epoch, drive.attempt), (branch.epoch, branch.attempts));
        assert_eq!(Some(drive.direction), branch.state.open_direction());
        assert_eq!(drive.arguments, branch.arguments.clone().filter(|_| !bare));
    }
}

fn check_record(record: &Record) {
    let gid = &record.gid;
    let decision = record.decision.as_ref().map(|decision| decision.direction);
    let all_final = record.branches.iter().all(|branch| branch.state.is_final());
    let expected = match (decision, all_final) {
        (None, _) => TransactionState::Trying,
        (Some(Direction::Confirm), false) => TransactionState::Confirming,
        (Some(Direction::Confirm), true) => TransactionState::Confirmed,
        (Some(Direction::Cancel), false) => TransactionState::Cancelling,
        (Some(Direction::Cancel), true) => TransactionState::Cancelled,
    };
    assert_eq!(record.state, expected, "the state of {gid} does not follow from its decision and branches");
    let ended = record.state.is_final();
    // What has ended has no deadline any more; the step that decided was looked at.
    let in_time = |at: Timestamp| ended || at < record.deadline_at;
    assert!(confirmed_at(record).is_none_or(in_time), "rule 1: {gid} was confirmed at its deadline or after");
    assert_eq!(record.ended_at.is_some(), ended, "{gid} is final and has no end, or open and has one");
    assert_eq!(record.expires_at().is_some(), ended, "I10: an open record expires, or a final one does not");
    assert!(!ended || record.bells.is_empty(), "a final transaction has messages");

    let calls: BTreeSet<_> = record.branches.iter().map(|branch| &branch.call).collect();
    assert_eq!(calls.len(), record.branches.len(), "rule 16: a call made two branches");
    let confirms = |branch: &Branch| matches!(branch.state, BranchState::Confirming | BranchState::Confirmed);
    let cancels = |branch: &Branch| matches!(branch.state, BranchState::Cancelling | BranchState::Cancelled);
    let undone =
        record.branches.iter().any(|branch| cancels(branch) && branch.known == Some(Seen::Succeeded));
    for branch in &record.branches {
        assert!(!(confirms(branch) && undone), "I1: confirmed beside a success that is cancelled");
        assert!(!confirms(branch) || branch.known == Some(Seen::Succeeded), "I3: confirmed and never tried");
        assert!(
            !confirms(branch) || decision == Some(Direction::Confirm),
            "I2: confirmed against the decision"
        );
        assert_eq!(
            confirms(branch) || cancels(branch),
            decision.is_some(),
            "phase two is not the decision's"
        );
        let tried = match branch.known {
            None => BranchState::Trying,
            Some(Seen::Refused) => BranchState::Refused,
            Some(_) => BranchState::Tried,
        };
        assert!(
            decision.is_some() || branch.state == tried,
            "a branch in {} knows {:?}",
            branch.state,
            branch.known
        );
        let open = branch.state.open_direction().is_some();
        let closed = branch.claim.and_then(|claim| claim.closed);
        assert!(branch.parked.is_none() || open && closed == Some(Closed::Parked), "parked and not waiting");
        assert_eq!(
            branch.epoch > 0,
            branch.claim.is_some(),
            "an epoch without a claim, or a claim without one"
        );
        check_payloads(branch, ended);
    }
}

fn check_payloads(branch: &Branch, ended: bool) {
    let succeeded = branch.known == Some(Seen::Succeeded);
    if ended {
        // A late outcome would need the arguments.
        assert_eq!(
            branch.arguments.is_some(),
            branch.known.is_none(),
            "arguments at the end of a transaction"
        );
        assert!(branch.result.is_none(), "a result outlived its transaction");
    } else if branch.state.is_final() {
        // Its siblings may have been reopened since its payloads were deleted.
        assert!(branch.result.is_none() || succeeded, "a result of nothing");
    } else {
        assert!(branch.arguments.is_some(), "an open branch lost its arguments");
        assert_eq!(branch.result.is_some(), succeeded, "an open branch lost its result");
    }
}

fn check_timer(record: &Record, timer: Option<Timestamp>, now: Timestamp) {
    let idle = record.state.is_final()
        || record.decision.is_some() && !record.branches.iter().any(Branch::is_drivable);
    assert_eq!(timer.is_none(), idle, "I10: {} has timer {timer:?} in {record:#?}", record.gid);
    assert_eq!(record.due_at(now).is_none(), idle, "due and not due");
    if let (Some(timer), Some(due)) = (timer, record.due_at(now)) {
        assert!(timer <= due.max(now), "the timer {timer} is later than {due}, now {now}: {record:#?}");
    }
}

fn check_key(before: &Snapshot, after: &Snapshot, gid: &Gid, op: &Op, result: &Result<Answer, Refusal>) {
    if before.keys == after.keys {
        return;
    }
    let (Op::Begin(begin), Ok(_)) = (op, result) else { panic!("{op:?} changed a key") };
    let place = (begin.create.name.clone(), begin.create.key.clone().expect("a key"));
    let mut expected = before.keys.clone();
    if let Some(rival) = expected.insert(place, gid.clone()) {
        let cancelled = before.records[&rival].state == TransactionState::Cancelled;
        assert!(begin.again_after_cancel && cancelled, "rule 15: a key was taken from {rival}");
    }
    assert_eq!(after.keys, expected);
}

fn confirmed_at(record: &Record) -> Option<Timestamp> {
    record.decision.as_ref().filter(|one| one.direction == Direction::Confirm).map(|one| one.at)
}

fn check_change(before: &Record, after: &Record, op: &Op, now: Timestamp) {
    if before.decision.is_none() {
        let in_time = |at: Timestamp| at < before.deadline_at;
        assert!(confirmed_at(after).is_none_or(in_time), "rule 1: confirmed at its deadline or after");
    }
    if before.decision.is_some() {
        assert_eq!(before.decision, after.decision, "I2: a decision changed");
        assert_eq!(
            before.branches.len(),
            after.branches.len(),
            "I7: a branch was registered after the decision"
        );
    }
    assert!(after.branches.len() >= before.branches.len(), "a branch vanished");
    assert_eq!(
        (&before.name, &before.key, &before.initiator, before.begun_at, before.retention_ms),
        (&after.name, &after.key, &after.initiator, after.begun_at, after.retention_ms),
        "what a record was created with changed"
    );
    let ends = after.ended_at.is_some() && after.ended_at != before.ended_at;
    let deadline_at = if ends { now } else { before.deadline_at };
    assert_eq!(after.deadline_at, deadline_at, "only an end makes a deadline pointless");
    assert!(ends || after.lease_until >= before.lease_until, "a lease was shortened");
    for (participant, bell) in &after.bells {
        let count = before.bells.get(participant).map_or(0, |bell| bell.count);
        assert!(bell.count <= count + 1, "{participant} was rung twice in one step");
    }
    for (index, (before, after)) in before.branches.iter().zip(&after.branches).enumerate() {
        check_branch(Ordinal::from_index(index), before, after, op, now);
    }
}

fn check_branch(ordinal: Ordinal, before: &Branch, after: &Branch, op: &Op, now: Timestamp) {
    use BranchState as S;
    assert_eq!((&before.call, &before.action, before.runner), (&after.call, &after.action, after.runner));
    assert!(
        before.known.is_none() || before.known == after.known,
        "the first word of {ordinal} did not stand"
    );
    let learned = before.known.is_none() && after.known.is_some();
    let legal = match (before.state, after.state) {
        (one, other) if one == other => true,
        (S::Trying, S::Tried | S::Refused | S::Confirming | S::Cancelling) => true,
        (S::Tried, S::Confirming | S::Cancelling) | (S::Refused, S::Cancelling) => true,
        (S::Confirming, S::Confirmed) | (S::Cancelling, S::Cancelled) => true,
        (S::Cancelled, S::Cancelling) => learned,
        _ => false,
    };
    assert!(legal, "{ordinal} went from {} to {}", before.state, after.state);

    let reopened = before.state == S::Cancelled && after.state == S::Cancelling;
    let redriven =
        before.parked.is_some() && after.parked.is_none() && matches!(op, Op::Redrive(_) | Op::Operate(_));
    let claimed = after.epoch > before.epoch;
    let newly_closed =
        after.claim.and_then(|claim| claim.closed) != before.claim.and_then(|claim| claim.closed);
    if claimed {
        assert_eq!(after.epoch, before.epoch + 1, "an epoch was skipped");
        assert_eq!(after.attempts, before.attempts + 1, "a claim did not count its attempt");
        assert!(before.leased_until(now).is_none(), "I4: {ordinal} was claimed while leased");
        assert!(
            before.next_attempt_at <= now && before.parked.is_none(),
            "{ordinal} was claimed before it was due"
        );
        assert!(after.claim.is_some_and(|claim| claim.closed.is_none()), "a claim was born closed");
    } else {
        assert_eq!(after.epoch, before.epoch, "an epoch went back");
        let given_back = newly_closed && before.attempts == after.attempts + 1 && matches!(op, Op::Close(_));
        let again = newly_closed && after.claim.is_some_and(|claim| claim.closed == Some(Closed::DriveAgain));
        let afresh = (reopened || redriven || again) && after.attempts == 0;
        assert!(
            before.attempts == after.attempts || given_back || afresh,
            "attempts of {ordinal} went astray"
        );
        if before.claim.is_some_and(|claim| claim.closed.is_some()) {
            assert_eq!(before.claim, after.claim, "rule 11: an epoch of {ordinal} was closed twice");
        }
    }
}
