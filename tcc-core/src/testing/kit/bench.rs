//! Runs orders on fresh participants.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};

use super::{
    Called, Checked, Failure, Kit,
    order::{self, Deed, Leaves, Must, Order, Step},
};
use crate::{
    action::{Action, TryFailure},
    config::Config,
    context::{CancelCx, ConfirmCx, TryCx},
    gid::Gid,
    name::{ActionName, Name, Ordinal},
    outcome::{PhaseError, TryOutcome},
    payload::Payload,
    record::{Direction, Reason},
    runtime::chain,
    seam::{Seam, TokioSeam, panic_text, within},
    time::Timestamp,
};

/// The longest one handler may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a confirm or cancel that asks for it is run again.
const RUNS_MAX: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// More awaits than a handler has.
const CUTS_MAX: usize = 256;

/// Runs every order of one call.
pub(super) async fn test<P, F, V>(
    kit: &Kit<P, F>,
    called: &Called,
    look: &impl AsyncFn(&P) -> V,
    checked: &mut Checked,
    failures: &mut Vec<Failure>,
) where
    F: AsyncFn() -> (Arc<P>, Vec<Action>),
    V: PartialEq + fmt::Debug,
{
    let name = &called.action;
    let arguments = match &called.arguments {
        Ok(arguments) => arguments.clone(),
        Err(error) => return failures.push(Failure::of(name, "its arguments are JSON", error)),
    };
    let mut bench = Bench { kit, called, arguments, look, sample: None };
    let (nothing, confirmed) = match bench.measure().await {
        Ok(measured) => measured,
        Err(failure) => return failures.push(failure),
    };
    let orders = if called.refused { order::refused() } else { order::granted() };
    for order in orders.into_iter().filter(|order| kit.fence || !order.fence) {
        let expected = match order.leaves {
            Leaves::Nothing => &nothing,
            Leaves::Confirmed => &confirmed,
        };
        for cut in 0..CUTS_MAX {
            checked.orders += 1;
            match bench.run(&order.steps, cut, Some(&nothing)).await {
                Err(found) => failures.push(bench.failure(&order, cut, found)),
                Ok(ran) if ran.left != *expected => {
                    let found = format!("it left {:?} and not {expected:?}", ran.left);
                    failures.push(bench.failure(&order, cut, found));
                }
                Ok(ran) if ran.was_cut => {
                    checked.cuts += 1;
                    continue;
                }
                Ok(_) => {}
            }
            break;
        }
    }
}

struct Bench<'a, P, F, L> {
    kit: &'a Kit<P, F>,
    called: &'a Called,
    arguments: Payload,
    look: &'a L,
    /// What a try gives, for confirms that come without one.
    sample: Option<Payload>,
}

struct Ran<V> {
    left: V,
    was_cut: bool,
}

impl<P, F, L, V> Bench<'_, P, F, L>
where
    F: AsyncFn() -> (Arc<P>, Vec<Action>),
    L: AsyncFn(&P) -> V,
    V: PartialEq + fmt::Debug,
{
    /// What the books show before anything ran, and what they show after one try and one confirm.
    async fn measure(&mut self) -> Result<(V, V), Failure> {
        let name = self.called.action.clone();
        let fails = |rule| move |found: String| Failure::of(&name, rule, found);
        let nothing = self.run(&[], 0, None).await.map_err(fails.clone()("it can be made"))?.left;
        if self.called.refused {
            let again = self.run(&[], 0, Some(&nothing)).await.map_err(fails("it can be made"))?.left;
            return Ok((nothing, again));
        }
        let tried = self.run(&order::REFERENCE[..1], 0, Some(&nothing)).await;
        let tried = tried.map_err(fails.clone()("a fresh participant grants the call"))?.left;
        if self.kit.reserves && tried == nothing {
            let found = format!(
                "it shows {nothing:?} before and after a try; show more, or say `reserves_nothing()` of a try that \
                 only looks"
            );
            return Err(fails("the look at the books shows what a try reserves")(found));
        }
        let confirmed = self.run(&order::REFERENCE, 0, Some(&nothing)).await;
        Ok((nothing, confirmed.map_err(fails("a confirm follows its try"))?.left))
    }

    fn failure(&self, order: &Order, cut: usize, found: String) -> Failure {
        let is_cut = order.steps.iter().any(|step| step.cut);
        let at = if is_cut { format!(" (cut at await {cut})") } else { String::new() };
        Failure::of(format!("{}: {order}{at}", self.called.action), order.rule, found)
    }

    /// Runs the steps on a fresh participant and looks at its books.
    async fn run(&mut self, steps: &[Step], cut: usize, nothing: Option<&V>) -> Result<Ran<V>, String> {
        let (books, actions) = (self.kit.make)().await;
        if let Some(nothing) = nothing {
            let before = (self.look)(&books).await;
            if before != *nothing {
                return Err(format!(
                    "a new participant shows {before:?} and the first one showed {nothing:?}: each must have books of \
                     its own"
                ));
            }
        }
        let action = actions.into_iter().find(|action| action.name == self.called.action);
        let action = action.ok_or_else(|| format!("participant {} has no such action", self.kit.name))?;
        let mut branches = [0, 1].map(Branch::new);
        let mut was_cut = false;
        let hands = Hands {
            seam: TokioSeam::current().ok_or("the kit needs a Tokio runtime")?,
            name: Name::new(self.kit.name).map_err(|error| error.to_string())?,
            action,
            arguments: self.arguments.clone(),
        };
        for step in steps {
            let branch = &mut branches[step.branch];
            if branch.result.is_none() {
                branch.sample = self.sample.clone();
            }
            let cut_at = step.cut.then_some(cut);
            was_cut |= hands.take(step, branch, cut_at).await.map_err(|why| format!("{step}: {why}"))?;
            self.sample = self.sample.take().or_else(|| branch.result.clone());
        }
        Ok(Ran { left: (self.look)(&books).await, was_cut })
    }
}

