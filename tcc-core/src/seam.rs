//! The one seam through which time, randomness and tasks reach the runtime, so that a simulator can
//! replay it from a seed.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{
    FutureExt,
    future::{AbortHandle, Abortable, BoxFuture},
};
use tokio::sync::oneshot;

use crate::time::Timestamp;

/// Time, randomness and spawning, as the runtime sees them.
pub trait Seam: fmt::Debug + Send + Sync + 'static {
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;

    /// Ends after this long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// A random number.
    fn random(&self) -> u64;

    /// Runs a task beside the caller. May be called outside any task.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// The real thing: Tokio's timers and tasks, the operating system's randomness.
#[derive(Debug)]
pub struct TokioSeam {
    handle: tokio::runtime::Handle,
    started: Instant,
}

impl TokioSeam {
    /// Uses the Tokio runtime the caller is in; none if there is none.
    #[must_use]
    pub fn current() -> Option<Self> {
        let handle = tokio::runtime::Handle::try_current().ok()?;
        Some(Self { handle, started: system_instant() })
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the seam")]
fn system_instant() -> Instant {
    Instant::now()
}

/// The system clock's time.
#[allow(clippy::disallowed_methods, reason = "this is the seam")]
pub(crate) fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(crate::time::millis(since))
}

#[allow(clippy::disallowed_methods, reason = "this is the seam")]
impl Seam for TokioSeam {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn random(&self) -> u64 {
        rand::random()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }
}

/// How a task ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    Done(T),
    Panicked(String),
    /// It was aborted, or the runtime under it went away.
    Aborted,
}

/// A task that can be aborted and joined. Dropping it detaches it.
#[derive(Debug)]
pub(crate) struct Task<T> {
    abort: AbortHandle,
    ended: oneshot::Receiver<Ended<T>>,
}

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(seam: &dyn Seam, work: impl Future<Output = T> + Send + 'static) -> Self {
        let (abort, registration) = AbortHandle::new_pair();
        let (tell, ended) = oneshot::channel();
        let work = AssertUnwindSafe(Abortable::new(work, registration)).catch_unwind();
        seam.spawn(
            async move {
                let end = match work.await {
                    Ok(Ok(value)) => Ended::Done(value),
                    Ok(Err(_)) => Ended::Aborted,
                    Err(panic) => Ended::Panicked(panic_text(&*panic)),
                };
                let _ = tell.send(end);
            }
            .boxed(),
        );
        Self { abort, ended }
    }

    /// Ends the task at its next await. Join it to know when.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    /// Waits for the end. Cancel-safe.
    pub(crate) async fn join(&mut self) -> Ended<T> {
        (&mut self.ended).await.unwrap_or(Ended::Aborted)
    }

    /// Waits for the end, no longer than this. Cancel-safe.
    pub(crate) async fn join_within(&mut self, seam: &dyn Seam, limit: Duration) -> Option<Ended<T>> {
        within(seam, limit, self.join()).await
    }
}

/// How far work came where it was begun.
pub(crate) enum Begun<T> {
    /// To its end: it needs no task.
    Ended(Ended<T>),
    /// It goes on.
    Running(BoxFuture<'static, T>),
}

/// Begins work on the caller's task, as far as it comes without waiting.
pub(crate) fn begin<T>(cx: &mut Context<'_>, work: impl FnOnce() -> BoxFuture<'static, T>) -> Begun<T> {
    let first = AssertUnwindSafe(|| {
        let mut work = work();
        match work.as_mut().poll(cx) {
            Poll::Ready(value) => Begun::Ended(Ended::Done(value)),
            Poll::Pending => Begun::Running(work),
        }
    });
    std::panic::catch_unwind(first).unwrap_or_else(|panic| Begun::Ended(Ended::Panicked(panic_text(&*panic))))
}

/// Waits for a future, no longer than this.
pub(crate) async fn within<T>(seam: &dyn Seam, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    // What is ready at once needs no timer.
    if let Poll::Ready(value) = futures_util::poll!(work.as_mut()) {
        return Some(value);
    }
    tokio::select! {
        biased;
        value = work => Some(value),
        () = seam.sleep(limit) => None,
    }
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// What the store's clocks say now, guessed from its answers: shards may lie on machines of their own, and their
/// high-water marks apart.
#[derive(Debug)]
pub(crate) struct ServerClock {
    seam: Arc<dyn Seam>,
    /// By shard.
    heard: Mutex<Vec<(Timestamp, Duration)>>,
}

impl ServerClock {
    /// The clocks of all shards, as they were just now.
    pub(crate) fn new(seam: Arc<dyn Seam>, now: Vec<Timestamp>) -> Self {
        let elapsed = seam.elapsed();
        let heard = Mutex::new(now.into_iter().map(|now| (now, elapsed)).collect());
        Self { seam, heard }
    }

    fn heard(&self) -> MutexGuard<'_, Vec<(Timestamp, Duration)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the time an answer carried to a question asked then, in [`Seam::elapsed`]. An answer that
    /// took long says little: the guess is only moved as far as the answer contradicts it.
    pub(crate) fn hear(&self, shard: u16, now: Timestamp, asked_at: Duration) {
        let elapsed = self.seam.elapsed();
        let latest = now + elapsed.saturating_sub(asked_at);
        if let Some(heard) = self.heard().get_mut(usize::from(shard)) {
            let guess = heard.0 + elapsed.saturating_sub(heard.1);
            *heard = (guess.clamp(now, latest), elapsed);
        }
    }

    pub(crate) fn now(&self, shard: u16) -> Timestamp {
        let heard = self.heard();
        let known = heard.get(usize::from(shard)).or_else(|| heard.first());
        let (heard, at) = known.copied().unwrap_or_default();
        heard + self.seam.elapsed().saturating_sub(at)
    }

    /// How long ago the store was last heard.
    pub(crate) fn silence(&self) -> Duration {
        let newest = self.heard().iter().map(|(_, at)| *at).max().unwrap_or_default();
        self.seam.elapsed().saturating_sub(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time that stands until it is moved.
    #[derive(Debug, Default)]
    struct Stopped(Mutex<Duration>);

    impl Seam for Stopped {
        fn elapsed(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            std::future::pending().boxed()
        }

        fn random(&self) -> u64 {
            0
        }

        fn spawn(&self, _: BoxFuture<'static, ()>) {}
    }

    #[test]
    fn the_servers_time_is_guessed_within_what_its_answers_allow() {
        let seam = Arc::new(Stopped::default());
        let at = |ms| Timestamp::from_millis(ms);
        let clock = ServerClock::new(seam.clone(), vec![at(1_000), at(50_000)]);
        let move_to = |ms| *seam.0.lock().unwrap() = Duration::from_millis(ms);
        move_to(500);
        assert_eq!(clock.now(0), at(1_500));

        // Asked long ago and answered then: the answer is old, and moves nothing.
        clock.hear(0, at(1_010), Duration::from_millis(5));
        assert_eq!((clock.now(0), clock.silence()), (at(1_500), Duration::ZERO));
        // The server is ahead of the guess.
        clock.hear(0, at(9_000), Duration::from_millis(490));
        assert_eq!(clock.now(0), at(9_000));
        // It is behind the guess, however late it answered.
        clock.hear(0, at(8_000), Duration::from_millis(450));
        assert_eq!(clock.now(0), at(8_050));
        move_to(600);
        assert_eq!((clock.now(0), clock.silence()), (at(8_150), Duration::from_millis(100)));
        assert_eq!(clock.now(1), at(50_600), "each shard has a clock of its own");
    }
}
