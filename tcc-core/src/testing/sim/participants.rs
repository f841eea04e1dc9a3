//! The participants a process hosts: handlers over the durable books that fail in every way a handler can.

use std::{fmt, panic::resume_unwind, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    bank::{Effect, Movement, Place, Refused},
    executor::Process,
    oracle::{Ending, Phase, RunId, Start},
    plan::{
        ATTEMPTS_MAX, Curse, DRIVE_LEASE, Fault, ONGOING_LIMIT, PHASE_TIMEOUT, RETRY_BASE, RETRY_CAP,
        TRY_HARD_LIMIT, TRY_TIMEOUT,
    },
    points::{Call, Strike},
    world::World,
};
use crate::{
    action::{Action, ActionPolicy},
    context::{CancelCx, ConfirmCx, TryCx},
    name::Ordinal,
    outcome::{PhaseError, TryOutcome},
    payload::Stored,
    record::Seen,
    retry::RetryPolicy,
};

/// What a try gives: enough for the closure to say which branch it heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) branch: Ordinal,
    pub(super) amount: i64,
}

/// Arguments of version 2, which tells what the movement is for.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    movement: Movement,
    note: String,
}

#[derive(Debug)]
struct Failure(&'static str);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failure {}

/// A bank as one process hosts it.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) world: Arc<World>,
    pub(super) process: Process,
    pub(super) bank: &'static str,
}

/// Arguments of a call of the newer or the older version.
pub(super) fn arguments(old: bool, movement: Movement) -> serde_json::Value {
    if old {
        serde_json::json!(movement)
    } else {
        serde_json::json!(Noted { movement, note: "a transfer".into() })
    }
}

/// What goes wrong inside a handler, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    Refuse,
    Panic,
    Hang,
    Slow,
    Ongoing,
    Park,
}

/// Ends a run in the oracle's eyes, whatever ends it.
struct Run {
    world: Arc<World>,
    process: Process,
    id: RunId,
    ended: bool,
}

impl Run {
    fn end(mut self, ending: Ending) {
        self.ended = true;
        self.world.note(self.process, format_args!("{} {ending:?}", self.id));
        let now = self.world.executor.now();
        self.world.oracle().run_ended(&self.id, ending, now);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            let now = self.world.executor.now();
            self.world.note(self.process, format_args!("{} stopped", self.id));
            self.world.oracle().run_ended(&self.id, Ending::Stopped, now);
        }
    }
}

impl Teller {
    /// The actions of a release: the newer one also reads what the older one wrote.
    pub(super) fn actions(&self, old: bool) -> Vec<Action> {
        ["debit", "credit"]
            .into_iter()
            .map(|name| if old { self.older(name) } else { self.newer(name) })
            .collect()
    }

    fn older(&self, name: &str) -> Action {
        let (attempt, confirm, cancel) = (self.clone(), self.clone(), self.clone());
        Action::new(
            name,
            1,
            move |cx: TryCx, movement: Movement| attempt.clone().attempt(cx, movement),
            move |cx: ConfirmCx, movement: Movement, hold: Hold| confirm.clone().confirm(cx, movement, hold),
            move |cx: CancelCx, movement: Movement, outcome: TryOutcome<Hold>| {
                cancel.clone().cancel(cx, movement, outcome)
            },
        )
        .with_policy(policy(self.world.plan.limits.concurrency))
    }

    fn newer(&self, name: &str) -> Action {
        let (attempt, confirm, cancel) = (self.clone(), self.clone(), self.clone());
        let (world, process) = (Arc::clone(&self.world), self.process);
        Action::new(
            name,
            2,
            move |cx: TryCx, noted: Noted| attempt.clone().attempt(cx, noted.movement),
            move |cx: ConfirmCx, noted: Noted, hold: Hold| confirm.clone().confirm(cx, noted.movement, hold),
            move |cx: CancelCx, noted: Noted, outcome: TryOutcome<Hold>| {
                cancel.clone().cancel(cx, noted.movement, outcome)
            },
        )
        .with_policy(policy(self.world.plan.limits.concurrency))
        .reads(1, move |stored: Stored| {
            if world.strikes(|rates| rates.unreadable) {
                world.fault(process, Fault::PayloadUnreadable);
                return Err(Failure("the upgrade cannot read this"));
            }
            let arguments = serde_json::json!({ "movement": stored.arguments, "note": "from version 1" });
            Ok(Stored { arguments, result: stored.result })
        })
    }

    fn start(&self, start: Start) -> Run {
        let what = format!("{start}");
        let now = self.world.executor.now();
        let id = self.world.oracle().run_started(start, now);
        self.world.note(self.process, format_args!("{id} starts: {what}"));
        Run { world: Arc::clone(&self.world), process: self.process, id, ended: false }
    }

