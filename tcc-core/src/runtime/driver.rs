//! Phase two: running confirm and cancel of claimed branches, and reporting what they came to.

use std::{sync::Arc, task::Poll, time::Duration};

use futures_util::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, OptionFuture, lazy},
    poll,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use super::{Kept, Shared, pauses::Paused, registry::Hosted};
use crate::{
    config::FenceRetention,
    context::{CancelCx, ConfirmCx},
    event::Event,
    gid::Gid,
    machine::{ClaimWork, Close, CloseDrive, Drive, How, Renew},
    metrics::{StoreCall, outcome_of},
    name::Name,
    outcome::{PhaseError, TryOutcome},
    payload::{DecodeError, Payload},
    record::{Closed, Direction, ParkCause, Seen, Token, cut_error},
    seam::{Begun, Ended, Task, begin, within},
    spans::{self, Before},
    store::{Doorbell, StoreError},
    tx::{inside, inside_now},
};

/// How long finished branches wait for their slower siblings, to be reported in one call.
const LINGER: Duration = Duration::from_millis(50);
/// Before a branch of an unknown action version may be looked at again (rule 10).
const HAND_ON: Duration = Duration::from_secs(1);

/// Branches claimed together.
pub(crate) struct Group {
    pub(crate) gid: Gid,
    pub(crate) token: Token,
    /// [`Seam::elapsed`](crate::seam::Seam::elapsed) before the claim was sent: leases are measured from it.
    pub(crate) claimed_at: Duration,
    pub(crate) drives: Vec<Drive>,
    pub(crate) before: Before,
}

impl Shared {
    /// Answers messages of one transaction: claims what there is and is not paused, and drives it.
    pub(crate) fn answer(self: &Arc<Self>, gid: Gid, participants: Vec<Name>, permit: OwnedSemaphorePermit) {
        let mut except = Vec::new();
        let participants = participants.into_iter().filter_map(|participant| {
            let bell = Doorbell { gid: gid.clone(), participant };
            let Paused::Actions(paused) = self.pauses.hold(&bell) else { return None };
            except.extend(paused);
            Some(bell.participant)
        });
        let participants: Vec<Name> = participants.collect();
        if participants.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        let work = async move {
            let token = Token(shared.seam.random());
            let claimed_at = shared.seam.elapsed();
            let kept = if except.is_empty() { shared.commits.take(&gid, &participants) } else { None };
            let own = kept.as_ref().map(Kept::own);
            let claim = ClaimWork { participants, token, lease_ms: shared.drive_lease_ms(), except, own };
            match shared.call(&gid, claim, shared.config.drive_lease / 2).await {
                Ok(Ok(drives)) => {
                    let drives = match kept {
                        Some(kept) => kept.complete(drives),
                        None => drives,
                    };
                    if !drives.is_empty() {
                        let before = Before::default();
                        shared.drive(Group { gid, token, claimed_at, drives, before }).await;
                    }
                }
                Ok(Err(_)) => {}
                Err(error) => shared.trouble("claiming work", Some(&gid), &error),
            }
            drop(permit);
        };
        self.spawn_drive(work);
    }

    /// Drives a group to its reports. Branches are driven on, and their leases kept, while others' reports
    /// are under way (rule 9).
    pub(crate) async fn drive(self: &Arc<Self>, group: Group) {
        let Group { gid, token, claimed_at, drives, before } = group;
        let lease = Lease { token, claimed_at };
        let name = drives.first().and_then(|drive| drive.name.clone());
        let linger = LINGER.min(self.config.drive_lease / 3);
        let mut running = FuturesUnordered::new();
        let mut reports: Vec<Report> = Vec::with_capacity(drives.len());
        for drive in drives {
            let mut one = self.drive_one(&gid, drive, lease, &before).boxed();
            match poll!(one.as_mut()) {
                Poll::Ready(report) => reports.extend(report),
                Poll::Pending => running.push(one),
            }
        }
        if running.is_empty() {
            if !reports.is_empty() {
                self.close(&gid, name.as_ref(), reports).await;
            }
            return;
        }
        let mut closing = FuturesUnordered::new();
        let mut send_at = self.seam.elapsed() + linger;
        loop {
            let now = self.seam.elapsed();
            if !reports.is_empty() && (running.is_empty() || now >= send_at) {
                closing.push(self.close(&gid, name.as_ref(), std::mem::take(&mut reports)));
            }
            tokio::select! {
                biased;
                Some(report) = running.next() => {
                    if reports.is_empty() {
                        send_at = self.seam.elapsed() + linger;
                    }
                    reports.extend(report);
                }
                Some(()) = closing.next() => {}
                () = async { self.seam.sleep(send_at.saturating_sub(now)).await }, if !reports.is_empty() => {}
                else => return,
            }
        }
    }

