//! Invariant I10: every open transaction has a timer, never later than its work, unless it is wholly
//! parked. The scene checks it after every operation; here are the ways it could be broken.

use super::scene::*;
use crate::{
    machine::{Close, How, Renew},
    record::Token,
};

#[test]
fn invariant_10_a_claimed_branch_is_looked_after_when_its_lease_ends() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.claim_one("stock");
    assert_eq!(scene.timer(), Some(1_000), "the timer only moves earlier");
    scene.wait(1_000);
    assert_eq!(scene.sweep().next, Some(scene.now() + ms(LEASE_MS - 1_000)));
}

#[test]
fn invariant_10_a_claim_that_is_closed_early_moves_the_timer_earlier() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.wait(1_000);
    scene.sweep();
    scene.close(&drive, failed(1_500)).unwrap();
    assert_eq!(scene.timer(), Some(1_500));
}

#[test]
fn invariant_10_the_earliest_of_the_branches_closed_together_counts() {
    for order in [[0, 1], [1, 0]] {
        let mut scene = Scene::confirming(&[STOCK, STOCK]);
        let drives = scene.claim("stock");
        scene.wait(1_000);
        scene.sweep();
        let closes = [close(&drives[0], failed(100)), close(&drives[1], failed(2_000))];
        scene.apply(Close { drives: order.map(|n: usize| closes[n].clone()).to_vec() }).unwrap();
        assert_eq!(scene.timer(), Some(100));
    }
}

#[test]
fn invariant_10_a_wholly_parked_transaction_has_no_timer_until_it_is_redriven() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.park("stock");
    assert!(scene.timer().is_some());
    scene.park("pay");
    assert_eq!(scene.timer(), None);
    scene.redrive(&[2]).unwrap();
    assert_eq!(scene.timer(), Some(0));
}

#[test]
fn invariant_10_a_clock_that_leaps_past_every_lease_leaves_everything_to_be_found() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.claim_one("stock");
    let drive = scene.claim_one("pay");
    scene.close(&drive, How::Release { after_ms: 10, unhandled: false }).unwrap();
    scene.wait(10_000_000);
    assert_eq!(scene.timer(), Some(0));
    assert_eq!((scene.sweep().rung, scene.standing()), (2, vec!["pay", "stock"]));
}

/// Two branches of one participant: the first is due, the second in 700 ms, and a message stands.
fn one_due_one_later() -> Scene {
    let mut scene = Scene::confirming(&[STOCK, STOCK]);
    let drives = scene.claim("stock");
    scene.close(&drives[0], failed(0)).unwrap();
    scene.close(&drives[1], failed(700)).unwrap();
    scene.sweep();
    assert_eq!((scene.standing(), scene.timer()), (vec!["stock"], Some(1_000)));
    scene
}

#[test]
fn invariant_10_a_claim_takes_the_message_away_and_the_timer_watches_what_it_left() {
    let mut scene = one_due_one_later();
    assert_eq!(scene.claim("stock").len(), 1);
    assert_eq!(scene.timer(), Some(700));
}

#[test]
fn invariant_10_a_claim_that_finds_nothing_leaves_the_timer_to_watch() {
    let mut scene = one_due_one_later();
    let drive = scene.apply(claim("stock", 1)).unwrap().remove(0);
    scene.close(&drive, failed(50)).unwrap();
    scene.wait(50);
    scene.sweep();
    scene.apply(claim("stock", 2)).unwrap();
    scene.wait(100);
    assert!(scene.claim("stock").is_empty());
    assert_eq!(scene.timer(), Some(550));
}

#[test]
fn invariant_10_a_claim_renewed_after_it_ran_out_is_watched_from_the_next_ringing_on() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.apply(claim("stock", 1)).unwrap();
    scene.wait(LEASE_MS);
    scene.sweep();
    scene.apply(Renew { token: Token(1), branches: vec![(nth(1), 1)], lease_ms: 400 }).unwrap();
    assert_eq!(scene.timer(), Some(1_000), "until then a message stands");
    scene.wait(400);
    assert_eq!(scene.sweep().rung, 0);
    scene.wait(600);
    assert_eq!(scene.sweep().rung, 1);
}
