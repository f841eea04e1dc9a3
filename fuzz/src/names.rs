//! Ids, names and keys: what is read is written as it was.

use std::{fmt::Display, str::FromStr};

use tcc_core::{ActionName, BusinessKey, CallId, Gid, Name, Ordinal};

fn again<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> bool {
    let Ok(read) = text.parse::<T>() else { return false };
    let written = read.to_string();
    assert_eq!(written.parse().ok().as_ref(), Some(&read), "{text:?}");
    written == text
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(gid) = text.parse::<Gid>() {
        assert_eq!(gid.as_str(), text);
        assert!(text.is_ascii() && text.len() <= 64, "{text:?}");
        let _ = gid.shard();
    }
    for is_same in
        [again::<Name>(text), again::<BusinessKey>(text), again::<ActionName>(text), again::<CallId>(text)]
    {
        // What names a thing in Redis or in a header is visible, and its length bounded.
        assert!(!is_same || text.len() <= 512, "{text:?}");
    }
    if let Ok(action) = text.parse::<ActionName>() {
        let participant = Name::new(action.participant()).expect("a participant's name");
        let made =
            ActionName::from_parts(&participant, action.action(), action.version()).expect("the same action");
        assert_eq!(made, action);
    }
    again::<Ordinal>(text);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let gid = Gid::new(tcc_core::Timestamp::from_millis(1_795_000_000_000), 17, 3);
    [gid.as_str(), "inventory", "inventory.reserve@1", "3.1.2", "order/17", "01", "1000"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
