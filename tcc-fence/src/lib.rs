//! Fences of the TCC framework: each effect at most once, in the database a service already has.
//!
//! A confirm or cancel may run more than once, a cancel may come without its try, or before it. A *fence* is a row of
//! the branch in the participant's own database, written in the same local transaction as the effect. One call, the
//! same from try, confirm and cancel, says what to do:
//!
//! | answer | means |
//! |---|---|
//! | [`Entry::First`] | write the effect, in this local transaction |
//! | [`Entry::AlreadyDone`] | this phase took effect before; here is what it answered |
//! | [`Entry::EmptyCancel`] | a cancel whose try took no effect here; recorded, so that none ever will |
//! | [`FenceError::TooLate`] | a try after its cancel: an error, so that the local transaction rolls back |
//! | [`FenceError::Contradiction`] | the row says the opposite of what was decided; `?` parks the branch |
//!
#![cfg_attr(
    all(feature = "postgres", feature = "mysql", feature = "sqlite"),
    doc = "[`enter`] has a whole participant as its example; [`create_table`] or a file of `migrations/` makes the table,"
)]
#![cfg_attr(
    all(feature = "postgres", feature = "mysql", feature = "sqlite"),
    doc = "and [`CleanUp`] forgets what ended long ago."
)]
//!
//! # Isolation
//!
//! The row's key is what two connections meet at: whoever comes second waits until the first has committed or rolled
//! back, and then sees what it left. That holds at every isolation level of PostgreSQL, MySQL, MariaDB and SQLite; where
//! the level forbids to go on with what was seen before (a serialization failure, a deadlock, a busy database), the
//! error is [`FenceError::Database`], which is tried again. Ask the fence first, before the transaction reads anything,
//! and that is rare.
//!
//! # Effects elsewhere
//!
//! A fence guards what its own local transaction writes. An effect elsewhere (a call of another service, a mail) is
//! guarded by the context's idempotency key, and must be undone *whatever the fence answers*: a try that called the
//! bank and then failed has left no row, so its cancel is empty here, and there is still an authorization to release.
//! [`TryOutcome`](tcc_core::TryOutcome) tells cancel what is known: after `Refused` or `Unknown`, ask the bank by the
//! key. Undo there before the commit here; a cancel that was interrupted in between comes again.
//!
//! # How long a row is needed
//!
//! Until its branch has ended, and [`FenceRetention`](tcc_core::FenceRetention) longer: the time for which the runtime
//! may still run something for it.
//!
//! # Features
//!
//! None by default: `postgres`, `mysql` (MariaDB too), `sqlite`, `redis`. The SQL ones work on transactions of
//! `sqlx` 0.9; choose its TLS and other features in your own dependency.

#![cfg_attr(
    not(all(feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis")),
    allow(dead_code, unreachable_pub, reason = "each database uses a part of what they share")
)]

mod context;
mod entry;
mod error;
mod rules;

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod clean_up;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod local;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use clean_up::{CleanUp, Cleaned};
pub use context::Context;
pub use entry::{Answer, EmptyCancel, Entry, First};
pub use error::FenceError;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use local::{FenceDatabase, create_table, enter};

/// The most bytes of JSON of an answer that is kept: the default limit of a payload.
pub const ANSWER_BYTES_MAX: usize = 256 * 1_024;
