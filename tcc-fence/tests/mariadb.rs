//! Fences in a MariaDB of the test's own.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

mod support;

use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;
use sqlx::{
    ConnectOptions as _, MySqlConnection, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use support::{
    actor::Begin,
    behaviour, forgetting,
    interleavings::{self, Bench},
    server::{Owner, Server, program},
    until,
};
use tcc_fence::create_table;

type Db = sqlx::MySql;

/// Makes a row older.
fn aged(age: Duration) -> String {
    format!("changed_at = changed_at - INTERVAL {} MICROSECOND", age.as_micros())
}

const INSTALL: &str = "apt-get install mariadb-server";

/// A server without a network, that forgets with the machine; nothing here depends on its disk.
async fn start() -> (Server, MySqlConnectOptions) {
    let owner = Owner::first_of(&["mysql", "nobody"]);
    let directory = owner.directory();
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(PathBuf::from);
    let [install, mariadbd] = ["mariadb-install-db", "mariadbd"].map(|name| program(name, &folders, INSTALL));
    let data = format!("--datadir={}", directory.path().join("data").display());
    let made = owner
        .command(&install, &directory, "install.log")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data])
        .status()
        .unwrap();
    let said = std::fs::read_to_string(directory.path().join("install.log")).unwrap();
    assert!(made.success(), "mariadb-install-db ended with {made}:\n{said}");
    let socket = directory.path().join("socket");
    let child = owner
        .command(&mariadbd, &directory, "server.log")
        .args(["--no-defaults", &data, "--skip-networking", "--skip-log-bin", "--innodb-flush-method=nosync"])
        .args([
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=32M",
        ])
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--pid-file={}", directory.path().join("pid").display()))
        .spawn()
        .unwrap();
    let mut server = Server::new(child, directory);
    let options = MySqlConnectOptions::new().socket(&socket).username("root");
    until("MariaDB answers", async || {
        server.assert_running("server.log");
        options.connect().await.is_ok()
    })
    .await;
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql("CREATE DATABASE service").execute(&mut connection).await.unwrap();
    (server, options.database("service"))
}

async fn pool(options: &MySqlConnectOptions) -> MySqlPool {
    let pool = MySqlPoolOptions::new().max_connections(4).connect_with(options.clone()).await.unwrap();
    // Several processes of a service start at once.
    for made in join_all((0..4).map(|_| create_table(&pool))).await {
        made.unwrap();
    }
    sqlx::raw_sql(
        "CREATE TABLE effect (gid VARCHAR(25) NOT NULL, kind VARCHAR(7) NOT NULL) CHARACTER SET utf8mb4",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool
}

struct MariaDb {
    observer: MySqlConnection,
}

impl Bench for MariaDb {
    const BEGINS: &'static [Begin] = &[
        Begin(None, "START TRANSACTION"),
        Begin(Some("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"), "START TRANSACTION"),
        Begin(Some("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), "START TRANSACTION"),
    ];

    /// No other connection of this server ever waits for a row.
    async fn waits(&mut self, _lane: usize) -> bool {
        until("MariaDB counts a connection that waits for a row", async || {
            let (_, waits): (String, String) =
                sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
                    .fetch_one(&mut self.observer)
                    .await
                    .unwrap();
            waits == "1"
        })
        .await;
        true
    }
}

#[tokio::test]
async fn a_fence_in_mariadb_holds_its_promises() {
    let (_server, options) = start().await;
    let pool = pool(&options).await;
    forgetting::forgets_what_ended_before_the_retention_of_the_runtime(&pool).await;
    behaviour::holds_its_promises(&pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_interleaving_in_mariadb_comes_to_one_effect_of_each() {
    let (_server, options) = start().await;
    let pool = pool(&options).await;
    let mut connections = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    // The default from 11.6 on: a row changed since the transaction first read is an error, not a surprise. One of the
    // connections has it, where the server does.
    let known: Vec<(String, String)> = sqlx::query_as("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        .fetch_all(&mut connections[0])
        .await
        .unwrap();
    if known.is_empty() {
        println!("this MariaDB has no innodb_snapshot_isolation");
    } else {
        let on =
            sqlx::raw_sql("SET SESSION innodb_snapshot_isolation = ON").execute(&mut connections[0]).await;
        on.unwrap();
    }
    let mut bench = MariaDb { observer: options.connect().await.unwrap() };
    interleavings::prove(&mut bench, connections, &pool).await;
}
