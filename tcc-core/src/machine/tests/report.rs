//! Reports of tries before the decision, and what the record makes of contradictions.

use super::scene::*;
use crate::{
    machine::{Refusal, Report, Reported, Transition as T, TryReport},
    payload::Payload,
    record::{BranchState, Known, Seen},
};

#[test]
pub(super) fn a_try_that_ends_before_the_decision_is_tried_or_refused() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    assert_eq!(scene.report(1, succeeded()), Reported::Recorded);
    assert_eq!(scene.saw(), [T::Reported]);
    let branch = scene.branch(1);
    assert_eq!((branch.state, branch.known), (BranchState::Tried, Some(Seen::Succeeded)));
    assert_eq!(branch.result, Some(Payload::from_json("{\"hold\":7}")));

    assert_eq!(scene.report(2, Known::Refused), Reported::Recorded);
    let branch = scene.branch(2);
    assert_eq!(
        (branch.state, branch.known, &branch.result),
        (BranchState::Refused, Some(Seen::Refused), &None)
    );
    assert_eq!(scene.timer(), Some(INITIATOR_MS), "nobody needs to look sooner");
}

#[test]
pub(super) fn rule_14_a_repeated_report_changes_nothing() {
    let mut scene = Scene::tried(&[STOCK]);
    let record = scene.record().clone();
    let another_result = Known::Succeeded(Payload::from_json("8"));
    assert_eq!(scene.report(1, another_result), Reported::Again);
    assert_eq!(scene.saw(), [T::ReportedAgain]);
    assert_eq!(*scene.record(), record, "a try that ran twice may return twice: its first result stands");
}

#[test]
pub(super) fn the_first_word_of_a_try_stands() {
    let mut scene = Scene::tried(&[STOCK]);
    let record = scene.record().clone();
    assert_eq!(scene.report(1, Known::Refused), Reported::Conflict);
    assert_eq!(scene.saw(), [T::ReportConflict]);
    assert_eq!(*scene.record(), record);

    let mut scene = Scene::trying(&[STOCK]);
    scene.report(1, Known::Refused);
    assert_eq!(scene.report(1, succeeded()), Reported::Conflict);
    assert_eq!(scene.branch(1).state, BranchState::Refused);
}

#[test]
pub(super) fn a_report_of_a_branch_that_was_lost_says_so_and_the_others_count() {
    let mut scene = Scene::trying(&[STOCK]);
    let tries = [2, 1].map(|n| TryReport { ordinal: nth(n), known: succeeded() });
    let reported = scene.apply(Report { tries: tries.into() }).unwrap();
    assert_eq!(reported, [Reported::Lost, Reported::Recorded]);
    assert_eq!(scene.saw(), [T::ReportLost, T::Reported]);
}

#[test]
fn rule_03_a_report_on_a_missing_record_creates_nothing() {
    let mut scene = Scene::new();
    let tries = vec![TryReport { ordinal: nth(1), known: succeeded() }];
    assert_eq!(scene.refused(Report { tries }), Refusal::NotFound);
    assert!(!scene.exists());
}
