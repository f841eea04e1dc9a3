//! Fences in Redis, where fence and effect are one script.
//!
//! Redis has no local transaction that a fence could share, but a script is one step: [`Script`] puts the fence around
//! a script of yours. Nothing waits for anything, as scripts run one after the other.
//!
//! The effect's script
//!
//! - sees its own keys and arguments in `KEYS` and `ARGV`, as if it stood alone; every key it uses is to be among them;
//! - *checks everything before it first writes*: a script has no rollback, and an error after a write leaves half of
//!   an effect and no fence;
//! - refuses by `return nil, 'why'` before it has written anything, and the fence writes nothing either;
//! - answers by `return`: what it returns is kept as JSON, by `cjson.encode`, which keeps 14 digits of a number; return
//!   larger ones as text.
//!
//! The fence's key lies in the slot of a hash tag that you name, and must be the same from try, confirm and cancel:
//! take it from an argument of the action, or a constant. Keys in another slot are refused before anything is sent, so
//! that the same service runs on Redis Cluster.
//!
//! A fence without expiry stands from try until the branch ends, and expires
//! [`FenceRetention`](tcc_core::FenceRetention) later; there is nothing to clean up. Run Redis with `maxmemory-policy
//! noeviction`, and as durable as the effect has to be.
//!
//! ```no_run
//! use std::sync::LazyLock;
//!
//! use redis::aio::MultiplexedConnection;
//! use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
//! use tcc_fence::{FenceError, redis::Script};
//!
//! static PROMISE: LazyLock<Script> = LazyLock::new(|| {
//!     Script::new(
//!         "if redis.call('SISMEMBER', KEYS[2], 'blocked') == 1 then return nil, 'blocked' end
//!          return redis.call('HINCRBY', KEYS[1], 'pending', ARGV[1])",
//!     )
//! });
//! static AWARD: LazyLock<Script> = LazyLock::new(|| {
//!     Script::new("redis.call('HINCRBY', KEYS[1], 'pending', -ARGV[1]) redis.call('HINCRBY', KEYS[1], 'points', ARGV[1])")
//! });
//! static DROP: LazyLock<Script> =
//!     LazyLock::new(|| Script::new("redis.call('HINCRBY', KEYS[1], 'pending', -ARGV[1])"));
//!
//! struct Loyalty { redis: MultiplexedConnection }
//!
//! #[tcc::participant(name = "loyalty")]
//! impl Loyalty {
//!     /// Returns the points pending.
//!     #[tcc(try, confirm = award, cancel = drop_points)]
//!     async fn promise(&self, cx: &TryCx, customer: String, points: i64) -> Result<i64, FenceError> {
//!         let account = format!("account:{{{customer}}}");
//!         let flags = format!("flags:{{{customer}}}");
//!         let promised =
//!             PROMISE.fence(cx, &customer).key(account).key(flags).arg(points).run(&mut self.redis.clone()).await?;
//!         // Now or before, the answer is the same.
//!         promised.answer().get()
//!     }
//!
//!     async fn award(&self, cx: &ConfirmCx, customer: String, points: i64, _pending: i64) -> Result<(), PhaseError> {
//!         let account = format!("account:{{{customer}}}");
//!         AWARD.fence(cx, &customer).key(account).arg(points).run(&mut self.redis.clone()).await?;
//!         Ok(())
//!     }
//!
//!     async fn drop_points(
//!         &self,
//!         cx: &CancelCx,
//!         customer: String,
//!         points: i64,
//!         _pending: TryOutcome<i64>,
//!     ) -> Result<(), PhaseError> {
//!         let account = format!("account:{{{customer}}}");
//!         DROP.fence(cx, &customer).key(account).arg(points).run(&mut self.redis.clone()).await?;
//!         Ok(())
//!     }
//! }
//! ```

mod slot;

use std::convert::Infallible;

use ::redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::ConnectionLike};
use sha1_smol::Sha1;

use crate::{
    ANSWER_BYTES_MAX,
    context::{Asked, Context, EmptyAnswer, Phase},
    entry::Answer,
    error::FenceError,
};

const FENCE: &str = include_str!("fence.lua");

/// An effect with a fence around it. Make it once: it is sent by its hash, and in full only where Redis does not know
/// it yet.
#[derive(Clone, Debug)]
pub struct Script {
    /// For a try: refused when memory is full.
    beginning: Text,
    /// For confirm and cancel: allowed even then, so that what is in flight drains.
    finishing: Text,
}

#[derive(Clone, Debug)]
struct Text {
    source: String,
    hash: String,
}

impl Text {
    fn new(source: String) -> Self {
        let hash = Sha1::from(&source).hexdigest();
        Self { source, hash }
    }
}

impl Script {
    /// Puts a fence around the Lua of an effect.
    #[must_use]
    pub fn new(effect: &str) -> Self {
        let text = |flags: &str| {
            Text::new(format!("#!lua{flags}\nlocal function effect(KEYS, ARGV)\n{effect}\nend\n{FENCE}"))
        };
        Self { beginning: text(""), finishing: text(" flags=allow-oom") }
    }

