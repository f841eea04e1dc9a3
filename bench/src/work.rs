//! The framework's side: two participants through the macros, with handlers that return at once.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tcc::{
    CancelCx, ConfirmCx, OpenTransaction, PhaseError, RedisStore, Runtime, RuntimeBuilder, TryCx, TryOutcome,
    redis::History,
};

use crate::{
    BenchError,
    measure::{Run, Took, closed_loop},
    server::{Durability, Server},
};

/// Business keys given so far.
static KEYS: AtomicU64 = AtomicU64::new(0);

/// For longer than any transaction should take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Left {
    stalls: bool,
}

#[tcc::participant(name = "left")]
impl Left {
    #[tcc(try, confirm = confirm_hold, cancel = cancel_hold)]
    async fn hold(&self, _cx: &TryCx, what: String) -> Result<String, Infallible> {
        Ok(what)
    }

    async fn confirm_hold(&self, _cx: &ConfirmCx, _what: String, _held: String) -> Result<(), PhaseError> {
        if self.stalls { std::future::pending().await } else { Ok(()) }
    }

    async fn cancel_hold(
        &self,
        _cx: &CancelCx,
        _what: String,
        _held: TryOutcome<String>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

struct Right {
    stalls: bool,
}

#[tcc::participant(name = "right")]
impl Right {
    #[tcc(try, confirm = confirm_hold, cancel = cancel_hold)]
    async fn hold(&self, _cx: &TryCx, what: String) -> Result<String, Infallible> {
        Ok(what)
    }

    async fn confirm_hold(&self, _cx: &ConfirmCx, _what: String, _held: String) -> Result<(), PhaseError> {
        if self.stalls { std::future::pending().await } else { Ok(()) }
    }

    async fn cancel_hold(
        &self,
        _cx: &CancelCx,
        _what: String,
        _held: TryOutcome<String>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

/// What a run varies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many branches, half of them of either participant.
    pub(crate) branches: usize,
    /// Bytes of each payload as it is stored.
    pub(crate) payload_bytes: usize,
    /// Tries one after the other instead of together.
    pub(crate) in_sequence: bool,
    /// With a business key each, and so begun by a call of its own.
    pub(crate) keyed: bool,
    /// Each branch by a service of its own, which joins.
    pub(crate) joined: bool,
    /// Phase two by queued messages instead of by the decider.
    pub(crate) queued: bool,
    /// Whether a history is kept.
    pub(crate) history: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            branches: 2,
            payload_bytes: 48,
            in_sequence: false,
            keyed: false,
            joined: false,
            queued: false,
            history: false,
        }
    }
}

/// A JSON payload of so many bytes: `{"what":"…"}` as arguments.
pub(crate) fn payload(bytes: usize) -> String {
    format!(r#"{{"what":"{}"}}"#, text(bytes))
}

/// What makes such a payload of it.
fn text(bytes: usize) -> String {
    "x".repeat(bytes.saturating_sub(r#"{"what":""}"#.len()))
}

/// A runtime on this server that hosts both participants.
pub(crate) async fn runtime(url: &str, durability: Durability, shape: Shape) -> Result<Runtime, BenchError> {
    let builder = builder(url, durability, shape).await?;
    let builder = builder.participant(Left { stalls: false }).participant(Right { stalls: false });
    Ok(builder.start().await?)
}

async fn builder(url: &str, durability: Durability, shape: Shape) -> Result<RuntimeBuilder, BenchError> {
    let mut store =
        RedisStore::builder(url).durability(durability.promised()).call_timeout(Duration::from_secs(20));
    if !shape.history {
        store = store.history(History::off());
    }
    Ok(Runtime::builder()
        .store(store.connect().await?)
        .store_timeout(Duration::from_secs(25))
        .timeout(Duration::from_secs(120))
        .phase_two_inline(!shape.queued))
}

/// A service that begins transactions, and one of each participant that it calls.
pub(crate) struct Services {
    caller: Runtime,
    left: Runtime,
    right: Runtime,
}

impl Services {
    pub(crate) async fn start(url: &str, durability: Durability, shape: Shape) -> Result<Self, BenchError> {
        let left = builder(url, durability, shape).await?.participant(Left { stalls: false });
        let right = builder(url, durability, shape).await?.participant(Right { stalls: false });
        let caller = builder(url, durability, shape).await?;
        Ok(Self { caller: caller.start().await?, left: left.start().await?, right: right.start().await? })
    }

    pub(crate) async fn shutdown(&self) {
        for runtime in [&self.caller, &self.left, &self.right] {
            runtime.shutdown().await;
        }
    }

    /// One transaction of two calls, to its end. What travels with them is handed over without a network.
    pub(crate) async fn one(&self, shape: Shape) -> Result<Took, BenchError> {
        let started = Instant::now();
        let open = self.caller.transaction("bench").begin().await?;
        let what = text(shape.payload_bytes);
        let left = async {
            let call = open.remote_call().await?;
            let joined = self.left.join(call.context()?).await?;
            LeftTcc::new(&joined).hold(what.clone()).await?;
            call.answered(&joined.finish());
            Ok::<(), BenchError>(())
        };
        let right = async {
            let call = open.remote_call().await?;
            let joined = self.right.join(call.context()?).await?;
            RightTcc::new(&joined).hold(what.clone()).await?;
            call.answered(&joined.finish());
            Ok(())
        };
        futures_util::try_join!(left, right)?;
        let ending = open.commit().await?;
        let decided = started.elapsed();
        ending.wait(PATIENCE).await?;
        Ok(Took { decided, ended: started.elapsed() })
    }
}

/// A runtime whose transactions may stay open for an hour, so many at a time.
pub(crate) async fn patient_runtime(url: &str, open_max: usize) -> Result<Runtime, BenchError> {
    let hour = Duration::from_secs(3_600);
    let store = RedisStore::builder(url).durability(tcc::redis::Durability::Volatile).history(History::off());
    let runtime = Runtime::builder()
        .store(store.connect().await?)
        .participant(Left { stalls: false })
        .participant(Right { stalls: false })
        .open_max(open_max)
        .timeout(hour)
        .lease(hour)
        .start()
        .await?;
    Ok(runtime)
}

/// The lease of what a stalled runtime holds: the default.
pub(crate) const STALLED_LEASE: Duration = Duration::from_secs(10);

/// A runtime whose handlers never finish phase two, however many they are.
pub(crate) async fn stalled_runtime(url: &str, transactions: usize) -> Result<Runtime, BenchError> {
    let store = RedisStore::builder(url).durability(tcc::redis::Durability::Volatile).history(History::off());
    let runtime = Runtime::builder()
        .store(store.connect().await?)
        .participant(Left { stalls: true })
        .participant(Right { stalls: true })
        .open_max(2 * transactions)
        .drives_max(2 * transactions)
        .drive_lease(STALLED_LEASE)
        .timeout(Duration::from_secs(120))
        .start()
        .await?;
    Ok(runtime)
}

/// One transaction, its branches tried.
pub(crate) async fn tried(runtime: &Runtime, shape: Shape) -> Result<OpenTransaction, BenchError> {
    let transaction = runtime.transaction("bench");
    let open = if shape.keyed {
        let key = format!("order {}", KEYS.fetch_add(1, Ordering::Relaxed));
        let begun = transaction.key(key).begin().await?;
        begun.first().ok_or_else(|| BenchError::Loop("a business key was given twice".to_owned()))?
    } else {
        transaction.begin().await?
    };
    let what = text(shape.payload_bytes);
    if shape.in_sequence {
        for place in 0..shape.branches {
            if place % 2 == 0 {
                LeftTcc::new(&open).hold(what.clone()).await?;
            } else {
                RightTcc::new(&open).hold(what.clone()).await?;
            }
        }
    } else if shape.branches == 2 {
        tcc::try_join!(LeftTcc::new(&open).hold(what.clone()), RightTcc::new(&open).hold(what))?;
    } else {
        tcc::try_join_all((0..shape.branches).map(|_| LeftTcc::new(&open).hold(what.clone()))).await?;
    }
    Ok(open)
}

/// One transaction, to its end.
pub(crate) async fn one(runtime: &Runtime, shape: Shape) -> Result<Took, BenchError> {
    let started = Instant::now();
    let ending = tried(runtime, shape).await?.commit().await?;
    let decided = started.elapsed();
    ending.wait(PATIENCE).await?;
    Ok(Took { decided, ended: started.elapsed() })
}

/// Runs the framework in a closed loop.
pub(crate) async fn run(
    server: &mut Server,
    durability: Durability,
    concurrency: usize,
    length: Duration,
    shape: Shape,
) -> Result<Run, BenchError> {
    if shape.joined {
        let services = Arc::new(Services::start(&server.url, durability, shape).await?);
        let running = Arc::clone(&services);
        let run = closed_loop(server, concurrency, length, move || {
            let services = Arc::clone(&running);
            async move { services.one(shape).await }
        })
        .await;
        services.shutdown().await;
        return run;
    }
    let runtime = Arc::new(runtime(&server.url, durability, shape).await?);
    let running = Arc::clone(&runtime);
    let run = closed_loop(server, concurrency, length, move || {
        let runtime = Arc::clone(&running);
        async move { one(&runtime, shape).await }
    })
    .await;
    runtime.shutdown().await;
    run
}
