//! Beginning, and business keys (rules 3 and 15).

use super::scene::*;
use crate::{
    machine::{Begin, Begun, Create, Refusal, Transition as T},
    name::BusinessKey,
    record::{FORMAT, TransactionState},
};

fn keyed(scene: &Scene) -> Create {
    Create { key: Some(text::<BusinessKey>("order 17")), ..scene.create() }
}

/// A transaction with the key, cancelled for good.
fn cancelled_with_key() -> Scene {
    let mut scene = Scene::new();
    scene.apply(begin(keyed(&scene))).unwrap();
    scene.cancel();
    scene
}

#[test]
pub(super) fn a_begin_makes_an_empty_record_with_lease_and_deadline() {
    let mut scene = Scene::new();
    let create = scene.create();
    assert_eq!(scene.apply(begin(create.clone())), Ok(Begun::New));
    assert_eq!(scene.saw(), [T::Begun]);
    let record = scene.record();
    assert_eq!((record.format, record.state), (FORMAT, TransactionState::Trying));
    assert_eq!(
        (&record.gid, &record.name, &record.initiator),
        (&create.gid, &create.name, &create.initiator)
    );
    assert_eq!((record.deadline_at, record.retention_ms), (create.deadline_at, RETENTION_MS));
    assert_eq!((record.begun_at, record.lease_until), (scene.now(), scene.now() + ms(INITIATOR_MS)));
    assert!(record.branches.is_empty() && record.decision.is_none());
    assert!(scene.snapshot().keys.is_empty(), "nobody asked for a key");
}

#[test]
fn someone_looks_when_lease_or_deadline_ends_whichever_is_first() {
    assert_eq!(Scene::begun().timer(), Some(INITIATOR_MS));
    let mut scene = Scene::new();
    let create = Create { lease_ms: 2 * TIMEOUT_MS, ..scene.create() };
    scene.apply(begin(create)).unwrap();
    assert_eq!(scene.timer(), Some(TIMEOUT_MS));
}

#[test]
pub(super) fn rule_14_a_repeated_begin_is_answered_as_the_first_whatever_happened_since() {
    let mut scene = Scene::new();
    let again = begin(keyed(&scene));
    scene.apply(again.clone()).unwrap();
    for _ in 0..2 {
        let record = scene.record().clone();
        assert_eq!(scene.apply(again.clone()), Ok(Begun::New));
        assert_eq!(scene.saw(), [T::BegunAgain]);
        assert_eq!(*scene.record(), record);
        scene.cancel();
    }
}

#[test]
pub(super) fn a_gid_of_another_process_or_name_is_refused() {
    let mut scene = Scene::begun();
    let foreign = Create { initiator: text("intruder"), ..scene.create() };
    assert_eq!(scene.refused(begin(foreign)), Refusal::GidTaken);
    let foreign = Create { name: text("refund"), ..scene.create() };
    assert_eq!(scene.refused(begin(foreign)), Refusal::GidTaken);
}

#[test]
pub(super) fn rule_03_nothing_begins_at_its_deadline_or_after() {
    let mut scene = Scene::new();
    let create = scene.create();
    scene.wait(TIMEOUT_MS);
    assert_eq!(scene.refused(begin(create.clone())), Refusal::TooLateToCreate);
    assert!(!scene.exists() && scene.timer().is_none());

    let mut scene = Scene::new();
    scene.wait(TIMEOUT_MS - 1);
    assert_eq!(scene.apply(begin(create)), Ok(Begun::New));
    assert_eq!(scene.timer(), Some(1));
}

#[test]
pub(super) fn rule_15_a_key_that_is_taken_leads_to_the_first_transaction() {
    let mut scene = Scene::new();
    scene.apply(begin(keyed(&scene))).unwrap();
    let first = scene.gid();
    scene.turn_to(2);
    let rival = Begin { create: keyed(&scene), again_after_cancel: true };
    assert_eq!(scene.apply(rival), Ok(Begun::Taken(first)));
    assert_eq!(scene.saw(), [T::KeyTaken]);
    assert!(!scene.exists() && scene.timer().is_none());
}

#[test]
fn rule_15_a_key_belongs_to_a_name() {
    let mut scene = Scene::new();
    scene.apply(begin(keyed(&scene))).unwrap();
    scene.turn_to(2);
    let namesake = Create { name: text("refund"), ..keyed(&scene) };
    assert_eq!(scene.apply(begin(namesake)), Ok(Begun::New));
    assert_eq!(scene.snapshot().keys.len(), 2);
}

#[test]
pub(super) fn rule_15_the_key_of_a_cancelled_transaction_can_begin_again_if_the_transaction_says_so() {
    let mut scene = cancelled_with_key();
    let first = scene.gid();
    scene.turn_to(2);
    assert_eq!(scene.apply(begin(keyed(&scene))), Ok(Begun::Taken(first)), "by default it cannot");
    let again = Begin { create: keyed(&scene), again_after_cancel: true };
    assert_eq!(scene.apply(again), Ok(Begun::New));
    assert_eq!(scene.saw(), [T::KeyTakenOver, T::Begun]);
    assert!(scene.snapshot().keys.values().eq([&scene.gid()]));
}

#[test]
fn rule_15_a_key_whose_transaction_is_still_cancelling_cannot_begin_again() {
    let mut scene = Scene::new();
    scene.apply(begin(keyed(&scene))).unwrap();
    scene.register(vec![new_branch(1, STOCK)]).unwrap();
    scene.cancel();
    let first = scene.gid();
    scene.turn_to(2);
    let again = Begin { create: keyed(&scene), again_after_cancel: true };
    assert_eq!(scene.apply(again), Ok(Begun::Taken(first)));
}

#[test]
fn rule_15_a_key_expires_with_its_record_unless_another_took_it_over() {
    let mut scene = cancelled_with_key();
    scene.wait(RETENTION_MS - 1);
    assert_eq!(scene.snapshot().keys.len(), 1);
    scene.wait(1);
    assert!(!scene.exists() && scene.snapshot().keys.is_empty());

    let mut scene = cancelled_with_key();
    scene.turn_to(2);
    scene.apply(Begin { create: keyed(&scene), again_after_cancel: true }).unwrap();
    scene.wait(RETENTION_MS);
    assert!(scene.snapshot().keys.values().eq([&scene.gid()]));
}

#[test]
fn a_begin_that_comes_too_late_leaves_the_cancelled_transaction_its_key() {
    let mut scene = cancelled_with_key();
    let first = scene.gid();
    scene.turn_to(2);
    let late = Begin { create: keyed(&scene), again_after_cancel: true };
    scene.wait(TIMEOUT_MS);
    assert_eq!(scene.refused(late), Refusal::TooLateToCreate);
    assert!(scene.snapshot().keys.values().eq([&first]));
}
