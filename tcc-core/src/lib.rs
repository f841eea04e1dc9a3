//! State machine, store contract and runtime of the TCC framework.
//!
//! Users depend on the `tcc` crate, which re-exports what they need from here.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod action;
mod alarm;
mod answer;
mod call;
mod checks;
mod config;
mod context;
mod context_key;
mod error;
mod event;
mod exact;
mod gid;
mod join;
pub mod machine;
mod memory;
pub mod metrics;
mod name;
mod operator;
mod outcome;
mod participant;
mod payload;
pub mod record;
mod retry;
mod runtime;
pub mod seam;
mod spans;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
mod trace_parent;
mod transaction;
mod tx;

pub use action::{Action, ActionPolicy, Rejection};
pub use alarm::{Alarm, AlarmKind, Notifier};
pub use answer::{ANSWER_BYTES_MAX, CallAnswer};
pub use call::{Call, WireCall};
pub use config::{Config, FenceRetention};
pub use context::{CancelCx, ConfirmCx, TryCx};
pub use context_key::{ContextKey, ContextSeal, InvalidContextKey};
pub use error::*;
pub use event::Event;
pub use gid::{Gid, SHARDS_MAX};
pub use join::try_join_all;
pub use memory::MemoryStore;
pub use name::*;
pub use operator::*;
pub use outcome::*;
pub use participant::Participant;
pub use payload::{DecodeError, EncodeError, Payload, Stored};
pub use retry::RetryPolicy;
pub use runtime::{Health, OperateError, Runtime, RuntimeBuilder, StartError};
pub use time::Timestamp;
pub use trace_parent::TraceParent;
pub use transaction::{Ending, KeyedTransaction, OpenTransaction, Transaction};
pub use tx::{CallContext, JoinError, Joined, RemoteCall, Tx};
