//! A service with the real runtime, whose confirms and cancels do what a test tells them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tcc_core::{
    Action, ActionPolicy, CancelCx, ConfirmCx, Contradiction, Gid, Name, PhaseError, RetryPolicy, Runtime,
    RuntimeBuilder, TryCx, TryOutcome,
    record::{Record, TransactionState},
    store::Store,
};
use tcc_redis::{Durability, RedisStore};

use crate::{
    ctl::{Ctl, until},
    server::Server,
};

/// What confirm and cancel of an action come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Fails,
    GivesUp,
    Contradicts,
    Works,
}

/// The moods of a service's actions, which a test changes while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Moods(Arc<Mutex<Mood>>);

impl Moods {
    pub(crate) fn new(mood: Mood) -> Self {
        Self(Arc::new(Mutex::new(mood)))
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.0.lock().unwrap() = mood;
    }

    fn answer(&self) -> Result<(), PhaseError> {
        let mood = *self.0.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Fails => Err(PhaseError::retry("the warehouse does not answer")),
            Mood::GivesUp => Err(PhaseError::park("the parcel is lost")),
            Mood::Contradicts => Err(Contradiction::new("the books say confirmed"))?,
            Mood::Works => Err(PhaseError::ongoing(Duration::from_millis(20))),
        }
    }
}

/// An action whose arguments are an `A`.
pub(crate) fn action<A>(name: &str, version: u32, moods: &Moods) -> Action
where
    A: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let [confirms, cancels] = [0; 2].map(|_| moods.clone());
    let retry = RetryPolicy::new().max(2).base(Duration::from_millis(20)).cap(Duration::from_millis(20));
    Action::new(
        name,
        version,
        |_: TryCx, _: A| async { Ok::<_, std::io::Error>(serde_json::json!({ "hold": 17 })) },
        move |_: ConfirmCx, _: A, _: serde_json::Value| {
            let answer = confirms.answer();
            async move { answer }
        },
        move |_: CancelCx, _: A, _: TryOutcome<serde_json::Value>| {
            let answer = cancels.answer();
            async move { answer }
        },
    )
    .with_policy(ActionPolicy::new().retry(retry).ongoing_limit(Duration::from_millis(50)))
}

/// A Redis, a store on it, and `tccctl` beside it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) store: RedisStore,
    pub(crate) ctl: Ctl,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let server = Server::volatile().await;
        // Many of these begin at once, on machines that have other work.
        let store = RedisStore::builder(server.url()).durability(Durability::Volatile);
        let store = store.call_timeout(Duration::from_secs(20)).connect().await;
        let ctl = Ctl::new(server.url());
        Self { store: store.expect("a store"), server, ctl }
    }

    /// A process that sweeps quickly, and hosts what is added.
    pub(crate) fn process(&self, name: &str) -> RuntimeBuilder {
        let short = Duration::from_millis(400);
        Runtime::builder()
            .store(self.store.clone())
            .process(Name::new(name).unwrap())
            .lease(Duration::from_secs(2))
            .drive_lease(short * 5)
            .sweep_interval(Duration::from_millis(20))
            .unhandled_limit(Duration::from_millis(50))
            .grace(short)
    }

    /// One that hosts `stock.reserve@1` and `pay.authorize@1` as those of a [`Story`](crate::story::Story) are.
    pub(crate) async fn host(&self, name: &str, moods: &Moods) -> Runtime {
        let builder = self.process(name).actions("stock", [action::<serde_json::Value>("reserve", 1, moods)]);
        builder.actions("pay", [action::<serde_json::Value>("authorize", 1, moods)]).start().await.unwrap()
    }

    pub(crate) async fn record(&self, gid: &Gid) -> Record {
        self.store.load(gid).await.expect("a readable record").expect("a record")
    }

    pub(crate) async fn until_parked(&self, gid: &Gid) {
        until("a branch is parked", async || {
            self.record(gid).await.branches.iter().any(|branch| branch.parked.is_some())
        })
        .await;
    }

    pub(crate) async fn until_state(&self, gid: &Gid, state: TransactionState) {
        until(&format!("{gid} is {state}"), async || self.record(gid).await.state == state).await;
    }

    /// The shard's clock goes on by so much, and stands until the server's comes after.
    pub(crate) async fn wait(&self, millis: u64) {
        let now = self.store.now(0).await.expect("the time");
        let later = (now.as_millis() + millis).to_string();
        let mut raw = self.server.raw().await;
        let () = crate::server::ask(&mut raw, &["SET", "{tcc:00}:clock", &later]).await;
    }
}
