//! State machine, store contract and runtime of the TCC framework.
//!
//! Users depend on the `tcc` crate, which re-exports what they need from here.

mod error;
mod exact;
mod gid;
pub mod machine;
mod memory;
mod name;
mod outcome;
mod payload;
pub mod record;
pub mod seam;
pub mod store;
mod time;

pub use error::*;
pub use gid::{Gid, SHARDS_MAX};
pub use memory::MemoryStore;
pub use name::*;
pub use outcome::*;
pub use payload::{DecodeError, EncodeError, Payload, Stored};
pub use time::Timestamp;
