//! Raw identifiers are names without their prefix: in the store, in wire names and in the client's name.

#[path = "support/mod.rs"]
mod support;

use support::SOON;
use tcc::{CancelCx, ConfirmCx, MemoryStore, PhaseError, Runtime, TryCx, TryOutcome};

#[allow(non_camel_case_types)]
struct r#struct;

#[tcc::participant(name = "raw")]
impl r#struct {
    #[tcc(try, confirm = r#const, cancel = r#static)]
    async fn r#move(&self, _cx: &TryCx, r#type: u32, _ref: String) -> Result<u32, std::fmt::Error> {
        Ok(r#type)
    }

    async fn r#const(&self, _cx: &ConfirmCx, r#type: u32, _: String, r#in: u32) -> Result<(), PhaseError> {
        assert_eq!(r#type, r#in);
        Ok(())
    }

    async fn r#static(
        &self,
        _cx: &CancelCx,
        _type: u32,
        r#ref: String,
        _: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        drop(r#ref);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = MemoryStore::new();
    let runtime = Runtime::builder().store(store.clone()).participant(r#struct).start().await.unwrap();
    runtime
        .transaction("raw")
        .wait_final(SOON)
        .run(async |tx| {
            assert_eq!(structTcc::new(tx).r#move(7, "x".into()).await?, 7);
            let stored = format!("{:?}", store.records());
            assert!(stored.contains("raw.move@1"), "{stored}");
            assert!(stored.contains(r#"{"type":7,"_ref":"x"}"#), "{stored}");
            Ok(())
        })
        .await
        .unwrap();
}
