//! A participant and a transaction inside a function body, and in a module nobody else sees.
#![deny(warnings)]

#[path = "support/mod.rs"]
mod support;

use support::{SOON, start};

mod private {
    mod deeper {
        use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

        pub(in crate::private) struct Payment;

        #[tcc::participant(name = "payment")]
        impl Payment {
            #[tcc(try, confirm = confirm, cancel = cancel)]
            pub(super) async fn pay(&self, _cx: &TryCx, cents: super::Cents) -> Result<u32, super::Declined> {
                Ok(cents)
            }

            async fn confirm(&self, _cx: &ConfirmCx, _cents: u32, _hold: u32) -> Result<(), PhaseError> {
                Ok(())
            }

            async fn cancel(
                &self,
                _cx: &CancelCx,
                _cents: u32,
                _hold: TryOutcome<u32>,
            ) -> Result<(), PhaseError> {
                Ok(())
            }
        }
    }

    type Cents = u32;

    #[derive(Debug, thiserror::Error)]
    #[error("declined")]
    struct Declined;

    pub(crate) async fn pays() -> u32 {
        let runtime = super::start(|builder| builder.participant(deeper::Payment)).await;
        let pays = runtime.transaction("pay").run(async |tx| Ok(deeper::PaymentTcc::new(tx).pay(4).await?));
        pays.await.unwrap()
    }
}

async fn reserves() -> u32 {
    use tcc::{CancelCx, ConfirmCx, PhaseError, Runtime, TransactionError, TryCx, TryOutcome, Tx};

    struct Inventory;

    type Pieces = u32;

    #[tcc::participant(name = "inventory")]
    impl Inventory {
        #[tcc(try, confirm = confirm, cancel = cancel)]
        async fn reserve(&self, _cx: &TryCx, qty: Pieces) -> Result<Pieces, std::fmt::Error> {
            Ok(qty)
        }

        async fn confirm(&self, _cx: &ConfirmCx, _qty: Pieces, _hold: Pieces) -> Result<(), PhaseError> {
            Ok(())
        }

        async fn cancel(
            &self,
            _cx: &CancelCx,
            _qty: u32,
            _hold: TryOutcome<Pieces>,
        ) -> Result<(), PhaseError> {
            Ok(())
        }
    }

    #[tcc::transaction(name = "count", runtime = runtime)]
    async fn count(tx: &Tx, runtime: &Runtime) -> Result<Pieces, TransactionError> {
        Ok(InventoryTcc::new(tx).reserve(2).await.unwrap())
    }

    let runtime = start(|builder| builder.participant(Inventory)).await;
    let reserved = runtime
        .transaction("reserve")
        .wait_final(SOON)
        .run(async |tx| Ok(InventoryTcc::new(tx).reserve(1).await?))
        .await
        .unwrap();
    reserved + count(&runtime).await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    assert_eq!(reserves().await + private::pays().await, 7);
    support::Journal::default().until(&[]).await;
}
