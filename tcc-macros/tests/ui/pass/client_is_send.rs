//! Clients, calls and transactions over them move between threads, and a call on a temporary client can be kept.

#[path = "support/mod.rs"]
mod support;

use support::{Journal, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

struct Inventory(Journal);

#[tcc::participant(name = "inventory", client = Stock)]
impl Inventory {
    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn reserve(&self, cx: &TryCx, qty: u32) -> Result<String, std::fmt::Error> {
        tokio::task::yield_now().await;
        Ok(format!("{} {qty}", cx.branch()))
    }

    async fn confirm(&self, _cx: &ConfirmCx, _qty: u32, hold: String) -> Result<(), PhaseError> {
        tokio::task::yield_now().await;
        self.0.write(hold);
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, _qty: u32, _hold: TryOutcome<String>) -> Result<(), PhaseError> {
        Ok(())
    }
}

fn assert_client<T: Clone + std::fmt::Debug + Send + Sync + 'static>() {}

#[tokio::main]
async fn main() {
    assert_client::<Stock>();
    let journal = Journal::default();
    let runtime = start(|builder| builder.participant(Inventory(journal.clone()))).await;
    let transaction = tokio::spawn(async move {
        runtime
            .transaction("checkout")
            .run(async |tx| {
                let client = Stock::new(tx);
                assert_eq!(format!("{client:?}"), "Stock { participant: \"inventory\", .. }");
                let kept = Stock::new(tx).reserve(1);
                let spawned = tokio::spawn(client.reserve(2));
                Ok((kept.await?, spawned.await??))
            })
            .await
    });
    let (one, two) = transaction.await.unwrap().unwrap();
    let mut holds = [one.as_str(), two.as_str()];
    holds.sort_unstable();
    journal.until(&holds).await;
}
