//! Leases of claims and of initiators (rules 11 and 12).

use super::scene::*;
use crate::{
    machine::{Alive, Drive, KeepAlive, Refusal, Renew, Transition as T},
    record::{Direction, Token},
};

/// Renews the claim of token 1.
fn renew(drive: &Drive, epoch: u64, lease_ms: u64) -> Renew {
    Renew { token: Token(1), branches: vec![(drive.ordinal, epoch)], lease_ms }
}

/// A claim of token 1, which the timer watches.
fn claimed() -> (Scene, Drive) {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.apply(claim("stock", 1)).unwrap().remove(0);
    scene.sweep();
    (scene, drive)
}

#[test]
pub(super) fn a_renewed_claim_lasts_longer() {
    let (mut scene, drive) = claimed();
    scene.wait(4_000);
    assert_eq!(scene.apply(renew(&drive, 1, LEASE_MS)), Ok(vec![true]));
    assert_eq!(scene.saw(), [T::Renewed]);
    assert_eq!(scene.branch(1).leased_until(scene.now()), Some(scene.now() + ms(LEASE_MS)));
    assert_eq!(scene.timer(), Some(1_000), "the sweeper, when it comes, finds the new lease");
    scene.wait(1_000);
    assert_eq!((scene.sweep().rung, scene.timer()), (0, Some(4_000)));
}

#[test]
fn a_renewal_never_shortens_a_claim() {
    let (mut scene, drive) = claimed();
    assert_eq!(scene.apply(renew(&drive, 1, 1)), Ok(vec![true]));
    assert_eq!(scene.branch(1).leased_until(scene.now()), Some(scene.now() + ms(LEASE_MS)));
}

#[test]
fn a_claim_that_ran_out_can_be_renewed_until_another_takes_the_branch() {
    let (mut scene, drive) = claimed();
    scene.wait(LEASE_MS + 1);
    assert_eq!(scene.apply(renew(&drive, 1, LEASE_MS)), Ok(vec![true]));
    assert!(scene.claim("stock").is_empty());
}

#[test]
pub(super) fn a_claim_that_is_closed_or_anothers_is_not_renewed() {
    let (mut scene, drive) = claimed();
    let missing = Renew { token: Token(1), branches: vec![(nth(2), 1)], lease_ms: LEASE_MS };
    let foreign = Renew { token: Token(2), ..renew(&drive, 1, LEASE_MS) };
    for refused in [renew(&drive, 0, LEASE_MS), renew(&drive, 2, LEASE_MS), missing, foreign] {
        let record = scene.record().clone();
        assert_eq!(scene.apply(refused), Ok(vec![false]));
        assert_eq!(scene.saw(), [T::RenewedTooLate]);
        assert_eq!(*scene.record(), record);
    }
    scene.close(&drive, failed(0)).unwrap();
    assert_eq!(scene.apply(renew(&drive, 1, LEASE_MS)), Ok(vec![false]));
    assert_eq!(Scene::new().refused(renew(&drive, 1, LEASE_MS)), Refusal::NotFound);
}

#[test]
pub(super) fn rule_12_an_initiator_that_lives_prolongs_its_lease() {
    let mut scene = Scene::begun();
    scene.wait(9_000);
    assert_eq!(scene.apply(KeepAlive { lease_ms: INITIATOR_MS }), Ok(Alive::Undecided));
    assert_eq!(scene.saw(), [T::KeptAlive]);
    assert_eq!(scene.record().lease_until, scene.now() + ms(INITIATOR_MS));
    scene.wait(1_000);
    assert_eq!((scene.sweep().decided, scene.timer()), (None, Some(9_000)));
    scene.apply(KeepAlive { lease_ms: 1 }).unwrap();
    assert_eq!(scene.record().lease_until, scene.now() + ms(9_000), "it is never shortened");
}

#[test]
fn an_initiator_learns_that_its_transaction_is_decided() {
    let keep = KeepAlive { lease_ms: INITIATOR_MS };
    let mut scene = Scene::confirming(&[STOCK]);
    let record = scene.record().clone();
    assert_eq!(scene.apply(keep.clone()), Ok(Alive::Decided(Direction::Confirm)));
    assert!(scene.saw().is_empty() && *scene.record() == record);
    assert_eq!(Scene::cancelling(&[STOCK]).apply(keep.clone()), Ok(Alive::Decided(Direction::Cancel)));
    assert_eq!(Scene::new().refused(keep), Refusal::NotFound);
}
