//! Fences in a Redis of the test's own. Scripts run one after the other, so that nothing ever waits for a lock; what
//! can interleave is which script comes first, and which answers are lost.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

#[path = "support/contexts.rs"]
mod contexts;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/random.rs"]
mod random;
#[path = "../../tcc-redis/tests/support/server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod server;

use std::{collections::BTreeMap, sync::LazyLock, time::Instant};

use contexts::*;
use oracle::{Branch, Heard, Kind};
use random::Random;
use redis::aio::MultiplexedConnection;
use server::{Server, ask};
use tcc_core::{Config, PhaseError};
use tcc_fence::{
    FenceError,
    redis::{Ran, Script},
};

const CASES: u64 = 10_000;

/// Counts each effect of a branch, and answers what it was told to.
static EFFECT: LazyLock<Script> = LazyLock::new(|| {
    Script::new("redis.call('HINCRBY', KEYS[1], ARGV[1], 1)\nreturn tonumber(ARGV[2]) -- the answer")
});

async fn run(connection: &mut MultiplexedConnection, number: u64, kind: Kind, answer: u64) -> Heard {
    let effects = format!("effects:{{shop}}:{}", gid(number));
    macro_rules! fenced {
        ($cx:expr) => {
            EFFECT.fence(&$cx, "shop").key(effects).arg(kind.as_str()).arg(answer).run(connection).await
        };
    }
    let ran = match kind {
        Kind::Try => fenced!(try_cx(number)).map(told),
        Kind::Confirm => fenced!(confirm_cx(number, 1)).map(told),
        Kind::Cancel => fenced!(cancel_cx(number, 1)).map(told),
    };
    match ran {
        Ok((Heard::First, kept)) => {
            assert_eq!(kept, answer);
            Heard::First
        }
        Ok((heard, _)) => heard,
        Err(FenceError::TooLate { .. }) => Heard::TooLate,
        Err(FenceError::Contradiction { .. }) => Heard::Contradiction,
        Err(error) => panic!("{kind:?} of {number}: {error:?}"),
    }
}