/// One branch, and what is known of its try.
struct Branch {
    gid: Gid,
    ordinal: Ordinal,
    tried: bool,
    result: Option<Payload>,
    sample: Option<Payload>,
    attempts: u32,
}

impl Branch {
    /// The same ids in every run, so that books which show them can be compared.
    fn new(branch: usize) -> Self {
        let gid = Gid::new(Timestamp::from_millis(1_700_000_000_000), 1, 0);
        Self {
            gid,
            ordinal: Ordinal::from_index(branch),
            tried: false,
            result: None,
            sample: None,
            attempts: 0,
        }
    }

    fn known(&self) -> TryOutcome<Payload> {
        match &self.result {
            Some(result) => TryOutcome::Succeeded(result.clone()),
            None if self.tried => TryOutcome::Refused,
            None => TryOutcome::Unknown,
        }
    }
}

/// Calls an action's handlers as the framework does.
struct Hands {
    seam: TokioSeam,
    name: Name,
    action: Action,
    arguments: Payload,
}

/// How a handler ended; nothing if it was cut.
type Ended<T> = Option<Result<T, String>>;

impl Hands {
    /// Takes one step; whether it was cut.
    async fn take(&self, step: &Step, branch: &mut Branch, cut: Option<usize>) -> Result<bool, String> {
        match step.deed {
            Deed::Try => {
                let ended = self.attempt(branch, cut).await?;
                heard(branch, step.must, ended)
            }
            Deed::Confirm => {
                answered(step.must, self.phase(Direction::Confirm, branch, TryOutcome::Unknown, cut).await?)
            }
            Deed::CancelUnknown => {
                answered(step.must, self.phase(Direction::Cancel, branch, TryOutcome::Unknown, cut).await?)
            }
            Deed::CancelKnown => {
                let known = branch.known();
                answered(step.must, self.phase(Direction::Cancel, branch, known, cut).await?)
            }
            Deed::TryBesideCancel => {
                let mut beside = Branch { gid: branch.gid.clone(), sample: None, result: None, ..*branch };
                let cancel = self.phase(Direction::Cancel, &mut beside, TryOutcome::Unknown, None);
                let (tried, cancelled) = futures_util::join!(self.attempt(branch, None), cancel);
                answered(Must::Succeed, cancelled?)?;
                heard(branch, step.must, tried?)
            }
            Deed::ConfirmBesideConfirm => self.twice(Direction::Confirm, branch).await,
            Deed::CancelBesideCancel => self.twice(Direction::Cancel, branch).await,
        }
    }

    async fn twice(&self, direction: Direction, branch: &mut Branch) -> Result<bool, String> {
        let known = branch.known();
        let (gid, sample, result) = (branch.gid.clone(), branch.sample.clone(), branch.result.clone());
        let mut beside = Branch { gid, sample, result, ..*branch };
        let (one, two) = futures_util::join!(
            self.phase(direction, branch, known.clone(), None),
            self.phase(direction, &mut beside, known, None)
        );
        answered(Must::Succeed, one?)?;
        answered(Must::Succeed, two?)
    }

    fn action(&self) -> Result<ActionName, String> {
        ActionName::from_parts(&self.name, &self.action.name, self.action.version)
            .map_err(|error| error.to_string())
    }

    /// Runs a handler, no longer than the limit, to one of its awaits or to its end.
    async fn watch<T>(&self, work: BoxFuture<'static, T>, cut: Option<usize>) -> Result<Option<T>, String> {
        let work = AssertUnwindSafe(Cut { work: Some(work), left: cut }).catch_unwind();
        match within(&self.seam, LIMIT, work).await {
            None => Err(format!("it did not end within {LIMIT:?}")),
            Some(Err(panic)) => Err(format!("it panicked: {}", panic_text(&*panic))),
            Some(Ok(ended)) => Ok(ended),
        }
    }

