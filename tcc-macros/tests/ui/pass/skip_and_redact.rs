//! A skipped argument reaches the try only, and need not be storable; a redacted one reaches all three.

#[path = "support/mod.rs"]
mod support;

use std::sync::mpsc::Sender;
use support::{Journal, SOON};
use tcc::{CancelCx, ConfirmCx, MemoryStore, PhaseError, Runtime, TryCx, TryOutcome};

struct Payment(Journal);

#[tcc::participant(name = "payment")]
impl Payment {
    #[tcc(try, confirm = capture, cancel = void)]
    async fn authorize(
        &self,
        _cx: &TryCx,
        #[tcc(skip)] trace: Sender<&'static str>,
        #[tcc(redact)] card: String,
        #[tcc(skip)] label: &'static str,
        cents: u64,
    ) -> Result<(), std::fmt::Error> {
        trace.send(label).map_err(|_| std::fmt::Error)?;
        self.0.write(format!("authorize {cents} on {card}"));
        Ok(())
    }

    async fn capture(&self, _cx: &ConfirmCx, card: String, cents: u64, _done: ()) -> Result<(), PhaseError> {
        self.0.write(format!("capture {cents} from {card}"));
        Ok(())
    }

    async fn void(
        &self,
        _cx: &CancelCx,
        _card: String,
        _cents: u64,
        _done: TryOutcome<()>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (journal, store) = (Journal::default(), MemoryStore::new());
    let runtime =
        Runtime::builder().store(store.clone()).participant(Payment(journal.clone())).start().await.unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime
        .transaction("checkout")
        .wait_final(SOON)
        .run(async |tx| {
            PaymentTcc::new(tx).authorize(sender, "4111".into(), "unstored", 900).await?;
            let stored = format!("{:?}", store.records());
            assert!(stored.contains("900") && !stored.contains("unstored"), "{stored}");
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(receiver.recv(), Ok("unstored"));
    journal.until(&["authorize 900 on 4111", "capture 900 from 4111"]).await;
}
