//! Contexts and answers as headers: what is written reads back, and nothing else is read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use tcc::{CallAnswer, CallContext, CallId, Gid, Name, Ordinal, Timestamp, TraceParent, record::Seen};
use tcc_propagate::{
    GrpcCode, Refused,
    headers::{self, CALL, ContextError, DEADLINE_MS, GID, NAME, SEAL, TRACE_PARENT},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn context() -> CallContext {
    let gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 3);
    let (name, call) = (Name::new("checkout").unwrap(), CallId::new("3.1").unwrap());
    CallContext::new(gid, name, call, Duration::from_millis(1_500))
}

fn seal() -> String {
    "0123456789abcdef".repeat(4)
}

fn written() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let context = context().with_seal(Some(seal().parse().unwrap()));
    headers::write_context(&context.with_trace_parent(Some(TRACE.parse().unwrap())), &mut headers);
    headers
}

fn with(name: HeaderName, value: &str) -> Result<CallContext, ContextError> {
    let mut headers = written();
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    headers::read(&headers)
}

#[test]
fn a_context_travels_in_lowercase_hyphenated_headers() {
    let headers = written();
    let of = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let gid = context().gid.to_string();
    assert_eq!([of("tcc-gid"), of("tcc-name"), of("tcc-call")], [&gid, "checkout", "3.1"]);
    assert_eq!([of("tcc-deadline-ms"), of("traceparent"), of("tcc-seal")], ["1500", TRACE, &seal()]);
    assert_eq!(headers.len(), 6);
}

#[test]
fn a_trace_that_is_there_stays_and_one_that_is_none_is_left_out() {
    let mut headers = HeaderMap::new();
    headers.insert(
        TRACE_PARENT,
        HeaderValue::from_static("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00"),
    );
    headers::write_context(&context().with_trace_parent(Some(TRACE.parse().unwrap())), &mut headers);
    assert!(headers.get(TRACE_PARENT).unwrap().to_str().unwrap().starts_with("00-aaaa"));
    for bad in ["", "00-nonsense", "garbage"] {
        assert_eq!(with(TRACE_PARENT, bad).unwrap().trace_parent, None, "{bad}");
    }
}

#[test]
fn what_is_no_context_is_refused_with_its_status() {
    let status = |error: &ContextError| {
        let refused = Refused::from(error.clone());
        (refused.status(), refused.grpc_code())
    };
    let bad_request = (StatusCode::BAD_REQUEST, GrpcCode::InvalidArgument);

    let absent = headers::read(&HeaderMap::new()).unwrap_err();
    assert_eq!((&absent, status(&absent)), (&ContextError::Absent, bad_request));
    for name in [GID, NAME, CALL, DEADLINE_MS, SEAL] {
        // Only who has a key knows whether a seal is missing.
        if name != SEAL {
            let mut headers = written();
            headers.remove(&name);
            let missing = headers::read(&headers).unwrap_err();
            assert_eq!((&missing, status(&missing)), (&ContextError::Missing(name.clone()), bad_request));
        }

        let mut headers = written();
        headers.append(&name, headers[&name].clone());
        let repeated = headers::read(&headers).unwrap_err();
        assert_eq!((&repeated, status(&repeated)), (&ContextError::Repeated(name.clone()), bad_request));

        let oversized = with(name.clone(), &"1".repeat(129)).unwrap_err();
        assert_eq!(oversized, ContextError::Oversized { name: name.clone(), bytes: 129 });
        let too_large = (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, GrpcCode::ResourceExhausted);
        assert_eq!(status(&oversized), too_large);

        for bad in ["", " ", "é", "a b", "+1", "1/1"] {
            let Ok(value) = HeaderValue::from_bytes(bad.as_bytes()) else { continue };
            let mut headers = written();
            headers.insert(&name, value);
            let malformed = headers::read(&headers).unwrap_err();
            assert!(
                matches!(&malformed, ContextError::Malformed { name: at, .. } if *at == name),
                "{name} {bad:?}"
            );
            assert_eq!(status(&malformed), bad_request);
        }
    }
    for altered in
        ["01kaj0p5zk4t8m2qw7rxbcd1-7", "01kaj0p5zk4t8m2qw7rxbcdu-07", "01KAJ0P5ZK4T8M2QW7RXBCD1-07"]
    {
        assert!(matches!(with(GID, altered), Err(ContextError::Malformed { .. })), "{altered}");
    }
    assert!(with(DEADLINE_MS, "9999999999999").is_err());
    let expired = with(DEADLINE_MS, "0").unwrap_err();
    let timed_out = (StatusCode::GATEWAY_TIMEOUT, GrpcCode::DeadlineExceeded);
    assert_eq!((&expired, status(&expired)), (&ContextError::Expired, timed_out));
}

