//! Registering branches (rules 3, 6a, 7 and 16, and the limits).

use super::scene::*;
use crate::{
    machine::{NewBranch, Refusal, Register, Registered, Transition as T},
    outcome::TryOutcome,
    payload::Payload,
    record::{BranchState, Direction, Token},
};

#[test]
pub(super) fn rule_03_a_branch_is_recorded_with_its_arguments_before_its_try() {
    let mut scene = Scene::begun();
    let registered = scene.register(vec![new_branch(1, STOCK), new_branch(2, PAY)]).unwrap();
    assert_eq!(scene.saw(), [T::Registered, T::Registered]);
    let expected = |n| Registered { ordinal: nth(n), yours: true, outcome: TryOutcome::Unknown };
    assert_eq!(registered, [expected(1), expected(2)]);
    let branch = scene.branch(2);
    assert_eq!((branch.state, branch.action.as_str()), (BranchState::Trying, PAY));
    assert_eq!(branch.arguments, Some(Payload::from_json("{\"n\":2}")));
    assert_eq!((branch.attempts, branch.epoch, branch.claim), (0, 0, None));
}

#[test]
pub(super) fn rule_03_a_first_registration_creates_the_record() {
    let scene = Scene::trying(&[STOCK]);
    assert_eq!(scene.saw(), [T::Created, T::Registered]);
    assert_eq!(scene.timer(), Some(INITIATOR_MS));
    assert_eq!(scene.record().deadline_at, scene.create().deadline_at);
}

#[test]
pub(super) fn rule_03_a_missing_record_is_unknown_to_a_later_registration() {
    let mut scene = Scene::trying(&[STOCK]);
    scene.lose_record();
    assert_eq!(scene.refused(register(vec![new_branch(2, PAY)])), Refusal::NotFound);
    assert!(!scene.exists());
}

#[test]
fn rule_03_a_first_registration_creates_nothing_at_its_deadline_or_after() {
    let mut scene = Scene::new();
    let first = Register { create: Some(scene.create()), ..register(vec![new_branch(1, STOCK)]) };
    scene.wait(TIMEOUT_MS);
    assert_eq!(scene.refused(first), Refusal::TooLateToCreate);
    assert!(!scene.exists());
}

#[test]
fn a_refused_first_registration_creates_nothing() {
    let mut scene = Scene::new();
    let create = Some(scene.create());
    let first = Register { create, branches_max: 0, ..register(vec![new_branch(1, STOCK)]) };
    assert_eq!(scene.refused(first), Refusal::TooManyBranches { max: 0 });
    assert!(!scene.exists() && scene.timer().is_none());
}

#[test]
pub(super) fn rule_06a_rule_07_and_invariant_07_nothing_is_registered_after_the_decision() {
    let mut scene = Scene::confirming(&[STOCK]);
    let create = Some(scene.create());
    assert_eq!(
        scene.refused(register(vec![new_branch(2, PAY)])),
        Refusal::AlreadyDecided(Direction::Confirm)
    );
    let first = Register { create, ..register(vec![new_branch(2, PAY)]) };
    assert_eq!(scene.refused(first), Refusal::AlreadyDecided(Direction::Confirm));
    // Nor may a registration that was lost on its way back be tried now.
    assert_eq!(
        scene.refused(register(vec![new_branch(1, STOCK)])),
        Refusal::AlreadyDecided(Direction::Confirm)
    );

    let mut scene = Scene::cancelling(&[STOCK]);
    assert_eq!(scene.refused(register(vec![new_branch(2, PAY)])), Refusal::AlreadyDecided(Direction::Cancel));
}

#[test]
pub(super) fn no_branch_is_added_at_the_deadline_or_after() {
    let mut scene = Scene::trying(&[STOCK]);
    scene.wait(TIMEOUT_MS - 1);
    scene.register(vec![new_branch(2, PAY)]).unwrap();
    scene.wait(1);
    assert_eq!(scene.refused(register(vec![new_branch(3, PAY)])), Refusal::DeadlinePassed);
    assert_eq!(scene.refused(register(vec![new_branch(2, PAY)])), Refusal::DeadlinePassed);
}

#[test]
pub(super) fn rule_16_a_call_made_twice_is_one_branch_with_one_outcome() {
    let mut scene = Scene::trying(&[STOCK]);
    let again = scene.register(vec![new_branch(1, STOCK)]).unwrap();
    assert_eq!(scene.saw(), [T::RegisteredAgain]);
    assert_eq!(again, [Registered { ordinal: nth(1), yours: true, outcome: TryOutcome::Unknown }]);

    scene.report(1, succeeded());
    let again = scene.register(vec![new_branch(2, PAY), new_branch(1, STOCK)]).unwrap();
    assert_eq!(scene.saw(), [T::Registered, T::RegisteredAgain]);
    assert_eq!(again[1].outcome, TryOutcome::Succeeded(Payload::from_json("{\"hold\":7}")));
    assert_eq!(scene.record().branches.len(), 2);
}

