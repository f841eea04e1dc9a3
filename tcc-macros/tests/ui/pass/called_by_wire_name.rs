//! What the macro writes can be called by wire name too, with the arguments as an object of their names.

#[path = "support/mod.rs"]
mod support;

use support::{Journal, SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryError, TryOutcome};

struct Inventory(Journal);

#[derive(Debug, thiserror::Error)]
#[error("out of stock")]
struct OutOfStock;

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn reserve(&self, _cx: &TryCx, sku: String, r#type: u8) -> Result<String, OutOfStock> {
        if r#type == 0 { Err(OutOfStock) } else { Ok(format!("{sku}/{}", r#type)) }
    }

    async fn confirm(
        &self,
        _cx: &ConfirmCx,
        sku: String,
        r#type: u8,
        hold: String,
    ) -> Result<(), PhaseError> {
        self.0.write(format!("{sku} {} {hold}", r#type));
        Ok(())
    }

    async fn cancel(
        &self,
        _cx: &CancelCx,
        _sku: String,
        _type: u8,
        hold: TryOutcome<String>,
    ) -> Result<(), PhaseError> {
        self.0.write(format!("{hold:?}"));
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let journal = Journal::default();
    let runtime = start(|builder| builder.participant(Inventory(journal.clone()))).await;
    runtime
        .transaction("checkout")
        .wait_final(SOON)
        .run(async |tx| {
            let arguments = serde_json::json!({ "sku": "anvil", "type": 7 });
            let reserved = tx.call("inventory.reserve@1", &arguments).await?;
            assert_eq!(reserved.as_str(), "\"anvil/7\"");
            let arguments = serde_json::json!({ "sku": "anvil", "type": 0 });
            let refused = tx.call("inventory.reserve@1", &arguments).await.unwrap_err();
            assert!(matches!(refused, TryError::Rejected(why) if why.to_string() == "out of stock"));
            Ok(())
        })
        .await
        .unwrap();
    journal.until(&["Refused", "anvil 7 anvil/7"]).await;
}
