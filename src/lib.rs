//! Try-Confirm-Cancel transactions: a business operation over several services, wholly done or wholly
//! undone.

pub use tcc_core::*;

#[cfg(feature = "macros")]
pub use tcc_macros::{participant, transaction};
