//! One type registered under two names is two participants, each with its own instance.

#[path = "support/mod.rs"]
mod support;

use support::{Journal, SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

struct Warehouse(Journal, &'static str);

#[tcc::participant(name = "warehouse")]
impl Warehouse {
    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn reserve(&self, _cx: &TryCx, qty: u32) -> Result<u32, std::fmt::Error> {
        Ok(qty)
    }

    async fn confirm(&self, cx: &ConfirmCx, qty: u32, _hold: u32) -> Result<(), PhaseError> {
        self.0.write(format!("{qty} in {} by {}", self.1, cx.action()));
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, _qty: u32, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let journal = Journal::default();
    let (east, west) = (Warehouse(journal.clone(), "the east"), Warehouse(journal.clone(), "the west"));
    let runtime = start(|builder| builder.participant(east).participant_as("warehouse-west", west)).await;
    runtime
        .transaction("move")
        .wait_final(SOON)
        .run(async |tx| {
            WarehouseTcc::new(tx).reserve(1).await?;
            WarehouseTcc::named(tx, "warehouse-west").reserve(2).await?;
            Ok(())
        })
        .await
        .unwrap();
    journal
        .until(&["1 in the east by warehouse.reserve@1", "2 in the west by warehouse-west.reserve@1"])
        .await;
}
