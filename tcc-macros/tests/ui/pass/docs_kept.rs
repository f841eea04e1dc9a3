//! Documentation of a try is its client method's too, and where there is none the client has its own.
#![deny(warnings, missing_docs, rustdoc::all)]

use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

/// Stock.
pub struct Inventory;

#[tcc::participant(name = "inventory")]
impl Inventory {
    /// Sets pieces aside, see [`Self::count`].
    #[doc = "In two ways."]
    #[deprecated = "use `count`"]
    #[tcc(try, confirm = confirm, cancel = cancel)]
    pub async fn reserve(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
        Ok(1)
    }

    /// Counts.
    #[must_use]
    pub fn count(&self) -> u32 {
        1
    }

    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn undocumented(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
        Ok(1)
    }

    async fn confirm(&self, _cx: &ConfirmCx, _hold: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
        Ok(())
    }
}

/// Uses it.
#[expect(deprecated)]
pub fn uses(tx: &tcc::Tx) {
    let _ = InventoryTcc::new(tx).reserve();
    let _ = InventoryTcc::new(tx).undocumented();
}

fn main() {}
