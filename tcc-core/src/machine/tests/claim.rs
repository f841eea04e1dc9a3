//! Claims: the start of every drive (rules 9, 10 and 11, invariant I4).

use super::scene::*;
use crate::{
    machine::{ClaimWork, Drive, How, Refusal, Transition as T},
    outcome::TryOutcome,
    payload::Payload,
    record::{Closed, Direction, Reason},
};

#[test]
pub(super) fn a_claim_takes_what_its_participant_has_and_tells_all_a_drive_needs() {
    let mut scene = Scene::confirming(&[STOCK, PAY, STOCK]);
    scene.wait(10);
    let drives = scene.apply(claim("stock", 1)).unwrap();
    assert_eq!(scene.saw(), [T::Claimed, T::Claimed]);
    let expected = |n, arguments: &str| Drive {
        ordinal: nth(n),
        action: text(STOCK),
        direction: Direction::Confirm,
        epoch: 1,
        attempt: 1,
        arguments: Some(Payload::from_json(arguments)),
        outcome: TryOutcome::Succeeded(Payload::from_json("{\"hold\":7}")),
        ongoing_ms: None,
        unhandled_ms: None,
        lease_ms: LEASE_MS,
        decided: Direction::Confirm,
        reason: Reason::Committed,
    };
    assert_eq!(drives, [expected(1, "{\"n\":1}"), expected(3, "{\"n\":3}")]);
    assert_eq!(scene.standing(), ["pay"], "its message is taken away");
    assert!(!scene.record().bells.contains_key("stock"));
}

#[test]
pub(super) fn nothing_is_claimed_before_the_decision() {
    let mut scene = Scene::tried(&[STOCK]);
    assert_eq!(scene.refused(claim("stock", 1)), Refusal::NotDecided);
    assert_eq!(Scene::new().refused(claim("stock", 1)), Refusal::NotFound);
}

#[test]
pub(super) fn rule_11_and_invariant_04_a_leased_branch_is_not_claimed_until_its_lease_ends() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.claim_one("stock");
    scene.wait(LEASE_MS - 1);
    assert!(scene.claim("stock").is_empty());
    assert_eq!(scene.saw(), [T::ClaimedNothing]);
    scene.wait(1);
    let drive = scene.claim_one("stock");
    assert_eq!((drive.epoch, drive.attempt), (2, 2), "rule 10: a drive that died counts");
}

#[test]
fn rule_10_a_rescheduled_branch_is_not_claimed_before_its_time() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.close(&drive, failed(200)).unwrap();
    scene.wait(199);
    assert!(scene.claim("stock").is_empty());
    scene.wait(1);
    assert_eq!(scene.claim_one("stock").attempt, 2);
}

#[test]
fn a_participant_without_work_claims_nothing() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    assert!(scene.claim("mail").is_empty());
    scene.park("pay");
    assert!(scene.claim("pay").is_empty(), "parked");
    scene.finish("stock");
    assert!(scene.claim("stock").is_empty(), "final");
    assert_eq!(scene.saw(), [T::ClaimedNothing]);
}

#[test]
pub(super) fn rule_11_the_same_token_gets_the_same_answer() {
    let mut scene = Scene::confirming(&[STOCK]);
    let first = scene.apply(claim("stock", 1)).unwrap();
    let record = scene.record().clone();
    scene.wait(1_000);
    let again = scene.apply(claim("stock", 1)).unwrap();
    assert_eq!(scene.saw(), [T::ClaimedAgain]);
    assert_eq!(again, [Drive { lease_ms: LEASE_MS - 1_000, ..first[0].clone() }]);
    assert_eq!(*scene.record(), record);
}

#[test]
fn a_token_may_claim_for_each_participant_it_hosts() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    for participant in ["stock", "pay"] {
        assert_eq!(scene.apply(claim(participant, 1)).unwrap().len(), 1);
        assert_eq!(scene.saw(), [T::Claimed]);
    }
}

