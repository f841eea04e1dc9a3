//! The server's clock stepped by an hour, back and forth.
//!
//! What the functions ask `TIME` for is told them by the processes here: the machine's clock, and a step that
//! the test writes into the books.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    audit::{decision, initiator, records},
    books::Books,
    kills::{hold, holding},
    process::{Scene, until},
    role::Role,
};

const HOUR: Duration = Duration::from_secs(3_600);
const STEP: &str = "step";

/// The clock as it is stepped: milliseconds, kept up to date for as long as the process lives.
pub(crate) fn follow(books: Books) -> Arc<AtomicU64> {
    let clock = Arc::new(AtomicU64::new(read(&books)));
    let kept = Arc::clone(&clock);
    std::thread::spawn(move || {
        loop {
            kept.store(read(&books), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    clock
}

fn read(books: &Books) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let step = fs::read_to_string(books.folder().join(STEP)).unwrap_or_default();
    (since.as_millis() as u64).saturating_add_signed(step.parse().unwrap_or(0))
}

/// Steps the clock so far from the machine's.
fn step_to(books: &Books, millis: i64) {
    let draft = books.folder().join("step.draft");
    fs::write(&draft, millis.to_string()).expect("a draft");
    fs::rename(draft, books.folder().join(STEP)).expect("a step");
}

#[tokio::test]
async fn a_clock_stepped_by_an_hour_costs_time_and_cancels_and_nothing_else() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let hour = HOUR.as_millis() as i64;
    let of = |name: &str| Role { is_clock_given: true, ..scene.role(name) };
    let tries_only = vec!["to".to_owned()];
    let mut load = scene.start(Role { load: 4, tries_only, ..of("load") }).await;
    let worker = scene.start(of("worker")).await;
    scene.goes_on(40).await;

    // Back: time stands, and who waits for none goes on.
    step_to(&scene.books, -hour);
    let role = Role { is_clock_given: true, name: "dead".into(), ..holding(&scene, "first-try") };
    let dead = hold(&scene, role).await;
    dead.kill();
    scene.goes_on(40).await;
    let left: Vec<_> =
        records(&mut raw).await.into_iter().filter(|(_, record)| initiator(record) == "dead").collect();
    assert_eq!(left.len(), 1);
    assert_ne!(decision(&left[0].1).map(|[direction, ..]| direction), Some("confirm"));

    // And forth again: it goes on where it stood.
    step_to(&scene.books, 0);
    until("the dead one's is cancelled", async || {
        records(&mut raw).await[&left[0].0]["state"] == "cancelled"
    })
    .await;
    scene.goes_on(40).await;
    // An hour too far: whatever is undecided counts as late.
    step_to(&scene.books, hour);
    scene.goes_on(40).await;
    // And back.
    step_to(&scene.books, 0);
    scene.goes_on(40).await;
    scene.books.mark("enough");
    load.says("done").await;
    let balance = scene.balance().await;
    assert!(balance.confirmed > 80 && balance.cancelled > 0, "{balance:?}");
    load.leave().await;
    worker.leave().await;
}
