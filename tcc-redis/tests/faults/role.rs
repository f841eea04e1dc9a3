//! What a process of these tests does.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tcc_core::{Keyed, OpenTransaction, Runtime, RuntimeBuilder, TransactionErrorKind, record::Direction};
use tcc_redis::RedisStore;
use tokio::{task::JoinSet, time::sleep};

use super::{
    bank::{self, Bank, Sabotage},
    customer::Customer,
    ledger::{ACCOUNTS, Intent, Order, Step, Word},
    office,
    support::random::Random,
};

/// Names the role of a process to it.
pub(crate) const ROLE: &str = "TCC_TEST_ROLE";
/// Leases, short enough for their end to be waited for.
pub(crate) const LEASE: Duration = Duration::from_millis(700);
/// How long a runtime is started over a Redis that may be broken at the time.
const START: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Keeps the ledger.
    Ledger { folder: PathBuf, port: u16 },
    /// Runs the framework.
    Service(Service),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) redis: String,
    pub(crate) ledger: u16,
    pub(crate) marks: PathBuf,
    /// Accounts that are only tried here.
    pub(crate) tries_only: Vec<String>,
    /// Transfers begun at a time, until the mark `enough` is there.
    pub(crate) load: u64,
    pub(crate) slow_ms: u64,
    pub(crate) seed: u64,
    pub(crate) sabotage: Option<Sabotage>,
    /// A transaction whose outcome is asked for before it leaves.
    pub(crate) asks: Option<String>,
}

/// Where the answer is written.
pub(crate) const ANSWER: &str = "answer";

/// Says something to whoever shares the folder.
pub(crate) fn mark(marks: &Path, name: &str) {
    std::fs::write(marks.join(name), "").expect("a mark");
}

pub(crate) fn is_marked(marks: &Path, name: &str) -> bool {
    marks.join(name).exists()
}

