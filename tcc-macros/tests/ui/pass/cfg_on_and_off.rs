//! `#[cfg]` on the three methods of an action takes its client method and its dispatcher entry with it.
#![deny(warnings)]

use std::sync::Arc;
use tcc::{CancelCx, ConfirmCx, Participant, PhaseError, TryCx, TryOutcome, Tx};

pub struct Inventory;

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[cfg(all())]
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve)]
    pub async fn reserve(&self, _cx: &TryCx, qty: u32) -> Result<u32, std::fmt::Error> {
        Ok(qty)
    }

    // Needed by `reserve` and by `restock`, so it stands under the conditions of neither.
    async fn confirm_reserve(&self, _cx: &ConfirmCx, _qty: u32, _hold: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(all())]
    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _qty: u32,
        _hold: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(any())]
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_restock, reads(1 = nowhere), version = 2)]
    pub async fn restock(&self, _cx: &TryCx, qty: Missing) -> Result<u32, std::fmt::Error> {
        Ok(qty)
    }

    #[cfg(any())]
    async fn cancel_restock(
        &self,
        _cx: &CancelCx,
        _qty: Missing,
        _hold: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(all())]
    #[tcc(try, confirm = confirm_count, cancel = cancel_count)]
    pub async fn count(&self, _cx: &TryCx, aisle: u8) -> Result<u32, std::fmt::Error> {
        Ok(aisle.into())
    }

    #[cfg(all())]
    async fn confirm_count(&self, _cx: &ConfirmCx, _aisle: u8, _count: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(all())]
    async fn cancel_count(
        &self,
        _cx: &CancelCx,
        _aisle: u8,
        _count: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(any())]
    #[tcc(try, confirm = confirm_count, cancel = cancel_count)]
    pub async fn count(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
        Ok(0)
    }

    #[cfg(any())]
    async fn confirm_count(&self, _cx: &ConfirmCx, _count: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(any())]
    async fn cancel_count(&self, _cx: &CancelCx, _count: TryOutcome<u32>) -> Result<(), PhaseError> {
        Ok(())
    }
}

trait Absent: Sized {
    fn restock(self) -> bool {
        true
    }
}

impl Absent for InventoryTcc {}

pub fn absent_method_is_the_trait_s(tx: &Tx) -> bool {
    let _ = InventoryTcc::new(tx).count(3);
    InventoryTcc::new(tx).restock()
}

pub struct Nothing;

// All of its actions are off here.
#[tcc::participant(name = "nothing")]
impl Nothing {
    #[cfg(any())]
    #[tcc(try, confirm = confirm, cancel = cancel)]
    pub async fn reserve(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
        Ok(0)
    }

    #[cfg(any())]
    async fn confirm(&self, _cx: &ConfirmCx, _hold: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    #[cfg(any())]
    async fn cancel(&self, _cx: &CancelCx, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
        Ok(())
    }
}

fn main() {
    assert_eq!(Inventory::actions(&Arc::new(Inventory)).len(), 2);
    assert_eq!(Nothing::actions(&Arc::new(Nothing)).len(), 0);
}