    async fn attempt(self, cx: TryCx, movement: Movement) -> Result<Hold, Failure> {
        let world = Arc::clone(&self.world);
        let place: Place = (cx.gid().clone(), cx.branch());
        let run = self.start(Start {
            process: self.process,
            gid: cx.gid().clone(),
            branch: cx.branch(),
            phase: Phase::Try { bank: self.bank, movement },
            epoch: 0,
            attempt: 1,
        });
        let mishap = world.strikes(|rates| rates.tries).then(|| {
            *world.dice().pick(&[Mishap::Refuse, Mishap::Panic, Mishap::Hang, Mishap::Slow, Mishap::Slow])
        });
        let scripted = world.script.as_ref();
        let mishap = mishap.or_else(|| scripted?.try_mishap());
        let call = scripted.map(|script| script.handler(world.executor.name(self.process), "try", cx.gid()));
        let after = scripted.is_none() && world.dice().chance(5_000);
        world.sleep_millis(0, 20).await;
        if !after
            && let Some(mishap) = mishap
            && let Err(failure) = self.befall_try(mishap, Fault::TryRefused).await
        {
            run.end(Ending::Refused);
            return Err(failure);
        }
        self.perhaps_die(call.as_ref(), Strike::CrashBefore).await;
        if let Err(refused) = world.books().reserve(self.bank, &place, movement) {
            run.end(Ending::Refused);
            return Err(Failure(match refused {
                Refused::Insufficient => "insufficient funds",
                Refused::Cancelled => "it was cancelled before",
            }));
        }
        let now = world.executor.now();
        world.note(self.process, format_args!("{} reserves", run.id));
        world.oracle().reserved(&run.id, now);
        if after
            && let Some(mishap) = mishap
            && let Err(failure) = self.befall_try(mishap, Fault::TryRefusedAfterEffect).await
        {
            run.end(Ending::Refused);
            return Err(failure);
        }
        self.perhaps_die(call.as_ref(), Strike::CrashAfter).await;
        world.sleep_millis(0, 20).await;
        run.end(Ending::Succeeded);
        Ok(Hold { branch: cx.branch(), amount: movement.amount })
    }

    async fn befall_try(&self, mishap: Mishap, refusal: Fault) -> Result<(), Failure> {
        let (world, process) = (&self.world, self.process);
        match mishap {
            Mishap::Refuse => {
                world.fault(process, refusal);
                return Err(Failure("the teller refuses"));
            }
            Mishap::Panic => {
                world.fault(process, Fault::TryPanicked);
                fall("the teller panics");
            }
            Mishap::Hang => {
                world.fault(process, Fault::TryHung);
                std::future::pending::<()>().await;
            }
            _ => {
                world.fault(process, Fault::TrySlow);
                let delay = match world.script {
                    Some(_) => TRY_TIMEOUT * 3,
                    None => world.dice().magnitude(TRY_TIMEOUT / 4, TRY_HARD_LIMIT),
                };
                world.sleep(delay).await;
            }
        }
        Ok(())
    }

    async fn confirm(self, cx: ConfirmCx, movement: Movement, hold: Hold) -> Result<(), PhaseError> {
        self.check_hold((cx.gid().clone(), cx.branch()), hold, movement);
        let start = Start {
            process: self.process,
            gid: cx.gid().clone(),
            branch: cx.branch(),
            phase: Phase::Confirm,
            epoch: cx.epoch(),
            attempt: cx.attempt(),
        };
        self.phase_two(start, movement).await
    }

    async fn cancel(
        self,
        cx: CancelCx,
        movement: Movement,
        outcome: TryOutcome<Hold>,
    ) -> Result<(), PhaseError> {
        if let TryOutcome::Succeeded(hold) = &outcome {
            self.check_hold((cx.gid().clone(), cx.branch()), *hold, movement);
        }
        let told = match outcome {
            TryOutcome::Succeeded(_) => Seen::Succeeded,
            TryOutcome::Refused => Seen::Refused,
            TryOutcome::Unknown => Seen::Unknown,
        };
        let start = Start {
            process: self.process,
            gid: cx.gid().clone(),
            branch: cx.branch(),
            phase: Phase::Cancel { told },
            epoch: cx.epoch(),
            attempt: cx.attempt(),
        };
        self.phase_two(start, movement).await
    }

    /// What a handler is given as its try's result is what its try gave.
    fn check_hold(&self, place: Place, hold: Hold, movement: Movement) {
        if hold != (Hold { branch: place.1, amount: movement.amount }) {
            let what = format!("{}/{} of {movement:?} was given {hold:?}", place.0, place.1);
            self.world.oracle().misled(&place, what);
        }
    }

