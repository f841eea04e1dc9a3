//! Spans: one for each transaction, try, confirm, cancel and recovery, with what identifies the work and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/capture.rs"]
mod capture;
mod support;

use std::sync::{Arc, Mutex};

use capture::{Capture, Seen};
use support::*;
use tcc::{CancelCx, ConfirmCx, MemoryStore, PhaseError, Runtime, TraceParent, TryCx, TryOutcome, Tx};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SECRET: &str = "4111-1111-1111-1111";

/// A phase, and the trace it was told.
type Told = (&'static str, Option<String>);

/// Notes the trace each phase is told.
#[derive(Clone, Default)]
struct Card {
    told: Arc<Mutex<Vec<Told>>>,
}

impl Card {
    fn note(&self, phase: &'static str, trace: Option<&TraceParent>) {
        self.told.lock().unwrap().push((phase, trace.map(ToString::to_string)));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("declined")]
struct Declined;

#[tcc::participant(name = "card")]
impl Card {
    #[tcc(try, confirm = capture, cancel = release)]
    async fn charge(&self, cx: &TryCx, #[tcc(redact)] number: String, amount: u32) -> Result<u32, Declined> {
        self.note("try", cx.trace_parent());
        if number.is_empty() || amount > 100 { Err(Declined) } else { Ok(amount) }
    }

    async fn capture(
        &self,
        cx: &ConfirmCx,
        _number: String,
        _amount: u32,
        _held: u32,
    ) -> Result<(), PhaseError> {
        self.note("confirm", cx.trace_parent());
        Ok(())
    }

    async fn release(
        &self,
        cx: &CancelCx,
        _number: String,
        _amount: u32,
        _held: TryOutcome<u32>,
    ) -> Result<(), PhaseError> {
        self.note("cancel", cx.trace_parent());
        Ok(())
    }
}

async fn pay(runtime: &Runtime, amount: u32) -> Result<u32, tcc::TransactionError> {
    let trace: TraceParent = TRACE.parse().unwrap();
    let body = async |tx: &Tx| Ok(CardTcc::new(tx).charge(SECRET.into(), amount).await?);
    runtime.transaction("checkout").trace_parent(trace).wait_final(LONG).run(body).await
}

fn only<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

#[tokio::test]
async fn a_confirmed_transaction_is_a_span_with_its_try_and_its_confirm() {
    let capture = Capture::default();
    let _installed = tracing::subscriber::set_default(capture.clone());
    let card = Card::default();
    let runtime = quick(&MemoryStore::new()).participant(card.clone()).start().await.unwrap();
    pay(&runtime, 7).await.unwrap();
    runtime.shutdown().await;

    let spans = capture.spans();
    let (whole, tried, confirm) = (only(&spans, "transaction"), only(&spans, "try"), only(&spans, "confirm"));
    let gid = whole.field("gid");
    assert_eq!([whole.field("name"), whole.field("role")], ["checkout", "initiator"]);
    assert_eq!(whole.field("outcome"), "confirm");
    for span in [tried, confirm] {
        let fields = ["gid", "name", "branch", "action"].map(|name| span.field(name));
        assert_eq!(fields, [gid, "checkout", "01", "card.charge@1"], "{}", span.name);
        assert_eq!(span.parent, Some(whole.id), "{}", span.name);
    }
    assert_eq!([tried.field("tcc.traceparent"), tried.field("outcome")], [TRACE, "succeeded"]);
    let fields = ["attempt", "epoch", "tcc.try_traceparent", "outcome"].map(|name| confirm.field(name));
    assert_eq!(fields, ["1", "1", TRACE, "done"]);
    assert_eq!(confirm.follows, [tried.id]);
    let told = [("try", Some(TRACE.to_owned())), ("confirm", Some(TRACE.to_owned()))];
    assert_eq!(*card.told.lock().unwrap(), told);
    assert!(!capture.everything().contains("4111"), "{}", capture.everything());
}

#[tokio::test]
async fn another_process_confirms_and_cancels_with_the_trace_of_the_try() {
    let capture = Capture::default();
    let _installed = tracing::subscriber::set_default(capture.clone());
    let (store, card) = (MemoryStore::new(), Card::default());
    let tries = quick(&store).participant(card.clone()).tries_only("card").start().await.unwrap();
    let finishes = quick(&store).participant(card.clone()).start().await.unwrap();
    pay(&tries, 7).await.unwrap();
    pay(&tries, 700).await.unwrap_err();
    until("the cancel", || card.told.lock().unwrap().iter().any(|(phase, _)| *phase == "cancel")).await;
    tries.shutdown().await;
    finishes.shutdown().await;

    let spans = capture.spans();
    for (name, outcome) in [("confirm", "done"), ("cancel", "done")] {
        let span = only(&spans, name);
        assert_eq!((span.parent, &span.follows), (None, &Vec::new()), "its try's span is another process's");
        let fields = ["name", "branch", "tcc.try_traceparent", "outcome"].map(|name| span.field(name));
        assert_eq!(fields, ["checkout", "01", TRACE, outcome]);
    }
    let refused = spans.iter().filter(|span| span.name == "try" && span.field("outcome") == "refused");
    assert_eq!(refused.count(), 1);
    assert!(card.told.lock().unwrap().iter().all(|(_, trace)| trace.as_deref() == Some(TRACE)));
    assert!(!capture.everything().contains("4111"), "{}", capture.everything());
}

#[tokio::test]
async fn the_trace_context_of_the_program_is_asked_inside_the_span_of_the_try() {
    let capture = Capture::default();
    let _installed = tracing::subscriber::set_default(capture.clone());
    let (store, card) = (MemoryStore::new(), Card::default());
    let asked = capture.clone();
    let current = move || {
        let inside = asked.current_name();
        (inside.as_deref() == Some("try")).then(|| TRACE.replace("00f0", "11f0"))
    };
    let runtime = quick(&store).participant(card.clone()).trace_context(current).start().await.unwrap();
    pay(&runtime, 7).await.unwrap();
    runtime.shutdown().await;
    let expected = Some(TRACE.replace("00f0", "11f0"));
    assert!(card.told.lock().unwrap().iter().all(|(_, trace)| *trace == expected));
}

#[tokio::test]
async fn what_the_program_gives_and_is_no_trace_is_left_out() {
    // Where one test listens, all have to: whether a span is wanted is remembered for the whole process.
    let _installed = tracing::subscriber::set_default(Capture::default());
    let (store, card) = (MemoryStore::new(), Card::default());
    let runtime = quick(&store).participant(card.clone()).trace_context(|| Some("none".into())).start();
    let runtime = runtime.await.unwrap();
    let body = async |tx: &Tx| Ok(CardTcc::new(tx).charge(SECRET.into(), 7).await?);
    runtime.transaction("checkout").wait_final(LONG).run(body).await.unwrap();
    runtime.shutdown().await;
    assert_eq!(*card.told.lock().unwrap(), [("try", None), ("confirm", None)]);
}

#[tokio::test]
async fn a_sweep_that_acts_is_a_recovery() {
    let capture = Capture::default();
    let _installed = tracing::subscriber::set_default(capture.clone());
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = host(&store, &bank).await;
    bank.script("confirm", &[Act::Fail]);
    let body = async |tx: &Tx| {
        tx.call("bank.debit@1", &10).await?;
        Ok(tx.gid().clone())
    };
    let gid = runtime.transaction("transfer").wait_final(LONG).run(body).await.unwrap();
    runtime.shutdown().await;
    let spans = capture.spans();
    let recovery = spans.iter().find(|span| span.name == "recovery" && span.field("rung") == "1");
    let recovery = recovery.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(recovery.field("gid"), gid.to_string());
}
