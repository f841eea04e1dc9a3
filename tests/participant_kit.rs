//! The kit that users test their participants with: a right one passes, and each wrong one is told which order
//! broke which rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Mutex};

use serde_json::json;
use tcc::{
    CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome,
    testing::kit::{self, Broken, Checked},
};

/// What is wrong with a cellar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// It keeps no fence, and is right otherwise.
    NoFence,
    /// An empty cancel leaves no mark.
    NoMark,
    EmptyCancelFails,
    /// Cancel undoes only what it is told has happened.
    TrustsTheOutcome,
    ConfirmsTwice,
    /// All branches of a transaction share one row.
    OneRowATransaction,
    /// Its effect and its fence are two transactions.
    TwoWrites,
    CancelsWhatIsConfirmed,
    /// It forgets to give back what it refused.
    RefusesAfterTaking,
    ConfirmPanics,
    ConfirmHangsOn,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(&'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    Held,
    Sold,
    Released,
}

#[derive(Default)]
struct Books {
    bottles: i64,
    held: i64,
    sold: i64,
    rows: BTreeMap<String, Row>,
}

/// Holds and sells bottles.
struct Cellar {
    flaw: Flaw,
    books: Mutex<Books>,
}

#[tcc::participant(name = "cellar")]
impl Cellar {
    #[tcc(try, confirm = sell, cancel = release)]
    async fn hold(&self, cx: &TryCx, bottles: i64) -> Result<i64, Refused> {
        tokio::task::yield_now().await;
        let key = self.key(cx.gid().as_str(), &cx.branch_key());
        if self.row(&key).is_some() {
            return Err(Refused("it was served before"));
        }
        {
            let mut books = self.books.lock().unwrap();
            let enough = books.bottles >= bottles;
            if !enough && self.flaw != Flaw::RefusesAfterTaking {
                return Err(Refused("too few bottles"));
            }
            books.bottles -= bottles;
            books.held += bottles;
            if !enough {
                return Err(Refused("too few bottles"));
            }
        }
        if self.flaw == Flaw::TwoWrites {
            tokio::task::yield_now().await;
        }
        self.write(key, Row::Held);
        tokio::task::yield_now().await;
        Ok(bottles)
    }

    async fn sell(&self, cx: &ConfirmCx, _bottles: i64, held: i64) -> Result<(), PhaseError> {
        match self.flaw {
            Flaw::ConfirmPanics => panic!("the cellar is flooded"),
            Flaw::ConfirmHangsOn => return Err(PhaseError::ongoing(std::time::Duration::from_millis(1))),
            _ => {}
        }
        tokio::task::yield_now().await;
        let key = self.key(cx.gid().as_str(), &cx.branch_key());
        match self.row(&key) {
            Some(Row::Held) => {}
            Some(Row::Sold) if self.flaw == Flaw::ConfirmsTwice => {}
            Some(Row::Sold) => return Ok(()),
            None if self.flaw == Flaw::NoFence => return Ok(()),
            Some(Row::Released) | None => return Err(PhaseError::park(Refused("nothing is held"))),
        }
        {
            let mut books = self.books.lock().unwrap();
            books.held -= held;
            books.sold += held;
        }
        self.write(key, Row::Sold);
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn release(&self, cx: &CancelCx, bottles: i64, held: TryOutcome<i64>) -> Result<(), PhaseError> {
        tokio::task::yield_now().await;
        let key = self.key(cx.gid().as_str(), &cx.branch_key());
        match self.row(&key) {
            Some(Row::Held) if self.flaw == Flaw::TrustsTheOutcome && held == TryOutcome::Unknown => {
                return Ok(());
            }
            Some(Row::Held) => {}
            Some(Row::Sold) if self.flaw == Flaw::CancelsWhatIsConfirmed => {}
            Some(Row::Sold) => return Err(PhaseError::park(Refused("it is sold"))),
            Some(Row::Released) => return Ok(()),
            None if self.flaw == Flaw::EmptyCancelFails => {
                return Err(PhaseError::retry(Refused("nothing is held")));
            }
            None => {
                if self.flaw != Flaw::NoMark {
                    self.write(key, Row::Released);
                }
                return Ok(());
            }
        }
        {
            let mut books = self.books.lock().unwrap();
            books.bottles += bottles;
            books.held -= bottles;
        }
        self.write(key, Row::Released);
        Ok(())
    }
}

impl Cellar {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, books: Mutex::new(Books { bottles: 10, ..Books::default() }) }
    }

    fn key(&self, gid: &str, branch: &str) -> String {
        if self.flaw == Flaw::OneRowATransaction { gid.to_owned() } else { branch.to_owned() }
    }

    fn row(&self, key: &str) -> Option<Row> {
        self.books.lock().unwrap().rows.get(key).copied()
    }

    fn write(&self, key: String, row: Row) {
        let mut books = self.books.lock().unwrap();
        // Without a fence a row lives as long as its reservation.
        if self.flaw == Flaw::NoFence && row != Row::Held {
            books.rows.remove(&key);
        } else {
            books.rows.insert(key, row);
        }
    }

    async fn seen(&self) -> (i64, i64, i64) {
        let books = self.books.lock().unwrap();
        (books.bottles, books.held, books.sold)
    }
}

