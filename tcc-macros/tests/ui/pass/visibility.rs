//! The client is as visible as its most visible action, and each of its methods as its try.
#![deny(warnings, unreachable_pub, missing_debug_implementations, missing_copy_implementations)]

mod warehouse {
    use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

    #[derive(Debug)]
    pub(crate) struct Inventory(pub(crate) String);

    #[tcc::participant(name = "inventory")]
    impl Inventory {
        #[tcc(try, confirm = confirm, cancel = cancel)]
        pub(crate) async fn reserve(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
            Ok(1)
        }

        #[tcc(try, confirm = confirm, cancel = cancel)]
        async fn count(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
            Ok(2)
        }

        async fn confirm(&self, _cx: &ConfirmCx, _hold: u32) -> Result<(), PhaseError> {
            Ok(())
        }

        async fn cancel(&self, _cx: &CancelCx, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
            Ok(())
        }
    }

    pub(crate) fn private_method_is_visible_beside_the_impl(tx: &tcc::Tx) {
        let _ = InventoryTcc::new(tx).count();
    }

    #[derive(Debug)]
    pub(crate) struct Ledger(pub(crate) String);

    #[tcc::participant(name = "ledger", client = LedgerClient, vis = pub(super))]
    impl Ledger {
        #[tcc(try, confirm = confirm, cancel = cancel)]
        pub(in crate::warehouse) async fn enter(&self, _cx: &TryCx) -> Result<u32, std::fmt::Error> {
            Ok(1)
        }

        async fn confirm(&self, _cx: &ConfirmCx, _hold: u32) -> Result<(), PhaseError> {
            Ok(())
        }

        async fn cancel(&self, _cx: &CancelCx, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
            Ok(())
        }
    }

    pub(crate) fn enters(tx: &tcc::Tx) {
        let _ = LedgerClient::new(tx).enter();
    }
}

/// A public try may take a type that is not, as long as its participant is not public either.
mod private_types {
    use serde::{Deserialize, Serialize};
    use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

    #[derive(Serialize, Deserialize)]
    struct Sku;

    struct Shelf;

    #[tcc::participant(name = "shelf")]
    impl Shelf {
        #[tcc(try, confirm = confirm, cancel = cancel)]
        #[allow(unreachable_pub)]
        pub async fn reserve(&self, _cx: &TryCx, _sku: Sku) -> Result<u32, std::fmt::Error> {
            Ok(1)
        }

        async fn confirm(&self, _cx: &ConfirmCx, _sku: Sku, _hold: u32) -> Result<(), PhaseError> {
            Ok(())
        }

        async fn cancel(&self, _cx: &CancelCx, _sku: Sku, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
            Ok(())
        }
    }

    pub(crate) fn reserves(tx: &tcc::Tx) {
        let _ = tcc::Runtime::builder().participant(Shelf);
        let _ = ShelfTcc::new(tx).reserve(Sku);
    }
}

pub fn uses(tx: &tcc::Tx) {
    let _ = tcc::Runtime::builder().participant(warehouse::Inventory(String::new()));
    let _ = tcc::Runtime::builder().participant(warehouse::Ledger(String::new()));
    let _ = warehouse::InventoryTcc::new(tx).reserve();
    let _ = warehouse::LedgerClient::new(tx);
    warehouse::private_method_is_visible_beside_the_impl(tx);
    warehouse::enters(tx);
    private_types::reserves(tx);
}

fn main() {}
