//! A record that names another action in the midst of its transaction.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tcc_core::{Action, CancelCx, ConfirmCx, PhaseError, Runtime, TryCx, TryOutcome};
use tcc_redis::{Durability, RedisStore};

use super::{
    process::until,
    support::server::{Server, ask},
};

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

type Ran = Arc<Mutex<Vec<String>>>;

fn action(participant: &'static str, ran: &Ran) -> Action {
    let [confirms, cancels] = [0; 2].map(|_| Arc::clone(ran));
    let note = move |ran: &Ran, phase: &str| {
        ran.lock().expect("what ran").push(format!("{phase} {participant}"));
    };
    Action::new(
        "move",
        1,
        |_: TryCx, amount: u64| async move { Ok::<_, Never>(amount) },
        move |_: ConfirmCx, _: u64, _: u64| {
            note(&confirms, "confirm");
            async { Ok::<_, PhaseError>(()) }
        },
        move |_: CancelCx, _: u64, _: TryOutcome<u64>| {
            note(&cancels, "cancel");
            async { Ok::<_, PhaseError>(()) }
        },
    )
}

#[tokio::test]
async fn a_decider_does_not_drive_an_action_it_never_called() {
    let server = Server::volatile().await;
    let store = RedisStore::builder(server.url()).durability(Durability::Volatile);
    let ran = Ran::default();
    let runtime = Runtime::builder()
        .store(store.connect().await.expect("the store"))
        .lease(Duration::from_millis(500))
        .drive_lease(Duration::from_millis(500))
        .sweep_interval(Duration::from_millis(50))
        .actions("acct-1", [action("acct-1", &ran)])
        .actions("acct-3", [action("acct-3", &ran)])
        .start()
        .await
        .expect("a runtime");
    let open = runtime.transaction("transfer").begin().await.expect("a transaction");
    let gid = open.gid().to_string();
    open.call("acct-1.move@1", &7_u64).await.expect("a try");

    let (mut raw, key) = (server.raw().await, format!("{{tcc:00}}:tx:{gid}"));
    let line: String = ask(&mut raw, &["HGET", &key, "01"]).await;
    let () = ask(&mut raw, &["HSET", &key, "01", &line.replace("acct-1", "acct-3")]).await;
    let _decided = open.cancel().await.expect("a decision");
    until("it is listed with its cause", async || {
        let cause: Option<String> = ask(&mut raw, &["HGET", "{tcc:00}:unreadable", &gid]).await;
        cause.as_deref() == Some("01.arguments: checksum")
    })
    .await;
    assert_eq!(*ran.lock().expect("what ran"), [""; 0]);
    runtime.shutdown().await;
}
