//! Fences in a PostgreSQL of the test's own.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

mod support;

use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;
use sqlx::{
    ConnectOptions as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use support::{
    actor::Begin,
    behaviour, forgetting,
    interleavings::{self, Bench},
    server::{Owner, Server, program},
    until,
};
use tcc_fence::create_table;

type Db = sqlx::Postgres;

/// Makes a row older.
fn aged(age: Duration) -> String {
    format!("changed_at = changed_at - interval '{} milliseconds'", age.as_millis())
}

const INSTALL: &str = "apt-get install postgresql";

/// A server without a network, that forgets with the machine; nothing here depends on its disk.
async fn start() -> (Server, PgConnectOptions) {
    let owner = Owner::first_of(&["postgres", "nobody"]);
    let directory = owner.directory();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|folders| folders.flatten().map(|folder| folder.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    let [initdb, postgres, pg_ctl] =
        ["initdb", "postgres", "pg_ctl"].map(|name| program(name, &versions, INSTALL));
    let data = directory.path().join("data");
    let made = owner
        .command(&initdb, &directory, "initdb.log")
        .args(["--username=tcc", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"])
        .arg(&data)
        .status()
        .unwrap();
    let said = std::fs::read_to_string(directory.path().join("initdb.log")).unwrap();
    assert!(made.success(), "initdb ended with {made}:\n{said}");
    let socket = directory.path().to_owned();
    let child = owner
        .command(&postgres, &directory, "server.log")
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(&socket)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off"])
        .args(["-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=30"])
        .spawn()
        .unwrap();
    let mut stop = owner.command(&pg_ctl, &directory, "stop.log");
    stop.args(["stop", "-m", "immediate", "-D"]).arg(&data);
    let mut server = Server::new(child, directory);
    server.stop = Some(stop);
    let options = PgConnectOptions::new_without_pgpass()
        .socket(&socket)
        .port(5432)
        .username("tcc")
        .database("postgres");
    until("PostgreSQL answers", async || {
        server.assert_running("server.log");
        options.connect().await.is_ok()
    })
    .await;
    (server, options)
}

async fn pool(options: &PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options.clone()).await.unwrap();
    // Several processes of a service start at once.
    for made in join_all((0..4).map(|_| create_table(&pool))).await {
        made.unwrap();
    }
    sqlx::raw_sql("CREATE TABLE effect (gid text NOT NULL, kind text NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    pool
}

struct Postgres {
    observer: PgConnection,
    pids: [i32; 2],
}

impl Bench for Postgres {
    const BEGINS: &'static [Begin] = &[
        Begin(None, "BEGIN"),
        Begin(None, "BEGIN ISOLATION LEVEL REPEATABLE READ"),
        Begin(None, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
    ];

    async fn waits(&mut self, lane: usize) -> bool {
        let pid = self.pids[lane];
        until("PostgreSQL lists the lock that the connection waits for", async || {
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)")
                .bind(pid)
                .fetch_one(&mut self.observer)
                .await
                .unwrap()
        })
        .await;
        true
    }
}

#[tokio::test]
async fn a_fence_in_postgresql_holds_its_promises() {
    let (_server, options) = start().await;
    let pool = pool(&options).await;
    forgetting::forgets_what_ended_before_the_retention_of_the_runtime(&pool).await;
    behaviour::holds_its_promises(&pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_interleaving_in_postgresql_comes_to_one_effect_of_each() {
    let (_server, options) = start().await;
    let pool = pool(&options).await;
    let mut connections = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let mut pids = [0; 2];
    for (pid, connection) in pids.iter_mut().zip(&mut connections) {
        *pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await.unwrap();
    }
    let mut bench = Postgres { observer: options.connect().await.unwrap(), pids };
    interleavings::prove(&mut bench, connections, &pool).await;
}