    async fn attempt(&self, branch: &Branch, cut: Option<usize>) -> Result<Ended<Payload>, String> {
        let attempt = self.action.attempt.as_ref();
        let attempt =
            attempt.ok_or("an argument that is never stored (`skip`) keeps the kit from calling it")?;
        let timeout = self.action.policy.timeout;
        let cx = TryCx {
            gid: branch.gid.clone(),
            branch: branch.ordinal,
            action: self.action()?,
            trace: None,
            deadline: Timestamp::from_millis(u64::MAX / 2),
            time_left: timeout,
        };
        let work = attempt(cx, self.arguments.clone()).map_err(|error| chain(&error))?;
        let ended = self.watch(work, cut).await?;
        Ok(ended.map(|tried| {
            tried.map_err(|failure| match failure {
                TryFailure::Rejected(error) => chain(&*error),
                TryFailure::Unkept(error) => chain(&error),
            })
        }))
    }

    /// Runs a confirm or cancel until it has an answer.
    async fn phase(
        &self,
        direction: Direction,
        branch: &mut Branch,
        told: TryOutcome<Payload>,
        cut: Option<usize>,
    ) -> Result<Ended<()>, String> {
        let mut last = String::new();
        for _ in 0..RUNS_MAX {
            branch.attempts += 1;
            let work = self.handler(direction, branch, told.clone())?;
            let Some(ended) = self.watch(work, cut).await? else { return Ok(None) };
            let pause = match ended {
                Ok(()) => return Ok(Some(Ok(()))),
                Err(PhaseError::Park(cause)) => return Ok(Some(Err(chain(&*cause)))),
                Err(PhaseError::Retry(cause)) => {
                    last = chain(&*cause);
                    Duration::from_millis(2)
                }
                Err(PhaseError::Ongoing { after }) => {
                    last = "it is still working".to_owned();
                    after
                }
            };
            self.seam.sleep(pause.min(PAUSE_MAX)).await;
        }
        Ok(Some(Err(format!("{last} (asked {RUNS_MAX} times)"))))
    }

    fn handler(
        &self,
        direction: Direction,
        branch: &Branch,
        told: TryOutcome<Payload>,
    ) -> Result<BoxFuture<'static, Result<(), PhaseError>>, String> {
        let (gid, action, arguments) = (branch.gid.clone(), self.action()?, self.arguments.clone());
        let (attempt, epoch) = (branch.attempts, u64::from(branch.attempts));
        let fence_retention = Config::default().fence_retention();
        let work = match direction {
            Direction::Confirm => {
                let result = branch.result.clone().or_else(|| branch.sample.clone());
                let result = result.ok_or("there is no result of a try to confirm")?;
                let cx = ConfirmCx {
                    gid,
                    branch: branch.ordinal,
                    action,
                    trace: None,
                    attempt,
                    epoch,
                    fence_retention,
                };
                (self.action.confirm)(cx, arguments, result)
            }
            Direction::Cancel => {
                let (decided, reason) = (Direction::Cancel, Reason::Aborted);
                let cx = CancelCx {
                    gid,
                    branch: branch.ordinal,
                    action,
                    trace: None,
                    attempt,
                    epoch,
                    decided,
                    reason,
                    fence_retention,
                };
                (self.action.cancel)(cx, arguments, told)
            }
        };
        work.map_err(|error| chain(&error))
    }
}

/// Takes in what a try came to; whether it was cut.
fn heard(branch: &mut Branch, must: Must, ended: Ended<Payload>) -> Result<bool, String> {
    let Some(ended) = ended else { return Ok(true) };
    branch.tried = true;
    match (ended, must) {
        (Ok(_), Must::Refuse) => Err("it succeeded, and must be refused".into()),
        (Err(why), Must::Succeed) => Err(format!("it was refused: {why}")),
        (Ok(result), _) => {
            branch.result = Some(result);
            Ok(false)
        }
        (Err(_), _) => Ok(false),
    }
}

fn answered(must: Must, ended: Ended<()>) -> Result<bool, String> {
    match (ended, must) {
        (None, _) => Ok(true),
        (Some(Ok(())), Must::Refuse) => Err("it succeeded, and must give an error".into()),
        (Some(Err(why)), Must::Succeed) => Err(format!("it failed: {why}")),
        (Some(_), _) => Ok(false),
    }
}

/// Drops a future at its await of this number; at 0 before it is polled at all.
struct Cut<T> {
    work: Option<BoxFuture<'static, T>>,
    left: Option<usize>,
}

impl<T> Future for Cut<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.left == Some(0) {
            self.work = None;
        }
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        if let Poll::Ready(ended) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.work = None;
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    }
}
