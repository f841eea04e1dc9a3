//! A generic participant has a client with its parameters, by which the runtime's instance is found.
#![deny(warnings)]

#[path = "support/mod.rs"]
mod support;

use std::fmt::Debug;
use support::{Journal, SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

trait Repo: Send + Sync + 'static {
    fn name(&self) -> &str;
}

struct Pg;

impl Repo for Pg {
    fn name(&self) -> &str {
        "pg"
    }
}

struct Lite;

impl Repo for Lite {
    fn name(&self) -> &str {
        "lite"
    }
}

struct Inventory<R, T, const N: usize>
where
    R: Repo + ?Sized,
{
    journal: Journal,
    tag: T,
    repo: Box<R>,
}

#[tcc::participant(name = "inventory")]
impl<R: Repo + ?Sized, T, const N: usize> Inventory<R, T, N>
where
    T: Debug + Send + Sync + 'static,
{
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve, version = 2, reads(1 = Self::upgrade))]
    async fn reserve(&self, _cx: &TryCx, qty: u32) -> Result<String, std::fmt::Error> {
        Ok(format!("{qty} of {N} in {} for {:?}", self.repo.name(), self.tag))
    }

    async fn confirm_reserve(&self, _cx: &ConfirmCx, _qty: u32, hold: String) -> Result<(), PhaseError> {
        self.journal.write(hold);
        Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _qty: u32,
        _hold: TryOutcome<String>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }

    fn upgrade(stored: tcc::Stored) -> Result<tcc::Stored, std::fmt::Error> {
        Ok(stored)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let journal = Journal::default();
    let (pg, lite) = (journal.clone(), journal.clone());
    let runtime = start(|builder| {
        builder
            .participant(Inventory::<_, _, 3> { journal: pg, tag: 'a', repo: Box::new(Pg) })
            .participant_as("archive", Inventory::<_, _, 4> { journal: lite, tag: "b", repo: Box::new(Lite) })
    })
    .await;
    runtime
        .transaction("checkout")
        .wait_final(SOON)
        .run(async |tx| {
            let client = InventoryTcc::<Pg, char, 3>::new(tx);
            let archive = InventoryTcc::<Lite, &'static str, 4>::named(tx, "archive");
            tcc::try_join!(client.reserve(1), archive.clone().reserve(2))?;
            Ok(())
        })
        .await
        .unwrap();
    journal.until(&["1 of 3 in pg for 'a'", "2 of 4 in lite for \"b\""]).await;
}
