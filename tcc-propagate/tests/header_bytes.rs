//! 100,000 sets of headers, made of good ones by damage, through what a service reads of a stranger: nothing panics,
//! and whatever is taken is what would have been written. The same sets in every run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

#[path = "../../tcc-fence/tests/support/random.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod random;

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use random::Random;
use tcc::{CallAnswer, CallContext, CallId, Gid, Name, Ordinal, Timestamp, record::Seen};
use tcc_propagate::headers::{
    self, BRANCHES, CALL, ContextError, DEADLINE_MS, GID, NAME, SEAL, TRACE_PARENT,
};

const SETS: u64 = 100_000;
const ALL: [HeaderName; 7] = [GID, NAME, CALL, DEADLINE_MS, SEAL, TRACE_PARENT, BRANCHES];
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn pick<'a, T>(random: &mut Random, of: &'a [T]) -> &'a T {
    &of[random.below(of.len())]
}

/// What a service writes, of any context and any answer.
fn good(random: &mut Random) -> HeaderMap {
    let gid =
        Gid::new(Timestamp::from_millis(random.next() >> 15), random.next(), (random.next() % 64) as u16);
    let name: String = (0..1 + random.below(128)).map(|_| char::from(*pick(random, b"aZ09._-"))).collect();
    let call: Vec<String> = (0..1 + random.below(10)).map(|_| random.below(2_000).to_string()).collect();
    let left = Duration::from_millis(1 + random.next() % 10_u64.pow(1 + (random.next() % 12) as u32));
    let call = CallId::new(&call.join(".")).unwrap();
    let trace = (random.below(2) == 0).then(|| TRACE.parse().unwrap());
    let seal: String = (0..64).map(|_| char::from(*pick(random, b"0123456789abcdef"))).collect();
    let seal = (random.below(2) == 0).then(|| seal.parse().unwrap());
    let context = CallContext::new(gid, Name::new(&name).unwrap(), call, left).with_trace_parent(trace);
    let context = context.with_seal(seal);
    let mut headers = HeaderMap::new();
    headers::write_context(&context, &mut headers);
    let seen = |random: &mut Random| *pick(random, &[Seen::Succeeded, Seen::Refused, Seen::Unknown]);
    let branches = (0..random.below(8)).map(|_| (Ordinal::from_index(random.below(40)), seen(random)));
    let answer = CallAnswer::new(branches.collect::<BTreeMap<_, _>>(), random.below(4) == 0);
    headers::write_answer(&answer, &mut headers);
    headers
}

/// Damages one header, as bugs, proxies and strangers do.
fn damage(headers: &mut HeaderMap, random: &mut Random) {
    let name = pick(random, &ALL).clone();
    let mut bytes = headers.get(&name).map_or_else(Vec::new, |value| value.as_bytes().to_vec());
    let at = random.below(bytes.len() + 1);
    match random.below(12) {
        0 => {
            headers.remove(&name);
            return;
        }
        1 => {
            let more = headers.get(pick(random, &ALL)).cloned().unwrap_or(HeaderValue::from_static("1"));
            headers.append(&name, more);
            return;
        }
        2 => bytes = headers.get(pick(random, &ALL)).map_or_else(Vec::new, |value| value.as_bytes().to_vec()),
        3 => bytes = (0..random.below(140)).map(|_| random.next() as u8).collect(),
        4 => bytes = (0..random.below(40)).map(|_| *pick(random, b"0123456789.srugp-")).collect(),
        5 => bytes.truncate(at),
        6 => bytes.insert(at, *pick(random, b"0 1.-aZ+\t\x80\xff")),
        7 => bytes = [vec![*pick(random, b"0 +-"); 1 + random.below(4)], bytes].concat(),
        8 => bytes.make_ascii_uppercase(),
        9 => bytes = bytes.repeat(1 + random.below(12)),
        _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        _ => bytes.clear(),
    }
    // What is no header at all does not arrive.
    if let Ok(value) = HeaderValue::from_bytes(&bytes) {
        headers.insert(&name, value);
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

/// The digits may have been padded.
fn unpadded(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

/// Nothing but this may be taken.
fn check_context(headers: &HeaderMap, context: &CallContext, set: u64) {
    let mut again = HeaderMap::new();
    headers::write_context(context, &mut again);
    for name in [GID, NAME, CALL, DEADLINE_MS] {
        let mut came = only(headers, &name).unwrap_or_else(|| panic!("set {set}: {name} in {headers:?}"));
        if name == DEADLINE_MS {
            came = unpadded(came);
        }
        assert_eq!(came, again[&name].as_bytes(), "set {set}: {name}");
    }
    let seals = headers.get_all(SEAL).iter().map(HeaderValue::as_bytes);
    assert!(seals.eq(again.get(SEAL).map(HeaderValue::as_bytes)), "set {set}: {SEAL}");
    match again.get(TRACE_PARENT) {
        Some(trace) => assert_eq!(only(headers, &TRACE_PARENT), Some(trace.as_bytes()), "set {set}"),
        None => assert_ne!(only(headers, &TRACE_PARENT), Some(TRACE.as_bytes()), "set {set}"),
    }
    assert_eq!(headers::read(&again).as_ref(), Ok(context), "set {set}");
}

#[test]
fn damaged_headers_are_refused_or_read_as_what_they_say() {
    let (mut contexts, mut answers, mut refused) = (0, 0, BTreeMap::<&str, usize>::new());
    for set in 0..SETS {
        let mut random = Random(set);
        let mut headers = good(&mut random);
        for _ in 0..random.below(5) {
            damage(&mut headers, &mut random);
        }
        match headers::read(&headers) {
            Ok(context) => {
                contexts += 1;
                check_context(&headers, &context, set);
            }
            Err(error) => {
                let kind = match error {
                    ContextError::Absent => "absent",
                    ContextError::Missing(_) => "missing",
                    ContextError::Repeated(_) => "repeated",
                    ContextError::Oversized { .. } => "oversized",
                    ContextError::Malformed { .. } => "malformed",
                    ContextError::Expired => "expired",
                    _ => "another",
                };
                *refused.entry(kind).or_default() += 1;
            }
        }
        if let Some(answer) = headers::read_answer(&headers) {
            answers += 1;
            assert_eq!(only(&headers, &BRANCHES), Some(answer.to_string().as_bytes()), "set {set}");
        }
    }
    println!("{SETS} sets: {contexts} contexts and {answers} answers taken, refused: {refused:?}");
    assert!(contexts >= 10_000 && answers >= 10_000, "{contexts} contexts, {answers} answers");
    for kind in ["missing", "repeated", "oversized", "malformed", "expired"] {
        assert!(refused.get(kind).is_some_and(|count| *count >= 10), "{kind} was hardly met: {refused:?}");
    }
}
