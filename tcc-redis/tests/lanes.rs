//! Steps that wait at the same moment go to Redis in one call, and each is alone with what becomes of it.

mod support;

use std::{collections::BTreeMap, future::Future, pin::Pin, task::Poll, time::Duration};

use futures_util::future::{join_all, poll_fn};
use redis::aio::MultiplexedConnection;
use support::{
    proxy::Proxy,
    server::{Server, ask},
    story::{MAIL, PAY, STOCK, Story, gid, name, ordinal, payload, succeeded},
};
use tcc_core::{
    Action, ActionPolicy, CancelCx, ConfirmCx, PhaseError, Runtime, TryCx, TryOutcome,
    machine::{Answer, NewBranch, Op, Refusal, Register, Report, Sweep, TryReport},
    record::{Direction, TransactionState},
    store::{Applied, StoreError, StoreErrorKind},
};
use tcc_redis::{Durability, RedisStore};
use tokio::time::timeout;

async fn store(url: &str) -> RedisStore {
    RedisStore::builder(url).durability(Durability::Volatile).connect().await.expect("a store")
}

/// How often functions were called since the server started, calls that were denied among them.
async fn calls(raw: &mut MultiplexedConnection) -> u64 {
    let info: String = ask(raw, &["INFO", "commandstats"]).await;
    let Some(stats) = info.lines().find_map(|line| line.strip_prefix("cmdstat_fcall:")) else { return 0 };
    let count = |name: &str| -> u64 {
        let count = stats.split(',').find_map(|stat| stat.strip_prefix(name)?.strip_prefix('='));
        count.expect(name).parse().expect("a number")
    };
    count("calls") + count("rejected_calls")
}

fn report(place: usize) -> Report {
    Report { tries: vec![TryReport { ordinal: ordinal(place), known: succeeded() }] }
}

async fn all(steps: Vec<(Story<'_, RedisStore>, Op)>) -> Vec<Result<Applied, StoreError>> {
    join_all(steps.into_iter().map(|(story, op)| async move { story.try_apply(op).await })).await
}

#[tokio::test]
async fn each_step_of_a_call_fails_alone() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    for number in 1..=20 {
        Story::new(&store, number).register(&[STOCK, PAY]).await;
    }
    let spoiled = store.inspect().record_key(&Story::new(&store, 2).gid);
    let _: i64 = ask(&mut raw, &["HSET", &spoiled, "state", "nonsense"]).await;
    let history = format!("{{tcc:00}}:history:{}", Story::new(&store, 4).gid);
    let () = ask(&mut raw, &["SET", &history, "text"]).await;
    // What only a sweep reads, and finds to be no hash when Redis refuses to read it.
    let () = ask(&mut raw, &["SET", "{tcc:00}:unreadable", "text"]).await;

    let before = calls(&mut raw).await;
    let mut steps: Vec<(_, Op)> =
        (1..=20).map(|number| (Story::new(&store, number), report(1).into())).collect();
    steps[5].1 = Sweep { by: name("sweeper") }.into();
    steps.push((Story::new(&store, 99), report(1).into()));
    // What is of another type is so for every step of the call.
    steps.push((Story::new(&store, 4), report(2).into()));
    let answers = all(steps).await;
    assert_eq!(calls(&mut raw).await - before, 1, "they share a call");

    for (place, answer) in answers.iter().enumerate() {
        let number = place as u64 + 1;
        let what = || answer.as_ref().expect_err("a failure").to_string();
        match number {
            2 => assert!(what().contains("field state:"), "{}", what()),
            4 | 22 => assert!(what().contains("field history:"), "{}", what()),
            6 => assert!(what().contains("another type"), "{}", what()),
            21 => assert_eq!(answer.as_ref().expect("an answer").result, Err(Refusal::NotFound)),
            _ => assert!(matches!(&answer.as_ref().expect("an answer").result, Ok(Answer::Reported(_)))),
        }
    }
    for number in (1..=20).filter(|number| ![2, 4, 6].contains(number)) {
        let record = Story::new(&store, number).record().await;
        assert!(record.branches[0].known.is_some() && record.branches[1].known.is_none(), "{number}");
    }
    for number in [4, 6] {
        let record = Story::new(&store, number).record().await;
        assert!(record.branches.iter().all(|branch| branch.known.is_none()), "{number} is as it was");
    }
}

