//! Redis store of the TCC framework.
//!
//! [`RedisStore`] keeps every transaction as a hash of plain text, drives its state by Lua functions, and
//! carries messages to workers through streams. It needs Redis 7.0 or later, or Valkey, with
//! `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`; a server that cannot keep the
//! framework's promises is refused with what to change.
//!
//! ```no_run
//! # async fn connect() -> Result<(), tcc_core::store::StoreError> {
//! let store = tcc_redis::RedisStore::connect("redis://127.0.0.1/").await?;
//! for warning in store.warnings() {
//!     eprintln!("{warning}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What lies in Redis
//!
#![doc = include_str!("layout.md")]

mod attach;
mod check;
mod codec;
mod connect;
mod cursor;
mod hints;
mod history;
mod inspect;
mod keys;
mod lane;
mod listing;
mod operator;
mod outline;
mod place;
mod preflight;
mod reader;
mod scripts;
mod store;
mod trouble;

pub use check::{CheckCursor, CheckPage, Checked, Finding, FindingKind};
pub use connect::RedisStoreBuilder;
pub use cursor::{Cursor, InvalidCursor};
pub use history::History;
pub use inspect::{Inspector, Waiting};
pub use listing::{Counts, Filter, Index, Page, Row};
pub use preflight::{Durability, Risk, Warning, WarningKind};
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use scripts::{freeze_library, script_parts};
pub use store::RedisStore;