    /// Names the branch's phase, and the hash tag (without braces) in whose slot the fence and all keys lie. It must be
    /// the same in try, confirm and cancel.
    pub fn fence<'a, C: Context>(&'a self, cx: &'a C, tag: &'a str) -> Fenced<'a, C> {
        Fenced { script: self, cx, tag, keys: Vec::new(), arguments: Vec::new() }
    }
}

/// A script about to be run for one phase of a branch.
#[derive(Debug)]
#[must_use = "nothing is sent until it is run"]
pub struct Fenced<'a, C> {
    script: &'a Script,
    cx: &'a C,
    tag: &'a str,
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl<C: Context> Fenced<'_, C> {
    /// Adds one of the effect's `KEYS`.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds one of the effect's `ARGV`.
    pub fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// Asks the fence, and runs the effect if this phase is the first: one step.
    ///
    /// A call that fails with [`FenceError::Database`] may have been carried out; run again, it answers what it
    /// answered then.
    ///
    /// # Errors
    /// [`FenceError::TooLate`] to a try after its cancel; [`FenceError::Contradiction`] when the fence says the opposite;
    /// [`FenceError::Refused`] when the effect refused; [`FenceError::OtherSlot`] and [`FenceError::Tag`] before
    /// anything is sent; [`FenceError::AnswerLost`] when the effect was written and its answer could not be kept;
    /// [`FenceError::Database`] when Redis fails.
    pub async fn run(self, connection: &mut impl ConnectionLike) -> Result<Ran<C::Empty>, FenceError> {
        let asked = self.cx.asked();
        let tag = self.tag;
        if tag.is_empty() || tag.contains(['{', '}']) {
            return Err(FenceError::Tag(tag.to_owned()));
        }
        let slot = slot::slot_of(tag);
        if let Some(key) = self.keys.iter().find(|key| slot::slot_of(key) != slot) {
            return Err(FenceError::OtherSlot { key: key.clone(), tag: format!("{{{tag}}}") });
        }
        let reply = self.send(&asked, connection).await;
        let (verdict, text) = reply.map_err(|error| FenceError::database(&asked.place(), error))?;
        match verdict.as_str() {
            "first" => Ok(Ran::First(Answer::kept(Some(text)))),
            "already done" => Ok(Ran::AlreadyDone(Answer::kept(Some(text)))),
            "too late" => Err(FenceError::too_late(&asked)),
            "contradiction" => Err(FenceError::contradiction(&asked, text)),
            "refused" => Err(FenceError::Refused(text)),
            "unkept" => Err(FenceError::AnswerLost(text)),
            _ => match C::Empty::new() {
                Some(empty) if verdict == "empty cancel" => Ok(Ran::EmptyCancel(empty)),
                _ => Err(FenceError::contradiction(&asked, format!("the script answered {verdict:?}"))),
            },
        }
    }

    async fn send(
        &self,
        asked: &Asked<'_>,
        connection: &mut impl ConnectionLike,
    ) -> RedisResult<(String, String)> {
        let text = match asked.phase {
            Phase::Try => &self.script.beginning,
            Phase::Confirm | Phase::Cancel => &self.script.finishing,
        };
        let called = self.command("EVALSHA", &text.hash, asked).query_async(connection).await;
        match called {
            Err(error) if is_unknown_script(&error) => {
                self.command("EVAL", &text.source, asked).query_async(connection).await
            }
            called => called,
        }
    }

    fn command(&self, name: &str, script: &str, asked: &Asked<'_>) -> ::redis::Cmd {
        let retention_ms = asked.retention.map_or(0, |retention| {
            // Redis refuses a time that overflows when it is added to now.
            retention.as_duration().as_millis().min(u128::from(u32::MAX) * 1_000) as u64
        });
        let mut command = ::redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len() + 1)
            .arg(format!("tcc-fence:{{{}}}:{}", self.tag, asked.place()))
            .arg(&self.keys)
            .arg(asked.phase.as_str())
            .arg(asked.action.as_str())
            .arg(asked.epoch)
            .arg(retention_ms)
            .arg(ANSWER_BYTES_MAX)
            .arg(&self.arguments);
        command
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// What a fenced script came to. A try and a confirm have two arms, a cancel three.
#[derive(Debug)]
pub enum Ran<Empty = Infallible> {
    /// The effect was written, and answered this.
    First(Answer),
    /// It was written before, and answered this then.
    AlreadyDone(Answer),
    /// No try of this branch took effect here, and none will; the script did not run. A cancel that comes again is told
    /// the same again. It says nothing of effects elsewhere.
    EmptyCancel(Empty),
}

impl Ran<Infallible> {
    /// The answer, now or then.
    #[must_use]
    pub fn answer(self) -> Answer {
        match self {
            Self::First(answer) | Self::AlreadyDone(answer) => answer,
        }
    }
}
