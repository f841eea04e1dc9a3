//! Forgetting branches that ended long ago.

use sqlx::Pool;
use tcc_core::FenceRetention;

use crate::{error::FenceError, local::FenceDatabase};

/// Deletes rows of branches that ended longer ago than the runtime's retention, in small batches, and only so many.
///
/// A row whose branch was tried and has not ended is never deleted, however old: its transaction may be parked, and
/// without the row its cancel would find nothing to undo.
///
/// Run it now and then, from any process, or from several at a time:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
/// # tcc_fence::create_table(&pool).await?;
/// let runtime = tcc::Runtime::builder().store(tcc::MemoryStore::new()).start().await?;
/// let cleaned = tcc_fence::CleanUp::of(runtime.fence_retention()).run(&pool).await?;
/// println!("{} rows, {}", cleaned.rows, if cleaned.more { "and there are more" } else { "that was all" });
/// # assert_eq!((cleaned.rows, cleaned.more), (0, false));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CleanUp {
    retention: FenceRetention,
    batch_rows_max: u32,
    batches_max: u32,
}

/// What a clean-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// Rows deleted.
    pub rows: u64,
    /// Whether it stopped at its limit, and there may be more to delete.
    pub more: bool,
}

impl CleanUp {
    /// With the retention of the runtime whose branches have their fences there, the longest if several have: 50
    /// batches of 200 rows.
    #[must_use]
    pub const fn of(retention: FenceRetention) -> Self {
        Self { retention, batch_rows_max: 200, batches_max: 50 }
    }

    /// The most rows deleted in one local transaction, at least 1.
    #[must_use]
    pub const fn batch_rows_max(mut self, rows: u32) -> Self {
        self.batch_rows_max = if rows == 0 { 1 } else { rows };
        self
    }

    /// The most batches of one run.
    #[must_use]
    pub const fn batches_max(mut self, batches: u32) -> Self {
        self.batches_max = batches;
        self
    }

    /// Deletes. Age is told by the database's clock alone.
    ///
    /// Cancellation safety: each batch is a transaction of its own; what is deleted stays deleted.
    ///
    /// # Errors
    /// [`FenceError::Table`] when the database fails.
    pub async fn run<DB: FenceDatabase>(self, pool: &Pool<DB>) -> Result<Cleaned, FenceError> {
        let older_ms = i64::try_from(self.retention.as_duration().as_millis()).unwrap_or(i64::MAX);
        let mut cleaned = Cleaned::default();
        for _ in 0..self.batches_max {
            let gone = DB::forget(pool, older_ms, self.batch_rows_max).await;
            let gone = gone.map_err(|error| FenceError::Table(error.into()))?;
            cleaned.rows += gone;
            if gone < u64::from(self.batch_rows_max) {
                return Ok(cleaned);
            }
        }
        Ok(Cleaned { more: true, ..cleaned })
    }
}