#[test]
pub(super) fn rule_16_only_the_first_run_of_a_call_tries_it() {
    let run = |runner| NewBranch { runner: Some(Token(runner)), ..new_branch(1, STOCK) };
    let mut scene = Scene::begun();
    assert!(scene.register(vec![run(1)]).unwrap()[0].yours);
    let second = scene.register(vec![run(2)]).unwrap();
    assert_eq!(scene.saw(), [T::RegisteredElsewhere]);
    assert_eq!(second, [Registered { ordinal: nth(1), yours: false, outcome: TryOutcome::Unknown }]);
    assert!(scene.register(vec![run(1)]).unwrap()[0].yours, "the first run keeps the call");
    assert!(!scene.register(vec![new_branch(1, STOCK)]).unwrap()[0].yours, "the initiator is another run");
}

#[test]
pub(super) fn a_branch_keeps_the_trace_of_its_first_registration_for_whoever_claims_it() {
    const TRACE: &str = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = |trace: &str| NewBranch { trace: Some(text(trace)), ..new_branch(1, STOCK) };
    let mut scene = Scene::begun();
    scene.register(vec![traced(&format!("cc{TRACE}-more"))]).unwrap();
    let kept = Some(text(&format!("00{TRACE}")));
    assert_eq!(scene.branch(1).trace, kept);
    let other = traced("00-11111111111111111111111111111111-1111111111111111-00");
    assert!(scene.register(vec![other]).unwrap()[0].yours, "a trace does not tell calls apart");
    assert_eq!(scene.branch(1).trace, kept);
    scene.apply(cancel(crate::record::Reason::Aborted)).unwrap();
    assert_eq!(scene.claim_one("stock").trace, kept);
}

#[test]
pub(super) fn rule_16_a_call_id_with_another_action_or_other_arguments_is_refused() {
    let mut scene = Scene::trying(&[STOCK]);
    let mismatch = Refusal::CallMismatch(text("1"));
    assert_eq!(scene.refused(register(vec![new_branch(1, PAY)])), mismatch);
    let other = NewBranch { arguments: Payload::from_json("{}"), ..new_branch(1, STOCK) };
    assert_eq!(scene.refused(register(vec![new_branch(2, PAY), other])), mismatch);
    assert_eq!(scene.record().branches.len(), 1, "all are registered or none");
}

#[test]
pub(super) fn a_record_takes_no_more_branches_than_allowed() {
    let mut scene = Scene::trying(&[STOCK]);
    let two = |max| Register { branches_max: max, ..register(vec![new_branch(2, PAY), new_branch(3, PAY)]) };
    assert_eq!(scene.refused(two(2)), Refusal::TooManyBranches { max: 2 });
    assert_eq!(scene.apply(two(3)).unwrap().len(), 2);
}

#[test]
pub(super) fn a_record_takes_no_more_bytes_of_payloads_than_allowed() {
    let mut scene = Scene::tried(&[STOCK]);
    // Seven bytes of arguments and ten of result are there, seven of arguments come.
    let one = |max| Register { payload_bytes_max: max, ..register(vec![new_branch(2, PAY)]) };
    assert_eq!(scene.refused(one(23)), Refusal::TooManyPayloadBytes { max: 23 });
    scene.apply(one(24)).unwrap();
    let two = Register { payload_bytes_max: 37, ..register(vec![new_branch(3, PAY), new_branch(4, PAY)]) };
    assert_eq!(scene.refused(two), Refusal::TooManyPayloadBytes { max: 37 });
}

#[test]
fn rule_16_a_call_named_twice_in_one_registration_is_one_branch_or_a_mismatch() {
    let mut scene = Scene::begun();
    let twins = |other: &str| vec![new_branch(1, STOCK), new_branch(1, other)];
    assert_eq!(scene.refused(register(twins(PAY))), Refusal::CallMismatch(text("1")));
    let mut other = twins(STOCK);
    other[1].arguments = Payload::from_json("{}");
    assert_eq!(scene.refused(register(other)), Refusal::CallMismatch(text("1")));

    let once = Register { branches_max: 1, payload_bytes_max: 7, ..register(twins(STOCK)) };
    let registered = scene.apply(once).unwrap();
    assert_eq!(registered.iter().map(|one| one.ordinal).collect::<Vec<_>>(), [nth(1), nth(1)]);
    assert_eq!(scene.record().branches.len(), 1);
}

#[test]
fn rule_14_limits_lowered_since_do_not_refuse_a_repetition() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    let again = Register { branches_max: 1, payload_bytes_max: 1, ..register(vec![new_branch(1, STOCK)]) };
    assert!(scene.apply(again).unwrap()[0].yours);
}
