//! A Redis of the targets' own, and a store on it, for as long as the process lives.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tcc_core::{
    store::Store,
    testing::sequences::{Generator, START, Step},
};
use tcc_redis::{Durability, History, RedisStore};
use tokio::runtime::{Builder, Runtime};

use crate::server::{Server, ask};

/// A call that takes longer does not end.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    _server: Server,
    /// Ends the server when this process ends, however it does.
    _guard: Child,
    pub(crate) store: RedisStore,
    raw: MultiplexedConnection,
    clock: Arc<AtomicU64>,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(START.as_millis()));
        let server = Server::volatile().await;
        let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
        let builder = builder.call_timeout(CALL_TIMEOUT).history(History::default());
        let store = builder.given_time(Arc::clone(&clock)).connect().await.expect("the store connects");
        let raw = server.raw().await;
        Self { _guard: guard(server.pid()), _server: server, store, raw, clock }
    }

    /// Begins anew, and does what a sequence says for so many operations.
    pub(crate) async fn play(&mut self, generator: &mut Generator, operations: u8) {
        let () = ask(&mut self.raw, &["FLUSHDB"]).await;
        self.clock.store(START.as_millis(), Ordering::Relaxed);
        let mut left = operations;
        while left > 0 {
            match generator.step() {
                Step::Clock(ms) => {
                    let now = self.clock.load(Ordering::Relaxed).saturating_add_signed(ms);
                    self.clock.store(now, Ordering::Relaxed);
                }
                Step::Apply(gid, op) => {
                    left -= 1;
                    let applied = self.store.apply(&gid, &op).await.expect("an operation is taken");
                    generator.hear(&gid, &op, &applied);
                }
            }
        }
    }

    /// The fields of every record there is.
    pub(crate) async fn records(&mut self) -> Vec<BTreeMap<String, String>> {
        let keys: Vec<String> = ask(&mut self.raw, &["KEYS", "*:tx:*"]).await;
        let mut records = Vec::new();
        for key in keys {
            records.push(ask(&mut self.raw, &["HGETALL", &key]).await);
        }
        records
    }

    /// Every key and what the server says its value adds up to.
    pub(crate) async fn digests(&mut self) -> BTreeMap<String, String> {
        let mut keys: Vec<String> = ask(&mut self.raw, &["KEYS", "*"]).await;
        keys.retain(|key| !key.ends_with(":clock"));
        let words: Vec<&str> =
            ["DEBUG", "DIGEST-VALUE"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let digests: Vec<String> =
            if keys.is_empty() { Vec::new() } else { ask(&mut self.raw, &words).await };
        keys.into_iter().zip(digests).collect()
    }
}

/// Waits for the end of its input, which is this process, and kills.
fn guard(pid: u32) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >/dev/null; kill -9 \"$0\"", &pid.to_string()]).stdin(Stdio::piped());
    shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
}

/// Hands the bench out, to one at a time.
pub(crate) fn with_bench<T>(work: impl FnOnce(&mut Bench, &Runtime) -> T) -> T {
    static BENCH: OnceLock<Mutex<(Bench, Runtime)>> = OnceLock::new();
    let bench = BENCH.get_or_init(|| {
        let tokio = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Mutex::new((tokio.block_on(Bench::new()), tokio))
    });
    let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
    let (bench, tokio) = &mut *bench;
    work(bench, tokio)
}