/// Lets a future begin.
async fn poll_once<T>(future: &mut Pin<Box<impl Future<Output = T>>>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_step_whose_caller_is_gone_is_left_out_or_taken_and_never_in_the_way() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    for number in 1..=4 {
        Story::new(&store, number).register(&[STOCK]).await;
    }
    // Before the call is made.
    let (gone, stays) = (Story::new(&store, 1), Story::new(&store, 2));
    let mut dropped = Box::pin(gone.try_apply(report(1)));
    poll_once(&mut dropped).await;
    drop(dropped);
    stays.report(&[(1, succeeded())]).await;
    assert_eq!(gone.record().await.branches[0].known, None, "it is left out");

    // While the call is under way.
    let (gone, stays) = (Story::new(&store, 3), Story::new(&store, 4));
    let () = ask(&mut raw, &["CLIENT", "PAUSE", "300", "ALL"]).await;
    let mut dropped = Box::pin(gone.try_apply(report(1)));
    let mut waiting = Box::pin(stays.try_apply(report(1)));
    poll_once(&mut dropped).await;
    poll_once(&mut waiting).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(dropped);
    let answer = timeout(Duration::from_secs(10), waiting).await.expect("an answer in time");
    answer.expect("an answer").result.expect("a report");
    for story in [gone, stays] {
        assert!(story.record().await.branches[0].known.is_some(), "both are taken");
    }
}

#[test]
fn a_store_outlives_the_runtime_it_was_made_on() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (first, second) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let (server, proxy, store) = first.block_on(async {
        let server = Server::volatile().await;
        // The proxy is to stay when the store's first runtime goes.
        let port = server.port();
        let proxy = second.spawn(async move { Proxy::to(port).await }).await.expect("a proxy");
        let store = store(&proxy.url_of(0)).await;
        Story::new(&store, 1).register(&[STOCK, PAY]).await;
        Story::new(&store, 1).report(&[(2, succeeded())]).await;
        (server, proxy, store)
    });
    // A step that waits for an answer when the task that would hear it is gone.
    proxy.silence(true);
    let other = store.clone();
    let waiting = second.spawn(async move { Story::new(&other, 1).try_apply(report(1)).await });
    second.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
    first.shutdown_timeout(Duration::from_secs(10));
    let error = second.block_on(async { timeout(Duration::from_secs(10), waiting).await });
    let error = error.expect("it does not hang").expect("a task").expect_err("nobody heard the answer");
    assert!(error.is_retryable(), "{error}");
    proxy.silence(false);
    second.block_on(async {
        let mut answer = Err(error);
        for _ in 0..5 {
            if answer.is_err() {
                answer = Story::new(&store, 1).try_apply(report(1)).await;
            }
        }
        answer.expect("another task was made").result.expect("a report");
    });
    drop(server);
}

#[tokio::test]
async fn full_memory_denies_the_call_that_begins_and_not_the_one_that_finishes() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let mut steps: Vec<(_, Op)> = Vec::new();
    for number in 1..=10 {
        let story = Story::new(&store, number);
        if number % 2 == 0 {
            story.register(&[STOCK]).await;
            steps.push((story, report(1).into()));
        } else {
            let register = support::story::register(Some(story.create().await), &[STOCK]);
            steps.push((story, register.into()));
        }
    }
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = calls(&mut raw).await;
    let answers = all(steps).await;
    assert_eq!(calls(&mut raw).await - before, 2, "beginning and finishing steps share no call");
    for (place, answer) in answers.into_iter().enumerate() {
        if place % 2 == 1 {
            answer.expect("what finishes is taken").result.expect("a report");
        } else {
            assert_eq!(answer.expect_err("what begins is denied").kind(), StoreErrorKind::Full);
        }
    }
}

#[tokio::test]
async fn a_call_that_is_refused_is_not_sent_again() {
    let server = Server::volatile().await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all"]).await;
    let store = store(&format!("redis://shop:pw@127.0.0.1:{}/", server.port())).await;
    let story = Story::new(&store, 1);
    let register = support::story::register(Some(story.create().await), &[STOCK]);
    let () = ask(&mut raw, &["ACL", "SETUSER", "shop", "resetkeys", "~{tcc:01}:*"]).await;
    let before = calls(&mut raw).await;
    let refused = story.try_apply(register).await.expect_err("no key of this shard");
    assert_eq!(refused.kind(), StoreErrorKind::Misconfigured, "{refused}");
    assert_eq!(calls(&mut raw).await - before, 1);
}

