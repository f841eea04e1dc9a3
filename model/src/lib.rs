//! Exhaustive model of the TCC state machine, for [`stateright`].
//!
//! Every change of a record is made by [`tcc_core::machine::apply`] itself; nothing of it is copied here. The
//! model is what surrounds it: an initiator that registers, tries, decides and crashes; workers that claim,
//! run handlers, report, stall and die; a sweeper, an operator, a participant's store with a fence or without;
//! and a network in which every request ever sent may be applied at any time and any number of times, its
//! answer heard or lost. [`explore`] visits every state of a [`Config`], judges every step and every record
//! in it, and reports the way into the first that breaks a promise.
//!
//! # What is promised in every state
//!
//! The invariants I1 to I10 and the rules they rest on, as far as one transaction shows them. Some are
//! properties of states; most are judged where they could break, on each step of the machine and on each
//! record by itself, and appear as a [`Violation`] in the state that follows:
//!
//! - A step must keep the decision, tell losers of it, leave a message and a timer early enough, change
//!   nothing when refused, and change nothing when repeated at once.
//! - A record, whatever led to it, must not be moved by stale epochs, strangers' tokens, contradicting
//!   reports or incomplete commits, and must come to its end when left to a sweeper and live workers. That
//!   is I9 without fairness assumptions: from each record the way out is walked, not assumed.
//! - With a fence, a branch the record calls final is settled at its participant, whatever comes late.
//!   Without one, so is every cancelled branch whose outcome the record has learned.
//!
//! Landmarks, such as each state, each race of rule 1 in both orders, handlers that fail before and after their
//! effect, tries that end late in every way, and a finished transaction whose initiator died, must be reached, so that no promise is kept for want of anything happening.
//!
//! # What is left out, and why nothing is lost by it
//!
//! - **Time.** There is no clock: each lease, deadline and back-off is either over or not, and the checker
//!   ends them in any order, also earlier than any clock would. What holds here holds for every clock.
//! - **Numbers of attempts and epochs.** An epoch is the newest or it is stale; no rule can tell stale ones
//!   apart. So attempts, early leases and replays need no bound, and the state space is still finite.
//! - **Bells, counts, evidence, payloads' text.** They are not in the state. Every step is made several times
//!   with them filled in differently, and all must come to the same, so a rule that came to depend on them
//!   would be found. Messages themselves are not modelled: a worker may claim at any time, rung for or not.
//! - **The names of workers and, where branches are alike, of branches.** States that differ by them only are
//!   one.
//! - **Losing what nobody heard of.** A failover that loses writes no answer of which was heard leads to a
//!   state that is reached without them as well, since nobody acted on them (rule 2). A configuration with
//!   `loss` loses records that were acknowledged.
//!
//! Not every configuration has every adversity; [`Config`] lists them, [`normal`] and [`release`] choose. The
//! largest number of branches and workers is explored with fewer, everything at once with fewer branches.
//!
//! # What it cannot promise
//!
//! - **A decision that was never acknowledged and is lost by a failover.** A worker may have acted on it; if
//!   the record is gone with it, the initiator is told so and cancels, and its branches end up on both sides.
//!   In configurations with `loss` I1 to I4, I5 and I8 are therefore not asked for. What is: no late outcome
//!   stays reserved once its reporter was told that the record is gone, and the machine's own rules hold on
//!   whatever record a replay makes again. Answers that wait for a replica, or `appendfsync always`, keep
//!   it from happening.
//! - **An initiator paused beyond the retention, without a fence.** Its try may take effect after the record
//!   is gone; if its process then dies before it reports, nobody is left to cancel it. The model lets a
//!   record be forgotten only when its tries are over, as rule 13 has it.
//! - **What a commit came to whose answer was lost, and whose record is gone when it is repeated.** It was lost, or
//!   it was confirmed, ended and forgotten: nobody can tell without a fence. Its branches are left as they are, and
//!   an operator is told.
//! - **A process that dies with a try under way, without a fence.** What it left on its way to the
//!   participant may take effect after the cancel; only the fence refuses it.
//! - **Epochs of a lost record that come again in one made anew.** Reports of the old count as stale here; on
//!   a real store they could be taken for the new.
//! - **Several transactions**, but for the one thing they share in the machine, a business key: [`Keys`].
//!
//! # Cost
//!
//! [`normal`] explores 3.7 million states and is part of the tests; `cargo run --release -p tcc-model -- release`
//! explores more. Both count them; `scripts/prove model` runs them as a layer of the proof.

mod action;
mod audit;
mod config;
mod configurations;
mod explore;
mod judge;
mod keys;
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
pub use keys::{Held, KeyAction, Keys, Rival};
pub use model::Tcc;
pub use part::{BRANCHES_MAX, BranchPart, ClaimPart, NOW, Owner, Part, WORKERS_MAX};
pub use properties::Landmark;
pub use request::{How, Named};
pub use state::*;
pub use violation::Violation;
