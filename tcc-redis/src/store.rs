//! The store: one script call an operation.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use redis::Value;
use tcc_core::{
    BusinessKey, Gid, Name, Timestamp,
    machine::{Answer, Op},
    record::{Record, TransactionState},
    store::{Applied, Doorbells, Store, StoreError, StoreErrorKind},
};

use crate::{
    codec::{
        Unreadable,
        record::{self, Fields},
        reply::{Reply, Values, reply},
        request::request,
    },
    connect::{Link, RedisStoreBuilder},
    hints::Hints,
    inspect::Inspector,
    keys::{self, FIXED, Keys},
    preflight::Warning,
    reader::Listener,
    scripts::Script,
};

/// How often one operation is sent with more keys than before. What a record needs changes only when others
/// change it meanwhile.
const SENDINGS_MAX: usize = 8;

/// Keeps transactions in Redis 7.0 or later, or Valkey. Clones share one connection.
///
/// Every operation is one Lua script; what it does is what [`tcc_core::machine`] says. Records are hashes of
/// plain text, for `HGETALL`.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    hints: Hints,
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
        Self { inner: Arc::new(Inner { link: Arc::new(link), hints: Hints::default() }) }
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

    fn keys(&self) -> &Keys {
        &self.inner.link.settings.keys
    }

    /// The keys every script of an operation gets, then these.
    fn declare(&self, shard: u16, transaction: String, suffixes: &[String]) -> Vec<String> {
        let mut declared = vec![transaction];
        declared.extend(FIXED.iter().map(|suffix| self.keys().of(shard, suffix)));
        declared.extend(suffixes.iter().map(|suffix| self.keys().of(shard, suffix)));
        declared
    }

    /// Arguments that precede an operation's own.
    fn preamble(&self) -> Vec<String> {
        let time = self.inner.link.settings.given_time.as_ref();
        time.map(|time| time.load(std::sync::atomic::Ordering::Relaxed).to_string()).into_iter().collect()
    }

    /// The time, and the transactions whose timer has run out.
    async fn look(&self, shard: u16, max: usize) -> Result<(Timestamp, Vec<String>), StoreError> {
        let declared = self.declare(shard, self.keys().of(shard, "tx:-"), &[]);
        let mut arguments = self.preamble();
        arguments.push(max.to_string());
        let link = &self.inner.link;
        let answer = link.evaluate(&link.settings.scripts.look, &declared, &arguments).await?;
        let mut values = Values::new(answer)?;
        Ok((values.moment()?, values.list(Values::text)?))
    }

    async fn send(
        &self,
        script: &Script,
        gid: &Gid,
        suffixes: &[String],
        arguments: &[String],
    ) -> Result<Value, StoreError> {
        let declared = self.declare(gid.shard(), self.keys().transaction(gid), suffixes);
        self.inner.link.evaluate(script, &declared, arguments).await
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
        Ok(self.look(shard, 0).await?.0)
    }

    async fn apply(&self, gid: &Gid, op: Op) -> Result<Applied, StoreError> {
        self.check_shard(gid)?;
        let link = &self.inner.link;
        let (script, request) = request(&link.settings.scripts, gid, &op)?;
        let entries_max = link.settings.history.entries_max();
        let mut arguments = self.preamble();
        arguments.push(entries_max.to_string());
        arguments.extend(request.arguments);
        let mut suffixes = self.inner.hints.learn(gid, request.suffixes);
        if entries_max > 0 {
            suffixes.push(keys::history_suffix(gid));
        }
        for _ in 0..SENDINGS_MAX {
            let answer = self.send(script, gid, &suffixes, &arguments).await?;
            match reply(&op, answer)? {
                Reply::Applied(applied) => {
                    if ends(&applied) {
                        self.inner.hints.forget(gid);
                    }
                    return Ok(applied);
                }
                Reply::Need(needed) => {
                    let lasting =
                        needed.iter().filter(|suffix| !suffix.starts_with("tx:")).cloned().collect();
                    self.inner.hints.learn(gid, lasting);
                    suffixes.extend(needed);
                }
                Reply::Unreadable(unreadable) => return Err(unreadable.of(gid)),
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

    async fn due(&self, shard: u16, max: usize) -> Result<Vec<Gid>, StoreError> {
        let (_, due) = self.look(shard, max).await?;
        Ok(self.gids(due))
    }

    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Result<Vec<Gid>, StoreError> {
        let after = after.map_or_else(|| "-".to_owned(), |gid| format!("({gid}"));
        let mut range = redis::cmd("ZRANGE");
        range
            .arg(self.keys().of(shard, "open"))
            .arg(after)
            .arg("+")
            .arg("BYLEX")
            .arg("LIMIT")
            .arg(0)
            .arg(max);
        Ok(self.gids(self.inner.link.read(&range).await?))
    }

    async fn listen(&self, process: &Name, participants: &[Name]) -> Result<Box<dyn Doorbells>, StoreError> {
        self.inner.link.connection().await?;
        Ok(Box::new(Listener::start(&self.inner.link, process, participants)))
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