#[tokio::test]
async fn calls_are_bounded_in_bytes_and_steps() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let mut registers = async |numbers: std::ops::Range<u64>, bytes: usize| {
        let mut steps: Vec<(_, Op)> = Vec::new();
        for number in numbers {
            let story = Story::new(&store, number);
            let branch = NewBranch {
                call: tcc_core::CallId::top(1),
                runner: None,
                trace: None,
                action: STOCK.parse().expect("an action"),
                arguments: payload(&format!("\"{}\"", "x".repeat(bytes))),
            };
            let (create, branches) = (Some(story.create().await), vec![branch]);
            let register = Register { create, branches, branches_max: 10, payload_bytes_max: 4_194_304 };
            steps.push((story, register.into()));
        }
        let before = calls(&mut raw).await;
        for answer in all(steps).await {
            answer.expect("an answer").result.expect("it is registered");
        }
        calls(&mut raw).await - before
    };
    // A mebibyte a call, or what one step has.
    assert_eq!(registers(0..8, 300_000).await, 3);
    assert_eq!(registers(10..13, 1_500_000).await, 3);
    // 64 steps a call.
    assert_eq!(registers(100..164, 10).await, 1);
    assert_eq!(registers(200..330, 10).await, 3);
}

/// An action that does nothing.
fn action() -> Action {
    Action::new(
        "reserve",
        1,
        |_: TryCx, _: u64| async { Ok::<u64, std::io::Error>(1) },
        |_: ConfirmCx, _: u64, _: u64| async { Ok::<(), PhaseError>(()) },
        |_: CancelCx, _: u64, _: TryOutcome<u64>| async { Ok::<(), PhaseError>(()) },
    )
    .with_policy(ActionPolicy::new())
}

#[tokio::test]
async fn a_transaction_of_two_branches_takes_three_calls() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let builder = Runtime::builder().store(store.clone()).process(name("shop-1"));
    // Nothing else is to call meanwhile.
    let builder = builder.sweep_interval(Duration::from_secs(60));
    let runtime = builder.actions("stock", [action()]).actions("pay", [action()]).start().await;
    let runtime = runtime.expect("a runtime");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = (calls(&mut raw).await, store.short_ways());
    let open = runtime.transaction("checkout").begin().await.expect("a transaction");
    let (stock, pay) = tokio::join!(open.call("stock.reserve@1", &1), open.call("pay.reserve@1", &2));
    let _ = [stock.expect("a try"), pay.expect("a try")];
    let ending = open.commit().await.expect("a commit");
    ending.wait(Duration::from_secs(10)).await.expect("the end");
    assert_eq!(calls(&mut raw).await - before.0, 3, "register, decide, close");
    // Each branch is a step of its own.
    let taken = BTreeMap::from([("register", 2), ("decide", 1), ("close", 1)]);
    assert_eq!((before.1, store.short_ways()), (BTreeMap::new(), taken), "each went the short way");
    runtime.shutdown().await;
}

#[tokio::test]
async fn what_waits_while_a_call_is_under_way_shares_the_next() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    for number in 1..=30 {
        Story::new(&store, number).register(&[STOCK, MAIL]).await;
    }
    let before = calls(&mut raw).await;
    let () = ask(&mut raw, &["CLIENT", "PAUSE", "300", "ALL"]).await;
    let first = Story::new(&store, 1);
    let mut first = Box::pin(first.try_apply(report(1)));
    poll_once(&mut first).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let rest = all((2..=30).map(|number| (Story::new(&store, number), report(1).into())).collect());
    let (one, rest) = tokio::join!(first, rest);
    assert!(one.is_ok() && rest.iter().all(Result::is_ok));
    assert_eq!(calls(&mut raw).await - before, 2);
    let heard = [(1, Some(succeeded())), (2, Some(succeeded()))];
    let story = Story::new(&store, 1);
    let drives = story.decide(Direction::Confirm, &heard, &[1, 2]).await;
    story.finish(&drives).await;
    assert_eq!(story.record().await.state, TransactionState::Confirmed);
}

/// The first that sends wakes the lane, which must not be off with one step while others are about to send.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn steps_of_tasks_that_run_one_after_the_other_share_a_call() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    for number in 1..=20 {
        Story::new(&store, number).register(&[STOCK]).await;
    }
    const ROUNDS: u64 = 20;
    Story::new(&store, 1).report(&[(1, succeeded())]).await;
    let before = calls(&mut raw).await;
    for _ in 0..ROUNDS {
        let store = store.clone();
        let all = tokio::spawn(async move {
            let one = |number| {
                let store = store.clone();
                tokio::spawn(async move { Story::new(&store, number).try_apply(report(1)).await })
            };
            join_all((1..=20).map(one).collect::<Vec<_>>()).await
        });
        let answers =
            timeout(Duration::from_secs(10), all).await.expect("answers in time").expect("no panic");
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{answers:?}");
    }
    // The scheduler looks at the network now and then, and lets the lane go before all have sent.
    let calls = calls(&mut raw).await - before;
    assert!(calls < 2 * ROUNDS * 9 / 10, "{calls} calls in {ROUNDS} rounds of steps that could share one");
}

