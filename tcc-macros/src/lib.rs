//! Attribute macros of the TCC framework, to be used through the crate `tcc`.

mod attributes;
mod diagnostics;
mod given;
mod nearest;
mod participant;
mod respan;
mod transaction;
mod types;

use proc_macro::TokenStream;

/// Makes a service a participant: its annotated methods become actions that a transaction can call.
///
/// It goes on an inherent `impl` block, in which each try method names its confirm and its cancel:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
///
/// pub struct Inventory;
///
/// #[derive(Serialize, Deserialize)]
/// pub struct Hold(u64);
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("{sku} is out of stock")]
/// pub struct OutOfStock {
///     sku: String,
/// }
///
/// #[tcc::participant(name = "inventory")]
/// impl Inventory {
///     /// Sets some pieces aside.
///     #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve, timeout = "2s")]
///     pub async fn reserve(&self, cx: &TryCx, sku: String, qty: u32) -> Result<Hold, OutOfStock> {
/// #       let _ = (cx, sku, qty);
///         Ok(Hold(7))
///     }
///
///     async fn confirm_reserve(&self, cx: &ConfirmCx, sku: String, qty: u32, hold: Hold) -> Result<(), PhaseError> {
/// #       let _ = (cx, sku, qty, hold);
///         Ok(())
///     }
///
///     async fn cancel_reserve(
///         &self,
///         cx: &CancelCx,
///         sku: String,
///         qty: u32,
///         hold: TryOutcome<Hold>,
///     ) -> Result<(), PhaseError> {
/// #       let _ = (cx, sku, qty);
///         match hold {
///             TryOutcome::Succeeded(hold) => { /* give the pieces of `hold` back */ }
///             TryOutcome::Refused | TryOutcome::Unknown => { /* give back what is held for `cx`, if anything is */ }
///         }
///         Ok(())
///     }
/// }
///
/// # async fn within(tx: &tcc::Tx) -> Result<(), Box<dyn std::error::Error>> {
/// let hold: Hold = InventoryTcc::new(tx).reserve("anvil".to_owned(), 2).await?;
/// # let _ = hold;
/// # Ok(())
/// # }
/// ```
///
/// # What is generated
///
/// - The `impl` itself, unchanged.
/// - A client beside it, `InventoryTcc`. `InventoryTcc::new(&tx)` calls the participant within the transaction `tx`;
///   `InventoryTcc::named(&tx, "…")` calls one registered under another name. It has one method for each action, by
///   value, with the try's documentation, visibility and arguments, which returns a `Call`: a future to await, or to
///   hand to `tcc::try_join!`.
/// - An implementation of `tcc::Participant`, with which a runtime finds confirm and cancel again.
///
/// # Keys of `#[tcc::participant(…)]`
///
/// | key | value | meaning |
/// |---|---|---|
/// | `name` | `"inventory"`, required | the stable name in the store: 1 to 128 of `A–Z a–z 0–9 . _ -` |
/// | `client` | `InventoryClient` | the client's name, by default the type's with `Tcc` behind |
/// | `vis` | `pub(crate)` | the client's visibility, by default that of its most visible action |
/// | `crate` | `renamed_tcc` | where the crate `tcc` is found, if not at `::tcc` |
///
/// # Keys of `#[tcc(…)]` on a try method
///
/// | key | value | meaning |
/// |---|---|---|
/// | `try` | required | this method is a try |
/// | `confirm`, `cancel` | `confirm_reserve`, required | the methods beside it that keep and undo what it reserves |
/// | `name` | `"reserve"` | the action's stable name, by default the method's; like the participant's, but no dot |
/// | `version` | `1` | the version of the action's arguments and result |
/// | `reads` | `(1 = upgrade, …)` | older versions whose branches this one finishes, and the functions that rewrite what they stored |
/// | `timeout` | `"2s"` | how long a caller waits for the try |
/// | `hard_limit` | `"60s"` | when a try that nobody waits for any more is ended |
/// | `phase_timeout` | `"30s"` | how long one run of confirm or cancel may take |
/// | `ongoing_limit` | `"1h"` | how long confirm or cancel may say that it is still at work |
/// | `concurrency` | `64` | how many branches of this action run in one process at a time |
/// | `retry` | `(max = 20, base = "100ms", cap = "60s")` | attempts of confirm and cancel, and the shortest and longest pause between them |
///
/// Durations are a whole number and one of `ms`, `s`, `m`, `h`, `d`. Two methods can be two versions of one action:
/// `name = "reserve", version = 1` on the one, `name = "reserve", version = 2` on the other.
///
/// An argument of the try may be marked `#[tcc(skip)]`: it reaches the try only, is never stored, and confirm and
/// cancel do not take it; an action with such an argument cannot be called by its wire name. `#[tcc(redact)]` keeps an
/// argument out of logs and listings.
///
/// # Shapes
///
/// | method | signature |
/// |---|---|
/// | try | `async fn(&self, &TryCx, arguments…) -> Result<T, E>` |
/// | confirm | `async fn(&self, &ConfirmCx, arguments…, T) -> Result<(), PhaseError>` |
/// | cancel | `async fn(&self, &CancelCx, arguments…, TryOutcome<T>) -> Result<(), PhaseError>` |
///
/// - Arguments and `T` are owned and `Serialize + DeserializeOwned + Send + 'static`; `E` is
///   `std::error::Error + Send + Sync + 'static`. The names of the arguments are part of what is stored: renaming one
///   is a new version.
/// - The participant is `Send + Sync + 'static`, the futures of its methods are `Send`.
/// - Methods have no generics of their own. A concrete type, such as `impl Inventory<PgRepo>`, is like any other. In
///   `impl<R: Repo> Inventory<R>` no argument and no result may mention `R`; the client then is `InventoryTcc<R>`.
/// - `#[cfg(…)]` on a try method removes the action and the client's method with it; its confirm and cancel may stand
///   under the same conditions or under fewer.
///
/// # Errors
///
/// Mistakes are compile errors at the token they are made at, all of them at once. A mistake in one action leaves the
/// client's methods in place, so that it is not reported again wherever they are called.
#[proc_macro_attribute]
pub fn participant(attribute: TokenStream, item: TokenStream) -> TokenStream {
    participant::expand(attribute.into(), item.into()).into()
}

