//! A generic type with its parameters filled in is like any other type, and arguments may use what it fills in.

#[path = "support/mod.rs"]
mod support;

use support::{SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

trait Repo {
    type Sku;
}

struct PgRepo;

impl Repo for PgRepo {
    type Sku = String;
}

struct Inventory<R, const SHELVES: usize>(R);

impl<R, const SHELVES: usize> Inventory<R, SHELVES> {
    const SHELVES: usize = SHELVES;
}

trait Units {
    type Unit;
}

impl Units for Inventory<PgRepo, 3> {
    type Unit = u16;
}

#[tcc::participant(name = "inventory")]
impl Inventory<PgRepo, 3> {
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve)]
    async fn reserve(
        &self,
        _cx: &TryCx,
        sku: <PgRepo as Repo>::Sku,
        unit: <Self as Units>::Unit,
        per_shelf: [u32; Self::SHELVES],
    ) -> Result<u32, std::fmt::Error> {
        let _ = (&self.0, sku, unit);
        Ok(per_shelf.iter().sum())
    }

    async fn confirm_reserve(
        &self,
        _cx: &ConfirmCx,
        _sku: String,
        _unit: u16,
        _per_shelf: [u32; 3],
        _hold: u32,
    ) -> Result<(), PhaseError> {
        Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _sku: String,
        _unit: <Self as Units>::Unit,
        _per_shelf: [u32; Self::SHELVES],
        _hold: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let runtime = start(|builder| builder.participant(Inventory::<_, 3>(PgRepo))).await;
    let reserved = runtime
        .transaction("checkout")
        .wait_final(SOON)
        .run(async |tx| Ok(InventoryTcc::new(tx).reserve("anvil".into(), 1, [1, 2, 3]).await?))
        .await
        .unwrap();
    assert_eq!(reserved, 6);
}
