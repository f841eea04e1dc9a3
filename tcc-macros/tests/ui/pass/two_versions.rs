//! Two versions of one action live side by side; the newer may finish what an even older one began.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use support::{Journal, SOON, start};
use tcc::{CancelCx, ConfirmCx, Participant, PhaseError, Stored, TryCx, TryOutcome};

struct Inventory(Journal);

mod upgrades {
    use serde_json::json;
    use tcc::Stored;

    pub fn from_1(mut stored: Stored) -> Result<Stored, Box<dyn std::error::Error + Send + Sync>> {
        stored.arguments["qty"] = json!(stored.arguments["pieces"].as_u64().ok_or("no pieces")?);
        Ok(stored)
    }
}

fn from_2(stored: Stored) -> Result<Stored, std::fmt::Error> {
    Ok(stored)
}

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = confirm_3, cancel = cancel_3, name = "reserve", version = 3)]
    async fn reserve_v3(&self, _cx: &TryCx, qty: u32) -> Result<u32, std::fmt::Error> {
        Ok(qty)
    }

    async fn confirm_3(&self, cx: &ConfirmCx, _qty: u32, _hold: u32) -> Result<(), PhaseError> {
        self.0.write(cx.action().to_string());
        Ok(())
    }

    async fn cancel_3(&self, _cx: &CancelCx, _qty: u32, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
        Ok(())
    }

    #[tcc(
        try,
        confirm = confirm,
        cancel = cancel,
        version = 4,
        reads(1 = upgrades::from_1, 2 = from_2),
    )]
    async fn reserve(&self, _cx: &TryCx, qty: u64) -> Result<u64, std::fmt::Error> {
        Ok(qty)
    }

    async fn confirm(&self, cx: &ConfirmCx, _qty: u64, _hold: u64) -> Result<(), PhaseError> {
        self.0.write(cx.action().to_string());
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, _qty: u64, _hold: TryOutcome<u64>) -> Result<(), PhaseError> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let journal = Journal::default();
    assert_eq!(Inventory::actions(&Arc::new(Inventory(journal.clone()))).len(), 2);
    let runtime = start(|builder| builder.participant(Inventory(journal.clone()))).await;
    runtime
        .transaction("checkout")
        .wait_final(SOON)
        .run(async |tx| {
            let client = InventoryTcc::new(tx);
            tcc::try_join!(client.clone().reserve_v3(1), client.reserve(2))?;
            Ok(())
        })
        .await
        .unwrap();
    journal.until(&["inventory.reserve@3", "inventory.reserve@4"]).await;
}
