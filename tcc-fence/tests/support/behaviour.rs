//! What a fence promises whatever the database, one case at a time.

use std::error::Error as _;

use sqlx::{AssertSqlSafe, Pool};
use tcc_core::PhaseError;
use tcc_fence::{Entry, FenceError, create_table, enter};

use super::{action, branch, cancel_cx, confirm_cx, gid, try_cx};
use crate::Db;

pub(crate) async fn holds_its_promises(pool: &Pool<Db>) {
    create_table(pool).await.expect("a table that is there is left alone");
    every_phase_is_done_once_and_answers_alike_ever_after(pool).await;
    a_try_after_its_cancel_is_an_error_and_takes_nothing_with_it(pool).await;
    a_try_that_refused_leaves_no_row_and_its_cancel_is_empty(pool).await;
    a_phase_that_keeps_no_answer_is_read_as_nothing(pool).await;
    the_opposite_direction_is_a_contradiction_that_parks(pool).await;
    a_row_of_another_action_is_a_contradiction(pool).await;
    a_database_that_fails_is_tried_again(pool).await;
    an_answer_too_large_is_refused_and_one_of_another_type_named(pool).await;
}

async fn every_phase_is_done_once_and_answers_alike_ever_after(pool: &Pool<Db>) {
    let number = 1_000_001;
    let answers = ["first", "tëa ☕ \"quoted\"", "second"];
    for round in 0..2 {
        let mut local = pool.begin().await.unwrap();
        match enter(&mut local, &try_cx(number)).await.unwrap() {
            Entry::First(first) if round == 0 => first.keep(&mut local, answers[1]).await.unwrap(),
            Entry::AlreadyDone(answer) if round == 1 => {
                assert_eq!(answer.get::<String>().unwrap(), answers[1])
            }
            other => panic!("{round}: {other:?}"),
        }
        local.commit().await.unwrap();
    }
    for round in 0..3 {
        let mut local = pool.begin().await.unwrap();
        match enter(&mut local, &confirm_cx(number, 7 + round)).await.unwrap() {
            Entry::First(first) if round == 0 => first.keep(&mut local, answers[0]).await.unwrap(),
            Entry::AlreadyDone(answer) if round > 0 => {
                assert_eq!(answer.get::<String>().unwrap(), answers[0])
            }
            other => panic!("{round}: {other:?}"),
        }
        local.commit().await.unwrap();
    }
    let mut local = pool.begin().await.unwrap();
    let Entry::AlreadyDone(answer) = enter(&mut local, &try_cx(number)).await.unwrap() else {
        panic!("a try")
    };
    assert_eq!(answer.get::<String>().unwrap(), answers[1], "the try's own answer, not its confirm's");
    local.rollback().await.unwrap();
    assert_eq!(row(pool, number).await, Some((action().to_string(), "confirm".into(), 7)));
}

async fn a_try_after_its_cancel_is_an_error_and_takes_nothing_with_it(pool: &Pool<Db>) {
    let number = 1_000_002;
    for _ in 0..3 {
        let mut local = pool.begin().await.unwrap();
        let entry = enter(&mut local, &cancel_cx(number, 1)).await.unwrap();
        assert!(
            matches!(entry, Entry::EmptyCancel(_)),
            "a cancel that comes again is told the same: {entry:?}"
        );
        local.commit().await.unwrap();
        let mut local = pool.begin().await.unwrap();
        let late = enter(&mut local, &try_cx(number)).await.unwrap_err();
        assert!(late.is_too_late() && !late.is_retryable(), "{late}");
        assert_eq!(
            late.to_string(),
            format!("the try of stock.reserve@1 in {}/01 came after its cancel", gid(number))
        );
    }
    assert_eq!(row(pool, number).await, Some((action().to_string(), "empty".into(), 1)));
}

async fn a_try_that_refused_leaves_no_row_and_its_cancel_is_empty(pool: &Pool<Db>) {
    let number = 1_000_003;
    let mut local = pool.begin().await.unwrap();
    assert!(enter(&mut local, &try_cx(number)).await.unwrap().is_first());
    drop(local);
    assert_eq!(row(pool, number).await, None);
    let mut local = pool.begin().await.unwrap();
    assert!(matches!(enter(&mut local, &cancel_cx(number, 1)).await.unwrap(), Entry::EmptyCancel(_)));
    drop(local);
    assert_eq!(row(pool, number).await, None, "an empty cancel that did not commit bars nothing");
    let mut local = pool.begin().await.unwrap();
    assert!(enter(&mut local, &try_cx(number)).await.unwrap().is_first());
}

async fn a_phase_that_keeps_no_answer_is_read_as_nothing(pool: &Pool<Db>) {
    let number = 1_000_004;
    for round in 0..2 {
        let mut local = pool.begin().await.unwrap();
        let entry = enter(&mut local, &try_cx(number)).await.unwrap();
        assert_eq!(entry.is_first(), round == 0);
        if let Entry::AlreadyDone(answer) = entry {
            answer.get::<()>().unwrap();
            assert_eq!((answer.get::<Option<u8>>().unwrap(), answer.as_json()), (None, "null"));
            assert!(matches!(answer.get::<u8>(), Err(FenceError::Unreadable(_))));
        }
        local.commit().await.unwrap();
    }
}

