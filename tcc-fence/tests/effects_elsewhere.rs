//! A fence knows its own database only. An effect elsewhere is undone by the cancel that every registered branch gets,
//! whatever the fence answers it; run by the real runtime.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tcc::{CancelCx, ConfirmCx, FenceRetention, MemoryStore, PhaseError, Runtime, TryCx, TryOutcome};
use tcc_fence::{Entry, FenceError, create_table, enter};
use tokio::sync::Semaphore;

const RETENTION: Duration = Duration::from_secs(30 * 3_600);

#[derive(Debug, thiserror::Error)]
enum PaymentError {
    #[error("the books take no more")]
    Full,
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Another company's service, with its own memory.
#[derive(Default)]
struct Bank {
    held: Mutex<BTreeSet<String>>,
    /// All that was ever held.
    seen: Mutex<BTreeSet<String>>,
}

impl Bank {
    fn authorize(&self, key: String) {
        self.seen.lock().unwrap().insert(key.clone());
        self.held.lock().unwrap().insert(key);
    }

    fn release(&self, key: &str) {
        self.held.lock().unwrap().remove(key);
    }
}

type Told = (TryOutcome<()>, &'static str);

#[derive(Clone)]
struct Payment {
    pool: SqlitePool,
    bank: Arc<Bank>,
    /// Closed where the bank is slow.
    line: Arc<Semaphore>,
    /// What each cancel was told, by the runtime and by the fence.
    cancels: Arc<Mutex<Vec<Told>>>,
    /// For how long fences must remember, as each confirm and cancel was told.
    retentions: Arc<Mutex<BTreeSet<FenceRetention>>>,
}

#[tcc::participant(name = "payment")]
impl Payment {
    #[tcc(try, confirm = charge, cancel = let_go, timeout = "200ms")]
    async fn authorize(&self, cx: &TryCx, amount: i64) -> Result<i64, PaymentError> {
        self.line.acquire().await.expect("the line is never cut").forget();
        self.bank.authorize(cx.branch_key());
        let mut local = self.pool.begin().await?;
        let first = match enter(&mut local, cx).await? {
            Entry::First(first) => first,
            Entry::AlreadyDone(answer) => return Ok(answer.get()?),
        };
        sqlx::query("INSERT INTO charge VALUES (?)").bind(amount).execute(&mut *local).await?;
        if amount > 100 {
            return Err(PaymentError::Full);
        }
        first.keep(&mut local, &amount).await?;
        local.commit().await?;
        Ok(amount)
    }

    async fn charge(&self, cx: &ConfirmCx, _amount: i64, _held: i64) -> Result<(), PhaseError> {
        self.retentions.lock().unwrap().insert(cx.fence_retention());
        let mut local = self.pool.begin().await?;
        let _entry = enter(&mut local, cx).await?;
        Ok(local.commit().await?)
    }

    async fn let_go(&self, cx: &CancelCx, amount: i64, held: TryOutcome<i64>) -> Result<(), PhaseError> {
        self.retentions.lock().unwrap().insert(cx.fence_retention());
        // Before the fence: if this process dies in between, the cancel comes again.
        self.bank.release(&cx.branch_key());
        let mut local = self.pool.begin().await?;
        let told = match enter(&mut local, cx).await? {
            Entry::First(_) => {
                sqlx::query("DELETE FROM charge WHERE amount = ?").bind(amount).execute(&mut *local).await?;
                "first"
            }
            Entry::AlreadyDone(_) => "already done",
            Entry::EmptyCancel(_) => "empty",
        };
        local.commit().await?;
        self.cancels.lock().unwrap().push((held.map(|_| ()), told));
        Ok(())
    }
}

async fn payment(turns: usize) -> (Payment, Runtime) {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    create_table(&pool).await.unwrap();
    sqlx::raw_sql("CREATE TABLE charge (amount INTEGER NOT NULL)").execute(&pool).await.unwrap();
    let line = Arc::new(Semaphore::new(turns));
    let payment =
        Payment { pool, bank: Arc::default(), line, cancels: Arc::default(), retentions: Arc::default() };
    let builder =
        Runtime::builder().store(MemoryStore::new()).participant(payment.clone()).retention(RETENTION);
    let runtime = builder.start().await.unwrap();
    (payment, runtime)
}

impl Payment {
    async fn cancelled(&self, times: usize) -> Vec<Told> {
        let began = Instant::now();
        loop {
            let cancels = self.cancels.lock().unwrap().clone();
            if cancels.len() >= times {
                return cancels;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "waited a minute for cancel {times}: {cancels:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn assert_nothing_is_left(&self) {
        assert_eq!(self.bank.held.lock().unwrap().len(), 0, "the bank still holds");
        assert_eq!(self.bank.seen.lock().unwrap().len(), 1, "the bank has held");
        let charges: i64 =
            sqlx::query_scalar("SELECT count(*) FROM charge").fetch_one(&self.pool).await.unwrap();
        let phases: Vec<String> =
            sqlx::query_scalar("SELECT phase FROM tcc_fence").fetch_all(&self.pool).await.unwrap();
        assert_eq!((charges, phases), (0, vec!["empty".to_owned()]));
    }
}

#[tokio::test]
async fn a_try_that_failed_after_an_effect_elsewhere_still_gets_its_cancel() {
    let (payment, runtime) = payment(9).await;
    let refused =
        runtime.transaction("order").run(async |tx| Ok(PaymentTcc::new(tx).authorize(101).await?)).await;
    assert!(matches!(refused.unwrap_err().find::<PaymentError>(), Some(PaymentError::Full)));
    assert_eq!(payment.cancelled(1).await, [(TryOutcome::Refused, "empty")]);
    payment.assert_nothing_is_left().await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_try_that_comes_after_its_empty_cancel_with_an_effect_elsewhere_is_cancelled_again() {
    let (payment, runtime) = payment(0).await;
    let late = runtime.transaction("order").run(async |tx| Ok(PaymentTcc::new(tx).authorize(7).await?)).await;
    late.unwrap_err();
    assert_eq!(payment.cancelled(1).await, [(TryOutcome::Unknown, "empty")]);
    assert_eq!(payment.bank.seen.lock().unwrap().len(), 0, "the bank has not been reached yet");
    payment.line.add_permits(1);
    // Told "already done", the second one would have left the bank holding.
    assert_eq!(payment.cancelled(2).await, [(TryOutcome::Unknown, "empty"), (TryOutcome::Refused, "empty")]);
    payment.assert_nothing_is_left().await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn confirm_and_cancel_are_told_the_retention_that_the_runtime_enforces() {
    for amount in [7, 101] {
        let (payment, runtime) = payment(1).await;
        let pay = runtime.transaction("order").wait_final(Duration::from_secs(60));
        let paid = pay.run(async |tx| Ok(PaymentTcc::new(tx).authorize(amount).await?)).await;
        assert_eq!(paid.is_ok(), amount == 7, "{paid:?}");
        let told = payment.retentions.lock().unwrap().clone();
        assert_eq!(told, BTreeSet::from([runtime.fence_retention()]));
        assert_eq!(runtime.fence_retention().as_duration(), RETENTION);
        runtime.shutdown().await;
    }
}