/// No step takes what was sent for the next, and a list that claims to be longer than what is sent ends with it.
#[tokio::test]
async fn a_step_takes_its_own_arguments_only() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    for number in [1, 2] {
        Story::new(&store, number).register(&[STOCK]).await;
    }
    let before = Story::new(&store, 1).record().await;
    let report = |count: &str| [count, "1", "refused", "", ""].map(|text| text.as_bytes().to_vec());
    let (first, second) = (gid(1), gid(2));
    let mut raw = server.raw().await;
    for count in ["2", "1e308"] {
        let called = calls(&mut raw).await;
        let (short, whole) = (report(count), report("1"));
        let (short, whole) = tokio::join!(
            store.send_step(&first, "report", &short, Vec::new()),
            store.send_step(&second, "report", &whole, Vec::new()),
        );
        assert_eq!(short.expect("an answer").as_deref(), Some("failed"));
        assert_eq!(whole.expect("an answer").as_deref(), Some("ok"));
        assert_eq!(calls(&mut raw).await, called + 1, "both were steps of one call");
        assert_eq!(Story::new(&store, 1).record().await, before, "nothing was written");
    }
}

/// What no client of ours sends is noticed before anything is written: neither the entry of the history, which a short
/// way writes first, nor a message, which the long way does.
#[tokio::test]
async fn arguments_that_end_early_or_are_no_numbers_write_nothing() {
    let server = Server::volatile().await;
    let store = store(&server.url()).await;
    let mut raw = server.raw().await;
    let story = Story::new(&store, 1);
    story.register(&[STOCK, PAY]).await;
    let queues = ["ready:stock", "ready:pay"].map(str::to_owned).to_vec();
    let result = "11:75c5dfeb {\"hold\":17}";
    let before = (story.record().await, store.inspect().history(&story.gid).await.expect("a history"));
    assert!(!before.1.is_empty(), "a history is kept");
    for arguments in [
        // The second result is missing, of branches that messages, or the caller, shall drive.
        &["confirm", "committed", "shop-1", "0", "", "2", "*", result][..],
        &["confirm", "committed", "shop-1", "0", "0000000000000007", "60000", "1", "*", "2", "*", result],
        // The lease of the one branch that the caller drives is no number.
        &["cancel", "aborted", "shop-1", "0", "0000000000000007", "nan", "0", "1", "1", "0", ""],
    ] {
        let bytes: Vec<_> = arguments.iter().map(|text| text.as_bytes().to_vec()).collect();
        let answer = store.send_step(&story.gid, "decide", &bytes, queues.clone()).await;
        assert_eq!(answer.expect("an answer").as_deref(), Some("failed"), "{arguments:?}");
        let history = store.inspect().history(&story.gid).await.expect("a history");
        assert_eq!((story.record().await, history), before, "{arguments:?}");
        for queue in &queues {
            let length: i64 = ask(&mut raw, &["XLEN", &format!("{{tcc:00}}:{queue}")]).await;
            assert_eq!(length, 0, "{queue} after {arguments:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_one_for_each_step_is_told_as_such() {
    let server = Server::volatile().await;
    for answers in ["{ '1' }", "{ '1', 'yes', 'yes' }", "'yes'"] {
        let directory = tempfile::tempdir().expect("a directory");
        let functions = ["begin", "finish", "look", "groups", "pause", "namespace", "rehearse"].map(|name| {
            let answer = match name {
                "namespace" => "{ '1', '1' }",
                "rehearse" => "{ 'ok' }",
                _ => answers,
            };
            format!("redis.register_function('tcc_other_{name}', function() return {answer} end)\n")
        });
        let library = format!("#!lua name=tcc_other\n{}", functions.concat());
        std::fs::write(directory.path().join("library.lua"), library).expect("a file");
        let () = ask(&mut server.raw().await, &["FUNCTION", "FLUSH"]).await;
        let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
        let store = builder.frozen_library(directory.path()).connect().await.expect("a store");
        let error = Story::new(&store, 1).try_apply(report(1)).await.expect_err("no answer of a step");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("not one for each step"), "{error}");
    }
}
