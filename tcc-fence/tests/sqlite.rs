//! Fences in SQLite.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

mod support;

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use support::{
    LONG,
    actor::Begin,
    behaviour, forgetting,
    interleavings::{self, Bench},
};
use tcc_fence::create_table;
use tempfile::TempDir;

type Db = sqlx::Sqlite;

/// Makes a row older.
fn aged(age: Duration) -> String {
    format!("changed_at = changed_at - {}", age.as_millis())
}

fn options(directory: &TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(directory.path().join("service.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Nothing here depends on the disk.
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(LONG)
}

async fn pool(options: &SqliteConnectOptions) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
    create_table(&pool).await.unwrap();
    sqlx::raw_sql("CREATE TABLE effect (gid TEXT NOT NULL, kind TEXT NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    pool
}

struct Sqlite {
    met: usize,
}

impl Bench for Sqlite {
    const BEGINS: &'static [Begin] = &[Begin(None, "BEGIN"), Begin(None, "BEGIN IMMEDIATE")];

    /// SQLite does not tell who waits: it asks for the lock again and again, after 1 ms, 2 ms, 5 ms … So one in three is
    /// given time to be turned away at least once, and counts if it is not answered when the other is told to end.
    async fn waits(&mut self, _lane: usize) -> bool {
        self.met += 1;
        if !self.met.is_multiple_of(3) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        true
    }
}

#[tokio::test]
async fn a_fence_in_sqlite_holds_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    let pool = pool(&options(&directory)).await;
    forgetting::forgets_what_ended_before_the_retention_of_the_runtime(&pool).await;
    behaviour::holds_its_promises(&pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_interleaving_in_sqlite_comes_to_one_effect_of_each() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    let pool = pool(&options).await;
    let connections = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    interleavings::prove(&mut Sqlite { met: 0 }, connections, &pool).await;
}