/// Plays the role that the environment names, no longer than the test lives that started it.
pub(crate) fn play() {
    let role = std::env::var(ROLE).expect("a role; the other tests start this one with theirs");
    let role: Role = serde_json::from_str(&role).expect("a role that can be read");
    std::thread::spawn(|| {
        // The test holds the other end and never writes: this returns when it is no more.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    match role {
        Role::Ledger { folder, port } => office::keep(&folder, port),
        Role::Service(service) => {
            let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            tokio.expect("a Tokio runtime").block_on(service.run());
        }
    }
}

impl Service {
    fn builder(&self, store: RedisStore, bank: &Arc<Bank>) -> RuntimeBuilder {
        let mut builder = Runtime::builder()
            .store(store)
            .process(self.name.parse().expect("a name"))
            .lease(LEASE)
            .drive_lease(LEASE)
            .phase_two_inline(!self.name.ends_with(['2', '5', '8']))
            .sweep_interval(Duration::from_millis(50))
            .store_timeout(Duration::from_millis(1_500))
            .decide_patience(Duration::from_secs(1))
            .unhandled_limit(Duration::from_secs(2));
        for account in ACCOUNTS {
            builder = builder.actions(account, bank::actions(account, bank));
        }
        for account in &self.tries_only {
            builder = builder.tries_only(account);
        }
        builder
    }

    fn is_told(&self, mark: &str) -> bool {
        is_marked(&self.marks, mark)
    }

    /// Starts the runtime, over whatever the network and Redis do at the time.
    async fn start(&self, bank: &Arc<Bank>) -> Runtime {
        let started = std::time::Instant::now();
        loop {
            let store = RedisStore::builder(&self.redis)
                .connect_timeout(Duration::from_secs(1))
                .call_timeout(Duration::from_secs(1));
            let trouble = match store.connect().await {
                Ok(store) => match self.builder(store, bank).start().await {
                    Ok(runtime) => return runtime,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(started.elapsed() < START, "{}: {trouble}", self.name);
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn run(self) {
        let bank = Arc::new(Bank {
            ledger: Customer::of(self.ledger),
            slow_ms: self.slow_ms,
            sabotage: self.sabotage,
            random: Mutex::new(Random::new(self.seed)),
        });
        let runtime = self.start(&bank).await;
        mark(&self.marks, &format!("{}.ready", self.name));
        let mut tasks = JoinSet::new();
        for _ in 0..self.load {
            let (runtime, bank, service) = (runtime.clone(), Arc::clone(&bank), self.clone());
            tasks.spawn(async move {
                while !service.is_told("enough") && !service.is_told(&format!("{}.leave", service.name)) {
                    transfer(&runtime, &bank).await;
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("a task of the load");
        }
        mark(&self.marks, &format!("{}.done", self.name));
        while !self.is_told(&format!("{}.leave", self.name)) {
            sleep(Duration::from_millis(5)).await;
        }
        if let Some(gid) = &self.asks {
            let outcome = runtime.outcome(&gid.parse().expect("a gid")).await;
            let answer = match outcome {
                Ok(outcome) => {
                    let decided = outcome.and_then(|outcome| outcome.decision);
                    Ok(decided.map(|decision| decision.direction.to_string()))
                }
                Err(error) => Err(chain(&error)),
            };
            let text = serde_json::to_string(&answer).expect("an answer");
            std::fs::write(self.marks.join(ANSWER), text).expect("an answer that can be kept");
        }
        runtime.shutdown().await;
    }
}

/// The error's text with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Moves an amount from one account to another one, and tells the ledger what was heard of it. Half of them have a
/// business key.
async fn transfer(runtime: &Runtime, bank: &Bank) {
    let transaction = runtime.transaction("transfer");
    let key = (bank.within(0..=1) == 1).then(|| format!("{:016x}", bank.within(0..=u64::MAX - 1)));
    let begun = match &key {
        None => transaction.begin().await,
        Some(key) => match transaction.key(key).begin().await {
            Ok(Keyed::First(open)) => Ok(open),
            Ok(Keyed::Repeated(outcome)) => panic!("{key} was never used: {outcome:?}"),
            Err(error) => Err(error),
        },
    };
    let Ok(open) = begun else { return sleep(Duration::from_millis(20)).await };
    let gid = open.gid().to_string();
    let intent = Intent { is_acknowledged: key.is_some(), ..intend(bank) };
    if bank.is_hit_by(Sabotage::InventsBegins) {
        let invented = format!("{gid}0");
        bank.ledger
            .take(Step::Begun { gid: invented, intent: Intent { is_acknowledged: true, ..intent.clone() } })
            .await;
    }
    bank.ledger.take(Step::Begun { gid: gid.clone(), intent: intent.clone() }).await;
    let mut word = attempt(open, &intent).await;
    if bank.is_hit_by(Sabotage::TellsTheOpposite) {
        word = if word == Word::Confirm { Word::Cancel } else { Word::Confirm };
    }
    bank.ledger.take(Step::Heard { gid, word }).await;
}

/// A fifth of the amounts is refused by who should get them, and a quarter of these have somebody else to go to.
fn intend(bank: &Bank) -> Intent {
    let first = bank.within(0..=3) as usize;
    let account = |step: usize| ACCOUNTS[(first + step) % 4].to_owned();
    let amount = bank.within(1..=500) as i64;
    let spare = (amount % 4 == 0).then(|| account(2));
    Intent { from: account(0), to: account(1), spare, amount, is_acknowledged: false }
}

async fn attempt(open: OpenTransaction, intent: &Intent) -> Word {
    let order = |spare| Order { amount: intent.amount, spare, text: format!("{intent:?}") };
    let mut tried = open.call(&format!("{}.pay@1", intent.from), &order(false)).await.is_ok();
    tried = tried && {
        let taken = open.call(&format!("{}.get@1", intent.to), &order(false)).await.is_ok();
        match &intent.spare {
            // The refusal is handled: the rest can be confirmed.
            Some(spare) if !taken && order(false).is_refused() => {
                open.call(&format!("{spare}.get@1"), &order(true)).await.is_ok()
            }
            _ => taken,
        }
    };
    let ended = if tried {
        open.commit().await.map(|_| Direction::Confirm)
    } else {
        open.cancel().await.map(|_| Direction::Cancel)
    };
    match ended {
        Ok(Direction::Confirm) => Word::Confirm,
        Ok(Direction::Cancel) => Word::Cancel,
        Err(error) => match error.kind() {
            TransactionErrorKind::Aborted | TransactionErrorKind::Cancelled(_) => Word::Cancel,
            _ => Word::Unknown,
        },
    }
}
