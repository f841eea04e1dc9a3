//! The context and the answer as headers. gRPC metadata is headers too.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tcc_core::{CallAnswer, CallContext, InvalidInput, NAME_BYTES_MAX, NotRun, RemoteCall, TraceParent};

/// The transaction's id.
pub const GID: HeaderName = HeaderName::from_static("tcc-gid");
/// The transaction's name.
pub const NAME: HeaderName = HeaderName::from_static("tcc-name");
/// The id of the call.
pub const CALL: HeaderName = HeaderName::from_static("tcc-call");
/// What is left until the deadline, in milliseconds.
pub const DEADLINE_MS: HeaderName = HeaderName::from_static("tcc-deadline-ms");
/// The seal of the four above, where services share a [`ContextKey`](tcc_core::ContextKey).
pub const SEAL: HeaderName = HeaderName::from_static("tcc-seal");
/// The trace the call belongs to.
pub const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// The branches made for the call.
pub const BRANCHES: HeaderName = HeaderName::from_static("tcc-branches");

/// All of a context but its trace.
const PARTS: [HeaderName; 5] = [GID, NAME, CALL, DEADLINE_MS, SEAL];

/// The longest any part of a context may be, in bytes: that of a name.
pub const PART_BYTES_MAX: usize = NAME_BYTES_MAX;
/// The most digits of a deadline: 31 years.
const DEADLINE_DIGITS_MAX: usize = 12;

/// Why headers are no context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// They hold no part of one.
    #[error("the request belongs to no transaction: it has no header `tcc-gid`")]
    Absent,
    /// A part is missing.
    #[error("header `{0}` is missing")]
    Missing(HeaderName),
    /// A part comes twice.
    #[error("header `{0}` comes more than once")]
    Repeated(HeaderName),
    /// A part is longer than it can be.
    #[error("header `{name}` takes {bytes} bytes, more than {PART_BYTES_MAX}")]
    Oversized {
        /// The part.
        name: HeaderName,
        /// Its size.
        bytes: usize,
    },
    /// A part is not what it should be.
    #[error("header `{name}` cannot be read")]
    Malformed {
        /// The part.
        name: HeaderName,
        /// Why.
        #[source]
        why: Unreadable,
    },
    /// The deadline has passed.
    #[error("the transaction's deadline has passed")]
    Expired,
}

/// Why a part of a context cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is not visible ASCII.
    #[error("it is not visible ASCII text")]
    NotText,
    /// It is no whole number of milliseconds.
    #[error("it is no whole number of milliseconds of up to {DEADLINE_DIGITS_MAX} digits")]
    NoMilliseconds,
    /// It does not keep to its rule.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
}

/// Writes the context of a call, in place of any that is there, as of now. A `traceparent` that is there stays.
///
/// # Errors
/// When the transaction is over; nothing is written then.
pub fn write(call: &RemoteCall, headers: &mut HeaderMap) -> Result<(), NotRun> {
    write_context(&call.context()?, headers);
    Ok(())
}

/// Writes a context, in place of any that is there. A `traceparent` that is there stays.
pub fn write_context(context: &CallContext, headers: &mut HeaderMap) {
    headers.insert(GID, text(context.gid.as_str()));
    headers.insert(NAME, text(context.name.as_str()));
    headers.insert(CALL, text(context.call.as_str()));
    headers.insert(DEADLINE_MS, HeaderValue::from(context.millis_left()));
    match &context.seal {
        Some(seal) => {
            let mut value = text(&seal.to_string());
            value.set_sensitive(true);
            headers.insert(SEAL, value);
        }
        // One that is there is another context's.
        None => {
            headers.remove(SEAL);
        }
    }
    if let Some(trace_parent) = &context.trace_parent
        && !headers.contains_key(TRACE_PARENT)
    {
        headers.insert(TRACE_PARENT, text(trace_parent.as_str()));
    }
}

/// Names and ids are visible ASCII, and so is all that is made of them.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Takes every part of a context out, so that what is sent elsewhere tells nothing of the transaction. The trace is
/// not the transaction's, and stays.
pub fn strip(headers: &mut HeaderMap) {
    for name in PARTS {
        headers.remove(name);
    }
}

/// Reads a context. A `traceparent` that is none is left out, as its standard asks. A seal is read, not checked: that is
/// [`Runtime::join`](tcc_core::Runtime::join)'s.
///
/// # Errors
/// When there is none, or it cannot be taken as it is.
pub fn read(headers: &HeaderMap) -> Result<CallContext, ContextError> {
    if PARTS.iter().all(|name| !headers.contains_key(name)) {
        return Err(ContextError::Absent);
    }
    let gid = parse(headers, GID)?;
    let name = parse(headers, NAME)?;
    let call = parse(headers, CALL)?;
    let time_left = Duration::from_millis(milliseconds(part(headers, &DEADLINE_MS)?)?);
    let seal = if headers.contains_key(SEAL) { Some(parse(headers, SEAL)?) } else { None };
    if time_left.is_zero() {
        return Err(ContextError::Expired);
    }
    let trace_parent =
        one(headers, &TRACE_PARENT).and_then(|value| TraceParent::new(value.to_str().ok()?).ok());
    let context = CallContext::new(gid, name, call, time_left);
    Ok(context.with_trace_parent(trace_parent).with_seal(seal))
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn part<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, ContextError> {
    if !headers.contains_key(name) {
        return Err(ContextError::Missing(name.clone()));
    }
    let value = one(headers, name).ok_or_else(|| ContextError::Repeated(name.clone()))?;
    if value.len() > PART_BYTES_MAX {
        return Err(ContextError::Oversized { name: name.clone(), bytes: value.len() });
    }
    value.to_str().map_err(|_| ContextError::Malformed { name: name.clone(), why: Unreadable::NotText })
}

fn parse<T: std::str::FromStr<Err = InvalidInput>>(
    headers: &HeaderMap,
    name: HeaderName,
) -> Result<T, ContextError> {
    part(headers, &name)?
        .parse()
        .map_err(|why| ContextError::Malformed { name, why: Unreadable::Invalid(why) })
}

fn milliseconds(text: &str) -> Result<u64, ContextError> {
    let number =
        (1..=DEADLINE_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if number { text.parse().ok() } else { None };
    parsed.ok_or(ContextError::Malformed { name: DEADLINE_MS, why: Unreadable::NoMilliseconds })
}

/// Writes an answer.
pub fn write_answer(answer: &CallAnswer, headers: &mut HeaderMap) {
    headers.insert(BRANCHES, text(&answer.to_string()));
}

/// Reads an answer; none if there is none, or more than one, or what no service writes. The call is pending then.
#[must_use]
pub fn read_answer(headers: &HeaderMap) -> Option<CallAnswer> {
    one(headers, &BRANCHES)?.to_str().ok()?.parse().ok()
}

/// Gives a call the answer in these headers, if they hold one; gives whether they do.
pub fn take_answer(call: &RemoteCall, headers: &HeaderMap) -> bool {
    let answer = read_answer(headers);
    if let Some(answer) = &answer {
        call.answered(answer);
    }
    answer.is_some()
}
