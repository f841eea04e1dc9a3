//! Alarms on a real Redis, told to a real receiver: signed, repeated where it refuses, once each, and by others where
//! the process that should have told them is killed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/receiver.rs"]
mod receiver;
#[path = "../../tcc-redis/tests/support/server.rs"]
#[allow(dead_code, reason = "another crate's tests use the rest")]
mod server;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use receiver::{Receiver, SECRET};
use server::Server;
use tcc_core::{
    Action, Alarm, BoxError, CancelCx, ConfirmCx, Gid, Notifier, PhaseError, Runtime, RuntimeBuilder, TryCx,
    TryOutcome, Tx,
};
use tcc_redis::RedisStore;
use tcc_webhook::Webhook;

/// Longer than anything here takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(60);
/// Longer than an alarm is one process's to tell.
const HELD: Duration = Duration::from_secs(61);
/// Where a process that is to be killed finds its Redis, and leaves a mark.
const ROLE: &str = "TCC_WEBHOOK_TEST_ROLE";

async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < LONG, "{what}: waited for in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A participant whose confirm cannot end.
fn card() -> Action {
    Action::new(
        "charge",
        1,
        |_: TryCx, amount: u32| async move { Ok::<_, std::io::Error>(amount) },
        |_: ConfirmCx, _: u32, _: u32| async { Err(PhaseError::Park("the card expired".into())) },
        |_: CancelCx, _: u32, _: TryOutcome<u32>| async { Ok::<(), PhaseError>(()) },
    )
}

async fn store(server: &Server) -> RedisStore {
    RedisStore::connect(server.url()).await.expect("a store")
}

/// As if the hold of a process that is gone were over.
async fn store_later(server: &Server, later: Duration) -> RedisStore {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock") + later;
    let clock = Arc::new(AtomicU64::new(now.as_millis() as u64));
    RedisStore::builder(server.url()).given_time(clock).connect().await.expect("a store")
}

fn runtime(store: RedisStore) -> RuntimeBuilder {
    Runtime::builder().store(store).actions("card", [card()]).survey_interval(Duration::from_millis(50))
}

fn webhook(receiver: &Receiver) -> Webhook {
    let pause = Duration::from_millis(10);
    Webhook::builder(receiver.url(), SECRET).pauses(pause, pause).build().expect("a webhook")
}

async fn park_one(runtime: &Runtime) -> Gid {
    let body = async |tx: &Tx| {
        tx.call("card.charge@1", &7).await?;
        Ok(tx.gid().clone())
    };
    runtime.transaction("checkout").run(body).await.expect("a decision")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_branch_is_told_once_although_the_receiver_refuses_twice_and_two_processes_look() {
    let (server, receiver) = (Server::start().await, Receiver::start(2).await);
    let first = runtime(store(&server).await).notifier(webhook(&receiver)).start().await.expect("a runtime");
    let second = runtime(store(&server).await).notifier(webhook(&receiver)).start().await.expect("another");
    let gid = park_one(&first).await;
    let id = format!("{gid}/01/parked/1");
    until("the alarm", async || receiver.told() == [id.as_str()]).await;
    // Both processes have looked at it more than once since.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.told(), [id.as_str()]);
    assert_eq!(
        receiver.refused(),
        2,
        "what was refused was sent again, with the same id: {:?}",
        receiver.ids()
    );
    assert_eq!(receiver.ids(), [id.as_str(); 3], "two refused and one taken, by one process");
    assert_eq!(receiver.unverified(), Vec::<String>::new());

    let body = receiver.bodies().pop().expect("a body");
    let expected = serde_json::json!({
        "schema": "tcc.alarm.v1", "id": id, "kind": "parked", "gid": gid, "name": "checkout", "state": "confirming",
        "branch": "01", "action": "card.charge@1", "direction": "confirm", "cause": "handler", "attempts": 1,
        "since": body["since"], "age_ms": body["age_ms"], "last_error": "the card expired",
    });
    assert_eq!(body, expected);
    let fields = body.as_object().expect("an object").keys().map(|field| format!("| `{field}` |"));
    let guide =
        include_str!("../../docs/src/being-told.md").split("both. The body:").nth(1).expect("its table");
    let missing: Vec<String> = fields.filter(|row| !guide.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/src/being-told.md does not tell of {missing:?}");
    let rows = guide.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, body.as_object().map_or(0, |body| body.len()), "it tells of what is not there");
    assert!(body["since"].as_str().is_some_and(|since| since.ends_with('Z')) && body["age_ms"].is_u64());

    // Set going and parked again, it is another transition.
    assert_eq!(second.redrive(&gid, &[]).await.expect("an operator"), 1);
    let again = format!("{gid}/01/parked/2");
    until("the second alarm", async || receiver.told() == [id.as_str(), again.as_str()]).await;
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_parked_and_was_killed_before_telling_is_told_by_another() {
    let (server, receiver) = (Server::start().await, Receiver::start(2).await);
    for dies in ["before telling", "while telling"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Doomed::start(&server, folder.path(), dies);
        let mark = folder.path().join("mark");
        until(dies, async || process.is_alive() && mark.exists()).await;
        let gid = std::fs::read_to_string(&mark).expect("the transaction");
        process.kill();

        let id = format!("{gid}/01/parked/1");
        assert!(!receiver.told().contains(&id));
        let later = if dies == "while telling" { HELD } else { Duration::ZERO };
        let other = runtime(store_later(&server, later).await).notifier(webhook(&receiver));
        let other = other.start().await.expect("another process");
        until("the alarm", async || receiver.told().contains(&id)).await;
        assert_eq!(receiver.unverified(), Vec::<String>::new());
        other.shutdown().await;
    }
}

/// A process that parks a branch and never gets to tell it.
struct Doomed(Child);

impl Doomed {
    fn start(server: &Server, folder: &Path, dies: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test binary"));
        command.args(["--exact", "park_and_be_killed", "--ignored", "--nocapture"]);
        command.env(ROLE, format!("{}|{}|{dies}", server.url(), folder.display()));
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a process"))
    }

    fn is_alive(&mut self) -> bool {
        let ended = self.0.try_wait().expect("its state");
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
        true
    }

    /// `kill -9`.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Says that it was called, and never ends.
struct Hangs(PathBuf);

#[async_trait]
impl Notifier for Hangs {
    async fn notify(&self, alarm: &Alarm) -> Result<(), BoxError> {
        leave_mark(&self.0, &alarm.gid);
        std::future::pending().await
    }
}

fn leave_mark(folder: &Path, gid: &Gid) {
    let new = folder.join("new");
    std::fs::write(&new, gid.as_str()).expect("a mark");
    std::fs::rename(new, folder.join("mark")).expect("a mark");
}

#[tokio::test]
#[ignore = "is the process that the test above starts and kills"]
async fn park_and_be_killed() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [url, folder, dies] = role.split('|').collect::<Vec<_>>()[..] else { panic!("no role: {role}") };
    let (folder, telling) = (PathBuf::from(folder), dies == "while telling");
    let store = RedisStore::connect(url).await.expect("a store");
    let mut builder = runtime(store);
    if telling {
        builder = builder.notifier(Hangs(folder.clone()));
    }
    let runtime = builder.start().await.expect("a runtime");
    let gid = park_one(&runtime).await;
    until("parked", async || {
        let outcome = runtime.outcome(&gid).await.expect("an answer").expect("a record");
        outcome.parked == 1
    })
    .await;
    if !telling {
        leave_mark(&folder, &gid);
    }
    tokio::time::sleep(LONG).await;
}
