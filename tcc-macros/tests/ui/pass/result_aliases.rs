//! Return types may be written as any alias of `Result`.

#[path = "support/mod.rs"]
mod support;

use support::{SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TransactionError, TryCx, TryOutcome, Tx};

mod shop {
    #[derive(Debug, thiserror::Error)]
    #[error("shop: {0}")]
    pub struct Error<C: std::fmt::Debug>(pub C);

    pub type Result<T, C = u8> = std::result::Result<T, Error<C>>;
    pub type Reserved = Result<u32, String>;
}

type Done = Result<(), PhaseError>;
type Context = ConfirmCx;

struct Inventory;

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn one(&self, _cx: &TryCx) -> shop::Result<u32> {
        Ok(1)
    }

    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn two(&self, _cx: &TryCx) -> shop::Result<u32, String> {
        Ok(2)
    }

    #[tcc(try, confirm = confirm, cancel = cancel)]
    async fn three(&self, _cx: &TryCx) -> shop::Reserved {
        Ok(3)
    }

    async fn confirm(&self, cx: &ConfirmCx, _hold: u32) -> Done {
        let _: &Context = cx;
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, _hold: TryOutcome<u32>) -> tcc_result::Phase {
        Ok(())
    }
}

mod tcc_result {
    pub type Phase<T = ()> = Result<T, tcc::PhaseError>;
}

type Transacted<T> = Result<T, TransactionError>;

#[tcc::transaction(name = "alias", runtime = runtime)]
async fn transacted(_tx: &Tx, runtime: &tcc::Runtime) -> Transacted<u32> {
    Ok(4)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let runtime = start(|builder| builder.participant(Inventory)).await;
    let sum = runtime
        .transaction("sum")
        .wait_final(SOON)
        .run(async |tx| {
            let client = InventoryTcc::new(tx);
            let (one, two, three) =
                tcc::try_join!(client.clone().one(), client.clone().two(), client.three())?;
            Ok(one + two + three)
        })
        .await
        .unwrap();
    assert_eq!(sum + transacted(&runtime).await.unwrap(), 10);
}
