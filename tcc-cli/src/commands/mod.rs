//! A file a command.

pub(crate) mod acl;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod list;
pub(crate) mod nodes;
pub(crate) mod pause;
pub(crate) mod resolve;
pub(crate) mod retry;
pub(crate) mod show;
pub(crate) mod stats;