    async fn phase_two(self, start: Start, movement: Movement) -> Result<(), PhaseError> {
        let world = Arc::clone(&self.world);
        let place: Place = (start.gid.clone(), start.branch);
        let phase = start.phase;
        let run = self.start(start);
        let mut mishap = world.strikes(|rates| rates.phases).then(|| {
            *world.dice().pick(&[
                Mishap::Refuse,
                Mishap::Refuse,
                Mishap::Panic,
                Mishap::Hang,
                Mishap::Slow,
                Mishap::Slow,
                Mishap::Ongoing,
            ])
        });
        if world.strikes(|rates| rates.parks) {
            mishap = Some(Mishap::Park);
        }
        match world.plan.cursed.filter(|(cursed, _)| *cursed == movement.account && !world.is_healed()) {
            Some((_, Curse::Fails)) => mishap = Some(Mishap::Refuse),
            Some((_, Curse::Kills)) => self.die().await,
            None => {}
        }
        let scripted = world.script.as_ref();
        let what = if phase == Phase::Confirm { "confirm" } else { "cancel" };
        let call = scripted.map(|script| script.handler(world.executor.name(self.process), what, &place.0));
        let after = match scripted.map(|script| script.phase_mishap()) {
            None => mishap != Some(Mishap::Ongoing) && world.dice().chance(4_000),
            Some(scripted) => {
                mishap = scripted.map(|(mishap, _)| mishap);
                scripted.is_some_and(|(_, after)| after)
            }
        };
        world.sleep_millis(0, 20).await;
        let before = mishap.filter(|_| !after);
        if let Some(mishap) = before
            && let Err(error) = self.befall_phase(mishap, Fault::PhaseFailedBeforeEffect).await
        {
            run.end(Ending::Failed);
            return Err(error);
        }
        self.perhaps_die(call.as_ref(), Strike::CrashBefore).await;
        let effect = match phase {
            Phase::Confirm => world.books().confirm(self.bank, &place),
            _ => world.books().cancel(self.bank, &place),
        };
        let now = world.executor.now();
        world.note(self.process, format_args!("{} does {effect:?}", run.id));
        world.oracle().effect(&run.id, effect, now);
        if let Effect::Moved(reserved) = effect
            && reserved != movement
        {
            let what = format!("{} was given {movement:?}, and had tried {reserved:?}", run.id);
            world.oracle().misled(&place, what);
        }
        if effect == Effect::Contradiction {
            run.end(Ending::Failed);
            return Err(PhaseError::park("the fence holds the opposite"));
        }
        if let Some(mishap) = mishap.filter(|_| after)
            && let Err(error) = self.befall_phase(mishap, Fault::PhaseFailedAfterEffect).await
        {
            run.end(Ending::Failed);
            return Err(error);
        }
        self.perhaps_die(call.as_ref(), Strike::CrashAfter).await;
        world.sleep_millis(0, 20).await;
        run.end(Ending::Succeeded);
        Ok(())
    }

    async fn befall_phase(&self, mishap: Mishap, failure: Fault) -> Result<(), PhaseError> {
        let (world, process) = (&self.world, self.process);
        match mishap {
            Mishap::Refuse => {
                world.fault(process, failure);
                return Err(PhaseError::retry(Failure("the books are locked")));
            }
            Mishap::Panic => {
                world.fault(process, Fault::PhasePanicked);
                fall("the teller panics");
            }
            Mishap::Hang => {
                world.fault(process, Fault::PhaseHung);
                std::future::pending::<()>().await;
            }
            Mishap::Ongoing => {
                world.fault(process, Fault::PhaseOngoing);
                let after = world.dice().millis(20, 1_500);
                return Err(PhaseError::ongoing(after));
            }
            Mishap::Park => {
                world.fault(process, Fault::PhaseParked);
                return Err(PhaseError::park(Failure("the account is frozen")));
            }
            Mishap::Slow => {
                world.fault(process, Fault::PhaseSlow);
                // Up to its timeout, which is longer than a lease: it must be renewed.
                let delay = match world.script {
                    Some(_) => DRIVE_LEASE + DRIVE_LEASE / 3,
                    None => world.dice().magnitude(DRIVE_LEASE / 8, PHASE_TIMEOUT),
                };
                world.sleep(delay).await;
            }
        }
        Ok(())
    }

    /// Now and then a handler is what kills its process.
    async fn perhaps_die(&self, call: Option<&Call>, at: Strike) {
        let struck = call.is_some_and(|call| call.strike == Some(at));
        if let (Some(script), Some(call), Strike::CrashAfter) = (&self.world.script, call, at) {
            script.answered(call);
        }
        if struck || self.world.strikes(|rates| rates.suicide) {
            self.die().await;
        }
    }

    async fn die(&self) {
        self.world.fault(self.process, Fault::CrashInHandler);
        self.world.kill(self.process);
        // The dead do nothing more; the executor drops this task.
        std::future::pending::<()>().await;
    }
}

/// Panics without a word on standard error.
fn fall(why: &'static str) -> ! {
    resume_unwind(Box::new(why))
}

fn policy(concurrency: usize) -> ActionPolicy {
    ActionPolicy::new()
        .timeout(TRY_TIMEOUT)
        .hard_limit(TRY_HARD_LIMIT)
        .phase_timeout(PHASE_TIMEOUT)
        .ongoing_limit(ONGOING_LIMIT)
        .concurrency(concurrency)
        .retry(RetryPolicy::new().max(ATTEMPTS_MAX).base(RETRY_BASE).cap(RETRY_CAP))
}
