//! A participant's books: one SQLite database, its own and nobody else's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteQueryResult,
    SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use tcc::Contradiction;
use tcc_fence::FenceError;

use crate::slip;

/// `?` makes of it what a confirm or cancel should: a contradiction waits for a person, a database is asked again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    #[error("the database of the books failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error("the books do not hold what the fence of {gid}/{branch} says")]
    Inconsistent { gid: String, branch: String, source: Contradiction },
}

impl BookError {
    pub(crate) fn is_too_late(&self) -> bool {
        matches!(self, Self::Fence(error) if error.is_too_late())
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
        tcc_fence::create_table(&pool).await?;
        let books = Self { pool };
        let mut layout = books.begin().await?;
        sqlx::raw_sql(slip::SCHEMA).execute(&mut *layout).await?;
        sqlx::raw_sql(schema).execute(&mut *layout).await?;
        layout.commit().await?;
        Ok(books)
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, BookError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The orders that these books know of.
    pub(crate) async fn orders(&self) -> Result<Vec<String>, BookError> {
        Ok(sqlx::query_scalar("SELECT DISTINCT order_id FROM slip").fetch_all(&self.pool).await?)
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
    slip: &slip::Slip,
    missing: &'static str,
) -> Result<(), BookError> {
    match result.rows_affected() {
        1 => Ok(()),
        _ => Err(BookError::Inconsistent {
            gid: slip.gid.clone(),
            branch: slip.branch.clone(),
            source: Contradiction::new(format!("{missing} is not there")),
        }),
    }
}