/// As a confirm or cancel handler meets it: by `?`.
async fn confirm(pool: &Pool<Db>, number: u64) -> Result<(), PhaseError> {
    let mut local = pool.begin().await?;
    let _entry = enter(&mut local, &confirm_cx(number, 1)).await?;
    Ok(local.commit().await?)
}

async fn cancel(pool: &Pool<Db>, number: u64) -> Result<(), PhaseError> {
    let mut local = pool.begin().await?;
    let _entry = enter(&mut local, &cancel_cx(number, 1)).await?;
    Ok(local.commit().await?)
}

async fn tried(pool: &Pool<Db>, number: u64) {
    let mut local = pool.begin().await.unwrap();
    assert!(enter(&mut local, &try_cx(number)).await.unwrap().is_first());
    local.commit().await.unwrap();
}

fn assert_parks(ended: Result<(), PhaseError>, says: &str) {
    let Err(PhaseError::Park(cause)) = ended else { panic!("not parked: {ended:?}") };
    let error = cause.downcast_ref::<FenceError>().expect("the fence's error, whole");
    let source = error.source().expect("a source").to_string();
    assert!(source.contains(says), "{source}");
    assert!(!error.is_retryable() && error.to_string().contains("contradicts its"), "{error}");
}

async fn the_opposite_direction_is_a_contradiction_that_parks(pool: &Pool<Db>) {
    let [untried, confirmed, cancelled, barred] = [1_000_010, 1_000_011, 1_000_012, 1_000_013];
    assert_parks(confirm(pool, untried).await, "no try of it took effect");
    assert_eq!(row(pool, untried).await, None);
    // Even one who commits in spite of the error leaves no confirm behind.
    let mut local = pool.begin().await.unwrap();
    enter(&mut local, &confirm_cx(untried, 1)).await.unwrap_err();
    local.commit().await.unwrap();
    assert_eq!(row(pool, untried).await, None);

    tried(pool, confirmed).await;
    confirm(pool, confirmed).await.unwrap();
    assert_parks(cancel(pool, confirmed).await, "it was confirmed");
    tried(pool, cancelled).await;
    cancel(pool, cancelled).await.unwrap();
    assert_parks(confirm(pool, cancelled).await, "it was cancelled");
    cancel(pool, barred).await.unwrap();
    assert_parks(confirm(pool, barred).await, "before any try");
}

async fn a_row_of_another_action_is_a_contradiction(pool: &Pool<Db>) {
    let number = 1_000_020;
    tried(pool, number).await;
    change(pool, number, "action = 'stock.order@1'").await;
    assert_parks(confirm(pool, number).await, "its row is one of action stock.order@1");
    assert_parks(cancel(pool, number).await, "stock.reserve@1 asks");
}

async fn a_database_that_fails_is_tried_again(pool: &Pool<Db>) {
    sqlx::raw_sql("ALTER TABLE tcc_fence RENAME TO elsewhere").execute(pool).await.unwrap();
    let ended = confirm(pool, 1_000_030).await;
    sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO tcc_fence").execute(pool).await.unwrap();
    let Err(PhaseError::Retry(cause)) = ended else { panic!("not tried again: {ended:?}") };
    let error = cause.downcast_ref::<FenceError>().expect("the fence's error, whole");
    assert!(
        error.is_retryable() && error.source().is_some_and(|source| source.is::<sqlx::Error>()),
        "{error}"
    );
}

async fn an_answer_too_large_is_refused_and_one_of_another_type_named(pool: &Pool<Db>) {
    for (answer, fits) in [
        ("x".repeat(tcc_fence::ANSWER_BYTES_MAX - 2), true),
        ("x".repeat(tcc_fence::ANSWER_BYTES_MAX - 1), false),
    ] {
        let number = 1_000_040;
        let mut local = pool.begin().await.unwrap();
        let Entry::First(first) = enter(&mut local, &try_cx(number)).await.unwrap() else {
            panic!("not the first")
        };
        let kept = first.keep(&mut local, &answer).await;
        assert_eq!(kept.is_ok(), fits, "{kept:?}");
        assert!(fits || matches!(kept, Err(FenceError::TooLarge { bytes, max }) if bytes == max + 1));
    }
    let mut local = pool.begin().await.unwrap();
    let Entry::First(first) = enter(&mut local, &try_cx(1_000_041)).await.unwrap() else {
        panic!("not the first")
    };
    assert!(matches!(first.keep(&mut local, &f64::NAN).await, Err(FenceError::Unkept(_))));
}

/// Action, phase and epoch of a branch's row.
pub(crate) async fn row(pool: &Pool<Db>, number: u64) -> Option<(String, String, i64)> {
    let gid = gid(number);
    let sql =
        format!("SELECT action, phase, epoch FROM tcc_fence WHERE gid = '{gid}' AND branch = '{}'", branch());
    sqlx::query_as(AssertSqlSafe(sql)).fetch_optional(pool).await.unwrap()
}

pub(crate) async fn change(pool: &Pool<Db>, number: u64, set: &str) {
    let sql = format!("UPDATE tcc_fence SET {set} WHERE gid = '{}'", gid(number));
    let changed = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
}
