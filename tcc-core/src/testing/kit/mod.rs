//! A kit for the tests of your own participants: it runs their handlers as crashes, repetitions and late
//! messages make them run, and compares what is left behind.
//!
//! You give it a way to make a participant with books of its own, a call, and a look at the books. The look
//! should show what a customer or an auditor would see (stock, holds, balances) and leave out what is kept on
//! purpose, such as fence rows. A try that ended in cancel must leave what there was before; every way that
//! ends in confirm must leave the same.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Mutex};
//! use serde_json::json;
//! use tcc_core::{Action, CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome, testing::kit};
//!
//! #[derive(Default)]
//! struct Seats { books: Mutex<Books> }
//!
//! #[derive(Clone, Debug, Default, PartialEq)]
//! struct Books { held: u32, sold: u32, fence: BTreeMap<String, &'static str> }
//!
//! impl Seats {
//!     /// One local transaction: what the fence holds, and the effect.
//!     fn apply(&self, branch: String, to: &'static str, seats: u32) -> Result<(), String> {
//!         let mut books = self.books.lock().unwrap();
//!         let was = books.fence.get(&branch).copied().unwrap_or("nothing");
//!         match (was, to) {
//!             ("nothing", "tried") => books.held += seats,
//!             ("tried", "confirmed") => { books.held -= seats; books.sold += seats; }
//!             ("tried", "cancelled") => books.held -= seats,
//!             ("nothing", "cancelled") => {}
//!             (was, to) if was == to && to != "tried" => return Ok(()),
//!             (was, to) => return Err(format!("{branch} is {was} and cannot be {to}")),
//!         }
//!         books.fence.insert(branch, to);
//!         Ok(())
//!     }
//! }
//!
//! # async fn test() -> Result<(), kit::Broken> {
//! // With the macros it is `kit::participant(async || Seats::default())`.
//! kit::actions("seats", async || {
//!     let seats = std::sync::Arc::new(Seats::default());
//!     let (a, b, c) = (seats.clone(), seats.clone(), seats.clone());
//!     let hold = Action::new(
//!         "hold",
//!         1,
//!         move |cx: TryCx, n: u32| { let done = a.apply(cx.branch_key(), "tried", n); async move { done } },
//!         move |cx: ConfirmCx, n: u32, (): ()| {
//!             let done = b.apply(cx.branch_key(), "confirmed", n).map_err(PhaseError::park);
//!             async move { done }
//!         },
//!         move |cx: CancelCx, n: u32, _: TryOutcome<()>| {
//!             let done = c.apply(cx.branch_key(), "cancelled", n).map_err(PhaseError::park);
//!             async move { done }
//!         },
//!     );
//!     (seats, vec![hold])
//! })
//! .call("hold", &json!(2))
//! .check(async |seats| {
//!     let books = seats.books.lock().unwrap();
//!     (books.held, books.sold)
//! })
//! .await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test()).unwrap();
//! ```
//!
//! What it cannot show: two processes on one database at a time, and a crash of the database itself. A handler
//! that is cut is dropped at an await, as a process that dies drops it, and its participant lives on.

mod bench;
mod order;

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::Serialize;

use crate::{action::Action, participant::Participant, payload::Payload};

/// Tests a participant made by the macro. `make` is called once for each order and must give a participant whose
/// books nobody else has: a database of its own, or a schema.
pub fn participant<P: Participant>(
    make: impl AsyncFn() -> P,
) -> Kit<P, impl AsyncFn() -> (Arc<P>, Vec<Action>)> {
    let make = async move || {
        let made = Arc::new(make().await);
        let actions = P::actions(&made);
        (made, actions)
    };
    actions(P::NAME, make)
}

/// Tests actions made by hand, and the books they keep.
pub fn actions<P, F: AsyncFn() -> (Arc<P>, Vec<Action>)>(name: &'static str, make: F) -> Kit<P, F> {
    Kit { name, make, calls: Vec::new(), fence: true, reserves: true, books: PhantomData }
}

