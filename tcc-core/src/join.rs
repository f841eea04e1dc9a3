//! Calls awaited together.

use std::sync::Arc;

use crate::{
    call::{Answered, Call, Prepared, Started},
    error::{Abort, NotRun, TryError},
    machine::Registered,
    name::Ordinal,
    tx::{TxInner, Wanted},
};

/// Awaits several calls of one transaction together: registers their branches in one call of the store,
/// runs their tries at the same time, and waits for all of them.
///
/// Gives a tuple of what they returned (or a value for one call), or the error of the first in the order
/// written as an [`Abort`](crate::Abort). After an error what its siblings returned was never heard, so
/// that a transaction in which one of them succeeded can only cancel.
///
/// Takes up to 12 calls; [`try_join_all`](crate::try_join_all) takes any number of one type.
#[macro_export]
macro_rules! try_join {
    ($($call:expr),+ $(,)?) => {
        $crate::__private::try_join(($($call,)+)).await
    };
}

/// Awaits any number of calls of one transaction together, like [`try_join!`](crate::try_join).
///
/// # Errors
/// That of the first call in order that failed.
pub async fn try_join_all<T, E, I>(calls: I) -> Result<Vec<T>, TryError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    I: IntoIterator<Item = Call<T, E>>,
{
    let prepared: Option<Vec<Prepared<T, E>>> = calls.into_iter().map(Call::into_prepared).collect();
    let mut prepared = prepared.ok_or(TryError::NotRun(NotRun::AwaitedBefore))?;
    let Some(tx) = prepared.first().map(|first| Arc::clone(&first.tx.inner)) else { return Ok(Vec::new()) };
    if let Some(other) = prepared.iter().find(|call| !Arc::ptr_eq(&tx, &call.tx.inner)) {
        return Err(TryError::NotRun(NotRun::OtherTransaction(other.tx.gid().clone())));
    }
    let wanted =
        prepared.iter_mut().map(Prepared::wanted).collect::<Result<Vec<_>, _>>().map_err(TryError::NotRun)?;
    let registered = tx.register(wanted).await.map_err(TryError::NotRun)?;
    let mut started: Vec<Started<T, E>> = Vec::with_capacity(registered.len());
    for (call, registered) in prepared.into_iter().zip(registered) {
        started.push(call.start(registered).await);
    }
    let mut heard = Heard::default();
    let answers = futures_util::future::join_all(started.into_iter().map(Started::finish)).await;
    let mut values = Vec::with_capacity(answers.len());
    let mut failed = None;
    for answer in answers {
        heard.take(&answer);
        match answer.result {
            Ok(value) => values.push(value),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    heard.tell(&tx, failed.is_none());
    failed.map_or(Ok(values), Err)
}

/// Branches whose outcome is about to be given to the closure.
#[derive(Default)]
struct Heard {
    succeeded: Vec<Ordinal>,
    rejected: Vec<Ordinal>,
}

impl Heard {
    fn take<T, E>(&mut self, answer: &Answered<T, E>) {
        match (&answer.result, answer.ordinal) {
            (Ok(_), Some(ordinal)) => self.succeeded.push(ordinal),
            (Err(_), Some(ordinal)) => self.rejected.push(ordinal),
            (_, None) => {}
        }
    }

    /// A value that an error elsewhere keeps from the closure was not heard.
    fn tell(self, tx: &TxInner, all: bool) {
        let given = if all { self.succeeded } else { Vec::new() };
        for ordinal in self.rejected.into_iter().chain(given) {
            tx.hear(ordinal);
        }
    }
}

/// A tuple of calls.
#[diagnostic::on_unimplemented(
    message = "`try_join!` takes 1 to 12 calls of a transaction's clients",
    note = "for more calls, or for calls in a collection, use `tcc::try_join_all`"
)]
pub trait Join: Sized {
    /// What the calls give together.
    type Output;

    /// Awaits them together.
    fn join(self) -> impl Future<Output = Result<Self::Output, Abort>> + Send;
}

/// What `try_join!` calls.
///
/// # Errors
/// That of the first call in order that failed.
pub async fn try_join<J: Join>(calls: J) -> Result<J::Output, Abort> {
    calls.join().await
}

macro_rules! join {
    ($output:ty; $($call:ident: $value:ident, $error:ident, $place:tt);+) => {
        impl<$($value, $error),+> Join for ($(Call<$value, $error>,)+)
        where
            $($value: Send + 'static, $error: std::error::Error + Send + Sync + 'static,)+
        {
            type Output = $output;

            async fn join(self) -> Result<Self::Output, Abort> {
                $(let Some(mut $call) = self.$place.into_prepared() else {
                    return Err(NotRun::AwaitedBefore.into());
                };)+
                let all = [$(Arc::clone(&$call.tx.inner)),+];
                let tx = &all[0];
                if let Some(other) = all.iter().find(|other| !Arc::ptr_eq(tx, other)) {
                    return Err(NotRun::OtherTransaction(other.gid.clone()).into());
                }
                let wanted: Vec<Wanted> = vec![$($call.wanted()?),+];
                let registered: Vec<Registered> = tx.register(wanted).await?;
                let mut registered = registered.into_iter();
                $(let Some(place) = registered.next() else { return Err(NotRun::Over(tx.gid.clone()).into()) };
                let $call = $call.start(place).await;)+
                let ($($call,)+) = futures_util::join!($($call.finish()),+);
                let mut heard = Heard::default();
                $(heard.take(&$call);)+
                let all = true $(&& $call.result.is_ok())+;
                heard.tell(tx, all);
                Ok(join!(@values $($call),+))
            }
        }
    };
    (@values $only:ident) => { $only.result? };
    (@values $($call:ident),+) => { ($($call.result?,)+) };
}

join!(T1; a: T1, E1, 0);
join!((T1, T2); a: T1, E1, 0; b: T2, E2, 1);
join!((T1, T2, T3); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2);
join!((T1, T2, T3, T4); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3);
join!((T1, T2, T3, T4, T5); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4);
join!((T1, T2, T3, T4, T5, T6); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5);
join!((T1, T2, T3, T4, T5, T6, T7); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5; g: T7, E7, 6);
join!((T1, T2, T3, T4, T5, T6, T7, T8); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5; g: T7, E7, 6; h: T8, E8, 7);
join!((T1, T2, T3, T4, T5, T6, T7, T8, T9); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5; g: T7, E7, 6; h: T8, E8, 7; i: T9, E9, 8);
join!((T1, T2, T3, T4, T5, T6, T7, T8, T9, T10); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5; g: T7, E7, 6; h: T8, E8, 7; i: T9, E9, 8; j: T10, E10, 9);
join!((T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5; g: T7, E7, 6; h: T8, E8, 7; i: T9, E9, 8; j: T10, E10, 9; k: T11, E11, 10);
join!((T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12); a: T1, E1, 0; b: T2, E2, 1; c: T3, E3, 2; d: T4, E4, 3; e: T5, E5, 4; f: T6, E6, 5; g: T7, E7, 6; h: T8, E8, 7; i: T9, E9, 8; j: T10, E10, 9; k: T11, E11, 10; l: T12, E12, 11);