    async fn close(&self, gid: &Gid, name: Option<&Name>, reports: Vec<Report>) {
        let close = Close { drives: reports.iter().map(|report| report.close.clone()).collect() };
        match self.call(gid, close, self.config.drive_lease).await {
            Ok(Ok(closes)) => {
                for (report, closed) in reports.into_iter().zip(closes.drives) {
                    match closed {
                        Ok(closed) => self.tell_closed(gid, report, closed),
                        Err(refusal) => {
                            tracing::debug!(%gid, branch = %report.close.ordinal, %refusal, "a drive's report was refused")
                        }
                    }
                }
                if closes.state.is_final() {
                    self.meter.finished(gid, name, closes.state, self.clock.now(gid.shard()));
                    self.endings.tell(gid);
                }
            }
            Ok(Err(refusal)) => tracing::debug!(%gid, %refusal, "the reports of phase two were refused"),
            // The leases run out, and the branches are driven again.
            Err(error) => self.trouble("reporting phase two", Some(gid), &error),
        }
    }

    fn tell_closed(&self, gid: &Gid, report: Report, closed: Closed) {
        let Report { close, attempt, action } = report;
        let (branch, direction) = (close.ordinal, close.direction);
        match (closed, close.how) {
            (Closed::Final, How::Done { .. }) => {
                self.emit(|| Event::BranchFinal { gid: gid.clone(), branch, direction, attempt });
            }
            (Closed::Rescheduled(_), How::Failed { after_ms, error }) => self.emit(|| Event::AttemptFailed {
                gid: gid.clone(),
                branch,
                direction,
                attempt,
                error,
                retry_in: Duration::from_millis(after_ms),
            }),
            (Closed::Parked, How::Park { cause, error }) => {
                tracing::warn!(%gid, %branch, %action, %cause, %error, "a branch is parked and waits for an operator");
                self.suspect_parked(gid);
                self.emit(|| Event::Parked { gid: gid.clone(), branch, action, cause, error });
            }
            _ => {}
        }
    }

    /// Runs one branch's handler. No report if its claim was lost meanwhile.
    async fn drive_one(
        self: &Arc<Self>,
        gid: &Gid,
        drive: Drive,
        lease: Lease,
        before: &Before,
    ) -> Option<Report> {
        let mut ran = None;
        let how = self.how(gid, &drive, lease, before, &mut ran).await;
        if let Some(Ran { span, began }) = ran {
            let outcome = outcome_of(how.as_ref());
            span.record("outcome", outcome);
            self.meter.drove(&drive, outcome, || self.seam.elapsed().saturating_sub(began));
        }
        let how = how?;
        let close =
            CloseDrive { ordinal: drive.ordinal, epoch: drive.epoch, direction: drive.direction, how };
        Some(Report { close, attempt: drive.attempt, action: drive.action })
    }

