//! Every state of the ordinary configurations.
#![allow(clippy::print_stdout, reason = "state counts and times are worth a look, with `--nocapture`")]

use std::{collections::BTreeSet, time::Instant};

use stateright::{Checker, Model};
use tcc_core::{
    machine::Transition,
    record::{Direction, ParkCause, Reason},
};
use tcc_model::{Keys, explore, normal};

/// Every transition of the state machine but those about business keys, which one transaction cannot meet,
/// and reasons of an initiator's cancel that are no more than a word.
fn transitions() -> BTreeSet<Transition> {
    use Direction::{Cancel, Confirm};
    use Transition as T;
    let cancelled = [
        Reason::Aborted,
        Reason::DeadlinePassed,
        Reason::InitiatorLost,
        Reason::Operator,
        Reason::UnnamedBranch,
        Reason::UnknownOutcome,
        Reason::OutcomeConflict,
        Reason::LostBranch,
    ];
    let parked = [
        ParkCause::AttemptsExhausted,
        ParkCause::OngoingTooLong,
        ParkCause::Handler,
        ParkCause::Undecodable,
        ParkCause::UnknownAction,
    ];
    let mut all = BTreeSet::from([
        T::Begun,
        T::BegunAgain,
        T::Created,
        T::Registered,
        T::RegisteredAgain,
        T::RegisteredElsewhere,
        T::Reported,
        T::ReportedLate,
        T::Reopened,
        T::ReportedAgain,
        T::ReportConflict,
        T::ReportLost,
        T::Decided(Confirm, Reason::Committed),
        T::DecidedBefore,
        T::Tombstone,
        T::ClaimedInline,
        T::Claimed,
        T::ClaimedAgain,
        T::ClaimedNothing,
        T::Renewed,
        T::RenewedTooLate,
        T::KeptAlive,
        T::CompletedUnaware,
        T::CompletedAgain,
        T::Failed,
        T::Ongoing,
        T::Released,
        T::HandedOn,
        T::ClosedAgain,
        T::Rung,
        T::SweptEarly,
        T::SweptIdle,
        T::Redriven,
    ]);
    all.extend(cancelled.map(|reason| T::Decided(Cancel, reason)));
    all.extend(parked.map(T::Parked));
    for direction in [Confirm, Cancel] {
        all.extend([T::Completed(direction), T::CompletedLate(direction), T::Ended(direction)]);
    }
    all
}

#[test]
fn every_promise_is_kept_in_every_state_and_every_transition_is_reached() {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let started = Instant::now();
    let (mut states, mut generated) = (0, 0);
    let mut reached = BTreeSet::new();
    let mut failed = Vec::new();
    for config in normal() {
        let explored = explore(config, threads);
        reached.extend(explored.transitions.iter().copied());
        println!("{explored}");
        states += explored.states;
        generated += explored.generated;
        if !explored.holds() {
            failed.push(explored.to_string());
        }
    }
    println!(
        "PROOF layer=model runs={states} faults={generated} violations={} seconds={:.1}",
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let missing: Vec<_> = transitions().difference(&reached).copied().collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn rule_15_a_key_has_one_transaction_however_its_begins_are_repeated() {
    for again_after_cancel in [false, true] {
        Keys::new(again_after_cancel).checker().spawn_bfs().join().assert_properties();
    }
}
