//! What sweepers do (rules 1, 7, 8 and 12).

use super::scene::*;
use crate::{
    machine::{How, Refusal, Transition as T},
    record::{Bell, Direction, Reason},
};

#[test]
pub(super) fn rule_12_a_transaction_whose_initiator_died_is_cancelled_when_its_lease_ends() {
    let mut scene = Scene::tried(&[STOCK, PAY]);
    scene.wait(INITIATOR_MS);
    let swept = scene.sweep();
    assert_eq!((swept.decided, swept.rung), (Some(Reason::InitiatorLost), 2));
    assert_eq!(scene.saw(), [T::Decided(Direction::Cancel, Reason::InitiatorLost), T::Rung, T::Rung]);
    assert_eq!(scene.record().decision.as_ref().unwrap().by.as_str(), "sweeper");
    assert_eq!(scene.standing(), ["pay", "stock"]);
}

#[test]
pub(super) fn rule_01_a_transaction_is_cancelled_at_its_deadline_though_its_initiator_lives() {
    let mut scene = Scene::tried(&[STOCK]);
    scene.apply(crate::machine::KeepAlive { lease_ms: 10 * TIMEOUT_MS }).unwrap();
    scene.wait(TIMEOUT_MS - 1);
    assert_eq!(scene.sweep().decided, None);
    assert_eq!(scene.timer(), Some(1));
    scene.wait(1);
    assert_eq!(scene.sweep().decided, Some(Reason::DeadlinePassed));
    assert_eq!(scene.saw(), [T::Decided(Direction::Cancel, Reason::DeadlinePassed), T::Rung]);
    assert_eq!(scene.record().decision.as_ref().unwrap().direction, Direction::Cancel);
}

#[test]
pub(super) fn a_sweep_that_comes_early_does_nothing() {
    let mut scene = Scene::tried(&[STOCK]);
    scene.wait(INITIATOR_MS - 1);
    assert_eq!((scene.sweep().decided, scene.saw()), (None, [T::SweptEarly].as_slice()));

    let mut scene = Scene::confirming(&[STOCK]);
    scene.claim_one("stock");
    let record = scene.record().clone();
    scene.wait(LEASE_MS - 1);
    assert_eq!((scene.sweep().rung, scene.saw()), (0, [T::SweptEarly].as_slice()));
    assert_eq!(*scene.record(), record);
}

#[test]
pub(super) fn a_sweep_of_what_needs_nobody_does_nothing() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.park("stock");
    assert_eq!((scene.sweep().next, scene.saw()), (None, [T::SweptIdle].as_slice()));
    scene.redrive(&[]).unwrap();
    scene.finish("stock");
    assert_eq!((scene.sweep().next, scene.saw()), (None, [T::SweptIdle].as_slice()));
}

#[test]
fn an_abandoned_transaction_without_branches_ends_at_once() {
    let mut scene = Scene::begun();
    scene.wait(INITIATOR_MS);
    let swept = scene.sweep();
    assert_eq!((swept.decided, swept.rung, swept.next), (Some(Reason::InitiatorLost), 0, None));
    let decided = T::Decided(Direction::Cancel, Reason::InitiatorLost);
    assert_eq!(scene.saw(), [decided, T::Ended(Direction::Cancel)]);
}

#[test]
pub(super) fn rule_08_a_message_nobody_took_is_rung_again_in_growing_intervals() {
    let mut scene = Scene::confirming(&[STOCK]);
    for (count, seconds) in (1..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let again_at = scene.now() + ms(seconds * 1_000);
        assert_eq!(scene.record().bells["stock"], Bell { count, again_at });
        assert_eq!(scene.timer(), Some(seconds * 1_000));
        scene.wait(seconds * 1_000 - 1);
        assert_eq!(scene.sweep().rung, 0, "a message stands");
        scene.wait(1);
        assert_eq!(scene.sweep().rung, 1);
        assert_eq!(scene.saw(), [T::Rung]);
        assert_eq!(scene.standing(), ["stock"], "it replaces the one that stands");
    }
}

#[test]
fn rule_08_a_claim_ends_the_growth_of_the_intervals() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.wait(1_000);
    scene.sweep();
    let drive = scene.claim_one("stock");
    scene.close(&drive, failed(0)).unwrap();
    scene.sweep();
    assert_eq!(scene.record().bells["stock"].count, 1);
}

#[test]
fn rule_07_a_branch_whose_driver_died_is_rung_for_when_its_lease_ends() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.claim_one("stock");
    scene.finish("pay");
    scene.wait(LEASE_MS);
    assert_eq!(scene.timer(), Some(0));
    assert_eq!((scene.sweep().rung, scene.standing()), (1, vec!["stock"]));
}

#[test]
fn a_sweep_rings_only_for_branches_that_are_due() {
    let mut scene = Scene::confirming(&[STOCK, PAY, "mail.book@1"]);
    scene.claim_one("stock");
    let drive = scene.claim_one("pay");
    scene.close(&drive, How::Ongoing { after_ms: 3_000 }).unwrap();
    scene.park("mail");
    scene.wait(2_999);
    assert_eq!((scene.sweep().rung, scene.timer()), (0, Some(1)));
    scene.wait(1);
    assert_eq!((scene.sweep().rung, scene.standing()), (1, vec!["pay"]));
    assert_eq!(scene.timer(), Some(1_000));
}

#[test]
fn the_timer_of_a_missing_record_is_removed() {
    use crate::machine::{Due, Op, apply};
    let step = apply(&mut None, None, &Op::Sweep(sweep()), Scene::new().now());
    assert_eq!((step.result, step.effects.due), (Err(Refusal::NotFound), Due::Remove));
}