    async fn how(
        self: &Arc<Self>,
        gid: &Gid,
        drive: &Drive,
        lease: Lease,
        before: &Before,
        ran: &mut Option<Ran>,
    ) -> Option<How> {
        let Some(hosted) = self.registry.action(&drive.action).cloned() else {
            return Some(self.unhandled(gid, drive));
        };
        let policy = *hosted.policy();
        let attempts_max = policy.retry.attempts_max();
        if drive.attempt > attempts_max {
            let error = format!("attempt {attempts_max} of {attempts_max} did not come back");
            return Some(park(ParkCause::AttemptsExhausted, error));
        }
        if drive.ongoing_ms.is_some_and(|ms| Duration::from_millis(ms) > policy.ongoing_limit) {
            let error = format!("still working after {:?}", policy.ongoing_limit);
            return Some(park(ParkCause::OngoingTooLong, error));
        }
        // A branch that waits for its turn must not wait its lease away, nor begin when others shall take over.
        let turn = match Arc::clone(&hosted.permits).try_acquire_owned() {
            Ok(turn) if !self.handing_over.is_cancelled() => Some(turn),
            _ => {
                let patience = lease.left(drive, self.seam.elapsed()) / 2;
                self.wait_for_turn(&hosted, patience).boxed().await
            }
        };
        let began = self.seam.elapsed();
        let fresh = lease.left(drive, began) >= self.config.drive_lease / 3;
        let Some(_turn) = turn.filter(|_| fresh) else {
            return Some(How::Release { after_ms: 0, unhandled: false });
        };
        let span = spans::phase(gid, drive, before);
        *ran = Some(Ran { span: span.clone(), began });
        let fence_retention = self.config.fence_retention();
        let begun = if hosted.phase_pace.is_prompt() {
            let work = || handler(&hosted, gid, drive, fence_retention);
            let begun = lazy(|cx| inside_now(gid.clone(), || span.in_scope(|| begin(cx, work)))).await;
            hosted.phase_pace.kept(self.seam.elapsed().saturating_sub(began));
            begun
        } else {
            let (hosted, gid, drive) = (Arc::clone(&hosted), gid.clone(), drive.clone());
            Begun::Running(async move { handler(&hosted, &gid, &drive, fence_retention).await }.boxed())
        };
        let watched = match begun {
            Begun::Ended(ended) => Watched::Ended(ended),
            Begun::Running(work) => {
                let work = inside(gid.clone(), work.instrument(span));
                let task = Task::spawn(&*self.seam, work);
                self.watch(gid, drive, lease, task, policy.phase_timeout).boxed().await
            }
        };
        let failed = match watched {
            Watched::Ended(Ended::Done(Ok(()))) => return Some(How::Done { seen: seen(&drive.outcome) }),
            Watched::Ended(Ended::Done(Err(Unfinished::Undecodable(error)))) => {
                return Some(park(ParkCause::Undecodable, error.to_string()));
            }
            Watched::Ended(Ended::Done(Err(Unfinished::Phase(PhaseError::Park(cause))))) => {
                return Some(park(ParkCause::Handler, chain(&*cause)));
            }
            Watched::Ended(Ended::Done(Err(Unfinished::Phase(PhaseError::Ongoing { after })))) => {
                return Some(How::Ongoing { after_ms: crate::time::millis(after).max(1) });
            }
            Watched::Ended(Ended::Done(Err(Unfinished::Phase(PhaseError::Retry(cause))))) => chain(&*cause),
            Watched::Ended(Ended::Panicked(message)) => format!("the handler panicked: {message}"),
            Watched::Ended(Ended::Aborted) => "the handler was stopped".to_owned(),
            Watched::TimedOut => {
                format!("the handler did not end within {:?} (`phase_timeout`)", policy.phase_timeout)
            }
            Watched::HandedOver => return Some(How::Release { after_ms: 0, unhandled: false }),
            Watched::ClaimLost => return None,
        };
        let error = cut_error(failed);
        if drive.attempt >= attempts_max {
            return Some(park(ParkCause::AttemptsExhausted, error));
        }
        let delay = policy.retry.delay(drive.attempt, self.seam.random());
        Some(How::Failed { after_ms: crate::time::millis(delay), error })
    }