#[test]
fn a_seal_is_not_shown_never_left_behind_and_no_context_by_itself() {
    let mut headers = written();
    assert!(!format!("{headers:?}").contains(&seal()), "{headers:?}");
    assert_eq!(headers::read(&headers).unwrap().seal, Some(seal().parse().unwrap()));
    headers::write_context(&context(), &mut headers);
    assert_eq!(headers::read(&headers), Ok(context().with_trace_parent(Some(TRACE.parse().unwrap()))));

    let mut alone = HeaderMap::new();
    alone.insert(SEAL, seal().parse().unwrap());
    assert_eq!(headers::read(&alone), Err(ContextError::Missing(GID)));
}

#[test]
fn a_stripped_request_tells_of_no_transaction() {
    let mut headers = written();
    headers::strip(&mut headers);
    assert!(headers.keys().all(|name| !name.as_str().starts_with("tcc-")), "{headers:?}");
}

#[test]
fn an_answer_that_comes_twice_or_cannot_be_read_is_none() {
    let mut headers = HeaderMap::new();
    assert_eq!(headers::read_answer(&headers), None);
    headers::write_answer(&"2s".parse().unwrap(), &mut headers);
    assert_eq!(headers::read_answer(&headers), Some("2s".parse().unwrap()));
    headers.append(headers::BRANCHES, HeaderValue::from_static("2s"));
    assert_eq!(headers::read_answer(&headers), None);
    for bad in ["", "s s", "9999999s", "\u{e9}"] {
        headers.insert(headers::BRANCHES, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
        assert_eq!(headers::read_answer(&headers), None, "{bad}");
    }
}

prop_compose! {
    fn contexts()(
        at in any::<u64>(),
        random in any::<u64>(),
        shard in 0_u16..64,
        name in "[A-Za-z0-9._-]{1,128}",
        call in proptest::collection::vec(0_u32..2_000, 1..12),
        millis in 1_u64..1_000_000_000_000,
        seal in proptest::option::of("[0-9a-f]{64}"),
        trace in proptest::option::of(("[0-9a-f]{31}[1-9a-f]", "[0-9a-f]{15}[1-9a-f]", "[0-9a-f]{2}")),
    ) -> CallContext {
        let gid = Gid::new(Timestamp::from_millis(at >> 15), random, shard);
        let call: Vec<String> = call.iter().map(ToString::to_string).collect();
        let call = CallId::new(&call.join(".")).unwrap();
        let trace = trace.map(|(trace, parent, flags)| TraceParent::new(&format!("00-{trace}-{parent}-{flags}")).unwrap());
        let context = CallContext::new(gid, Name::new(&name).unwrap(), call, Duration::from_millis(millis));
        context.with_trace_parent(trace).with_seal(seal.map(|seal| seal.parse().unwrap()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(16),
        ..ProptestConfig::with_cases(2_000)
    })]

    #[test]
    fn every_context_reads_back_as_it_was_written(context in contexts()) {
        let mut headers = HeaderMap::new();
        headers::write_context(&context, &mut headers);
        prop_assert_eq!(headers::read(&headers), Ok(context));
    }

    #[test]
    fn what_reads_as_a_context_is_written_as_it_was(
        name in proptest::sample::select(vec![GID, NAME, CALL, DEADLINE_MS, SEAL]),
        value in proptest::collection::vec(any::<u8>(), 0..140),
    ) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut headers = written();
            headers.insert(&name, value.clone());
            if let Ok(context) = headers::read(&headers) {
                let mut again = HeaderMap::new();
                headers::write_context(&context, &mut again);
                let (one, other) = (again[&name].to_str().unwrap(), value.to_str().unwrap());
                let same = one == other || (name == DEADLINE_MS && one == other.trim_start_matches('0'));
                prop_assert!(same, "{} and {}", one, other);
            }
        }
    }

    #[test]
    fn every_answer_reads_back_as_it_was_written(
        branches in proptest::collection::btree_map(0_usize..1_000, 0_u8..3, 0..300),
        pending in any::<bool>(),
    ) {
        let seen = |kind| [Seen::Succeeded, Seen::Refused, Seen::Unknown][usize::from(kind)];
        let branches = branches.into_iter().map(|(index, kind)| (Ordinal::from_index(index), seen(kind)));
        let answer = CallAnswer::new(branches.collect(), pending);
        let mut headers = HeaderMap::new();
        headers::write_answer(&answer, &mut headers);
        prop_assert_eq!(headers::read_answer(&headers), Some(answer));
    }

    #[test]
    fn an_answer_has_one_text(text in "[0-9srugp-]{0,24}") {
        if let Ok(answer) = text.parse::<CallAnswer>() {
            prop_assert_eq!(answer.to_string(), text);
        }
    }
}
