//! Try-Confirm-Cancel transactions: a business operation over several services, wholly done or wholly
//! undone.

pub use tcc_core::*;

// macros follow
