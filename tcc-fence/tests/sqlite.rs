//! Fences in SQLite.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use support::{
    LONG,
    actor::Begin,
    behaviour, forgetting,
    interleavings::{self, Bench},
    until,
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
    /// Where the system tells what each lane's thread does; nothing where it does not.
    threads: Option<[PathBuf; 2]>,
}

impl Bench for Sqlite {
    const BEGINS: &'static [Begin] = &[Begin(None, "BEGIN"), Begin(None, "BEGIN IMMEDIATE")];

    /// SQLite does not tell who waits: it asks for the lock again and again, and sleeps for 1 ms, 2 ms, 5 ms … in between.
    /// Its thread, which does nothing else, is asleep then. One in three is looked at until it is. Where the system does
    /// not tell, it is given time, and counts if it is not answered when the other is told to end.
    async fn waits(&mut self, lane: usize) -> bool {
        self.met += 1;
        if !self.met.is_multiple_of(3) {
            return false;
        }
        match &self.threads {
            Some(threads) => {
                let call = &threads[lane];
                until("SQLite sleeps before it asks for the lock again", async || sleeps(call)).await;
            }
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
        true
    }
}

/// `nanosleep` and `clock_nanosleep`, by their numbers.
const SLEEPS: &[&str] = if cfg!(target_arch = "x86_64") {
    &["35", "230"]
} else if cfg!(target_arch = "aarch64") {
    &["101", "115"]
} else {
    &[]
};

/// Whether the thread is in a system call that sleeps.
fn sleeps(call: &Path) -> bool {
    let call = fs::read_to_string(call).unwrap();
    call.split(' ').next().is_some_and(|number| SLEEPS.contains(&number))
}

/// Where Linux tells in which system call the thread of this name is.
fn thread(name: &str) -> Option<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let mut folders = tasks.flatten().map(|task| task.path());
    let named =
        |folder: &PathBuf| fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let call = folders.find(named)?.join("syscall");
    (!SLEEPS.is_empty() && fs::read_to_string(&call).is_ok()).then_some(call)
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
    let named = |name: &'static str| options.clone().thread_name(move |_| name.to_owned());
    let connections =
        [named("fence-lane-0").connect().await.unwrap(), named("fence-lane-1").connect().await.unwrap()];
    let threads = thread("fence-lane-0").zip(thread("fence-lane-1"));
    println!(
        "whether a thread sleeps is {}",
        if threads.is_some() { "known here" } else { "not known here" }
    );
    let threads = threads.map(|(one, other)| [one, other]);
    interleavings::prove(&mut Sqlite { met: 0, threads }, connections, &pool).await;
}
