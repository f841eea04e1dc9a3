//! The oracle finds what it is there for: each of its rules, broken on purpose.

use super::{
    audit::Verdict,
    bank::Sabotage,
    ledger::{Account, Answer, Branch, Intent, Ledger, OPENING, Order, Side, Step, Word},
    scene::{Scene, Setting},
    support::{
        records::{Fields, decision, initiator},
        server::Server,
    },
    tally::Tally,
};

/// Services that do a harm at times, on a Redis and a network without any.
async fn finds(sabotage: Sabotage, rules: &[&str]) {
    let setting = Setting { seed: 7, slow_ms: 0, sabotage: Some(sabotage) };
    let scene = Scene::new(setting, Server::start().await).await;
    scene.goes_on(400).await;
    let broken = scene.end().await.broken;
    for rule in rules {
        let found = broken.iter().any(|broken| broken.starts_with(rule));
        assert!(found, "{sabotage:?} does not break `{rule}`: {broken:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_cancels_that_are_skipped() {
    finds(Sabotage::SkipsCancels, &["reserved: ", "disagrees: "]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_confirms_that_are_done_as_cancels() {
    finds(Sabotage::TurnsRound, &["mixed: ", "mixed in the end: ", "balance: ", "on the way: "]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_amounts_that_were_altered() {
    finds(Sabotage::AltersAmounts, &["contradiction: ", "parked: "]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_initiators_that_were_told_otherwise() {
    finds(Sabotage::TellsTheOpposite, &["told otherwise: "]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_begins_that_were_lost() {
    finds(Sabotage::InventsBegins, &["lost: "]).await;
}

fn branch(ordinal: &str, account: &str, side: Side) -> Branch {
    let order = Order { amount: 7, spare: false, text: "rent".into() };
    Branch { gid: "gid".into(), ordinal: ordinal.into(), account: account.into(), side, order }
}

fn pay() -> Branch {
    branch("01", "acct-1", Side::Pay)
}

fn get() -> Branch {
    branch("02", "acct-3", Side::Get)
}

fn confirm(ledger: &mut Ledger, branch: Branch) -> Answer {
    let receipt = format!("{} holds {} of gid", branch.account, branch.order.amount);
    ledger.take(&Step::Confirm { branch, receipt })
}

fn cancel(branch: Branch) -> Step {
    Step::Cancel { branch, receipt: None }
}

/// A ledger in which both branches of one transfer are reserved.
fn reserved() -> Ledger {
    let mut ledger = Ledger::open();
    for branch in [pay(), get()] {
        assert!(matches!(ledger.take(&Step::Try(branch)), Answer::Reserved(_)));
    }
    ledger
}

#[track_caller]
fn breaks(ledger: &Ledger, rule: &str) {
    let found = ledger.broken.iter().any(|broken| broken.contains(rule));
    assert!(found, "`{rule}` is not among {:#?}", ledger.broken);
}

#[test]
fn the_ledger_does_everything_once() {
    let mut ledger = reserved();
    for _ in 0..2 {
        assert_eq!(confirm(&mut ledger, pay()), Answer::Done);
        assert_eq!(confirm(&mut ledger, get()), Answer::Done);
    }
    let balances = ["acct-1", "acct-3"].map(|name| ledger.accounts[name].balance);
    assert_eq!(balances, [OPENING - 7, OPENING + 7]);

    let mut cancelled = reserved();
    for _ in 0..2 {
        assert_eq!(cancelled.take(&cancel(pay())), Answer::Done);
    }
    assert_eq!(cancelled.take(&Step::Try(pay())), Answer::Refused, "a try after its cancel");
    assert_eq!(cancelled.accounts["acct-1"].held, 0);
    assert!(ledger.broken.is_empty() && cancelled.broken.is_empty());
}

#[test]
fn the_ledger_finds_both_directions_of_one_branch_and_of_one_transaction() {
    let mut ledger = reserved();
    confirm(&mut ledger, pay());
    ledger.take(&cancel(pay()));
    breaks(&ledger, "cancel of what is confirmed");

    let mut ledger = reserved();
    ledger.take(&cancel(pay()));
    confirm(&mut ledger, pay());
    breaks(&ledger, "confirm of what is Released");

    let mut ledger = reserved();
    ledger.take(&cancel(pay()));
    confirm(&mut ledger, get());
    breaks(&ledger, "mixed: gid");
}

#[test]
fn the_ledger_finds_confirms_of_what_was_never_tried_and_payloads_that_changed() {
    let mut ledger = Ledger::open();
    confirm(&mut ledger, pay());
    breaks(&ledger, "confirm of what was never tried");

    let mut ledger = reserved();
    let mut other = pay();
    other.order.text = "sent".into();
    ledger.take(&cancel(other));
    breaks(&ledger, "altered");

    let mut ledger = reserved();
    ledger.take(&Step::Confirm { branch: pay(), receipt: "acct-1 holds 5 of gid".into() });
    breaks(&ledger, "a result that try did not give");

    let mut ledger = Ledger::open();
    ledger.take(&Step::Cancel { branch: pay(), receipt: Some("acct-1 holds 7 of gid".into()) });
    breaks(&ledger, "a try that never was");
}

#[test]
fn the_ledger_finds_money_that_is_made_and_reservations_released_twice() {
    let mut ledger = reserved();
    confirm(&mut ledger, pay());
    // A confirm without a fence, done a second time.
    ledger.accounts.get_mut("acct-1").expect("an account").balance -= 7;
    confirm(&mut ledger, get());
    breaks(&ledger, "money: -7 made");

    let mut ledger = reserved();
    let account = ledger.accounts.get_mut("acct-1").expect("an account");
    *account = Account { held: 0, ..account.clone() };
    ledger.take(&cancel(pay()));
    breaks(&ledger, "released twice");
}

#[test]
fn the_ledger_finds_initiators_that_are_told_two_things() {
    let mut ledger = Ledger::open();
    for word in [Word::Unknown, Word::Confirm, Word::Cancel] {
        ledger.take(&Step::Heard { gid: "gid".into(), word });
    }
    breaks(&ledger, "told two things");
    let intent = |amount| Intent {
        from: "acct-1".into(),
        to: "acct-3".into(),
        spare: None,
        amount,
        is_acknowledged: true,
    };
    for amount in [1, 2] {
        ledger.take(&Step::Begun { gid: "gid".into(), intent: intent(amount) });
    }
    breaks(&ledger, "begun twice");
}

#[test]
fn records_whose_words_were_spoiled_are_read_all_the_same() {
    let record = |decided: &str, begun: &str| {
        let fields = [("decided", decided), ("begun", begun)];
        fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter().collect::<Fields>()
    };
    let whole = record("9 confirm asked", "5 60000 shop");
    assert_eq!(decision(&whole), Some(["confirm", "asked", "shop"]));
    assert_eq!(decision(&record("9 confirm\u{fffd}asked", "5 60000 shop")), None);
    assert_eq!(
        decision(&record("9 confirm asked", "5 60000\u{fffd}shop")),
        Some(["confirm", "asked", "nobody"])
    );
    assert_eq!(initiator(&Fields::new()), "nobody");
}

fn verdict(confirmed: usize, cancelled: usize) -> Verdict {
    Verdict { confirmed, cancelled, ..Verdict::default() }
}

#[test]
#[should_panic(expected = "void: fewer than 5 % were cancelled")]
fn a_run_in_which_hardly_anything_was_cancelled_is_void() {
    assert_eq!(verdict(95, 5).void(), None);
    Tally::of("test").judged(1, verdict(96, 4));
}

#[test]
#[should_panic(expected = "void: a fault did not fire")]
fn a_run_in_which_no_fault_fired_is_void() {
    Tally::of("test").ran("a fault", 0);
}
