//! A method as a transaction: callers do not see `tx`, `Ok` confirms, `Err` comes back as it is and cancels.

#[path = "support/mod.rs"]
mod support;

use support::{Journal, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, Runtime, TransactionError, TryCx, TryError, TryOutcome, Tx};

struct Inventory(Journal);

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn reserve(&self, _cx: &TryCx, qty: u32) -> Result<u32, std::fmt::Error> {
        Ok(qty)
    }

    async fn confirm(&self, _cx: &ConfirmCx, qty: u32, _hold: u32) -> Result<(), PhaseError> {
        self.0.write(format!("confirm {qty}"));
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, qty: u32, hold: TryOutcome<u32>) -> Result<(), PhaseError> {
        self.0.write(format!("cancel {qty} {hold:?}"));
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum CheckoutError {
    #[error("too many: {0}")]
    TooMany(u32),
    #[error(transparent)]
    Reserve(#[from] TryError<std::fmt::Error>),
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

struct Shop {
    runtime: Runtime,
    limit: u32,
}

impl Shop {
    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    #[tcc::transaction(name = "checkout", timeout = "30s")]
    async fn checkout(
        &self,
        tx: &Tx,
        (sku, mut qty): (&str, u32),
        more: Option<u32>,
    ) -> Result<String, CheckoutError> {
        let reserved = InventoryTcc::new(tx).reserve(qty).await?;
        let Some(more) = more else { return Ok(format!("{reserved} {sku}")) };
        qty += more;
        if qty > self.limit {
            return Err(CheckoutError::TooMany(qty));
        }
        Ok(format!("{qty} {sku}"))
    }

    #[tcc::transaction(name = "checkout")]
    async fn by_arc(self: std::sync::Arc<Self>, tx: &tcc::Tx) -> Result<u32, CheckoutError> {
        Ok(InventoryTcc::new(tx).reserve(self.limit).await?)
    }

    #[tcc::transaction(name = "counted", runtime = Runtime::clone(&self.runtime))]
    async fn counts(&mut self, _: &Tx) -> Result<u32, CheckoutError> {
        self.limit += 1;
        Ok(self.limit)
    }
}

#[tokio::main]
async fn main() {
    let journal = Journal::default();
    let runtime = start(|builder| builder.participant(Inventory(journal.clone()))).await;
    let mut shop = Shop { runtime, limit: 5 };

    assert_eq!(shop.checkout(("anvil", 2), None).await.unwrap(), "2 anvil");
    journal.until(&["confirm 2"]).await;
    let error = shop.checkout(("anvil", 3), Some(4)).await.unwrap_err();
    assert!(matches!(error, CheckoutError::TooMany(7)), "{error:?}");
    journal.until(&["cancel 3 Succeeded(3)", "confirm 2"]).await;

    assert_eq!(shop.counts().await.unwrap(), 6);
    let shop = std::sync::Arc::new(shop);
    // The future is `Send`, whatever it holds on to.
    assert_eq!(tokio::spawn(shop.by_arc()).await.unwrap().unwrap(), 6);
}
