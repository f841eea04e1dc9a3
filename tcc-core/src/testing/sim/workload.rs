//! What scripted worlds do: one transaction each, in every way that leads through the runtime.

use std::{sync::Arc, time::Duration};

use super::{
    clients::{Client, Manner, Style},
    executor::Process,
    nemesis,
    participants::Mishap,
    plan::TIMEOUT,
    world::World,
};
use crate::runtime::Runtime;

/// Longer than the lease of the initiator, so that it is renewed.
const LONG: Duration = Duration::from_millis(2_500);
/// How often an operator looks for what is parked.
const LOOKS_MAX: u32 = 40;
const LOOK: Duration = Duration::from_millis(150);

/// A transaction, run in one of the ways there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Workload {
    /// Two branches joined.
    Commit,
    /// Four branches joined, whose end the caller waits for.
    CommitAndWait,
    /// Four branches, one after another.
    OneByOne,
    /// Two branches side by side, each registered by itself.
    Apart,
    ByHand,
    /// The closure gives an error.
    Rollback,
    /// A refused try is handled, and the rest confirmed.
    Handled,
    Panics,
    /// The closure outlives its lease and its deadline.
    Overruns,
    /// The caller's future is dropped.
    Dropped,
    /// A process that was started again runs the same key again.
    Keyed,
    /// A try takes effect after its branch was cancelled.
    LateTry,
    /// A confirm fails before its effect, and again after it.
    Retried,
    /// A confirm takes longer than its lease.
    Slow,
    Ongoing,
    /// A branch is parked and redriven.
    Parked,
    OperatorCancels,
    /// The process is asked to stop in the middle of it.
    Shutdown,
}

impl Workload {
    /// Every workload there is.
    pub const ALL: [Self; 18] = [
        Self::Commit,
        Self::CommitAndWait,
        Self::OneByOne,
        Self::Apart,
        Self::ByHand,
        Self::Rollback,
        Self::Handled,
        Self::Panics,
        Self::Overruns,
        Self::Dropped,
        Self::Keyed,
        Self::LateTry,
        Self::Retried,
        Self::Slow,
        Self::Ongoing,
        Self::Parked,
        Self::OperatorCancels,
        Self::Shutdown,
    ];

    pub(super) fn is_repeated(self) -> bool {
        self == Self::Keyed
    }

    /// What befalls its tries, and its confirms and cancels, whether after their effect.
    pub(super) fn mishaps(self) -> (Vec<Mishap>, Vec<(Mishap, bool)>) {
        match self {
            Self::LateTry => (vec![Mishap::Slow], Vec::new()),
            Self::Retried => (Vec::new(), vec![(Mishap::Refuse, false), (Mishap::Refuse, true)]),
            Self::Slow => (Vec::new(), vec![(Mishap::Slow, false)]),
            Self::Ongoing => (Vec::new(), vec![(Mishap::Ongoing, false), (Mishap::Ongoing, false)]),
            Self::Parked => (Vec::new(), vec![(Mishap::Park, false)]),
            _ => (Vec::new(), Vec::new()),
        }
    }

    fn style(self) -> (Manner, Style) {
        match self {
            Self::Commit | Self::Retried | Self::Slow | Self::Ongoing | Self::Parked => {
                (Manner::Run, Style::Join)
            }
            Self::CommitAndWait => (Manner::Run, Style::JoinAll),
            Self::OneByOne | Self::OperatorCancels | Self::Shutdown => (Manner::Run, Style::OneByOne),
            Self::Apart => (Manner::Run, Style::Apart),
            Self::ByHand => (Manner::ByHand, Style::Join),
            Self::Rollback => (Manner::Run, Style::GivesUp),
            Self::Handled => (Manner::Run, Style::Fallback),
            Self::Panics => (Manner::Run, Style::Panics),
            Self::Overruns => (Manner::Run, Style::Overruns),
            Self::Dropped => (Manner::Dropped, Style::OneByOne),
            Self::Keyed => (Manner::Keyed, Style::Join),
            Self::LateTry => (Manner::Run, Style::Ignores),
        }
    }

    fn legs(self) -> usize {
        match self {
            Self::CommitAndWait | Self::OneByOne | Self::Dropped => 2,
            _ => 1,
        }
    }
}

/// Does the work of a world's script.
pub(super) async fn go(world: Arc<World>, process: Process, runtime: Runtime) {
    let _busy = world.busy();
    let Some(workload) = world.script.as_ref().map(|script| script.workload) else { return };
    let (manner, style) = workload.style();
    let timeout = if workload == Workload::Overruns { LONG } else { TIMEOUT };
    let client = Client::scripted(&world, process, &runtime, manner, style, workload.legs()).within(timeout);
    match workload {
        Workload::CommitAndWait => client.waits(TIMEOUT).go().await,
        Workload::Keyed => {
            client.go().await;
            let _ = runtime.outcome_of("order", "order-1").await;
        }
        Workload::Parked => redrive(&world, &runtime, client).await,
        Workload::OperatorCancels => cancel(&world, &runtime, client).await,
        Workload::Shutdown => {
            let stop = async {
                world.sleep_millis(1, 60).await;
                nemesis::stop(&world, process, &runtime);
            };
            futures_util::join!(client.go(), stop);
        }
        _ => client.go().await,
    }
}

/// Sets a parked branch going again, as an operator does.
async fn redrive(world: &Arc<World>, runtime: &Runtime, client: Client) {
    let gid = client.gid();
    client.go().await;
    for _ in 0..LOOKS_MAX {
        world.sleep(LOOK).await;
        let Some(gid) = gid.get() else { return };
        let Ok(Some(outcome)) = runtime.outcome(&gid).await else { continue };
        if outcome.is_final() || outcome.parked > 0 && runtime.redrive(&gid, &[]).await.is_ok() {
            return;
        }
    }
}

/// Cancels a transaction under way, as an operator does.
async fn cancel(world: &Arc<World>, runtime: &Runtime, client: Client) {
    let gid = client.gid();
    let operate = async {
        world.sleep_millis(20, 40).await;
        let Some(gid) = gid.get() else { return };
        if let Ok(decision) = runtime.cancel(&gid).await {
            world.oracle().told_decision(&gid, decision.direction);
        }
    };
    futures_util::join!(client.go(), operate);
}
