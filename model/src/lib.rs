//! Exhaustive model of the TCC state machine.

mod action;
mod audit;
mod config;
mod configurations;
mod explore;
mod judge;
mod model;
mod part;
mod properties;
mod request;
mod state;
mod step;
mod violation;

pub use action::{Action, Request};
pub use config::Config;
pub use configurations::{normal, release};
pub use explore::{CounterExample, Explored, explore};
pub use model::Tcc;
pub use part::{BRANCHES_MAX, BranchPart, ClaimPart, NOW, Owner, Part, WORKERS_MAX};
pub use properties::Landmark;
pub use request::{How, Named};
pub use state::*;
pub use violation::Violation;
