//! The crate under another name, said with `crate = …`. That nothing else names it is a unit test of the macros.

extern crate tcc as saga;

mod reexported {
    pub use saga::*;
}

use saga::{CancelCx, ConfirmCx, PhaseError, Runtime, TransactionError, TryCx, TryOutcome, Tx};

struct Inventory;

#[saga::participant(name = "inventory", crate = saga)]
impl Inventory {
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve, timeout = "1s", retry(max = 2))]
    async fn reserve(&self, _cx: &TryCx, qty: u32) -> Result<u32, std::fmt::Error> {
        Ok(qty)
    }

    async fn confirm_reserve(&self, _cx: &ConfirmCx, _qty: u32, _hold: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _qty: u32,
        _hold: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

mod inner {
    use super::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

    pub struct Payment;

    #[saga::participant(name = "payment", crate = super::reexported)]
    impl Payment {
        #[tcc(try, confirm = capture, cancel = void)]
        pub async fn authorize(&self, _cx: &TryCx, cents: u64) -> Result<u64, std::fmt::Error> {
            Ok(cents)
        }

        async fn capture(&self, _cx: &ConfirmCx, _cents: u64, _auth: u64) -> Result<(), PhaseError> {
            Ok(())
        }

        async fn void(&self, _cx: &CancelCx, _cents: u64, _auth: TryOutcome<u64>) -> Result<(), PhaseError> {
            Ok(())
        }
    }
}

#[saga::transaction(name = "checkout", runtime = runtime, timeout = "1s", crate = crate::reexported)]
async fn checkout(tx: &Tx, runtime: &Runtime, qty: u32) -> Result<u32, TransactionError> {
    assert_eq!(InventoryTcc::new(tx).reserve(qty).await.unwrap(), qty);
    assert_eq!(inner::PaymentTcc::new(tx).authorize(7).await.unwrap(), 7);
    Ok(qty)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let runtime = Runtime::builder()
        .store(saga::MemoryStore::new())
        .participant(Inventory)
        .participant(inner::Payment)
        .start()
        .await
        .unwrap();
    assert_eq!(checkout(&runtime, 3).await.unwrap(), 3);
}