/// What is to be tested, and with which calls.
#[must_use = "nothing runs before `check`"]
pub struct Kit<P, F> {
    name: &'static str,
    make: F,
    calls: Vec<Called>,
    fence: bool,
    reserves: bool,
    books: PhantomData<fn() -> P>,
}

/// A call to be tried.
struct Called {
    action: String,
    arguments: Result<Payload, String>,
    refused: bool,
}

impl<P, F> fmt::Debug for Kit<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<P, F: AsyncFn() -> (Arc<P>, Vec<Action>)> Kit<P, F> {
    /// Tests this call of an action, which a fresh participant must grant. The arguments are those of
    /// [`Tx::call`](crate::Tx::call): for a macro's action an object of its arguments by name.
    pub fn call<A: Serialize + ?Sized>(self, action: &str, arguments: &A) -> Self {
        self.with(action, arguments, false)
    }

    /// Tests this call of an action, which a fresh participant must refuse.
    pub fn refused<A: Serialize + ?Sized>(self, action: &str, arguments: &A) -> Self {
        self.with(action, arguments, true)
    }

    fn with<A: Serialize + ?Sized>(mut self, action: &str, arguments: &A, refused: bool) -> Self {
        let arguments = Payload::encode(arguments).map_err(|error| error.to_string());
        self.calls.push(Called { action: action.to_owned(), arguments, refused });
        self
    }

    /// Leaves out what only a fence can hold: a participant without one relies on being told of late tries, and
    /// may do twice what is asked for twice.
    pub fn without_fence(mut self) -> Self {
        self.fence = false;
        self
    }

    /// Says that a try leaves nothing to be seen, such as one that only looks. Else a look at the books that
    /// does not show the reservation is taken for blind.
    pub fn reserves_nothing(mut self) -> Self {
        self.reserves = false;
        self
    }

    /// Runs every order of every call, each on a fresh participant, and looks at its books after it.
    ///
    /// # Errors
    /// [`Broken`]: every order that broke a rule, with the rule.
    pub async fn check<V: PartialEq + fmt::Debug>(
        self,
        look: impl AsyncFn(&P) -> V,
    ) -> Result<Checked, Broken> {
        let mut checked = Checked { orders: 0, cuts: 0 };
        let mut failures = Vec::new();
        if self.calls.is_empty() {
            failures.push(Failure::of(
                "nothing",
                "there is a call to test",
                "name one: `call(\"reserve\", ..)`",
            ));
        }
        for called in &self.calls {
            bench::test(&self, called, &look, &mut checked, &mut failures).await;
        }
        if failures.is_empty() { Ok(checked) } else { Err(Broken { participant: self.name, failures }) }
    }
}

/// What was run, and went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Orders that were run, each cut counted.
    pub orders: usize,
    /// Handlers that were dropped at an await.
    pub cuts: usize,
}

/// Orders of a participant's handlers that broke a rule. Its text tells them all.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken {
    participant: &'static str,
    failures: Vec<Failure>,
}

impl Broken {
    /// What broke, in the order it was found.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "participant {} breaks what the framework relies on", self.participant)?;
        for failure in &self.failures {
            write!(f, "\n- {failure}")?;
        }
        Ok(())
    }
}

/// As it is displayed, so that `unwrap` in a test tells it readably.
impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Broken {}

/// One order that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What was run, in its order, such as `reserve: cancel (unknown), try`.
    pub order: String,
    /// The rule that it broke.
    pub rule: &'static str,
    /// What came of it instead.
    pub found: String,
}

impl Failure {
    fn of(order: impl Into<String>, rule: &'static str, found: impl Into<String>) -> Self {
        Self { order: order.into(), rule, found: found.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    rule: {}\n    found: {}", self.order, self.rule, self.found)
    }
}
