//! Lanes: steps that wait at the same moment go to Redis in one call of a function. What begins something and what
//! finishes something never share a call, because memory full denies the one and must not deny the other.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
use tcc_core::{
    Gid,
    store::{StoreError, StoreErrorKind},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    codec::request::{Arguments, write_steps},
    connect::Link,
    hints::Hints,
    keys::FIXED,
    scripts::Function,
};

/// Steps that wait for a call; more wait for a place.
const WAITING_MAX: usize = 4_096;
/// The most steps of a call: a function keeps others waiting while it runs.
const STEPS_MAX: usize = 64;
/// The most bytes of a call, if it has more than one step.
const BYTES_MAX: usize = 1 << 20;
/// Calls of a lane under way at a time: Redis has the next one when it ends one, also while the answers of another are
/// dealt with here. While they are, further steps gather.
const CALLS_MAX: usize = 3;

/// What a lane's steps do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Begin something.
    Beginning,
    /// Finish something.
    Finishing,
}

/// One operation on one transaction, written out.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) operation: &'static str,
    pub(crate) gid: Gid,
    pub(crate) arguments: Arguments,
    /// Keys it needs beside the fixed ones, without their tag.
    pub(crate) suffixes: Vec<String>,
}

/// The time of a step, and its answer.
type Answer = Result<(Value, Value), StoreError>;

struct Waiting {
    step: Step,
    answer: oneshot::Sender<Answer>,
}

/// The lane of one kind of steps on one shard.
pub(crate) struct Lane {
    link: Arc<Link>,
    hints: Arc<Hints>,
    kind: Kind,
    shard: u16,
    /// The way to the task that sends; made when it is first needed.
    entrance: Mutex<Option<mpsc::Sender<Waiting>>>,
}

impl Lane {
    pub(crate) fn new(link: &Arc<Link>, hints: &Arc<Hints>, kind: Kind, shard: u16) -> Self {
        Self { link: Arc::clone(link), hints: Arc::clone(hints), kind, shard, entrance: Mutex::default() }
    }

    /// Takes a step to Redis and brings back its answer.
    ///
    /// Cancellation safety: a dropped step may or may not have been taken.
    pub(crate) async fn take(&self, step: Step) -> Answer {
        let gone =
            |_| StoreError::new(StoreErrorKind::Unavailable, "the task that talks to Redis was stopped");
        let (answer, answered) = oneshot::channel();
        self.entrance().send(Waiting { step, answer }).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }

    /// The task goes with the Tokio runtime it was spawned on; the next step gets another.
    fn entrance(&self) -> mpsc::Sender<Waiting> {
        let mut entrance = self.entrance.lock().unwrap_or_else(PoisonError::into_inner);
        match &*entrance {
            Some(open) if !open.is_closed() => open.clone(),
            _ => {
                let (send, steps) = mpsc::channel(WAITING_MAX);
                let sender = Sender {
                    link: Arc::clone(&self.link),
                    hints: Arc::clone(&self.hints),
                    kind: self.kind,
                    shard: self.shard,
                };
                tokio::spawn(sender.run(steps));
                *entrance = Some(send.clone());
                send
            }
        }
    }
}

struct Sender {
    link: Arc<Link>,
    hints: Arc<Hints>,
    kind: Kind,
    shard: u16,
}

impl Sender {
    /// Ends when the store is dropped.
    async fn run(self, mut steps: mpsc::Receiver<Waiting>) {
        let mut calls = FuturesUnordered::new();
        let mut waiting = Vec::new();
        let mut rest = VecDeque::new();
        loop {
            while calls.len() < CALLS_MAX && !rest.is_empty() {
                let steps = take_call(&mut rest);
                if !steps.is_empty() {
                    calls.push(self.call(steps));
                }
            }
            let room = STEPS_MAX.saturating_sub(rest.len());
            tokio::select! {
                biased;
                Some(()) = calls.next(), if !calls.is_empty() => {}
                count = steps.recv_many(&mut waiting, room), if room > 0 && calls.len() < CALLS_MAX => {
                    if count == 0 {
                        break;
                    }
                    rest.extend(waiting.drain(..));
                    // The first of many that are about to send wakes this task: it lets the others send as well.
                    tokio::task::yield_now().await;
                    while rest.len() < STEPS_MAX && let Ok(more) = steps.try_recv() {
                        rest.push_back(more);
                    }
                }
            }
        }
        while calls.next().await.is_some() {}
    }

