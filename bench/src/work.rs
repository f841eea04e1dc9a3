//! The framework's side: two participants through the macros, with handlers that return at once.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use tcc::{CancelCx, ConfirmCx, PhaseError, RedisStore, Runtime, TryCx, TryOutcome, redis::History};

use crate::{
    BenchError,
    measure::{Run, Took, closed_loop},
    server::{Durability, Server},
};

/// For longer than any transaction should take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Left;

#[tcc::participant(name = "left")]
impl Left {
    #[tcc(try, confirm = confirm_hold, cancel = cancel_hold)]
    async fn hold(&self, _cx: &TryCx, what: String) -> Result<String, Infallible> {
        Ok(what)
    }

    async fn confirm_hold(&self, _cx: &ConfirmCx, _what: String, _held: String) -> Result<(), PhaseError> {
        Ok(())
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

struct Right;

#[tcc::participant(name = "right")]
impl Right {
    #[tcc(try, confirm = confirm_hold, cancel = cancel_hold)]
    async fn hold(&self, _cx: &TryCx, what: String) -> Result<String, Infallible> {
        Ok(what)
    }

    async fn confirm_hold(&self, _cx: &ConfirmCx, _what: String, _held: String) -> Result<(), PhaseError> {
        Ok(())
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
    /// Phase two by queued messages instead of by the decider.
    pub(crate) queued: bool,
    /// Whether a history is kept.
    pub(crate) history: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self { branches: 2, payload_bytes: 48, in_sequence: false, queued: false, history: false }
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

/// A runtime on this server.
pub(crate) async fn runtime(url: &str, durability: Durability, shape: Shape) -> Result<Runtime, BenchError> {
    let mut store =
        RedisStore::builder(url).durability(durability.promised()).call_timeout(Duration::from_secs(20));
    if !shape.history {
        store = store.history(History::off());
    }
    let runtime = Runtime::builder()
        .store(store.connect().await?)
        .participant(Left)
        .participant(Right)
        .store_timeout(Duration::from_secs(25))
        .phase_two_inline(!shape.queued)
        .start()
        .await?;
    Ok(runtime)
}

/// One transaction, to its end.
pub(crate) async fn one(runtime: &Runtime, shape: Shape) -> Result<Took, BenchError> {
    let started = Instant::now();
    let open = runtime.transaction("bench").begin().await?;
    let what = text(shape.payload_bytes);
    if shape.branches == 2 && !shape.in_sequence {
        tcc::try_join!(LeftTcc::new(&open).hold(what.clone()), RightTcc::new(&open).hold(what),)?;
    } else if shape.in_sequence {
        for place in 0..shape.branches {
            if place % 2 == 0 {
                LeftTcc::new(&open).hold(what.clone()).await?;
            } else {
                RightTcc::new(&open).hold(what.clone()).await?;
            }
        }
    } else {
        let left = (0..shape.branches).map(|_| LeftTcc::new(&open).hold(what.clone()));
        tcc::try_join_all(left).await?;
    }
    let ending = open.commit().await?;
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
