//! Traits the macros' expansion asserts at the user's own tokens, so that a mistake in a signature is reported there
//! and in the words of this crate.

use crate::__private::{
    ArgumentsReader, ArgumentsWriter, BoxFuture, DecodeError, Payload, TryFailure, TryFn, call,
    decode_outcome, decode_result, encode_try,
};
use crate::{ActionPolicy, Call, Participant, PhaseError, TransactionError, TryCx, TryOutcome, Tx};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;

/// What a client method returns for a try method that returns `R`.
pub type CallOf<R> = Call<<R as ReturnsResult>::Ok, <R as ReturnsResult>::Error>;

/// The return type of a try method, whatever alias it is written as.
///
/// It asks nothing of `T` and `E`, which [`TryWiring`] does in one place.
#[diagnostic::on_unimplemented(
    message = "a try method returns `Result<T, E>`, not `{Self}`",
    label = "must be `Result<T, E>`: what was reserved, or why it was refused"
)]
pub trait ReturnsResult {
    /// What was reserved.
    type Ok;
    /// Why it was refused.
    type Error;
    /// The identity.
    fn into_result(self) -> Result<Self::Ok, Self::Error>;
}

impl<T, E> ReturnsResult for Result<T, E> {
    type Ok = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}

/// What a try may return as reserved.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a try method returns",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "what was reserved is recorded and given to confirm and cancel: derive `serde::Serialize` and `serde::Deserialize`"
)]
pub trait Reserved: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Reserved for T {}

/// What a try may return as the reason of a refusal.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a try method",
    label = "not `std::error::Error + Send + Sync + 'static`",
    note = "derive it with `thiserror`, or implement `Display` and `std::error::Error`"
)]
pub trait Refusal: Error + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<E: Error + Send + Sync + 'static> Refusal for E {}

/// How what a try method returns is recorded, read back and given to the caller.
///
/// It is the only place of an expansion that asks for [`Reserved`] and [`Refusal`], so that a return type unfit for
/// recording is reported once.
#[derive(Debug)]
pub struct TryWiring<P, R, T, E> {
    split: fn(R) -> Result<T, E>,
    call: Caller<P, T, E>,
    encode: fn(Result<T, E>) -> Result<Payload, TryFailure>,
    decode_result: fn(&Payload) -> Result<T, DecodeError>,
    decode_outcome: fn(TryOutcome<Payload>) -> Result<TryOutcome<T>, DecodeError>,
}

type Caller<P, T, E> =
    fn(&Tx, &str, (&'static str, u32), ActionPolicy, ArgumentsWriter, Start<P, T, E>) -> Call<T, E>;
type Start<P, T, E> = Box<dyn FnOnce(Arc<P>, TryCx) -> BoxFuture<Result<T, E>> + Send>;

impl<P, R: 'static, T: 'static, E: 'static> TryWiring<P, R, T, E> {
    /// Of a try method of `P` that returns `R`, which is `Result<T, E>`.
    #[must_use]
    pub const fn new(split: fn(R) -> Result<T, E>) -> Self
    where
        P: Participant,
        T: Reserved,
        E: Refusal,
    {
        Self {
            split,
            call: |tx, participant, (action, version), policy, arguments, start| {
                call::<P, Result<T, E>, _, _>(tx, participant, action, version, policy, arguments, start)
            },
            encode: encode_try,
            decode_result,
            decode_outcome,
        }
    }

    /// The body of a client method.
    pub fn call<F>(
        &self,
        tx: &Tx,
        participant: &str,
        action: (&'static str, u32),
        policy: ActionPolicy,
        arguments: ArgumentsWriter,
        start: impl FnOnce(Arc<P>, TryCx) -> F + Send + 'static,
    ) -> Call<T, E>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let split = self.split;
        let start: Start<P, T, E> = Box::new(move |this, context| {
            let returned = start(this, context);
            Box::pin(async move { split(returned.await) })
        });
        (self.call)(tx, participant, action, policy, arguments, start)
    }

    /// A try that is called by its wire name.
    pub fn attempt(
        self,
        returned: impl Future<Output = R> + Send + 'static,
    ) -> BoxFuture<Result<Payload, TryFailure>> {
        Box::pin(async move { (self.encode)((self.split)(returned.await)) })
    }

    /// What confirm is given.
    ///
    /// # Errors
    ///
    /// When it does not decode.
    pub fn decode_result(&self, result: &Payload) -> Result<T, DecodeError> {
        (self.decode_result)(result)
    }

    /// What cancel is given.
    ///
    /// # Errors
    ///
    /// When it does not decode.
    pub fn decode_outcome(&self, outcome: TryOutcome<Payload>) -> Result<TryOutcome<T>, DecodeError> {
        (self.decode_outcome)(outcome)
    }
}

/// The try of the participant `this`, from a function that captures nothing.
pub fn hosted_try<P: Participant>(
    this: &Arc<P>,
    attempt: impl Fn(Arc<P>, TryCx, Payload) -> Result<BoxFuture<Result<Payload, TryFailure>>, DecodeError>
    + Send
    + Sync
    + 'static,
) -> TryFn {
    let this = Arc::clone(this);
    Box::new(move |context, arguments| attempt(Arc::clone(&this), context, arguments))
}

/// Confirm or cancel of the participant `this`, from a function that captures nothing.
#[allow(clippy::type_complexity, reason = "it is `ConfirmFn` and `CancelFn` at once")]
pub fn hosted_phase<P, C, G>(
    this: &Arc<P>,
    phase: impl Fn(Arc<P>, C, Payload, G) -> Result<BoxFuture<Result<(), PhaseError>>, DecodeError>
    + Send
    + Sync
    + 'static,
) -> Box<dyn Fn(C, Payload, G) -> Result<BoxFuture<Result<(), PhaseError>>, DecodeError> + Send + Sync>
where
    P: Participant,
{
    let this = Arc::clone(this);
    Box::new(move |context, arguments, given| phase(Arc::clone(&this), context, arguments, given))
}

/// An argument that is recorded with its branch.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a try method",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "arguments are recorded before the try runs and read back for confirm and cancel: derive `serde::Serialize` and `serde::Deserialize`",
    note = "an argument that only the try needs can be marked `#[tcc(skip)]`"
)]
pub trait Argument: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Argument for T {}

