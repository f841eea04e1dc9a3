//! What Redis and the books hold, read with plain commands and as plain files.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;

pub(crate) use super::support::records::{Fields, branches, decision, initiator, records, state, word};
use super::{
    books::{Books, Entries, OPENING},
    process::{Scene, until},
    support::server::ask,
};

/// The only record there is.
pub(crate) async fn only(raw: &mut MultiplexedConnection) -> Fields {
    only_named(raw).await.1
}

/// The id of the only transaction there is.
pub(crate) async fn only_gid(raw: &mut MultiplexedConnection) -> String {
    only_named(raw).await.0
}

async fn only_named(raw: &mut MultiplexedConnection) -> (String, Fields) {
    let mut records = records(raw).await;
    assert_eq!(records.len(), 1, "{records:#?}");
    records.pop_first().expect("a record")
}

impl Scene {
    /// Waits until nothing is in flight, and checks all that was ever done.
    pub(crate) async fn balance(&self) -> Balance {
        let mut raw = self.raw().await;
        let mut open = 1;
        until("every transaction is final", async || {
            let indexed = ["open", "due"].map(|index| format!("{{tcc:00}}:{index}"));
            open = ask::<u64>(&mut raw, &["ZCARD", &indexed[0]]).await;
            open += ask::<u64>(&mut raw, &["ZCARD", &indexed[1]]).await;
            let parked: u64 = ask(&mut raw, &["ZCARD", "{tcc:00}:parked"]).await;
            assert_eq!(parked, 0, "nothing is parked: {:#?}", records(&mut raw).await);
            open == 0
        })
        .await;
        for index in ["due", "parked", "unreadable"] {
            let there: u64 = ask(&mut raw, &["EXISTS", &format!("{{tcc:00}}:{index}")]).await;
            assert_eq!(there, 0, "{index} is empty");
        }
        let records = records(&mut raw).await;
        Balance::new(&self.books, &records)
    }
}

/// What became of all transactions.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    pub(crate) confirmed: usize,
    pub(crate) cancelled: usize,
}

impl Balance {
    fn new(books: &Books, records: &BTreeMap<String, Fields>) -> Self {
        let entries = books.entries();
        for gid in entries.keys() {
            assert!(records.contains_key(gid), "{gid} stands in the books and Redis forgot it");
        }
        let none = BTreeMap::new();
        let mut balance = Self::default();
        let mut accounts = BTreeMap::from([("from", OPENING), ("to", OPENING)]);
        for (gid, record) in records {
            let entries = entries.get(gid).unwrap_or(&none);
            match record["state"].as_str() {
                "confirmed" => {
                    balance.confirmed += 1;
                    check_confirmed(gid, record, entries);
                    for (account, amount) in moved(entries) {
                        *accounts.get_mut(account).expect("an account") += amount;
                    }
                }
                "cancelled" => {
                    balance.cancelled += 1;
                    check_cancelled(gid, record, entries);
                }
                other => panic!("{gid} is {other}: {record:#?}"),
            }
        }
        assert_eq!(accounts["from"] + accounts["to"], 2 * OPENING, "money is moved, not made");
        check_heard(books, records);
        balance
    }
}

/// What the entries of a confirmed transfer add to the accounts.
fn moved(entries: &BTreeMap<String, Entries>) -> impl Iterator<Item = (&str, i64)> {
    entries.values().map(|entry| {
        let text = entry.attempt.as_deref().unwrap_or_default();
        let mut words = text.split(' ').skip(1);
        let account = words.next().expect("an account");
        let amount: i64 = words.next().and_then(|text| text.parse().ok()).expect("an amount");
        (account, if account == "from" { -amount } else { amount })
    })
}

fn check_confirmed(gid: &str, record: &Fields, entries: &BTreeMap<String, Entries>) {
    assert_eq!(branches(record).len(), 2, "both were tried: {record:#?}");
    for (ordinal, line) in branches(record) {
        assert_eq!(state(&line), "confirmed", "{gid}: {record:#?}");
        let entry = entries.get(ordinal).unwrap_or_else(|| panic!("{gid}/{ordinal} is not in the books"));
        assert!(entry.attempt.as_ref().is_some_and(|text| text.starts_with("reserved")), "{gid}: {entry:?}");
        assert_eq!(entry.end.as_deref(), Some("confirm"), "{gid}/{ordinal}");
    }
}

fn check_cancelled(gid: &str, record: &Fields, entries: &BTreeMap<String, Entries>) {
    for (ordinal, line) in branches(record) {
        assert_eq!(state(&line), "cancelled", "{gid}: {record:#?}");
        let end = entries.get(ordinal).and_then(|entry| entry.end.as_deref());
        assert_eq!(end, Some("cancel"), "{gid}/{ordinal}: nothing stays reserved");
    }
    assert!(entries.keys().all(|ordinal| record.contains_key(ordinal)), "{gid}: {record:#?}");
}

/// What a process was told holds (I2, I8).
fn check_heard(books: &Books, records: &BTreeMap<String, Fields>) {
    for line in books.journal("heard") {
        let (what, gid) = line.split_once(' ').expect("two words");
        let record = records.get(gid).unwrap_or_else(|| panic!("`{line}` was heard, and Redis forgot it"));
        if matches!(what, "confirm" | "cancel") {
            let decided = decision(record).map(|[direction, ..]| direction);
            assert_eq!(decided, Some(what), "{gid} was told otherwise");
        }
    }
}