    async fn wait_for_turn(&self, hosted: &Hosted, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&hosted.permits).acquire_owned();
        tokio::select! {
            biased;
            () = self.handing_over.cancelled() => None,
            turn = within(&*self.seam, patience, turn) => turn.and_then(Result::ok),
        }
    }

    fn unhandled(&self, gid: &Gid, drive: &Drive) -> How {
        self.emit(|| Event::Unhandled { gid: gid.clone(), action: drive.action.clone() });
        let waited = Duration::from_millis(drive.unhandled_ms.unwrap_or(0));
        if waited >= self.config.unhandled_limit {
            let error = format!("no process took {} for {waited:?} (`unhandled_limit`)", drive.action);
            return park(ParkCause::UnknownAction, error);
        }
        How::Release { after_ms: crate::time::millis(HAND_ON), unhandled: true }
    }

    /// Waits for a handler, keeping its lease. A handler that must stop is stopped and joined first.
    async fn watch(
        &self,
        gid: &Gid,
        drive: &Drive,
        lease: Lease,
        mut task: Task<Result<(), Unfinished>>,
        timeout: Duration,
    ) -> Watched {
        // Stopping takes a moment too: it begins while the lease still holds.
        let margin = self.config.drive_lease / 10;
        let renew_before = self.config.drive_lease / 3 * 2 - margin;
        let ends_at = self.seam.elapsed().saturating_add(timeout);
        let lease_end = lease.claimed_at.saturating_add(Duration::from_millis(drive.lease_ms));
        let mut good_until = lease_end.saturating_sub(margin);
        let mut renew_at = good_until.saturating_sub(renew_before);
        let mut renewing = OptionFuture::from(None);
        let mut renewing_now = false;
        let mut stopped: Option<Watched> = None;
        loop {
            let now = self.seam.elapsed();
            if stopped.is_none() {
                let why = match (now >= good_until, now >= ends_at) {
                    (true, _) => Some(Watched::ClaimLost),
                    (_, true) => Some(Watched::TimedOut),
                    _ => None,
                };
                if why.is_some() {
                    task.abort();
                    stopped = why;
                }
            }
            let keeps = !matches!(stopped, Some(Watched::ClaimLost));
            if keeps && !renewing_now && now >= renew_at {
                renewing = Some(self.renew(gid, drive, lease).boxed()).into();
                renewing_now = true;
            }
            let watch_until = if stopped.is_none() { good_until.min(ends_at) } else { Duration::MAX };
            let wake_at = if keeps && !renewing_now { watch_until.min(renew_at) } else { watch_until };
            tokio::select! {
                biased;
                ended = task.join() => return match (stopped, ended) {
                    (Some(why), Ended::Aborted) => why,
                    // A handler that finished while it was being stopped has finished.
                    (_, ended) => Watched::Ended(ended),
                },
                () = self.handing_over.cancelled(), if stopped.is_none() => {
                    task.abort();
                    stopped = Some(Watched::HandedOver);
                }
                renewed = &mut renewing, if renewing_now => {
                    renewing_now = false;
                    match renewed {
                        Some(Ok(Some(lease_end))) => {
                            good_until = lease_end.saturating_sub(margin);
                            renew_at = good_until.saturating_sub(renew_before);
                        }
                        Some(Ok(None)) => {
                            task.abort();
                            stopped = Some(Watched::ClaimLost);
                        }
                        Some(Err(error)) => {
                            self.trouble("renewing a lease", Some(gid), &error);
                            renew_at = self.seam.elapsed() + self.config.drive_lease / 10;
                        }
                        None => {}
                    }
                }
                () = self.seam.sleep(wake_at.saturating_sub(now)) => {}
            }
        }
    }

    /// Asks for more time. Gives when the lease ends now; nothing if the claim does not stand.
    async fn renew(&self, gid: &Gid, drive: &Drive, lease: Lease) -> Result<Option<Duration>, StoreError> {
        let asked_at = self.seam.elapsed();
        let renew = Renew {
            token: lease.token,
            branches: vec![(drive.ordinal, drive.epoch)],
            lease_ms: self.drive_lease_ms(),
        };
        let stands = self.call(gid, renew, Duration::ZERO).await?.is_ok_and(|stands| stands == [true]);
        Ok(stands.then(|| asked_at.saturating_add(self.config.drive_lease)))
    }

    /// Takes messages while there is room to answer them; ends only by being aborted.
    pub(crate) async fn read_bells(self: Arc<Self>, participants: Vec<Name>) {
        const AT_ONCE: usize = 128;
        let mut wait = Duration::from_millis(50);
        loop {
            let mut bells =
                match self.read(StoreCall::Other, self.store.listen(&self.process, &participants)).await {
                    Ok(bells) => bells,
                    Err(error) => {
                        self.trouble("listening for work", None, &error);
                        self.seam.sleep(crate::retry::jittered(wait, self.seam.random())).await;
                        wait = (wait * 2).min(Duration::from_secs(5));
                        continue;
                    }
                };
            loop {
                let Ok(permit) = Arc::clone(&self.drives).acquire_owned().await else { return };
                let room = self.drives.available_permits().min(AT_ONCE - 1) + 1;
                match bells.next(room).await {
                    Ok(rung) => {
                        wait = Duration::from_millis(50);
                        let mut permit = Some(permit);
                        for (gid, participants) in by_transaction(rung) {
                            let permit = match permit.take() {
                                Some(permit) => permit,
                                None => match Arc::clone(&self.drives).acquire_owned().await {
                                    Ok(permit) => permit,
                                    Err(_) => return,
                                },
                            };
                            self.answer(gid, participants, permit);
                        }
                    }
                    Err(error) => {
                        self.trouble("reading messages", None, &error);
                        drop(permit);
                        self.seam.sleep(crate::retry::jittered(wait, self.seam.random())).await;
                        wait = (wait * 2).min(Duration::from_secs(5));
                        break;
                    }
                }
            }
        }
    }
}