#[test]
fn rule_11_a_repeated_claim_whose_lease_ran_out_gets_nothing() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.apply(claim("stock", 1)).unwrap();
    scene.wait(LEASE_MS);
    assert_eq!(scene.apply(claim("stock", 1)), Ok(Vec::new()), "its caller has given up long since");
    assert_eq!(scene.branch(1).epoch, 1);
}

#[test]
fn rule_11_a_repeated_claim_gets_nothing_of_a_branch_it_has_closed() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.apply(claim("stock", 1)).unwrap().remove(0);
    assert!(matches!(scene.close(&drive, failed(0)), Ok(Closed::Rescheduled(_))));
    assert_eq!(scene.apply(claim("stock", 1)), Ok(Vec::new()));
    assert_eq!(scene.claim_one("stock").epoch, 2, "another token takes it");
}

#[test]
fn rule_09_a_branch_that_waits_does_not_hold_up_its_sibling() {
    let mut scene = Scene::confirming(&[STOCK, STOCK]);
    let drives = scene.claim("stock");
    scene.close(&drives[0], failed(50_000)).unwrap();
    scene.close(&drives[1], failed(0)).unwrap();
    assert_eq!(scene.claim_one("stock").ordinal, nth(2));
    let drives = scene.claim("stock");
    assert!(drives.is_empty(), "the one waits, the other is leased");
}

#[test]
fn a_claim_tells_for_how_long_its_branch_has_been_ongoing_or_handed_on() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.close(&drive, How::Release { after_ms: 0, unhandled: true }).unwrap();
    scene.wait(300);
    let drive = scene.claim_one("stock");
    assert_eq!((drive.ongoing_ms, drive.unhandled_ms), (None, Some(300)));
    scene.close(&drive, How::Ongoing { after_ms: 0 }).unwrap();
    scene.wait(200);
    let drive = scene.claim_one("stock");
    assert_eq!((drive.ongoing_ms, drive.unhandled_ms), (Some(200), None));
}

#[test]
fn rule_11_a_repeated_claim_takes_nothing_that_came_due_since_and_leaves_its_message() {
    let mut scene = Scene::confirming(&[STOCK, STOCK]);
    let drives = scene.claim("stock");
    scene.close(&drives[0], failed(0)).unwrap();
    scene.close(&drives[1], failed(700)).unwrap();
    let first = scene.apply(claim("stock", 1)).unwrap();
    scene.wait(700);
    scene.sweep();
    let again = scene.apply(claim("stock", 1)).unwrap();
    assert_eq!(again.iter().map(|drive| drive.ordinal).collect::<Vec<_>>(), [first[0].ordinal]);
    assert_eq!(scene.standing(), ["stock"]);
    assert_eq!(scene.claim_one("stock").ordinal, nth(2), "another token takes it");
}

#[test]
pub(super) fn a_claim_leaves_what_is_paused_and_its_message() {
    let mut scene = Scene::confirming(&[STOCK, "stock.count@1"]);
    let around = |token| ClaimWork { except: vec![text(STOCK)], ..claim("stock", token) };
    let drives = scene.apply(around(7)).unwrap();
    assert_eq!(drives.iter().map(|drive| drive.ordinal).collect::<Vec<_>>(), [nth(2)]);
    assert_eq!(scene.saw(), [T::Claimed, T::ClaimedAround]);
    assert_eq!((scene.branch(1).attempts, scene.branch(1).epoch), (0, 0), "it spends no attempt");
    assert_eq!(scene.standing(), ["stock"], "what is paused is rung in growing intervals");
    assert!(scene.timer() > Some(0), "the timer waits for the message");
    scene.close(&drives[0], done(&drives[0])).unwrap();
    assert_eq!(scene.apply(around(8)).unwrap(), []);
    assert_eq!(scene.claim_one("stock").attempt, 1, "it is driven once it is resumed");
}
