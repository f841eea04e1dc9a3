//! A participant's books: one SQLite database, its own and nobody else's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteQueryResult,
    SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use tcc::PhaseError;

use crate::fence;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    #[error("the database of the books failed")]
    Database(#[from] sqlx::Error),
    #[error("the fence of {gid}/{branch} says `{state}`, so it cannot be {wanted}")]
    Contradiction { gid: String, branch: String, state: String, wanted: &'static str },
    #[error("the books do not hold what the fence of {gid}/{branch} says: {missing}")]
    Inconsistent { gid: String, branch: String, missing: &'static str },
}

impl BookError {
    /// A database may answer next time; books that contradict themselves need a person. `?` alone would retry both.
    pub(crate) fn into_phase(self) -> PhaseError {
        match self {
            Self::Database(_) => PhaseError::retry(self),
            _ => PhaseError::park(self),
        }
    }
}

/// A handle that clones share.
#[derive(Clone)]
pub(crate) struct Books {
    pool: SqlitePool,
}

impl Books {
    pub(crate) fn path(directory: &Path, name: &str) -> PathBuf {
        directory.join(name).with_extension("db")
    }

    /// Opens the books of an earlier run, or of another process, or lays out new ones.
    pub(crate) async fn open(directory: &Path, name: &str, schema: &'static str) -> Result<Self, BookError> {
        let options = SqliteConnectOptions::new()
            .filename(Self::path(directory, name))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A confirmed branch must still be in the books after a power failure.
            .synchronous(SqliteSynchronous::Full)
            // Other processes may write in the same books.
            .busy_timeout(Duration::from_secs(10));
        // SQLite has one writer at a time: waiting in the pool is fair and has a limit, waiting for its lock is neither.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(20))
            .connect_with(options)
            .await?;
        let books = Self { pool };
        let mut layout = books.begin().await?;
        sqlx::raw_sql(fence::SCHEMA).execute(&mut *layout).await?;
        sqlx::raw_sql(schema).execute(&mut *layout).await?;
        layout.commit().await?;
        Ok(books)
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, BookError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The orders that these books know of.
    pub(crate) async fn orders(&self) -> Result<Vec<String>, BookError> {
        Ok(sqlx::query_scalar("SELECT DISTINCT order_id FROM fence").fetch_all(&self.pool).await?)
    }

    /// Writes everything back into the one file that another process then reads.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    #[cfg(test)]
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

/// What the fence has admitted changes exactly one row; anything else means that the books were tampered with.
pub(crate) fn exactly_one(
    result: &SqliteQueryResult,
    slot: &fence::Slot,
    missing: &'static str,
) -> Result<(), BookError> {
    match result.rows_affected() {
        1 => Ok(()),
        _ => Err(BookError::Inconsistent { gid: slot.gid.clone(), branch: slot.branch.clone(), missing }),
    }
}