/// Makes an async function or method a transaction: its body runs in one, and its result decides it.
///
/// The first argument is the transaction, `&Tx`, which callers do not see:
///
/// ```
/// use tcc::{Runtime, TransactionError, Tx};
///
/// #[derive(Debug, thiserror::Error)]
/// pub enum CheckoutError {
///     #[error("the card was declined")]
///     Declined,
///     #[error(transparent)]
///     Transaction(#[from] TransactionError),
/// }
///
/// pub struct Shop {
///     runtime: Runtime,
/// }
///
/// impl Shop {
///     fn runtime(&self) -> &Runtime {
///         &self.runtime
///     }
///
///     #[tcc::transaction(name = "checkout", timeout = "30s")]
///     pub async fn checkout(&self, tx: &Tx, order: String) -> Result<u64, CheckoutError> {
///         // Call participants with their clients: `InventoryTcc::new(tx).reserve(…).await?`
/// #       let _ = tx;
///         if order.is_empty() { Err(CheckoutError::Declined) } else { Ok(1) }
///     }
/// }
///
/// # async fn within(shop: Shop) -> Result<(), CheckoutError> {
/// let receipt = shop.checkout("order 1".to_owned()).await?;
/// # let _: u64 = receipt;
/// # Ok(())
/// # }
/// ```
///
/// `Ok` decides confirm. `Err`, a panic, a dropped future and the deadline decide cancel.
///
/// # Keys
///
/// | key | value | meaning |
/// |---|---|---|
/// | `name` | `"checkout"`, required | the stable name in the store: 1 to 128 of `A–Z a–z 0–9 . _ -` |
/// | `timeout` | `"30s"` | the transaction's deadline, from its beginning |
/// | `runtime` | an expression | the `Runtime`, or a reference to one; by default `self.runtime()` |
/// | `key` | an expression, `AsRef<str>` | the business key: the same key is the same transaction, and it runs once |
/// | `crate` | `renamed_tcc` | where the crate `tcc` is found, if not at `::tcc` |
///
/// The expressions may use `self` and the other arguments. They are worked out before the body runs.
///
/// # Shapes
///
/// `async fn(self or none, &Tx, anything…) -> Result<T, E>`, where `E` is an error
/// (`std::error::Error + Send + Sync + 'static`) with `From<TransactionError>`. An `E` that the body returns comes back
/// as it is. With `key`, callers get `Result<Keyed<T>, E>`: whether this was the first call with the key, or what came
/// of the first.
///
/// The body is moved into a closure, and takes the arguments with it.
///
/// # Errors
///
/// Mistakes are compile errors at the token they are made at, all of them at once.
#[proc_macro_attribute]
pub fn transaction(attribute: TokenStream, item: TokenStream) -> TokenStream {
    transaction::expand(attribute.into(), item.into()).into()
}