    async fn call(&self, steps: Vec<Waiting>) {
        match self.answers(&steps).await {
            Ok(answers) => {
                for (waiting, answer) in steps.into_iter().zip(answers) {
                    let _ = waiting.answer.send(Ok(answer));
                }
            }
            Err(error) => {
                for waiting in steps {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn answers(&self, steps: &[Waiting]) -> Result<Vec<(Value, Value)>, StoreError> {
        let settings = &self.link.settings;
        let function = match self.kind {
            Kind::Beginning => Function::Begin,
            Kind::Finishing => Function::Finish,
        };
        let key = |suffix: &str| settings.keys.of(self.shard, suffix);
        let mut declared: Vec<String> = FIXED.iter().map(|suffix| key(suffix)).collect();
        declared.extend(self.hints.queues().iter().map(|queue| key(&format!("ready:{queue}"))));
        for waiting in steps {
            declared.extend(waiting.step.suffixes.iter().map(|suffix| key(suffix)));
        }
        let optional = declared.len() - FIXED.len();
        if settings.history.entries_max() > 0 {
            declared.extend(steps.iter().map(|waiting| settings.keys.history(&waiting.step.gid)));
        }
        declared.extend(steps.iter().map(|waiting| settings.keys.transaction(&waiting.step.gid)));
        let mut call = settings.timed_call(function, declared.iter());
        call.argument(settings.history.entries_max()).argument(optional);
        call.argument(write_steps(
            steps.iter().map(|waiting| (waiting.step.operation, &waiting.step.arguments)),
        ));
        match self.link.call(&call).await? {
            Value::Array(mut answers) if answers.len() == steps.len() + 1 => {
                let now = answers.remove(0);
                Ok(answers.into_iter().map(|answer| (now.clone(), answer)).collect())
            }
            _ => Err(StoreError::new(
                StoreErrorKind::Corrupt,
                "an answer of the store cannot be read (not one for each step); is its library replaced?",
            )),
        }
    }
}

/// The next call's steps: as many as wait, up to the limits. Whose caller is gone is left out: it counts as
/// lost on the way.
fn take_call(rest: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut steps, mut bytes) = (Vec::new(), 0);
    while let Some(next) = rest.front() {
        bytes += next.step.arguments.bytes().len();
        if !steps.is_empty() && (bytes > BYTES_MAX || steps.len() >= STEPS_MAX) {
            break;
        }
        steps.extend(rest.pop_front().filter(|waiting: &Waiting| !waiting.answer.is_closed()));
    }
    steps
}

#[cfg(test)]
mod tests {
    use tcc_core::Timestamp;

    use super::*;

    /// What a long text takes beside its bytes.
    const HEADER: usize = 5;

    /// Steps of one argument of so many bytes each, and those who wait for their answers.
    fn waiting(sizes: &[usize]) -> (VecDeque<Waiting>, Vec<oneshot::Receiver<Answer>>) {
        let one = |bytes: &usize| {
            let mut arguments = Arguments::default();
            arguments.push_bytes(&vec![0; *bytes]);
            let gid = Gid::new(Timestamp::from_millis(1), 0, 0);
            let step = Step { operation: "report", gid, arguments, suffixes: Vec::new() };
            let (answer, answered) = oneshot::channel();
            (Waiting { step, answer }, answered)
        };
        sizes.iter().map(one).unzip()
    }

    fn calls(sizes: &[usize]) -> Vec<usize> {
        let (mut rest, _answered) = waiting(sizes);
        let mut calls = Vec::new();
        while !rest.is_empty() && calls.len() < sizes.len() {
            calls.push(take_call(&mut rest).len());
        }
        calls
    }

    #[test]
    fn a_call_has_as_many_steps_as_its_limits_take() {
        assert_eq!(calls(&[1; STEPS_MAX]), [STEPS_MAX]);
        assert_eq!(calls(&[1; STEPS_MAX + 1]), [STEPS_MAX, 1]);
        let half = BYTES_MAX / 2 - HEADER;
        assert_eq!(calls(&[half; 2]), [2]);
        assert_eq!(calls(&[half, half + 1]), [1, 1]);
        assert_eq!(calls(&[BYTES_MAX + 1; 2]), [1, 1], "one step may be larger");
    }

    #[test]
    fn whose_caller_is_gone_has_no_place_in_a_call() {
        let (mut rest, mut answered) = waiting(&[1, 2, 3]);
        answered.remove(1);
        let call = take_call(&mut rest);
        let bytes = call.iter().map(|waiting| waiting.step.arguments.bytes().len());
        assert_eq!(bytes.collect::<Vec<_>>(), [1 + 1, 1 + 3]);
    }
}
