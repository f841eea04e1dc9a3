//! Services as processes of their own, over a Redis of their own, and killed as the kernel kills (rule 16).

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a service tells its parent where it listens")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Json, Router, routing::post};
use support::*;
use tcc::{
    Outcome, RedisStore, Runtime,
    record::{BranchState, Reason},
};
use tcc_propagate::{JoinLayer, axum::JoinedTx, headers::BRANCHES, reqwest::Client};
use tempfile::TempDir;

const REDIS: &str = "TCC_TEST_REDIS";
const TOLD: &str = "listening on ";

async fn reserve(
    tx: JoinedTx,
    Json((sku, qty)): Json<(String, u32)>,
) -> Result<String, (http::StatusCode, String)> {
    StockTcc::new(&tx).reserve(sku, qty).await.map_err(refusal)
}

/// Reserves, and dies before it can answer.
async fn reserve_and_die(tx: JoinedTx, order: Json<(String, u32)>) -> String {
    let _ = reserve(tx, order).await;
    std::process::abort()
}

/// The service, run by the tests in a process of its own.
#[tokio::test]
#[ignore = "is the process that the other tests start and kill"]
async fn stock_service() {
    let Ok(url) = std::env::var(REDIS) else { return };
    let store = RedisStore::connect(&url).await.unwrap();
    let runtime =
        quick(&store).lease(Duration::from_secs(2)).participant(Stock::default()).start().await.unwrap();
    let routes = Router::new().route("/reserve", post(reserve)).route("/die", post(reserve_and_die));
    let host = serve(routes.layer(JoinLayer::new(runtime.clone()))).await;
    println!("{TOLD}{host}");
    // Its parent ends it; an orphan ends by itself.
    tokio::time::sleep(LONG * 3).await;
}

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct World {
    _redis: Process,
    url: String,
    directory: TempDir,
    front: Runtime,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let redis = Process(redis(port, &directory));
            let url = format!("redis://127.0.0.1:{port}/");
            for _ in 0..100 {
                if let Ok(store) = RedisStore::connect(&url).await
                    && let Ok(front) = quick(&store).start().await
                {
                    return Self { _redis: redis, url, directory, front };
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("no Redis started");
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// How often this ran, in any process.
    fn count(&self, what: &str) -> usize {
        fs::read_to_string(self.journal()).unwrap_or_default().lines().filter(|line| *line == what).count()
    }

    /// Starts a stock, and gives its process and where it listens.
    fn stock(&self) -> (Process, String) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["stock_service", "--exact", "--ignored", "--nocapture"])
            .env(REDIS, &self.url)
            .env(JOURNAL, self.journal())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Process(child);
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines().take(100);
        let told = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once(TOLD).map(|(_, host)| host.to_owned()));
        (process, told.expect("the stock says where it listens"))
    }
}

fn redis(port: u16, directory: &TempDir) -> Child {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"];
    let start = |program: &str| {
        Command::new(program)
            .args(arguments)
            .arg("--port")
            .arg(port.to_string())
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    start("redis-server")
        .or_else(|_| start("valkey-server"))
        .expect("redis-server or valkey-server is on PATH")
}

fn order(http: &Client, host: &str, path: &str, sku: &str) -> reqwest::RequestBuilder {
    http.requests().post(format!("http://{host}/{path}")).json(&(sku, 1))
}

#[tokio::test]
async fn a_transaction_has_branches_in_another_process() {
    let world = World::new().await;
    let (_stock, host) = world.stock();
    let http = client(&[&host]);
    let body = async |tx: &tcc::Tx| {
        let answer = http.send(tx, order(&http, &host, "reserve", "tea")).await?.error_for_status()?;
        Ok(answer.text().await?)
    };
    let hold = world.front.transaction("checkout").wait_final(LONG).run(body).await.unwrap();
    assert_eq!(hold, "tea-1");
    assert_eq!(["try", "confirm", "cancel"].map(|phase| world.count(phase)), [1, 1, 0]);
}

#[tokio::test]
async fn rule_16_a_service_killed_before_it_answered_is_asked_again_elsewhere_and_is_one_branch() {
    let world = World::new().await;
    let ((_first, dying), (_second, host)) = (world.stock(), world.stock());
    let http = client(&[&host]);
    let open = world.front.transaction("checkout").wait_final(LONG).begin().await.unwrap();
    let call = open.remote_call().await.unwrap();
    http.send_call(&call, order(&http, &dying, "die", "tea")).await.unwrap_err();
    let answer = http.send_call(&call, order(&http, &host, "reserve", "tea")).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()[BRANCHES]), (200, &"s".parse().unwrap()));
    open.commit().await.unwrap();
    assert_eq!(["try", "confirm", "cancel"].map(|phase| world.count(phase)), [1, 1, 0]);
}

#[tokio::test]
async fn rule_16_a_service_killed_in_the_middle_of_a_try_makes_the_transaction_cancel() {
    let world = World::new().await;
    let ((mut first, dying), (_second, host)) = (world.stock(), world.stock());
    let http = client(&[&host]);
    let open = world.front.transaction("checkout").wait_final(LONG).begin().await.unwrap();
    let gid = open.gid().clone();
    let call = open.remote_call().await.unwrap();
    let sent = tokio::spawn({
        let (http, call, request) = (http.clone(), call.clone(), order(&http, &dying, "reserve", "slow"));
        async move { http.send_call(&call, request).await.map(|_| ()) }
    });
    until("the try runs", || world.count("try") == 1).await;
    first.0.kill().unwrap();
    sent.await.unwrap().unwrap_err();
    // Another process finds the try begun, and nobody who knows what it came to.
    let answer = http.send_call(&call, order(&http, &host, "reserve", "slow")).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()[BRANCHES]), (422, &"u".parse().unwrap()));
    assert_eq!(reason(&open.commit().await.unwrap_err()), Reason::UnknownOutcome);
    let ended: Outcome = world.front.outcome(&gid).await.unwrap().unwrap();
    assert!(ended.is_final(), "{ended:?}");
    let branch = world.front.record(&gid).await.unwrap().unwrap().branches.remove(0);
    assert_eq!(branch.state, BranchState::Cancelled);
    assert_eq!(["try", "confirm", "cancel"].map(|phase| world.count(phase)), [1, 0, 1]);
}
