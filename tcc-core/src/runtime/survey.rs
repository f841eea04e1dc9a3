//! Looking over what stands open in the store, for gauges and alarms. One look costs a bounded number of reads, and
//! nothing waits for it.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::{Shared, driver::chain};
use crate::{
    alarm::{Alarm, Notifier, alarms},
    gid::Gid,
    metrics::{StoreCall, Tally},
    record::Record,
    retry::jittered,
    seam::{Ended, Task},
    store::{StoreError, StoreErrorKind},
};

/// What waits to be told; what finds no room is found again by the next look.
pub(super) const WAITING_MAX: usize = 1_024;
/// Open transactions listed in one call, and records read at a time.
const PAGE: usize = 128;
const READS: usize = 8;
/// Alarms told at a time.
const TELLINGS: usize = 8;
/// How long one telling may take.
const TELL_LIMIT: Duration = Duration::from_secs(30);
/// How long an alarm is one process's to tell; longer than a telling takes.
const HOLD: Duration = Duration::from_secs(60);
/// Before an alarm is told again that did not arrive.
const AGAIN: Duration = Duration::from_secs(60);

/// What may have to be told.
#[derive(Debug)]
pub(crate) enum Suspect {
    /// A transaction of which a branch was parked here.
    Parked(Gid),
    /// What a look found.
    Found(Vec<Alarm>),
}

/// How far the present pass over all shards is.
#[derive(Default)]
struct Pass {
    shard: u16,
    after: Option<Gid>,
    tally: Tally,
    rounds: u32,
}

impl Shared {
    /// Has it told, some time soon, that a branch of this transaction was parked.
    pub(crate) fn suspect_parked(&self, gid: &Gid) {
        if let Some(suspects) = &self.suspects {
            let _ = suspects.try_send(Suspect::Parked(gid.clone()));
        }
    }

    /// Looks at what is open, over and over; ends only by being aborted.
    pub(crate) async fn survey(self: Arc<Self>) {
        let (mut pass, mut before) = (Pass::default(), Tally::default());
        loop {
            self.seam.sleep(jittered(self.config.survey_interval, self.seam.random())).await;
            match self.survey_round(&mut pass).await {
                Ok(true) => {
                    let now = self.clock.now(0);
                    self.meter.surveyed(&pass.tally, pass.rounds == 1, now);
                    before = std::mem::take(&mut pass).tally;
                }
                Ok(false) => self.meter.surveyed(&pass.tally.at_least(&before), false, self.clock.now(0)),
                Err(error) => {
                    self.trouble("looking at what is open", None, &error);
                    pass = Pass::default();
                }
            }
        }
    }

    /// Goes on with a pass, over no more than `survey_max` transactions. Whether that ended it.
    async fn survey_round(&self, pass: &mut Pass) -> Result<bool, StoreError> {
        let mut left = self.config.survey_max;
        pass.rounds += 1;
        while pass.shard < self.store.shards() {
            if left == 0 {
                return Ok(false);
            }
            let most = PAGE.min(left);
            let open = self.store.open(pass.shard, pass.after.as_ref(), most);
            let page = self.read(StoreCall::Open, open).await?;
            let found = page.len();
            left -= found.min(left);
            let last = page.last().cloned();
            let mut records = stream::iter(page)
                .map(|gid| async move { (self.load(&gid).await, gid) })
                .buffer_unordered(READS);
            while let Some((loaded, gid)) = records.next().await {
                self.look_at(&gid, loaded, &mut pass.tally)?;
            }
            pass.after = last.filter(|_| found == most);
            if pass.after.is_none() {
                pass.shard += 1;
            }
        }
        Ok(true)
    }

    fn look_at(
        &self,
        gid: &Gid,
        loaded: Result<Option<Record>, StoreError>,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let now = self.clock.now(gid.shard());
        let found = match loaded {
            Ok(Some(record)) => {
                tally.count(&record);
                alarms(&record, &self.config, now)
            }
            Ok(None) => Vec::new(),
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                tally.count_unreadable();
                vec![Alarm::unreadable(gid, chain(&error), now)]
            }
            Err(error) => return Err(error),
        };
        if let Some(suspects) = self.suspects.as_ref().filter(|_| !found.is_empty()) {
            let _ = suspects.try_send(Suspect::Found(found));
        }
        Ok(())
    }

    /// Tells what is to be told; ends only by being aborted.
    pub(crate) async fn tell_alarms(
        self: Arc<Self>,
        notifier: Arc<dyn Notifier>,
        mut suspects: mpsc::Receiver<Suspect>,
    ) {
        let suspects = stream::poll_fn(move |cx| suspects.poll_recv(cx));
        let tell = |suspect| {
            let (shared, notifier) = (Arc::clone(&self), Arc::clone(&notifier));
            async move {
                if let Err(error) = shared.tell_of(suspect, &notifier).await {
                    shared.trouble("telling an alarm", None, &error);
                }
            }
        };
        suspects.for_each_concurrent(TELLINGS, tell).await;
    }

    async fn tell_of(
        self: &Arc<Self>,
        suspect: Suspect,
        notifier: &Arc<dyn Notifier>,
    ) -> Result<(), StoreError> {
        let found = match suspect {
            Suspect::Found(found) => found,
            Suspect::Parked(gid) => match self.load(&gid).await? {
                Some(record) => alarms(&record, &self.config, self.clock.now(gid.shard())),
                None => return Ok(()),
            },
        };
        for some in found.chunks(TELLINGS) {
            let Some(shard) = some.first().map(|alarm| alarm.gid.shard()) else { continue };
            let ids: Vec<String> = some.iter().map(|alarm| alarm.id.clone()).collect();
            let now = self.clock.now(shard);
            let taking = self.store.take_alarms(shard, &ids, now, now + HOLD);
            let taken = self.read(StoreCall::Alarms, taking).await?;
            let mine = some.iter().zip(taken).filter(|(_, mine)| *mine).map(|(alarm, _)| alarm.clone());
            let told = futures_util::future::join_all(mine.map(|alarm| self.tell(alarm, notifier))).await;
            for (id, rest) in told {
                let (id, until) = ([id], self.clock.now(shard) + rest);
                let rests = self.store.rest_alarms(shard, &id, until);
                self.read(StoreCall::Alarms, rests).await?;
            }
        }
        Ok(())
    }

    /// Hands one alarm to the user's code. Gives how long it is not to be told again.
    async fn tell(self: &Arc<Self>, alarm: Alarm, notifier: &Arc<dyn Notifier>) -> (String, Duration) {
        let (id, kind, notifier) = (alarm.id.clone(), alarm.kind, Arc::clone(notifier));
        let telling = async move { notifier.notify(&alarm).await.map_err(|error| chain(&*error)) };
        let mut task = Task::spawn(&*self.seam, telling);
        let failed = match task.join_within(&*self.seam, TELL_LIMIT).await {
            Some(Ended::Done(Ok(()))) => None,
            Some(Ended::Done(Err(error))) => Some(error),
            Some(Ended::Panicked(message)) => Some(format!("it panicked: {message}")),
            Some(Ended::Aborted) => Some("it was stopped".to_owned()),
            None => {
                task.abort();
                Some(format!("it did not end within {TELL_LIMIT:?}"))
            }
        };
        self.meter.alarmed(kind.as_str(), failed.is_none());
        match failed {
            None => (id, self.config.alarm_repeat),
            Some(error) => {
                tracing::warn!(id, error, "an alarm was not told, and is told again");
                (id, AGAIN)
            }
        }
    }
}