fn told<Empty>(ran: Ran<Empty>) -> (Heard, u64) {
    match ran {
        Ran::First(answer) => (Heard::First, answer.get().unwrap()),
        Ran::AlreadyDone(answer) => (Heard::AlreadyDone(answer.get().unwrap()), 0),
        Ran::EmptyCancel(_) => (Heard::EmptyCancel, 0),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_interleaving_in_redis_comes_to_one_effect_of_each() {
    let server = Server::volatile().await;
    let (mut one, mut other) = (server.raw().await, server.raw().await);
    let began = Instant::now();
    let (mut runs, mut raced, mut heard_of) = (0, 0, BTreeMap::<String, usize>::new());
    for seed in 0..CASES {
        let mut random = Random(seed);
        let mut branch = Branch::default();
        let kinds: &[Kind] = match random.below(10) {
            0..6 => &[Kind::Try, Kind::Cancel],
            6..9 => &[Kind::Try, Kind::Confirm],
            _ => &[Kind::Try, Kind::Confirm, Kind::Cancel],
        };
        let mut log = Vec::new();
        for step in 0..2 + random.below(3) as u64 {
            let [(first, first_answer), (second, second_answer)] =
                [1, 2].map(|place| (kinds[random.below(kinds.len())], 10 * step + place));
            if random.percent(40) {
                let heard = run(&mut one, seed, first, first_answer).await;
                log.push(format!("{first:?}: {heard:?}"));
                assert_eq!(heard, branch.expected(first), "seed {seed}: {log:#?}");
                branch.committed(first, heard, first_answer);
                runs += 1;
                *heard_of.entry(format!("{first:?} {}", bare(heard))).or_default() += 1;
                continue;
            }
            // Sent over two connections at once: whichever came first, both answers must fit.
            let heard = tokio::join!(
                run(&mut one, seed, first, first_answer),
                run(&mut other, seed, second, second_answer)
            );
            log.push(format!("{first:?} beside {second:?}: {heard:?}"));
            let forth = after(&branch, [(first, heard.0, first_answer), (second, heard.1, second_answer)]);
            let back = after(&branch, [(second, heard.1, second_answer), (first, heard.0, first_answer)]);
            branch = forth.or(back).unwrap_or_else(|| panic!("seed {seed}: no order explains {log:#?}"));
            (runs, raced) = (runs + 2, raced + 1);
        }
        let effects: BTreeMap<String, i64> =
            ask(&mut one, &["HGETALL", &format!("effects:{{shop}}:{}", gid(seed))]).await;
        let expected = branch.effects.keys().map(|kind| (kind.as_str().to_owned(), 1)).collect();
        assert_eq!(effects, expected, "seed {seed}: {log:#?}");
    }
    println!(
        "{CASES} interleavings, {runs} runs, {raced} pairs at once, {:?}: {heard_of:?}",
        began.elapsed()
    );
    assert!(raced >= 10_000 && heard_of.len() == 10, "{heard_of:?}");
}

fn bare(heard: Heard) -> &'static str {
    match heard {
        Heard::First => "first",
        Heard::AlreadyDone(_) => "already done",
        Heard::EmptyCancel => "empty",
        Heard::TooLate => "too late",
        Heard::Contradiction => "contradicted",
    }
}

fn after(branch: &Branch, order: [(Kind, Heard, u64); 2]) -> Option<Branch> {
    let mut branch = branch.clone();
    for (kind, heard, answer) in order {
        if branch.expected(kind) != heard {
            return None;
        }
        branch.committed(kind, heard, answer);
    }
    Some(branch)
}

#[tokio::test]
async fn a_fence_expires_with_the_retention_of_the_runtime_and_not_before_its_branch_has_ended() {
    let server = Server::volatile().await;
    let mut connection = server.raw().await;
    let retention_ms = Config::default().retention.as_millis() as i64;
    for (number, kinds) in
        [(1, [Kind::Try, Kind::Confirm]), (2, [Kind::Try, Kind::Cancel]), (3, [Kind::Cancel; 2])]
    {
        let fence = format!("tcc-fence:{{shop}}:{}/01", gid(number));
        for (kind, lives) in kinds.into_iter().zip([kinds[0] == Kind::Try, false]) {
            run(&mut connection, number, kind, 1).await;
            let left: i64 = ask(&mut connection, &["PTTL", &fence]).await;
            if lives {
                assert_eq!(left, -1, "{kind:?}");
            } else {
                assert!((retention_ms - 60_000..=retention_ms).contains(&left), "{kind:?}: {left}");
            }
        }
    }
    let row: BTreeMap<String, String> =
        ask(&mut connection, &["HGETALL", &format!("tcc-fence:{{shop}}:{}/01", gid(1))]).await;
    let expected = [
        ("action", "stock.reserve@1"),
        ("phase", "confirm"),
        ("epoch", "1"),
        ("try_answer", "1"),
        ("answer", "1"),
    ];
    assert_eq!(row, expected.map(|(field, value)| (field.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn the_opposite_direction_is_a_contradiction_that_parks() {
    let server = Server::volatile().await;
    let connection = server.raw().await;
    let confirm = async |number| -> Result<(), PhaseError> {
        let mut connection = connection.clone();
        EFFECT
            .fence(&confirm_cx(number, 1), "shop")
            .key("{shop}")
            .arg("confirm")
            .arg(1)
            .run(&mut connection)
            .await?;
        Ok(())
    };
    run(&mut connection.clone(), 2, Kind::Cancel, 1).await;
    let row = format!("tcc-fence:{{shop}}:{}/01", gid(3));
    run(&mut connection.clone(), 3, Kind::Try, 1).await;
    let () = ask(&mut connection.clone(), &["HSET", &row, "phase", "nonsense"]).await;
    let row = format!("tcc-fence:{{shop}}:{}/01", gid(4));
    run(&mut connection.clone(), 4, Kind::Try, 1).await;
    let () = ask(&mut connection.clone(), &["HSET", &row, "action", "stock.order@1"]).await;
    for (number, says) in [
        (1, "no try of it"),
        (2, "before any try"),
        (3, "does not exist"),
        (4, "one of action stock.order@1"),
    ] {
        let Err(PhaseError::Park(cause)) = confirm(number).await else { panic!("{number} is not parked") };
        let source = cause.source().unwrap().to_string();
        assert!(source.contains(says), "{source}");
    }
    assert_eq!(ask::<i64>(&mut connection.clone(), &["EXISTS", "{shop}"]).await, 0, "no effect");
}

#[tokio::test]
async fn an_effect_that_refuses_or_fails_leaves_no_fence() {
    let server = Server::volatile().await;
    let mut connection = server.raw().await;
    let sold_out = Script::new("if redis.call('EXISTS', KEYS[1]) == 0 then return nil, 'sold out' end");
    let error_reply = Script::new("return redis.error_reply('SOLDOUT no more')");
    let fails = Script::new("redis.call('NONSENSE')");
    for (number, script) in [(1, &sold_out), (2, &error_reply), (3, &fails)] {
        let refused =
            script.fence(&try_cx(number), "shop").key("{shop}").run(&mut connection).await.unwrap_err();
        match number {
            1 => assert_eq!(refused.to_string(), "sold out"),
            2 => assert!(
                matches!(&refused, FenceError::Refused(text) if text.contains("no more")),
                "{refused}"
            ),
            _ => assert!(refused.is_retryable(), "{refused}"),
        }
        let cancelled =
            sold_out.fence(&cancel_cx(number, 1), "shop").key("{shop}").run(&mut connection).await;
        assert!(
            matches!(cancelled, Ok(Ran::EmptyCancel(_))),
            "its cancel still comes, and is empty: {cancelled:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_kept_as_json_and_one_that_cannot_be_kept_leaves_the_fence() {
    let server = Server::volatile().await;
    let mut connection = server.raw().await;
    let script = Script::new("return { left = 3, of = 'tea' }");
    for _ in 0..2 {
        let ran = script.fence(&try_cx(1), "shop").run(&mut connection).await.unwrap();
        let answer: BTreeMap<String, serde_json::Value> = ran.answer().get().unwrap();
        assert_eq!((answer["left"].as_i64(), answer["of"].as_str()), (Some(3), Some("tea")));
    }
    Script::new("")
        .fence(&try_cx(2), "shop")
        .run(&mut connection)
        .await
        .unwrap()
        .answer()
        .get::<()>()
        .unwrap();
    for (number, body) in [(3, "return function() end"), (4, "return string.rep('x', 300000)")] {
        let script = Script::new(&format!("redis.call('INCR', KEYS[1]) {body}"));
        let key = format!("{{shop}}{number}");
        let lost = script.fence(&try_cx(number), "shop").key(&key).run(&mut connection).await.unwrap_err();
        assert!(matches!(lost, FenceError::AnswerLost(_)), "{lost}");
        let again = script.fence(&try_cx(number), "shop").key(&key).run(&mut connection).await.unwrap();
        assert!(matches!(again, Ran::AlreadyDone(_)), "{again:?}");
        assert_eq!(ask::<i64>(&mut connection, &["GET", &key]).await, 1);
    }
}

#[tokio::test]
async fn a_redis_that_forgot_the_scripts_or_has_no_memory_left_still_cancels() {
    let server = Server::volatile().await;
    let mut connection = server.raw().await;
    assert_eq!(run(&mut connection, 1, Kind::Try, 1).await, Heard::First);
    let () = ask(&mut connection, &["SCRIPT", "FLUSH"]).await;
    let () = ask(&mut connection, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let denied = EFFECT.fence(&try_cx(2), "shop").key("{shop}").arg("try").arg(1).run(&mut connection).await;
    assert!(matches!(denied, Err(FenceError::Database { .. })), "{denied:?}");
    assert_eq!(run(&mut connection, 1, Kind::Cancel, 2).await, Heard::First);
    assert_eq!(run(&mut connection, 2, Kind::Cancel, 2).await, Heard::EmptyCancel);
}

#[tokio::test]
async fn in_a_cluster_all_keys_lie_in_the_slot_of_the_fence() {
    let server = Server::with(&["--appendonly", "no", "--cluster-enabled", "yes"]).await;
    let mut connection = server.raw().await;
    let () = ask(&mut connection, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let began = Instant::now();
    while !ask::<String>(&mut connection, &["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
        assert!(began.elapsed().as_secs() < 60, "waited a minute until the cluster is up");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(run(&mut connection, 1, Kind::Try, 1).await, Heard::First);
    assert_eq!(run(&mut connection, 1, Kind::Confirm, 2).await, Heard::First);

    for (tag, key) in
        [("shop", "effects"), ("shop", "{other}:effects"), ("shop", "{}shop"), ("shop", "a{b{shop}")]
    {
        let refused = EFFECT.fence(&try_cx(2), tag).key(key).arg("try").arg(1).run(&mut connection).await;
        assert!(matches!(refused, Err(FenceError::OtherSlot { .. })), "{key}: {refused:?}");
        let [slot, home]: [i64; 2] = [
            ask(&mut connection, &["CLUSTER", "KEYSLOT", key]).await,
            ask(&mut connection, &["CLUSTER", "KEYSLOT", tag]).await,
        ];
        assert_ne!(slot, home, "{key}");
    }
    for key in ["shop", "{shop}", "x{shop}y{z}"] {
        let ran = EFFECT.fence(&try_cx(3), "shop").key(key).arg("try").arg(1).run(&mut connection).await;
        assert!(ran.is_ok(), "{key}: {ran:?}");
    }
    for tag in ["", "{shop}", "sh}op"] {
        let refused = EFFECT.fence(&try_cx(4), tag).run(&mut connection).await;
        assert!(matches!(refused, Err(FenceError::Tag(_))), "{tag}: {refused:?}");
    }
}
