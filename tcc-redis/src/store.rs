//! The store: an operation is a step of a function call.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use tcc_core::{
    AuditCursor, AuditPage, BusinessKey, Gid, Name, Pause, Presence, Scope, Timestamp, Why,
    machine::{Answer, Op},
    record::{Record, TransactionState},
    store::{Applied, Doorbells, Store, StoreError, StoreErrorKind},
};

use crate::{
    codec::{
        Unreadable,
        record::{self, Fields},
        reply::{self, Reply},
        request::{Request, request},
    },
    connect::{Call, Link, RedisStoreBuilder},
    hints::Hints,
    inspect::Inspector,
    keys::{self, Keys},
    lane::{Kind, Lane, Step},
    operator,
    preflight::Warning,
    reader::Listener,
    scripts::Function,
};

/// How often one operation is sent with more keys than before. What a record needs changes only when others
/// change it meanwhile.
const SENDINGS_MAX: usize = 8;

/// Timers looked through for transactions that no sweep has looked at yet.
const TIMERS_MAX: usize = 10_000;

/// Keeps transactions in Redis 7.0 or later, or Valkey. Clones share one connection.
///
/// Every operation is one atomic step of a Lua function; what it does is what [`tcc_core::machine`] says.
/// Records are hashes of plain text, for `HGETALL`.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    hints: Arc<Hints>,
    /// The lanes of each shard.
    beginning: Vec<Lane>,
    finishing: Vec<Lane>,
    /// How many steps of each operation went the short way.
    #[cfg(feature = "testing")]
    short: std::sync::Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", self.keys().namespace())
            .field("shards", &self.keys().shards())
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects with the default settings; see [`RedisStoreBuilder`].
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] with what to change, or [`StoreErrorKind::Unavailable`] when Redis
    /// cannot be reached.
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Configures a store.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    pub(crate) fn new(link: Link) -> Self {
        let (link, hints) = (Arc::new(link), Arc::new(Hints::default()));
        let lanes = |kind| {
            (0..link.settings.keys.shards()).map(|shard| Lane::new(&link, &hints, kind, shard)).collect()
        };
        let (beginning, finishing) = (lanes(Kind::Beginning), lanes(Kind::Finishing));
        let inner = Inner {
            link,
            hints,
            beginning,
            finishing,
            #[cfg(feature = "testing")]
            short: std::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What was worth knowing of the server when it was looked at last.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.inner.link.warnings()
    }

    /// What the namespace holds, for operators and tests.
    #[must_use]
    pub fn inspect(&self) -> Inspector {
        Inspector::new(Arc::clone(&self.inner.link))
    }

    /// How many steps of each operation went the short way, for tests.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn short_ways(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.inner.short.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    #[cfg(feature = "testing")]
    fn count_short_way(&self, operation: &'static str) {
        let mut short = self.inner.short.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *short.entry(operation).or_default() += 1;
    }

    /// The lane of steps of this kind, for tests.
    #[cfg(feature = "testing")]
    pub(crate) fn lane_of(&self, gid: &Gid, operation: &str) -> &Lane {
        let lanes = match operation {
            "begin" | "register" => &self.inner.beginning,
            _ => &self.inner.finishing,
        };
        &lanes[usize::from(gid.shard())]
    }

    fn keys(&self) -> &Keys {
        &self.inner.link.settings.keys
    }

    /// Refuses the ids of another configuration, which no sweeper of this one would look after.
    fn check_shard(&self, gid: &Gid) -> Result<(), StoreError> {
        if gid.shard() < self.keys().shards() {
            return Ok(());
        }
        Err(StoreError::new(
            StoreErrorKind::Misconfigured,
            format!(
                "{gid} is of shard {}, and namespace `{}` has {}: it was begun elsewhere",
                gid.shard(),
                self.keys().namespace(),
                self.keys().shards()
            ),
        ))
    }

    /// Gids out of an index; what is none is skipped, and said.
    fn gids(&self, texts: Vec<String>) -> Vec<Gid> {
        let parse = |text: String| match text.parse() {
            Ok(gid) => Some(gid),
            Err(error) => {
                tracing::warn!(namespace = %self.keys().namespace(), %error, "an index holds what is no gid");
                None
            }
        };
        texts.into_iter().filter_map(parse).collect()
    }
}

