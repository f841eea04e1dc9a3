//! Phase two: running confirm and cancel of claimed branches, and reporting what they came to.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Shared, registry::Hosted};
use crate::{
    context::{CancelCx, ConfirmCx},
    event::Event,
    gid::Gid,
    machine::{Close, CloseDrive, Drive, How, Renew},
    name::Name,
    outcome::{PhaseError, TryOutcome},
    payload::{DecodeError, Payload},
    record::{Closed, Direction, ParkCause, Seen, Token, TransactionState, cut_error},
    seam::{Ended, Task, within},
    store::{Doorbell, StoreError},
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
    /// Told the transaction's state once it is final by this group's work.
    pub(crate) ended: Option<oneshot::Sender<TransactionState>>,
}

impl Shared {
    /// Answers a message: claims what there is, and drives it.
    pub(crate) fn answer(self: &Arc<Self>, bell: Doorbell, permit: OwnedSemaphorePermit) {
        let shared = Arc::clone(self);
        let work = async move {
            let token = Token(shared.seam.random());
            let claimed_at = shared.seam.elapsed();
            let claim = crate::machine::ClaimWork {
                participant: bell.participant,
                token,
                lease_ms: shared.drive_lease_ms(),
            };
            match shared.call(&bell.gid, claim, shared.config.drive_lease / 2).await {
                Ok(Ok(drives)) if drives.is_empty() => {}
                Ok(Ok(drives)) => {
                    shared.drive(Group { gid: bell.gid, token, claimed_at, drives, ended: None }).await;
                }
                Ok(Err(_)) => {}
                Err(error) => shared.trouble("claiming work", Some(&bell.gid), &error),
            }
            drop(permit);
        };
        self.spawn_tracked(work);
    }

    /// Drives a group to its reports. While some are sent, the others' handlers are still watched.
    pub(crate) async fn drive(self: &Arc<Self>, group: Group) {
        let Group { gid, token, claimed_at, drives, mut ended } = group;
        let lease = Lease { token, claimed_at };
        let mut running: FuturesUnordered<_> =
            drives.into_iter().map(|drive| self.drive_one(&gid, drive, lease)).collect();
        let mut closing = FuturesUnordered::new();
        let mut reports = Vec::new();
        let mut waiting_since = Duration::ZERO;
        loop {
            let left = (waiting_since + LINGER).saturating_sub(self.seam.elapsed());
            if !reports.is_empty() && (running.is_empty() || left.is_zero()) {
                closing.push(self.close(&gid, std::mem::take(&mut reports)));
            }
            tokio::select! {
                biased;
                Some(report) = running.next() => {
                    if reports.is_empty() {
                        waiting_since = self.seam.elapsed();
                    }
                    reports.extend(report);
                }
                Some(state) = closing.next() => {
                    let end = state.filter(|state: &TransactionState| state.is_final());
                    if let Some((state, ended)) = end.and_then(|state| Some((state, ended.take()?))) {
                        let _ = ended.send(state);
                    }
                }
                () = self.seam.sleep(left), if !reports.is_empty() => {}
                else => return,
            }
        }
    }

