//! The context of a call: what is taken is written as it was taken, and nothing else is taken.

use http::{HeaderMap, HeaderName, HeaderValue};
use tcc_propagate::headers::{read, read_answer, write_answer, write_context};

/// Each line is a header.
fn headers(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

pub(crate) fn run(bytes: &[u8]) {
    let headers = headers(bytes);
    if let Ok(context) = read(&headers) {
        assert!(!context.time_left.is_zero());
        let mut written = HeaderMap::new();
        write_context(&context, &mut written);
        assert_eq!(read(&written).as_ref(), Ok(&context), "what was written is read");
    }
    if let Some(answer) = read_answer(&headers) {
        let mut written = HeaderMap::new();
        write_answer(&answer, &mut written);
        assert_eq!(format!("{:?}", read_answer(&written)), format!("{:?}", Some(answer)));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let gid = tcc_core::Gid::new(tcc_core::Timestamp::from_millis(1_795_000_000_000), 17, 3);
    let context = format!("tcc-gid:{gid}\ntcc-name:checkout\ntcc-call:3.1\ntcc-deadline-ms:12000");
    let traced = format!("{context}\ntraceparent:00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let sealed = format!("{context}\ntcc-seal:{}", "0123456789abcdef".repeat(4));
    vec![
        context.into_bytes(),
        sealed.into_bytes(),
        traced.into_bytes(),
        b"tcc-branches:01=succeeded,02=refused".to_vec(),
        b"tcc-branches:".to_vec(),
    ]
}