#[async_trait]
impl Store for RedisStore {
    fn shards(&self) -> u16 {
        self.keys().shards()
    }

    async fn now(&self, shard: u16) -> Result<Timestamp, StoreError> {
        Ok(self.inner.link.look(shard, 0).await?.0)
    }

    async fn apply(&self, gid: &Gid, op: &Op) -> Result<Applied, StoreError> {
        self.check_shard(gid)?;
        let inner = &self.inner;
        let Request { kind, operation, arguments, mut suffixes } = request(gid, op)?;
        suffixes.iter().for_each(|suffix| inner.hints.learn(gid, suffix));
        if let Op::Register(register) = op {
            register.branches.iter().for_each(|new| inner.hints.learn_queue(new.action.participant()));
        }
        suffixes.extend(inner.hints.key(gid));
        let lane = match kind {
            Kind::Beginning => &inner.beginning,
            Kind::Finishing => &inner.finishing,
        };
        let lane = &lane[usize::from(gid.shard())];
        let mut arguments = Some(arguments);
        for _ in 0..SENDINGS_MAX {
            // To be sent again it is written again: that is seldom, and nothing is kept for it.
            let arguments = arguments.take().map_or_else(|| Ok(request(gid, op)?.arguments), Ok)?;
            let step = Step { operation, gid: gid.clone(), arguments, suffixes: suffixes.clone() };
            let answer = lane.take(step).await?;
            #[cfg(feature = "testing")]
            if reply::is_short(&answer) {
                self.count_short_way(operation);
            }
            match reply::reply(op, answer)? {
                Reply::Applied(applied) => {
                    if ends(&applied) {
                        inner.hints.forget(gid);
                    }
                    return Ok(applied);
                }
                Reply::Need(needed) => {
                    needed.iter().for_each(|suffix| inner.hints.learn(gid, suffix));
                    suffixes.extend(needed);
                }
                Reply::Unreadable(unreadable) => return Err(unreadable.of(gid)),
                Reply::Failed(error) => return Err(error),
            }
        }
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!("the keys of {gid} changed {SENDINGS_MAX} times while it was asked for"),
        ))
    }

    async fn load(&self, gid: &Gid) -> Result<Option<Record>, StoreError> {
        if self.check_shard(gid).is_err() {
            return Ok(None);
        }
        let mut all = redis::cmd("HGETALL");
        all.arg(self.keys().transaction(gid));
        let pairs = match self.inner.link.read::<Vec<(Vec<u8>, Vec<u8>)>>(&all).await {
            Ok(pairs) => pairs,
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                return Err(Unreadable::new("type", "no hash").of(gid).with_source(error));
            }
            Err(error) => return Err(error),
        };
        if pairs.is_empty() {
            return Ok(None);
        }
        let read = Fields::new(pairs).and_then(|fields| record::read(gid, &fields));
        read.map(Some).map_err(|unreadable| unreadable.of(gid))
    }

    async fn find(&self, name: &Name, key: &BusinessKey) -> Result<Option<Gid>, StoreError> {
        let suffix = keys::business_suffix(name, key);
        let mut pipeline = redis::pipe();
        for shard in 0..self.shards() {
            pipeline.cmd("GET").arg(self.keys().of(shard, &suffix));
        }
        let found: Vec<Option<String>> = self.inner.link.query(&pipeline).await?;
        Ok(self.gids(found.into_iter().flatten().collect()).into_iter().next())
    }

    async fn due(&self, shard: u16, max: usize) -> Result<Vec<(Gid, Timestamp)>, StoreError> {
        let (_, due) = self.inner.link.look(shard, max).await?;
        let (pairs, _) = due.as_chunks::<2>();
        let timers = pairs.iter().filter_map(|[gid, at]| {
            let at = at.parse::<f64>().ok()?;
            Some((self.gids(vec![gid.clone()]).pop()?, Timestamp::from_millis(at as u64)))
        });
        Ok(timers.collect())
    }

    /// What outlived its first timer is in an index; what is younger is found among the timers, as far as they
    /// are looked through.
    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Result<Vec<Gid>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |gid| format!("({gid}"));
        let mut ranges = redis::pipe();
        ranges.cmd("ZRANGE").arg(self.keys().of(shard, "open")).arg(from).arg("+").arg("BYLEX");
        ranges.arg("LIMIT").arg(0).arg(max);
        ranges.cmd("ZRANGE").arg(self.keys().of(shard, "due")).arg(0).arg(TIMERS_MAX - 1);
        let (looked, timed): (Vec<String>, Vec<String>) = self.inner.link.query(&ranges).await?;
        let found = self.gids(looked.into_iter().chain(timed).collect());
        let later: BTreeSet<Gid> =
            found.into_iter().filter(|gid| after.is_none_or(|after| gid > after)).collect();
        Ok(later.into_iter().take(max).collect())
    }

    /// What nobody holds any more goes first, so that the set holds no more than was held of late.
    async fn take_alarms(
        &self,
        shard: u16,
        ids: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let key = self.keys().of(shard, "alarms");
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(now.as_millis()).ignore();
        for id in ids {
            pipeline.cmd("ZADD").arg(&key).arg("NX").arg(until.as_millis()).arg(id);
        }
        self.inner.link.query(&pipeline).await
    }

    async fn rest_alarms(&self, shard: u16, ids: &[String], until: Timestamp) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.cmd("ZADD").arg(self.keys().of(shard, "alarms")).arg(until.as_millis()).arg(id).ignore();
        }
        self.inner.link.query(&pipeline).await
    }

    async fn listen(&self, process: &Name, participants: &[Name]) -> Result<Box<dyn Doorbells>, StoreError> {
        let link = &self.inner.link;
        for shard in 0..self.shards() {
            // Here the caller hears what a reader's task could only log.
            let queues: Vec<String> =
                participants.iter().map(|name| self.keys().queue(shard, name)).collect();
            link.call(&Call::new(&link.settings.library, Function::Groups, queues.iter())).await?;
        }
        Ok(Box::new(Listener::start(&self.inner.link, process, participants)))
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        operator::pauses(&self.inner.link).await
    }

    async fn pause(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        operator::change_pause(&self.inner.link, "paused", scope, by, why).await
    }

    async fn resume(&self, scope: &Scope, by: &Name, why: &Why) -> Result<bool, StoreError> {
        operator::change_pause(&self.inner.link, "resumed", scope, by, why).await
    }

    async fn audit(
        &self,
        shard: u16,
        before: Option<&AuditCursor>,
        max: usize,
    ) -> Result<AuditPage, StoreError> {
        operator::audit(&self.inner.link, shard, before, max).await
    }

    async fn announce(&self, presence: &Presence) -> Result<(), StoreError> {
        operator::announce(&self.inner.link, presence).await
    }

    async fn processes(&self, max: usize) -> Result<Vec<Presence>, StoreError> {
        operator::processes(&self.inner.link, max).await
    }
}