/// Messages of one transaction that came together, in the order they came in.
fn by_transaction(bells: Vec<Doorbell>) -> Vec<(Gid, Vec<Name>)> {
    let mut rung: Vec<(Gid, Vec<Name>)> = Vec::with_capacity(bells.len());
    for Doorbell { gid, participant } in bells {
        match rung.last_mut() {
            Some((last, participants)) if *last == gid => {
                if !participants.contains(&participant) {
                    participants.push(participant);
                }
            }
            _ => rung.push((gid, vec![participant])),
        }
    }
    rung
}

#[derive(Clone, Copy)]
struct Lease {
    token: Token,
    claimed_at: Duration,
}

impl Lease {
    /// How much of it is left.
    fn left(self, drive: &Drive, now: Duration) -> Duration {
        let held = now.saturating_sub(self.claimed_at);
        Duration::from_millis(drive.lease_ms).saturating_sub(held)
    }
}

/// A handler that was started.
struct Ran {
    span: Span,
    began: Duration,
}

struct Report {
    close: CloseDrive,
    attempt: u32,
    action: crate::name::ActionName,
}

/// Why a handler did not finish.
enum Unfinished {
    Phase(PhaseError),
    Undecodable(DecodeError),
}

enum Watched {
    Ended(Ended<Result<(), Unfinished>>),
    TimedOut,
    HandedOver,
    ClaimLost,
}

fn park(cause: ParkCause, error: String) -> How {
    How::Park { cause, error: cut_error(error) }
}

fn seen<T>(outcome: &TryOutcome<T>) -> Seen {
    match outcome {
        TryOutcome::Succeeded(_) => Seen::Succeeded,
        TryOutcome::Refused => Seen::Refused,
        TryOutcome::Unknown => Seen::Unknown,
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause.filter(|_| text.len() < crate::record::ERROR_BYTES_MAX) {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Reads a branch's payloads and begins its handler. All of it is the user's code and may panic.
fn handler(
    hosted: &Hosted,
    gid: &Gid,
    drive: &Drive,
    fence_retention: FenceRetention,
) -> BoxFuture<'static, Result<(), Unfinished>> {
    match work_of(hosted, gid, drive, fence_retention) {
        Ok(work) => work.map_err(Unfinished::Phase).boxed(),
        Err(error) => std::future::ready(Err(Unfinished::Undecodable(error))).boxed(),
    }
}

type Work = BoxFuture<'static, Result<(), PhaseError>>;

fn work_of(
    hosted: &Hosted,
    gid: &Gid,
    drive: &Drive,
    fence_retention: FenceRetention,
) -> Result<Work, DecodeError> {
    let arguments = drive
        .arguments
        .clone()
        .ok_or_else(|| DecodeError::new("the arguments", "the record does not hold them"))?;
    let (arguments, outcome) =
        hosted.action.upgrade(drive.action.version(), arguments, drive.outcome.clone())?;
    match drive.direction {
        Direction::Confirm => {
            let result: Payload = outcome
                .succeeded()
                .ok_or_else(|| DecodeError::new("the try's result", "the record does not hold it"))?;
            let cx = ConfirmCx {
                gid: gid.clone(),
                branch: drive.ordinal,
                action: drive.action.clone(),
                trace: drive.trace.clone(),
                attempt: drive.attempt,
                epoch: drive.epoch,
                fence_retention,
            };
            (hosted.action.confirm)(cx, arguments, result)
        }
        Direction::Cancel => cancel(hosted, gid, drive, fence_retention, arguments, outcome),
    }
}

fn cancel(
    hosted: &Hosted,
    gid: &Gid,
    drive: &Drive,
    fence_retention: FenceRetention,
    arguments: Payload,
    outcome: TryOutcome<Payload>,
) -> Result<Work, DecodeError> {
    let cx = CancelCx {
        gid: gid.clone(),
        branch: drive.ordinal,
        action: drive.action.clone(),
        trace: drive.trace.clone(),
        attempt: drive.attempt,
        epoch: drive.epoch,
        fence_retention,
        decided: drive.decided,
        reason: drive.reason,
    };
    (hosted.action.cancel)(cx, arguments, outcome)
}
