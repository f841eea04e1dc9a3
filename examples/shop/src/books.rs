//! What the services with an SQL database share: how it is opened, and what can go wrong with it.

use std::{path::PathBuf, time::Duration};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tcc::Contradiction;
use tcc_fence::FenceError;

use crate::place::{Place, Service};

/// What went wrong with a database. `?` makes of it what a confirm or cancel should: a contradiction waits for a person,
/// a database is asked again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("Redis cannot be reached")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error("the books do not hold what the fence says")]
    Inconsistent(#[from] Contradiction),
}

/// Why a try reserved nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TryFailure {
    /// There is a reason that the customer is told.
    #[error("{0}")]
    Refused(String),
    #[error("nothing was reserved")]
    Books(#[source] BookError),
}

impl<E> From<E> for TryFailure
where
    BookError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Books(error.into())
    }
}

/// What the fence has admitted changes exactly one row.
pub(crate) fn exactly_one(rows: u64, what: &str) -> Result<(), BookError> {
    if rows == 1 { Ok(()) } else { Err(Contradiction::new(format!("{what} is not there")).into()) }
}

/// A service's SQLite database, in the directory of the run.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) pool: SqlitePool,
}

impl Books {
    pub(crate) fn file(place: &Place, service: Service) -> PathBuf {
        place.directory.join(service.name()).with_extension("db")
    }

    pub(crate) async fn open(
        place: &Place,
        service: Service,
        schema: &'static str,
    ) -> Result<Self, BookError> {
        let options = SqliteConnectOptions::new()
            .filename(Self::file(place, service))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A confirmed branch must still be in the books after a power failure.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        // SQLite has one writer at a time; waiting in the pool is fair.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(20))
            .connect_with(options)
            .await?;
        tcc_fence::create_table(&pool).await?;
        sqlx::raw_sql(schema).execute(&pool).await?;
        Ok(Self { pool })
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, BookError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Connections to PostgreSQL, in the run's own schema.
pub(crate) async fn postgres(place: &Place) -> Result<PgPool, BookError> {
    let options: PgConnectOptions = place.postgres_url.parse()?;
    let options = options.options([("search_path", &place.name)]).application_name("shop");
    let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(20));
    Ok(pool.connect_with(options).await?)
}
