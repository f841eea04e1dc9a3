//! What a process of these tests does.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tcc_core::{
    Keyed, OpenTransaction, Runtime, RuntimeBuilder, TransactionError, TransactionErrorKind,
    record::Direction,
};
use tcc_redis::RedisStore;
use tokio::task::JoinSet;

use super::{
    books::Books,
    clock,
    shop::{self, Desk},
    support::VERSION_BEFORE,
};

/// Names the role of a process to it.
pub(crate) const ROLE: &str = "TCC_TEST_ROLE";
/// No process outlives its test by more.
const LIFE: Duration = Duration::from_secs(180);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) books: PathBuf,
    /// Accounts hosted here.
    pub(crate) hosts: Vec<String>,
    /// Those of them that are only tried here.
    pub(crate) tries_only: Vec<String>,
    /// Leases in milliseconds; the defaults if absent.
    pub(crate) lease_ms: Option<u64>,
    /// Transfers begun one after another.
    pub(crate) transfers: usize,
    /// Transfers begun until the mark `enough` is there, so many at a time.
    pub(crate) load: usize,
    /// Whether it runs the version before this one.
    pub(crate) is_old: bool,
    /// Whether it takes the server's time from [`clock`], which its test can step.
    pub(crate) is_clock_given: bool,
    /// Where it holds: at a point of the first transfer, or of a handler.
    pub(crate) hold: Option<String>,
}

impl Role {
    fn builder(&self, store: RedisStore, desk: &Arc<Desk>) -> RuntimeBuilder {
        let builder = Runtime::builder().store(store).process(self.name.parse().expect("a name"));
        let mut builder = match self.lease_ms {
            None => builder,
            Some(millis) => {
                let lease = Duration::from_millis(millis);
                builder.lease(lease).drive_lease(lease).sweep_interval(Duration::from_millis(50))
            }
        };
        for account in &self.hosts {
            builder = builder.actions(account, [shop::action(account, desk)]);
        }
        for account in &self.tries_only {
            builder = builder.tries_only(account);
        }
        builder
    }

    async fn run(self) {
        let books = Books::new(&self.books, &self.name);
        let mut store = RedisStore::builder(&self.url);
        if self.is_old {
            store = store.frozen_library(VERSION_BEFORE);
        }
        if self.is_clock_given {
            store = store.given_time(clock::follow(books.clone()));
        }
        let store = connect(store).await;
        let desk = Arc::new(Desk::new(books.clone(), &self.name, self.hold.clone()));
        let runtime = self.builder(store, &desk).start().await.expect("a runtime");
        books.mark(&format!("{}.ready", self.name));
        for number in 0..self.transfers {
            transfer(&runtime, &desk, number as u64).await;
        }
        let mut tasks = JoinSet::new();
        for place in 0..self.load {
            let (runtime, desk) = (runtime.clone(), Arc::clone(&desk));
            tasks.spawn(async move {
                let mut number = place as u64 * 1_000_000;
                while !desk.books().is_marked("enough") {
                    transfer(&runtime, &desk, number).await;
                    number += 1;
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("a task of the load");
        }
        books.mark(&format!("{}.done", self.name));
        while !books.is_marked(&format!("{}.leave", self.name)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        runtime.shutdown().await;
    }
}

/// Plays the role that the environment names.
pub(crate) fn play() {
    let role = std::env::var(ROLE).expect("a role; the other tests start this one with theirs");
    let role: Role = serde_json::from_str(&role).expect("a role that can be read");
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio.expect("a Tokio runtime").block_on(async {
        tokio::time::timeout(LIFE, role.run()).await.expect("a process whose test is over ends");
    });
}

/// Moves an amount from one account to the other, and notes what was heard of it.
async fn transfer(runtime: &Runtime, desk: &Desk, number: u64) {
    let key = format!("{}-{number}", desk.process());
    let open = match runtime.transaction("transfer").key(&key).begin().await {
        Ok(Keyed::First(open)) => open,
        Ok(Keyed::Repeated(outcome)) => panic!("{key} was never used: {outcome:?}"),
        Err(error) => {
            desk.books().note("not-begun", &chain(&error));
            return tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gid = open.gid().to_string();
    desk.books().note("heard", &format!("begun {gid}"));
    desk.point("begun").await;
    let heard = match attempt(open, desk, 1 + number % shop::REFUSED).await {
        Ok(decided) => decided.to_string(),
        Err(error) => match error.kind() {
            TransactionErrorKind::Aborted | TransactionErrorKind::Cancelled(_) => "cancel".to_owned(),
            other => format!("{other:?}"),
        },
    };
    desk.books().note("heard", &format!("{heard} {gid}"));
}

/// The error's text with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ").replace('\n', " ")
}

async fn attempt(open: OpenTransaction, desk: &Desk, amount: u64) -> Result<Direction, TransactionError> {
    let mut tried = open.call("from.move@1", &amount).await.is_ok();
    desk.point("first-try").await;
    tried = tried && open.call("to.move@1", &amount).await.is_ok();
    if tried {
        open.commit().await.map(|_| Direction::Confirm)
    } else {
        open.cancel().await.map(|_| Direction::Cancel)
    }
}

/// A machine with much to do may take its time.
async fn connect(store: tcc_redis::RedisStoreBuilder) -> RedisStore {
    let mut failure = None;
    for _ in 0..10 {
        match store.clone().connect().await {
            Ok(store) => return store,
            Err(error) if error.is_retryable() => failure = Some(error),
            Err(error) => panic!("a store: {error}"),
        }
    }
    panic!("a store, asked for ten times: {failure:?}")
}