/// How one argument is written and read.
///
/// An expansion makes each once, so that a type which is no [`Argument`] is reported once.
#[derive(Debug)]
pub struct Codec<T> {
    write: fn(ArgumentsWriter, &'static str, &T) -> ArgumentsWriter,
    read: fn(&mut ArgumentsReader<'_>, &'static str) -> Result<T, DecodeError>,
}

impl<T> Codec<T> {
    /// Of an argument.
    #[must_use]
    pub const fn plain() -> Self
    where
        T: Argument,
    {
        Self { write: ArgumentsWriter::field::<T>, read: |reader, name| reader.field(name) }
    }

    /// Of an argument kept out of logs and listings.
    #[must_use]
    pub const fn redacted() -> Self
    where
        T: Argument,
    {
        Self { write: ArgumentsWriter::redacted::<T>, read: |reader, name| reader.field(name) }
    }

    /// Adds the argument to what is recorded.
    #[must_use]
    pub fn write(&self, arguments: ArgumentsWriter, name: &'static str, value: &T) -> ArgumentsWriter {
        (self.write)(arguments, name, value)
    }

    /// Reads the argument back.
    ///
    /// # Errors
    ///
    /// When it is missing or does not decode.
    pub fn read(&self, arguments: &mut ArgumentsReader<'_>, name: &'static str) -> Result<T, DecodeError> {
        (self.read)(arguments, name)
    }
}

/// The context of a method.
#[diagnostic::on_unimplemented(
    message = "the context of this method is `&{C}`, not `&{Self}`",
    label = "must be `{C}`"
)]
pub trait SameContext<C> {
    /// The identity.
    fn borrow(context: &C) -> &Self;
}

impl<C> SameContext<C> for C {
    fn borrow(context: &C) -> &Self {
        context
    }
}

/// An argument of confirm or cancel that is the try's own.
#[diagnostic::on_unimplemented(
    message = "confirm or cancel takes `{Self}` where the try takes `{T}`",
    label = "the try's argument here is `{T}`"
)]
pub trait SameArgument<T> {
    /// The identity.
    fn from_try(value: T) -> Self;
}

impl<T> SameArgument<T> for T {
    fn from_try(value: T) -> Self {
        value
    }
}

/// The last argument of confirm.
#[diagnostic::on_unimplemented(
    message = "confirm takes `{Self}` last, but the try returned `{T}`",
    label = "must be what the try returned: `{T}`"
)]
pub trait ConfirmGiven<T> {
    /// The identity.
    fn from_try(value: T) -> Self;
}

impl<T> ConfirmGiven<T> for T {
    fn from_try(value: T) -> Self {
        value
    }
}

/// The last argument of cancel.
#[diagnostic::on_unimplemented(
    message = "cancel takes `{Self}` last, but is given `TryOutcome<{T}>`",
    label = "must be `TryOutcome<{T}>`",
    note = "a cancel may follow a try that was refused or whose answer was lost, so it gets what is known of it"
)]
pub trait CancelGiven<T> {
    /// The identity.
    fn from_try(outcome: TryOutcome<T>) -> Self;
}

impl<T> CancelGiven<T> for TryOutcome<T> {
    fn from_try(outcome: TryOutcome<T>) -> Self {
        outcome
    }
}

/// The error of a transaction function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a transaction",
    label = "must be `From<tcc::TransactionError>`",
    note = "give it a variant for the transaction's own errors, with `thiserror`: `Transaction(#[from] tcc::TransactionError)`"
)]
pub trait TransactionFailure: From<TransactionError> + 'static {}

#[diagnostic::do_not_recommend]
impl<E: From<TransactionError> + 'static> TransactionFailure for E {}
