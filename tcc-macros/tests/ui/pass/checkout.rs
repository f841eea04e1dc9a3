//! Two participants in one transaction: tried together, both confirmed; one refused, the other cancelled.

#[path = "support/mod.rs"]
mod support;

use serde::{Deserialize, Serialize};
use support::{Journal, SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TransactionErrorKind, TryCx, TryOutcome};

struct Inventory(Journal);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Hold {
    lot: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("{sku} is out of stock")]
struct OutOfStock {
    sku: String,
}

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(
        try,
        confirm = confirm_reserve,
        cancel = cancel_reserve,
        timeout = "2s",
        retry(max = 20, base = "100ms", cap = "60s"),
    )]
    pub async fn reserve(&self, _cx: &TryCx, sku: String, qty: u32) -> Result<Hold, OutOfStock> {
        if qty > 9 { Err(OutOfStock { sku }) } else { Ok(Hold { lot: qty.into() }) }
    }

    async fn confirm_reserve(
        &self,
        _cx: &ConfirmCx,
        sku: String,
        qty: u32,
        hold: Hold,
    ) -> Result<(), PhaseError> {
        self.0.write(format!("confirm {qty} {sku} of lot {}", hold.lot));
        Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        sku: String,
        qty: u32,
        hold: TryOutcome<Hold>,
    ) -> Result<(), PhaseError> {
        self.0.write(format!("cancel {qty} {sku}: {hold:?}"));
        Ok(())
    }
}

struct Payment(Journal);

#[tcc::participant(name = "payment")]
impl Payment {
    #[tcc(try, confirm = capture, cancel = void)]
    pub async fn authorize(&self, _cx: &TryCx, cents: u64) -> Result<String, std::fmt::Error> {
        Ok(format!("auth-{cents}"))
    }

    async fn capture(&self, _cx: &ConfirmCx, cents: u64, auth: String) -> Result<(), PhaseError> {
        self.0.write(format!("capture {cents} by {auth}"));
        Ok(())
    }

    async fn void(&self, _cx: &CancelCx, cents: u64, auth: TryOutcome<String>) -> Result<(), PhaseError> {
        self.0.write(format!("void {cents}: {auth:?}"));
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let journal = Journal::default();
    let (inventory, payment) = (Inventory(journal.clone()), Payment(journal.clone()));
    let runtime = start(|builder| builder.participant(inventory).participant(payment)).await;
    let transaction = || runtime.transaction("checkout").wait_final(SOON);

    let (hold, auth) = transaction()
        .run(async |tx| {
            let sku = String::from("anvil");
            Ok(tcc::try_join!(InventoryTcc::new(tx).reserve(sku, 2), PaymentTcc::new(tx).authorize(900))?)
        })
        .await
        .unwrap();
    assert_eq!((hold, auth.as_str()), (Hold { lot: 2 }, "auth-900"));
    journal.until(&["capture 900 by auth-900", "confirm 2 anvil of lot 2"]).await;

    let error = transaction()
        .run(async |tx| {
            PaymentTcc::new(tx).authorize(1).await?;
            InventoryTcc::new(tx).reserve("anvil".into(), 10).await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Aborted);
    let expected = ["cancel 10 anvil: Refused", "void 1: Succeeded(\"auth-1\")"];
    let lines = journal.lines();
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "{line} in {lines:?}");
    }
}
