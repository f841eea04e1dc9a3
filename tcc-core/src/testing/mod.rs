//! What tests of stores and of services share.

pub mod contexts;
pub mod kit;
pub mod sequences;
pub mod sim;
pub mod variants;
