//! What macro expansions name. Not part of the public interface.

use std::{any::Any, error::Error};

use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

pub use futures_util::future::BoxFuture as LifetimeBoxFuture;
pub use std::{
    borrow::Cow,
    boxed::Box,
    clone::Clone,
    convert::{Infallible, Into},
    fmt,
    future::Future,
    marker::{PhantomData, Send},
    option::Option,
    pin::Pin,
    result::Result,
    string::String,
    sync::Arc,
    time::Duration,
    vec::Vec,
};

pub use crate::{
    action::{CancelFn, ConfirmFn, TryFailure, TryFn, decode_outcome, decode_result},
    checks::*,
    join::try_join,
    payload::{ArgumentsReader, ArgumentsWriter, DecodeError, Payload},
};

use crate::{
    action::{Action, ActionPolicy},
    call::{Call, Prepared, Start, Tried},
    context::TryCx,
    error::TransactionError,
    outcome::{Keyed, PhaseError},
    participant::Participant,
    transaction::{Failed, KeyedTransaction, Transaction},
    tx::Tx,
};

/// A boxed future that owns what it uses.
pub type BoxFuture<T> = LifetimeBoxFuture<'static, T>;

/// The return type of a try method, whatever alias it is written as.
#[diagnostic::on_unimplemented(
    message = "a try method cannot return `{Self}`",
    label = "not a result that can be kept",
    note = "it must be `Result<T, E>` where `T` is `Serialize + DeserializeOwned + Send + 'static` and `E` is `std::error::Error + Send + Sync + 'static`"
)]
pub trait TryReturn: Send + 'static {
    /// What a try that succeeds gives.
    type Ok: Serialize + DeserializeOwned + Send + 'static;
    /// What a try that is rejected gives.
    type Error: Error + Send + Sync + 'static;

    /// As a plain result.
    fn into_result(self) -> Result<Self::Ok, Self::Error>;
}

impl<T, E> TryReturn for Result<T, E>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    type Ok = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}

/// The return type of a confirm or cancel method.
#[diagnostic::on_unimplemented(
    message = "a confirm or cancel method cannot return `{Self}`",
    label = "expected `Result<(), PhaseError>`"
)]
pub trait PhaseReturn {
    /// As a plain result.
    fn into_result(self) -> Result<(), PhaseError>;
}

impl PhaseReturn for Result<(), PhaseError> {
    fn into_result(self) -> Self {
        self
    }
}

/// The return type of a transaction function.
#[diagnostic::on_unimplemented(
    message = "a transaction function cannot return `{Self}`",
    label = "expected `Result<T, E>` where `E: From<TransactionError>`"
)]
pub trait TransactionReturn {
    /// What it gives when it is confirmed.
    type Ok;
    /// What it gives when it is not.
    type Error;
    /// What it returns when it has a business key.
    type Keyed;

    /// As a plain result.
    fn into_result(self) -> Result<Self::Ok, Self::Error>;

    /// Back from a plain result.
    fn from_result(result: Result<Self::Ok, Self::Error>) -> Self;

    /// Back from a plain result of a transaction with a business key.
    fn keyed(result: Result<Keyed<Self::Ok>, Self::Error>) -> Self::Keyed;
}

impl<T, E> TransactionReturn for Result<T, E> {
    type Ok = T;
    type Error = E;
    type Keyed = Result<Keyed<T>, E>;

    fn into_result(self) -> Self {
        self
    }

    fn from_result(result: Self) -> Self {
        result
    }

    fn keyed(result: Result<Keyed<T>, E>) -> Self::Keyed {
        result
    }
}

/// Keeps the result of a try called by wire name.
///
/// # Errors
/// When it was rejected, or its result cannot be kept.
pub fn encode_try<R: TryReturn>(result: R) -> Result<Payload, TryFailure> {
    let value = result.into_result().map_err(|error| TryFailure::Rejected(Box::new(error)))?;
    Payload::encode(&value).map_err(TryFailure::Unkept)
}

/// Makes an action of a macro's handlers.
#[must_use]
pub fn action(
    name: &'static str,
    version: u32,
    policy: ActionPolicy,
    attempt: Option<TryFn>,
    confirm: ConfirmFn,
    cancel: CancelFn,
) -> Action {
    Action::from_parts(name.to_owned(), version, policy, attempt, confirm, cancel)
}

/// What a client method calls.
pub fn call<P, R, F, Fut>(
    tx: &Tx,
    participant: &str,
    action: &'static str,
    version: u32,
    policy: ActionPolicy,
    arguments: ArgumentsWriter,
    start: F,
) -> Call<R::Ok, R::Error>
where
    P: Participant,
    R: TryReturn,
    F: FnOnce(Arc<P>, TryCx) -> Fut + Send + 'static,
    Fut: Future<Output = R> + Send + 'static,
{
    let registry = &tx.inner.shared.registry;
    let found = registry.called(participant, action, version).and_then(|(wire, _)| {
        let value = registry.value::<P>(participant, &wire)?;
        Ok((wire, value, arguments.finish()?))
    });
    let (wanted, start) = match found {
        Ok((wire, value, payload)) => {
            let start: Start<R::Ok, R::Error> = Box::new(move |cx| {
                start(value, cx)
                    .map(|returned| match returned.into_result() {
                        Ok(value) => Tried::succeeded(value, Payload::encode),
                        Err(error) => Tried::Rejected(error),
                    })
                    .boxed()
            });
            (Ok((wire, payload)), Some(start))
        }
        Err(error) => (Err(error), None),
    };
    let (decode, span) = (decode_result, tracing::Span::none());
    Call::new(Prepared { tx: tx.clone(), wanted, policy, decode, start, span })
}

/// Runs the body of a transaction function, which gives back what the body does, or the transaction's
/// error.
pub async fn run<R, F>(transaction: Transaction, body: F) -> R
where
    R: TransactionReturn,
    R::Error: TransactionFailure,
    F: AsyncFnOnce(&Tx) -> R,
{
    let body = async move |tx: &Tx| body(tx).await.into_result();
    R::from_result(transaction.execute(body).await.map_err(own))
}

/// Runs the body of a transaction function that has a business key.
pub async fn run_keyed<R, F>(transaction: KeyedTransaction, body: F) -> R::Keyed
where
    R: TransactionReturn,
    R::Error: TransactionFailure,
    F: AsyncFnOnce(&Tx) -> R,
{
    let body = async move |tx: &Tx| body(tx).await.into_result();
    R::keyed(transaction.execute(body).await.map_err(own))
}

fn own<E: TransactionFailure>(failed: Failed<E>) -> E {
    match failed {
        Failed::Own(mut error, gid, name) => {
            // A body that returns `TransactionError` itself made it of a try's error, which knows no gid.
            if let Some(error) = (&mut error as &mut dyn Any).downcast_mut::<TransactionError>() {
                error.belongs_to(&gid, &name);
            }
            error
        }
        Failed::Transaction(error) => error.into(),
    }
}
