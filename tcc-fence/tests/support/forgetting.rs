//! What a clean-up deletes, and what it never does.

use std::time::Duration;

use sqlx::Pool;
use tcc::{MemoryStore, Runtime};
use tcc_fence::{CleanUp, Cleaned, enter};

use super::{
    behaviour::{change, row},
    cancel_cx, confirm_cx, try_cx,
};
use crate::{Db, aged};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

async fn clean_up_of(retention: Duration) -> CleanUp {
    let builder = Runtime::builder().store(MemoryStore::new()).retention(retention);
    let runtime = builder.start().await.unwrap();
    assert_eq!(runtime.fence_retention().as_duration(), retention);
    runtime.shutdown().await;
    CleanUp::of(runtime.fence_retention())
}

/// On a table that has no row yet.
pub(crate) async fn forgets_what_ended_before_the_retention_of_the_runtime(pool: &Pool<Db>) {
    let day = 24 * HOUR;
    let [tried, confirmed, cancelled, empty, young] = [0, 1, 2, 3, 4];
    for number in [tried, confirmed, cancelled, young] {
        let mut local = pool.begin().await.unwrap();
        assert!(enter(&mut local, &try_cx(number)).await.unwrap().is_first());
        local.commit().await.unwrap();
        // Age counts from the end, not from the try.
        change(pool, number, &aged(1_000 * HOUR)).await;
    }
    let mut local = pool.begin().await.unwrap();
    for number in [confirmed, young] {
        assert!(enter(&mut local, &confirm_cx(number, 1)).await.unwrap().is_first());
    }
    for number in [cancelled, empty] {
        let _entry = enter(&mut local, &cancel_cx(number, 1)).await.unwrap();
    }
    local.commit().await.unwrap();
    let clean_up = clean_up_of(day).await;
    assert_eq!(clean_up.run(pool).await.unwrap(), cleaned(0, false), "all of them ended just now");

    for number in [confirmed, cancelled, empty] {
        change(pool, number, &aged(day + MINUTE)).await;
    }
    change(pool, young, &aged(day - MINUTE)).await;
    assert_eq!(
        clean_up_of(2 * day).await.run(pool).await.unwrap(),
        cleaned(0, false),
        "another runtime needs them"
    );
    let small = clean_up.batch_rows_max(1).batches_max(2);
    assert_eq!(small.run(pool).await.unwrap(), cleaned(2, true), "it stops at its limit");
    assert_eq!(small.run(pool).await.unwrap(), cleaned(1, false));
    assert_eq!(clean_up.run(pool).await.unwrap(), cleaned(0, false));
    for (number, stays) in
        [(tried, true), (confirmed, false), (cancelled, false), (empty, false), (young, true)]
    {
        assert_eq!(row(pool, number).await.is_some(), stays, "{number}");
    }
}

fn cleaned(rows: u64, more: bool) -> Cleaned {
    let mut cleaned = Cleaned::default();
    (cleaned.rows, cleaned.more) = (rows, more);
    cleaned
}
