//! The fence inside a local transaction of a SQL database.

use std::future::Future;

use serde::Serialize;
use sqlx::{Database, Pool, Transaction};
use tcc_core::Payload;

use crate::{
    ANSWER_BYTES_MAX,
    context::{Asked, Context, EmptyAnswer, Phase, Place},
    entry::{Answer, Entry, First},
    error::FenceError,
    rules::{Row, Verdict, judge},
};

/// A database that can hold fences: `sqlx::Postgres`, `sqlx::MySql` (MariaDB too) and `sqlx::Sqlite`.
pub trait FenceDatabase: Database + Statements {}

/// What a fence does in a database. The rules are not here.
#[doc(hidden)]
pub trait Statements: Database {
    /// Makes the table and its index, unless they are there.
    const CREATE: &'static str;

    /// Writes the branch's row, in the phase given. If one stands there, waits until whoever wrote it has ended, and
    /// locks and returns it as it is then, whatever this transaction has read before.
    fn seize(
        local: &mut Self::Connection,
        asked: &Asked<'_>,
        phase: &'static str,
    ) -> impl Future<Output = sqlx::Result<Option<Row>>> + Send;

    /// Moves a row on that is in phase `try`.
    fn advance(
        local: &mut Self::Connection,
        asked: &Asked<'_>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Keeps the answer of a phase.
    fn keep(
        local: &mut Self::Connection,
        place: &Place,
        phase: Phase,
        json: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Takes the row back that this transaction has written.
    fn withdraw(
        local: &mut Self::Connection,
        asked: &Asked<'_>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Deletes at most so many rows of ended branches that last changed longer ago than this.
    fn forget(
        pool: &Pool<Self>,
        older_ms: i64,
        rows_max: u32,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;
}

/// Asks the fence of a branch for entry, inside the local transaction that will hold the effect. One call, the same
/// from try, confirm and cancel; it should be the first thing the transaction does.
///
/// A phase of the same branch that runs at the same time on another connection is waited for.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use sqlx::SqlitePool;
/// use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
/// use tcc_fence::{Entry, FenceError, enter};
///
/// #[derive(Debug, thiserror::Error)]
/// enum StockError {
///     #[error("out of stock")]
///     OutOfStock,
///     #[error(transparent)]
///     Fence(#[from] FenceError),
///     #[error(transparent)]
///     Database(#[from] sqlx::Error),
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Hold { left: i64 }
///
/// struct Inventory { pool: SqlitePool }
///
/// #[tcc::participant(name = "inventory")]
/// impl Inventory {
///     #[tcc(try, confirm = sell, cancel = put_back)]
///     async fn reserve(&self, cx: &TryCx, sku: String) -> Result<Hold, StockError> {
///         let mut local = self.pool.begin().await?;
///         let first = match enter(&mut local, cx).await? {
///             Entry::First(first) => first,
///             Entry::AlreadyDone(answer) => return Ok(answer.get()?),
///         };
///         let left = sqlx::query_scalar(
///             "UPDATE stock SET on_hand = on_hand - 1, held = held + 1 WHERE sku = ? AND on_hand > 0 RETURNING on_hand",
///         )
///         .bind(sku)
///         .fetch_optional(&mut *local)
///         .await?;
///         // Dropping `local` takes the fence back with the effect.
///         let hold = Hold { left: left.ok_or(StockError::OutOfStock)? };
///         first.keep(&mut local, &hold).await?;
///         local.commit().await?;
///         Ok(hold)
///     }
///
///     async fn sell(&self, cx: &ConfirmCx, sku: String, _hold: Hold) -> Result<(), PhaseError> {
///         let mut local = self.pool.begin().await?;
///         if enter(&mut local, cx).await?.is_first() {
///             sqlx::query("UPDATE stock SET held = held - 1 WHERE sku = ?").bind(sku).execute(&mut *local).await?;
///         }
///         Ok(local.commit().await?)
///     }
///
///     async fn put_back(&self, cx: &CancelCx, sku: String, _hold: TryOutcome<Hold>) -> Result<(), PhaseError> {
///         let mut local = self.pool.begin().await?;
///         match enter(&mut local, cx).await? {
///             Entry::First(_) => {
///                 sqlx::query("UPDATE stock SET held = held - 1, on_hand = on_hand + 1 WHERE sku = ?")
///                     .bind(sku)
///                     .execute(&mut *local)
///                     .await?;
///             }
///             Entry::AlreadyDone(_) | Entry::EmptyCancel(_) => {}
///         }
///         // An empty cancel has a row to leave, too.
///         Ok(local.commit().await?)
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
/// # tcc_fence::create_table(&pool).await?;
/// # sqlx::raw_sql("CREATE TABLE stock (sku TEXT, on_hand INTEGER, held INTEGER); INSERT INTO stock VALUES ('tea', 1, 0)")
/// #     .execute(&pool).await?;
/// # let inventory = Inventory { pool: pool.clone() };
/// # let runtime = tcc::Runtime::builder().store(tcc::MemoryStore::new()).participant(inventory).start().await?;
/// # let hold = runtime.transaction("sale").run(async |tx| Ok(InventoryTcc::new(tx).reserve("tea".into()).await?)).await?;
/// # assert_eq!(hold.left, 0);
/// # runtime.transaction("sale").run(async |tx| Ok(InventoryTcc::new(tx).reserve("tea".into()).await?)).await.unwrap_err();
/// # runtime.shutdown().await;
/// # let phases: Vec<String> = sqlx::query_scalar("SELECT phase FROM tcc_fence ORDER BY phase").fetch_all(&pool).await?;
/// # assert_eq!(phases, ["confirm", "empty"]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`FenceError::TooLate`] to a try after its cancel; [`FenceError::Contradiction`] when the row says the opposite;
/// [`FenceError::Database`] when the database fails, or gives another transaction precedence. Roll back after each of
/// them; dropping the transaction does.
pub async fn enter<DB, C>(local: &mut Transaction<'_, DB>, cx: &C) -> Result<Entry<C::Empty>, FenceError>
where
    DB: FenceDatabase,
    C: Context,
{
    let asked = cx.asked();
    let failed = |error: sqlx::Error| FenceError::database(&asked.place(), error);
    let fresh = match asked.phase {
        Phase::Cancel => "empty",
        Phase::Try | Phase::Confirm => asked.phase.as_str(),
    };
    let row = DB::seize(local, &asked, fresh).await.map_err(failed)?;
    let stood = row.is_some();
    match judge(&asked, row) {
        Verdict::First => {
            if stood {
                DB::advance(local, &asked).await.map_err(failed)?;
            }
            Ok(Entry::First(First { place: asked.place(), phase: asked.phase }))
        }
        Verdict::AlreadyDone(answer) => Ok(Entry::AlreadyDone(Answer::kept(answer))),
        Verdict::EmptyCancel => match C::Empty::new() {
            Some(empty) => Ok(Entry::EmptyCancel(empty)),
            None => Err(FenceError::contradiction(&asked, "only a cancel can be empty")),
        },
        Verdict::TooLate => Err(FenceError::too_late(&asked)),
        Verdict::Contradiction(what) => {
            // A caller that commits in spite of the error must not leave a confirm without a try.
            if !stood {
                DB::withdraw(local, &asked).await.map_err(failed)?;
            }
            Err(FenceError::contradiction(&asked, what))
        }
    }
}

impl First {
    /// Keeps what this phase answers, for whoever asks again, in the same local transaction. A phase that answers
    /// `()` need not.
    ///
    /// # Errors
    /// When JSON cannot hold the answer, it is larger than [`ANSWER_BYTES_MAX`], or the database fails.
    pub async fn keep<DB: FenceDatabase, A: Serialize + Sync + ?Sized>(
        self,
        local: &mut Transaction<'_, DB>,
        answer: &A,
    ) -> Result<(), FenceError> {
        let json = Payload::encode(answer)?;
        if json.len() > ANSWER_BYTES_MAX {
            return Err(FenceError::TooLarge { bytes: json.len(), max: ANSWER_BYTES_MAX });
        }
        let kept = DB::keep(local, &self.place, self.phase, json.as_str()).await;
        kept.map_err(|error| FenceError::database(&self.place, error))
    }
}

/// Makes the table `tcc_fence` and its index, unless they are there. Who keeps migrations copies the file of the
/// crate's `migrations/<database>/` instead.
///
/// # Errors
/// [`FenceError::Table`] when the database refuses.
pub async fn create_table<DB: FenceDatabase>(pool: &Pool<DB>) -> Result<(), FenceError>
where
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    let mut connection = pool.acquire().await.map_err(|error| FenceError::Table(error.into()))?;
    let made = sqlx::raw_sql(DB::CREATE).execute(&mut *connection).await;
    made.map(drop).map_err(|error| FenceError::Table(error.into()))
}

/// A row that was seized is locked, so that a statement about it finds it.
pub(crate) fn exactly_one(rows: u64) -> sqlx::Result<()> {
    if rows == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
