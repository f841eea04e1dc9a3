//! Try-Confirm-Cancel transactions for Rust services: a business operation over several services, wholly
//! done or wholly undone.
//!
//! A method of a service *tries*: it checks and reserves. When every try of an operation has succeeded, all
//! are *confirmed*; otherwise all are *cancelled*. You annotate the methods; the framework records every
//! step in a store before it is acted on, decides once, and drives confirm or cancel, idempotently and with
//! retries, until every branch is final or parked for an operator, whichever process crashes meanwhile.
//! There is no coordinator to deploy: the runtime lives in your process.
//!
//! # Five minutes
//!
//! A participant, whole:
//!
//! ```
//! use std::{collections::BTreeMap, sync::Mutex};
//! use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
//!
//! #[derive(Default)]
//! struct Seats(Mutex<BTreeMap<String, u32>>); // the seats held, by transaction and branch
//!
//! #[tcc::participant(name = "seats")]
//! impl Seats {
//!     #[tcc(try, confirm = keep, cancel = release, timeout = "2s")]
//!     async fn hold(&self, cx: &TryCx, row: u32) -> Result<u32, std::fmt::Error> {
//!         self.0.lock().unwrap().insert(cx.branch_key(), row);
//!         Ok(row * 10)
//!     }
//!     async fn keep(&self, _cx: &ConfirmCx, _row: u32, _seat: u32) -> Result<(), PhaseError> {
//!         Ok(()) // the hold becomes the booking
//!     }
//!     async fn release(&self, cx: &CancelCx, _row: u32, _seat: TryOutcome<u32>) -> Result<(), PhaseError> {
//!         self.0.lock().unwrap().remove(&cx.branch_key());
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tcc::Runtime::builder()
//!     .store(tcc::MemoryStore::new())
//!     .participant(Seats::default())
//!     .start()
//!     .await?;
//!
//! let (aisle, window) = runtime
//!     .transaction("booking")
//!     .run(async |tx| Ok(tcc::try_join!(SeatsTcc::new(tx).hold(3), SeatsTcc::new(tx).hold(4))?))
//!     .await?;
//! # assert_eq!((aisle, window), (30, 40));
//! # Ok(())
//! # }
//! ```
//!
//! In a real participant the hold, and a row that says that this branch was served, are written in one local
//! database transaction (a *fence*): confirm and cancel may run more than once, cancel may come without its
//! try, or before it. The crate `tcc-fence` is that row, for PostgreSQL, MySQL, MariaDB, SQLite and Redis;
//! `examples/checkout` shows three participants with it.
//!
//! # Testing a participant
//!
//! With the feature `testing`, a kit runs your handlers in every order that crashes, repetitions and late messages
//! can make, cuts them at every await, and compares what is left:
//!
//! ```
//! # use std::{collections::BTreeMap, sync::Mutex};
//! # use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
//! # #[derive(Default)]
//! # struct Seats(Mutex<BTreeMap<String, u32>>);
//! # #[tcc::participant(name = "seats")]
//! # impl Seats {
//! #     #[tcc(try, confirm = keep, cancel = release, timeout = "2s")]
//! #     async fn hold(&self, cx: &TryCx, row: u32) -> Result<u32, std::fmt::Error> {
//! #         self.0.lock().unwrap().insert(cx.branch_key(), row);
//! #         Ok(row * 10)
//! #     }
//! #     async fn keep(&self, _cx: &ConfirmCx, _row: u32, _seat: u32) -> Result<(), PhaseError> {
//! #         Ok(())
//! #     }
//! #     async fn release(&self, cx: &CancelCx, _row: u32, _seat: TryOutcome<u32>) -> Result<(), PhaseError> {
//! #         self.0.lock().unwrap().remove(&cx.branch_key());
//! #         Ok(())
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use tcc::testing::kit;
//!
//! let seats = || kit::participant(async || Seats::default()).call("hold", &serde_json::json!({ "row": 3 }));
//! let look = async |seats: &Seats| seats.0.lock().unwrap().clone();
//!
//! seats().without_fence().check(look).await.unwrap();
//!
//! // It keeps no fence, and the kit says what that costs.
//! let broken = seats().check(look).await.unwrap_err().to_string();
//! assert!(broken.contains("a try after its cancel is refused (suspension)"));
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! - A transaction is decided once. Commit, rollback, deadline and operator race on one atomic step, and
//!   whoever comes second learns what was decided. A decision never changes.
//! - No try starts before its branch is recorded, no confirm or cancel before the decision is, and no caller
//!   hears a decision before it is durable.
//! - Only branches whose try succeeded, *and whose success your closure was given*, are confirmed. A branch
//!   whose outcome nobody knows makes the transaction cancel.
//! - Every recorded branch of a cancelled transaction gets its cancel, which is told what is known of its
//!   try: [`TryOutcome`] is `Succeeded`, `Refused` or `Unknown`. A try that ends late is reported, and its
//!   branch is cancelled again, knowing it.
//! - Phase two goes on until each branch is final, or parked with its cause for an operator: attempts are
//!   counted and spaced in the store, so that a crash neither loses nor multiplies them.
//! - A business key ([`Transaction::key`]) runs once; a second caller gets the first one's outcome.
//! - A call of another service ([`Tx::remote_call`]) that is made twice is one branch, and one whose answer never came
//!   forbids commit: "time out, then ask another" never confirms both.
//!
//! # What is not
//!
//! - Isolation. Between try and confirm, others can see that something is reserved; they must not see it as
//!   done. That is what a try is for.
//! - Exactly one run. Handlers run at least once; a fence (`tcc-fence`) in the participant's own store makes
//!   each effect happen at most once.
//! - More durability than the store has. [`MemoryStore`] loses everything with the process.
//! - A bound on how long a reservation is held: while its branch is parked, it is held until someone acts.
//!
//! # The map
//!
//! | to | see |
//! |---|---|
//! | annotate a service | [`participant`], [`TryCx`], [`ConfirmCx`], [`CancelCx`], [`TryOutcome`], [`PhaseError`] |
//! | run a transaction | [`Runtime::transaction`], [`Transaction::run`], [`transaction`], [`try_join!`], [`try_join_all`] |
//! | give it a business key | [`Transaction::key`], [`Keyed`] |
//! | end it by hand | [`Transaction::begin`], [`OpenTransaction`], [`Ending`] |
//! | tell failures apart | [`TransactionError`], [`TryError`], [`Abort`] |
//! | embed the runtime | [`Runtime::builder`], [`Config`], [`Health`], [`Event`] |
//! | keep it in Redis | [`RedisStore`], `redis` |
//! | look and put right | [`Runtime::outcome`], [`Runtime::record`], [`Runtime::cancel`], [`Runtime::redrive`], [`Runtime::operate`], [`Store::pause`](store::Store::pause) |
//! | call other services in it | [`Tx::remote_call`], [`Runtime::join`], [`Joined`], `propagate` |
//! | test your participants | `testing::kit`, with the feature `testing` |
//! | see and be told | [`metrics`], [`RuntimeBuilder::trace_context`], [`Notifier`], [`Alarm`], `webhook` |
//! | do without macros | [`Action`], [`RuntimeBuilder::actions`], [`Tx::call`] |
//! | write a store | [`store`], [`machine`], [`record`] |
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `macros` | yes | the attribute macros |
//! | `redis` | yes | [`RedisStore`], and its settings in the module `redis` |
//! | `tls` | no | `rediss://` URLs |
//! | `propagate` | no | carrying transactions over HTTP and gRPC, in the module `propagate` |
//! | `axum`, `reqwest`, `tonic` | no | the same for these libraries |
//! | `metrics` | no | measuring, for the recorder of the `metrics` facade; [`metrics`] lists what |
//! | `webhook` | no | telling alarms to a URL, in the module `webhook` |
//! | `testing` | no | the module `testing`: the kit for your participants' tests, for `dev-dependencies` |

pub use tcc_core::*;

#[cfg(feature = "propagate")]
pub use tcc_propagate as propagate;

#[cfg(feature = "redis")]
pub use tcc_redis::{self as redis, RedisStore};

#[cfg(feature = "webhook")]
pub use tcc_webhook as webhook;

#[cfg(feature = "macros")]
pub use tcc_macros::{participant, transaction};

/// The code in README is compiled and run like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
mod book;