/// Whether the answer says that a transaction is over.
fn ends(applied: &Applied) -> bool {
    let state = match &applied.result {
        Ok(Answer::Closed(closes)) => Some(closes.state),
        Ok(Answer::Decided(decided)) => Some(decided.state),
        _ => None,
    };
    state.is_some_and(TransactionState::is_final)
}

#[cfg(test)]
mod tests {
    use tcc_core::{
        machine::{Closes, Decided},
        record::{Decision, Direction, Reason, TransactionState::*},
    };

    use super::*;

    #[test]
    fn a_decision_or_a_close_ends_a_transaction_that_is_final_then() {
        for (state, is_over) in
            [(Trying, false), (Confirming, false), (Cancelling, false), (Confirmed, true), (Cancelled, true)]
        {
            let decision = Decision {
                direction: Direction::Cancel,
                reason: Reason::Aborted,
                by: Name::new("shop-1").unwrap(),
                at: Timestamp::default(),
            };
            let closed = Answer::Closed(Closes { state, drives: Vec::new() });
            let decided = Answer::Decided(Decided { decision, state, drives: Vec::new(), lost: Vec::new() });
            for answer in [closed, decided] {
                assert_eq!(ends(&Applied { now: Timestamp::default(), result: Ok(answer) }), is_over);
            }
        }
        let reported = Answer::Reported(Vec::new());
        assert!(!ends(&Applied { now: Timestamp::default(), result: Ok(reported) }));
    }
}