async fn tested(flaw: Flaw) -> Result<Checked, Broken> {
    kit::participant(async || Cellar::new(flaw))
        .call("hold", &json!({ "bottles": 3 }))
        .refused("hold", &json!({ "bottles": 30 }))
        .check(Cellar::seen)
        .await
}

#[tokio::test]
async fn a_participant_with_a_fence_keeps_every_order() {
    let checked = tested(Flaw::None).await.unwrap();
    assert!(checked.orders > 50 && checked.cuts >= 12, "{checked:?}");
}

#[tokio::test]
async fn a_participant_without_a_fence_keeps_the_orders_that_need_none() {
    let broken = tested(Flaw::NoFence).await.unwrap_err().to_string();
    assert!(broken.contains("hold: cancel (unknown), try\n"), "{broken}");
    let checked = kit::participant(async || Cellar::new(Flaw::NoFence))
        .call("hold", &json!({ "bottles": 3 }))
        .without_fence()
        .check(Cellar::seen)
        .await
        .unwrap();
    assert!(checked.orders > 15, "{checked:?}");
}

#[tokio::test]
async fn every_flaw_is_told_with_the_order_and_the_rule_that_it_breaks() {
    for (flaw, order, rule) in [
        (Flaw::NoMark, "hold: cancel (unknown), try\n", "(suspension)"),
        (Flaw::EmptyCancelFails, "hold: cancel (unknown)\n", "(empty cancel)"),
        (Flaw::TrustsTheOutcome, "hold: try, cancel (unknown)\n", "whatever it is told"),
        (Flaw::ConfirmsTwice, "hold: try, confirm, confirm\n", "takes effect once"),
        (Flaw::OneRowATransaction, "try of another branch", "branches are independent"),
        (Flaw::TwoWrites, "hold: try that is cut, cancel (unknown) (cut at await 2)", "undone by its cancel"),
        (Flaw::CancelsWhatIsConfirmed, "hold: try, confirm, cancel (known)\n", "a contradiction"),
        (Flaw::RefusesAfterTaking, "hold: try\n", "a refused try leaves nothing"),
        (Flaw::ConfirmPanics, "hold\n", "a confirm follows its try"),
        (Flaw::ConfirmHangsOn, "hold\n", "a confirm follows its try"),
    ] {
        let broken = tested(flaw).await.expect_err(&format!("{flaw:?} is not found"));
        let told = |failure: &kit::Failure| {
            let text = failure.to_string();
            text.contains(order) && text.contains(rule)
        };
        assert!(broken.failures().iter().any(told), "{flaw:?}: {broken}");
    }
}

#[tokio::test]
async fn a_kit_that_can_see_nothing_says_so() {
    let blind = kit::participant(async || Cellar::new(Flaw::None))
        .call("hold", &json!({ "bottles": 3 }))
        .check(async |cellar| cellar.books.lock().unwrap().sold)
        .await
        .unwrap_err()
        .to_string();
    assert!(blind.contains("shows what a try reserves") && blind.contains("reserves_nothing"), "{blind}");

    let shared = Mutex::new(0);
    let shared = kit::participant(async || Cellar::new(Flaw::None))
        .call("hold", &json!({ "bottles": 3 }))
        .check(async |_| {
            *shared.lock().unwrap() += 1;
            *shared.lock().unwrap()
        })
        .await
        .unwrap_err()
        .to_string();
    assert!(shared.contains("books of its own"), "{shared}");

    let nothing = kit::participant(async || Cellar::new(Flaw::None)).check(Cellar::seen).await.unwrap_err();
    assert!(nothing.to_string().contains("name one"), "{nothing}");
    let unknown = kit::participant(async || Cellar::new(Flaw::None))
        .call("hodl", &json!({ "bottles": 3 }))
        .check(Cellar::seen)
        .await
        .unwrap_err();
    assert!(unknown.to_string().contains("participant cellar has no such action"), "{unknown}");
}