    async fn close(&self, gid: &Gid, reports: Vec<Report>) -> Option<TransactionState> {
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
                Some(closes.state)
            }
            Ok(Err(refusal)) => {
                tracing::debug!(%gid, %refusal, "the reports of phase two were refused");
                None
            }
            Err(error) => {
                // The leases run out, and the branches are driven again.
                self.trouble("reporting phase two", Some(gid), &error);
                None
            }
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
                self.emit(|| Event::Parked { gid: gid.clone(), branch, action, cause, error });
            }
            _ => {}
        }
    }

    /// Runs one branch's handler. No report if its claim was lost meanwhile.
    async fn drive_one(self: &Arc<Self>, gid: &Gid, drive: Drive, lease: Lease) -> Option<Report> {
        let how = self.how(gid, &drive, lease).await?;
        let close =
            CloseDrive { ordinal: drive.ordinal, epoch: drive.epoch, direction: drive.direction, how };
        Some(Report { close, attempt: drive.attempt, action: drive.action })
    }

    async fn how(self: &Arc<Self>, gid: &Gid, drive: &Drive, lease: Lease) -> Option<How> {
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
        // A branch that waits for its turn must not wait its lease away.
        let turn = Arc::clone(&hosted.permits).acquire_owned();
        let patience = self.lease_left(drive, lease) / 2;
        let Some(Ok(_turn)) = within(&*self.seam, patience, turn).await else {
            return Some(How::Release { after_ms: 0, unhandled: false });
        };
        if self.lease_left(drive, lease) < self.config.drive_lease / 3 {
            return Some(How::Release { after_ms: 0, unhandled: false });
        }
        let work = match handler(&hosted, gid, drive) {
            Ok(work) => work,
            Err(error) => return Some(park(ParkCause::Undecodable, error.to_string())),
        };
        let task = Task::spawn(&*self.seam, crate::tx::inside(gid.clone(), work));
        let failed = match self.watch(gid, drive, lease, task, policy.phase_timeout).await {
            Watched::Ended(Ended::Done(Ok(()))) => return Some(How::Done { seen: seen(&drive.outcome) }),
            Watched::Ended(Ended::Done(Err(PhaseError::Park(cause)))) => {
                return Some(park(ParkCause::Handler, chain(&*cause)));
            }
            Watched::Ended(Ended::Done(Err(PhaseError::Ongoing { after }))) => {
                return Some(How::Ongoing { after_ms: crate::time::millis(after).max(1) });
            }
            Watched::Ended(Ended::Done(Err(PhaseError::Retry(cause)))) => chain(&*cause),
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

    fn unhandled(&self, gid: &Gid, drive: &Drive) -> How {
        self.emit(|| Event::Unhandled { gid: gid.clone(), action: drive.action.clone() });
        let waited = Duration::from_millis(drive.unhandled_ms.unwrap_or(0));
        if waited >= self.config.unhandled_limit {
            let error = format!("no process took {} for {waited:?} (`unhandled_limit`)", drive.action);
            return park(ParkCause::UnknownAction, error);
        }
        How::Release { after_ms: crate::time::millis(HAND_ON), unhandled: true }
    }

    fn lease_left(&self, drive: &Drive, lease: Lease) -> Duration {
        let held = self.seam.elapsed().saturating_sub(lease.claimed_at);
        Duration::from_millis(drive.lease_ms).saturating_sub(held)
    }

    /// Waits for a handler, keeping its lease. A handler that must stop is stopped and joined first; it
    /// must stop when its lease is over, whatever a renewal under way may still come to.
    async fn watch(
        &self,
        gid: &Gid,
        drive: &Drive,
        lease: Lease,
        mut task: Task<Result<(), PhaseError>>,
        timeout: Duration,
    ) -> Watched {
        let ends_at = self.seam.elapsed().saturating_add(timeout);
        let mut good_until = lease.claimed_at + Duration::from_millis(drive.lease_ms);
        let mut renew_at = good_until.saturating_sub(self.config.drive_lease * 2 / 3);
        let mut stopped: Option<Watched> = None;
        loop {
            let now = self.seam.elapsed();
            if stopped.is_none() && now >= ends_at.min(good_until) {
                task.abort();
                stopped = Some(if now >= good_until { Watched::ClaimLost } else { Watched::TimedOut });
            }
            tokio::select! {
                biased;
                ended = task.join() => {
                    // A handler that finished while it was being stopped has finished.
                    return match (stopped, ended) {
                        (Some(why), Ended::Aborted) => why,
                        (_, ended) => Watched::Ended(ended),
                    };
                }
                () = self.handing_over.cancelled(), if stopped.is_none() => {
                    task.abort();
                    stopped = Some(Watched::HandedOver);
                }
                () = self.seam.sleep(ends_at.min(good_until).saturating_sub(now)), if stopped.is_none() => {}
                (asked_at, renewed) = self.renew(gid, drive, lease.token, renew_at.saturating_sub(now)) => {
                    match renewed {
                        Ok(true) => {
                            good_until = asked_at + self.config.drive_lease;
                            renew_at = asked_at + self.config.drive_lease / 3;
                        }
                        Ok(false) => {
                            task.abort();
                            stopped = Some(Watched::ClaimLost);
                            renew_at = Duration::MAX;
                        }
                        Err(error) => {
                            self.trouble("renewing a lease", Some(gid), &error);
                            renew_at = self.seam.elapsed() + self.config.drive_lease / 10;
                        }
                    }
                }
            }
        }
    }

    /// Renews a claim after a wait. Gives when that was asked, and whether the claim stands.
    async fn renew(
        &self,
        gid: &Gid,
        drive: &Drive,
        token: Token,
        wait: Duration,
    ) -> (Duration, Result<bool, StoreError>) {
        self.seam.sleep(wait).await;
        let asked_at = self.seam.elapsed();
        let branches = vec![(drive.ordinal, drive.epoch)];
        let renew = Renew { token, branches, lease_ms: self.drive_lease_ms() };
        let renewed = self.call(gid, renew, Duration::ZERO).await;
        (asked_at, renewed.map(|stands| stands.is_ok_and(|stands| stands == [true])))
    }

    /// Takes messages while there is room to answer them; ends only by being aborted.
    pub(crate) async fn read_bells(self: Arc<Self>, participants: Vec<Name>) {
        const AT_ONCE: usize = 32;
        let mut wait = Duration::from_millis(50);
        loop {
            let mut bells = match self.in_time(self.store.listen(&self.process, &participants)).await {
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
                        for bell in rung {
                            let permit = match permit.take() {
                                Some(permit) => permit,
                                None => match Arc::clone(&self.drives).acquire_owned().await {
                                    Ok(permit) => permit,
                                    Err(_) => return,
                                },
                            };
                            self.answer(bell, permit);
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

#[derive(Clone, Copy)]
struct Lease {
    token: Token,
    claimed_at: Duration,
}

struct Report {
    close: CloseDrive,
    attempt: u32,
    action: crate::name::ActionName,
}

enum Watched {
    Ended(Ended<Result<(), PhaseError>>),
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

type Work = futures_util::future::BoxFuture<'static, Result<(), PhaseError>>;

fn handler(hosted: &Hosted, gid: &Gid, drive: &Drive) -> Result<Work, DecodeError> {
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
                attempt: drive.attempt,
                epoch: drive.epoch,
            };
            (hosted.action.confirm)(cx, arguments, result)
        }
        Direction::Cancel => cancel(hosted, gid, drive, arguments, outcome),
    }
}

fn cancel(
    hosted: &Hosted,
    gid: &Gid,
    drive: &Drive,
    arguments: Payload,
    outcome: TryOutcome<Payload>,
) -> Result<Work, DecodeError> {
    let cx = CancelCx {
        gid: gid.clone(),
        branch: drive.ordinal,
        action: drive.action.clone(),
        attempt: drive.attempt,
        epoch: drive.epoch,
        decided: drive.decided,
        reason: drive.reason,
    };
    (hosted.action.cancel)(cx, arguments, outcome)
}
