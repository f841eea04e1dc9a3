//! Who follows a page of the book to its end has put right what the page is about.

use std::{cell::RefCell, collections::BTreeSet};

use serde_json::Value;
use tcc_core::{
    Gid, Runtime,
    machine::{Begin, Close, CloseDrive, How},
    record::{Direction, ParkCause, TransactionState},
    store::StoreErrorKind,
};
use tcc_redis::RedisStore;

use crate::{
    ctl::{Ctl, until},
    page::{self, Page},
    server::{Server, ask},
    shop::{Mood, Moods, Scene, action},
    story::{STOCK, Story, succeeded},
};

/// Pages whose commands `words.rs` types.
const ELSEWHERE: [&str; 2] = ["inspect-with-redis-cli.md", "tccctl.md"];

/// A test for each page with commands, and the list of them.
macro_rules! pages {
    ($($test:ident follows $page:literal by $body:expr;)*) => {
        const FOLLOWED: &[&str] = &[$($page),*];
        $(
            #[tokio::test]
            async fn $test() {
                let page: fn(&Scene) -> Page = |scene| Page::new($page, &scene.server, &scene.ctl);
                $body(page).await;
            }
        )*
    };
}

pages! {
    a_newcomer_looks_into_redis follows "start.md" by newcomer;
    an_operator_looks_around follows "operating.md" by look_around;
    exhausted_attempts_are_put_right follows "alarms/attempts-exhausted.md" by attempts_exhausted;
    what_works_too_long_is_put_right follows "alarms/ongoing-too-long.md" by ongoing_too_long;
    what_a_handler_gave_up_is_put_right follows "alarms/handler-gave-up.md" by handler_gave_up;
    what_cannot_be_decoded_is_put_right follows "alarms/undecodable.md" by undecodable;
    an_unknown_action_is_put_right follows "alarms/unknown-action.md" by unknown_action;
    a_missing_host_is_put_right follows "alarms/hostless.md" by hostless;
    what_nobody_looks_at_is_put_right follows "alarms/overdue.md" by overdue;
    a_forgotten_pause_is_put_right follows "alarms/paused.md" by paused;
    an_unreadable_record_is_put_right follows "alarms/unreadable.md" by unreadable;
    growing_retries_are_put_right follows "alarms/retries-growing.md" by retries_growing;
    a_full_redis_is_put_right follows "alarms/redis-full.md" by redis_full;
    a_redis_that_takes_no_writes_is_put_right follows "alarms/redis-read-only.md" by redis_read_only;
    settings_are_seen follows "durability.md" by durability;
    a_restored_redis_is_looked_after follows "restore.md" by restore;
    an_upgrade_is_looked_after follows "upgrading.md" by upgrading;
}

#[test]
fn every_page_with_commands_is_followed() {
    let typed = page::all().into_iter().filter(|(_, text)| !page::lines(text).is_empty());
    let typed: BTreeSet<String> = typed.map(|(name, _)| name).collect();
    let mut followed: BTreeSet<String> =
        FOLLOWED.iter().chain(&ELSEWHERE).map(|name| (*name).to_owned()).collect();
    followed.insert(UNREACHABLE.to_owned());
    assert_eq!(typed, followed);
}

/// Nothing happens while a page is followed.
async fn nothing(_: &str) {}

/// Decided to be confirmed, with nobody told.
async fn decided(scene: &Scene, number: u64, action: &str) -> Gid {
    let story = Story::new(&scene.store, number);
    story.register(&[action]).await;
    story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
    story.gid
}

/// Parked by a process whose handlers are in this mood, which then is well.
async fn parked(scene: &Scene, numbers: std::ops::Range<u64>, mood: Mood) -> (Runtime, Vec<Gid>) {
    let moods = Moods::new(mood);
    let process = scene.host("shop-1", &moods).await;
    let mut gids = Vec::new();
    for number in numbers {
        gids.push(decided(scene, number, STOCK).await);
    }
    for gid in &gids {
        scene.until_parked(gid).await;
    }
    moods.set(Mood::Well);
    (process, gids)
}

async fn until_confirmed(scene: &Scene, gids: &[Gid]) {
    for gid in gids {
        scene.until_state(gid, TransactionState::Confirmed).await;
    }
}

async fn newcomer(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let said = page(&scene).follow(nothing).await;
    assert!(said.last().unwrap().data.contains("shop-1"), "{said:?}");
}

async fn look_around(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let (_process, gids) = parked(&scene, 1..3, Mood::Fails).await;
    let said = page(&scene).with("GID", &gids[0]).follow(nothing).await;
    assert!(said[0].data.contains(gids[0].as_str()), "the first command lists it: {said:?}");
    assert!(said[1].data.contains("attempts ran out") && said[1].data.contains("Next:"), "{said:?}");
}

async fn attempts_exhausted(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let (_process, gids) = parked(&scene, 1..4, Mood::Fails).await;
    page(&scene).with("GID", &gids[0]).follow(nothing).await;
    until_confirmed(&scene, &gids).await;
}

async fn ongoing_too_long(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let (_process, gids) = parked(&scene, 1..2, Mood::Works).await;
    page(&scene).with("GID", &gids[0]).follow(nothing).await;
    until_confirmed(&scene, &gids).await;
}

async fn handler_gave_up(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let (_process, gids) = parked(&scene, 1..3, Mood::GivesUp).await;
    let said = page(&scene).with("GID", &gids[0]).with("RETRIED", &gids[1]).follow(nothing).await;
    assert!(said[0].data.contains("the parcel is lost"), "{said:?}");
    until_confirmed(&scene, &gids).await;
}

async fn undecodable(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Well);
    let builder = scene.process("shop-1").actions("stock", [action::<u64>("reserve", 1, &moods)]);
    let broken = builder.start().await.unwrap();
    let gid = decided(&scene, 1, STOCK).await;
    scene.until_parked(&gid).await;
    broken.shutdown().await;
    let _before = scene.host("shop-2", &moods).await;
    page(&scene).with("GID", &gid).follow(nothing).await;
    until_confirmed(&scene, &[gid]).await;
}

async fn unknown_action(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Well);
    let _old = scene.host("shop-1", &moods).await;
    let gid = decided(&scene, 1, "stock.reserve@2").await;
    scene.until_parked(&gid).await;
    let builder = scene.process("shop-2").actions("stock", [action::<Value>("reserve", 2, &moods)]);
    let _new = builder.start().await.unwrap();
    page(&scene).with("GID", &gid).follow(nothing).await;
    until_confirmed(&scene, &[gid]).await;
}

/// A process that comes when the page says that it does: before what follows is typed.
async fn comes(scene: &Scene, process: &RefCell<Option<Runtime>>, typed: &str) {
    if typed.contains("--follow") {
        let started = scene.host("shop-2", &Moods::new(Mood::Well)).await;
        process.replace(Some(started));
    }
}

async fn hostless(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    let process = RefCell::new(None);
    let page = page(&scene).with("GID", &gid);
    let said = page.follow(async |typed| comes(&scene, &process, typed).await).await;
    assert!(said[1].data.contains("no live process hosts stock.reserve@1"), "{said:?}");
    until_confirmed(&scene, &[gid]).await;
}

async fn overdue(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let mut story = Story::new(&scene.store, 1);
    story.lease_ms = 1_000;
    story.register(&[STOCK]).await;
    scene.wait(60_000).await;
    let process = RefCell::new(None);
    let page = page(&scene).with("GID", &story.gid);
    let said = page.follow(async |typed| comes(&scene, &process, typed).await).await;
    assert!(said[0].data.contains(story.gid.as_str()), "{said:?}");
    scene.until_state(&story.gid, TransactionState::Cancelled).await;
}

async fn paused(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    scene.ctl.done(&["pause", "stock", "--reason", "stocktaking"]).await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let gid = decided(&scene, 1, STOCK).await;
    let said = page(&scene).with("GID", &gid).follow(nothing).await;
    assert!(said[0].data.contains("stocktaking"), "{said:?}");
    until_confirmed(&scene, &[gid]).await;
}

async fn unreadable(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    let key = scene.store.inspect().record_key(&gid);
    let mut raw = scene.server.raw().await;
    let right: String = ask(&mut raw, &["HGET", &key, "decided"]).await;
    let _: i64 = ask(&mut raw, &["HSET", &key, "decided", "yesterday"]).await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    until("it is listed", async || !scene.store.inspect().unreadable(0).await.unwrap().is_empty()).await;
    let said = page(&scene).with("GID", &gid).with("RIGHT", &right).follow(nothing).await;
    assert!(said[2].data.contains("decided"), "redis-cli names the field: {said:?}");
    until_confirmed(&scene, &[gid]).await;
}

async fn retries_growing(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    let (ordinal, epoch, direction) = (drives[0].ordinal, drives[0].epoch, drives[0].direction);
    let how = How::Failed { after_ms: 3_000, error: "the warehouse does not answer".into() };
    story.apply(Close { drives: vec![CloseDrive { ordinal, epoch, direction, how }] }).await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let said = page(&scene).with("GID", &story.gid).follow(nothing).await;
    assert!(said[1].data.contains("the warehouse does not answer"), "{said:?}");
    until_confirmed(&scene, &[story.gid]).await;
}

async fn redis_full(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    let mut raw = scene.server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let story = Story::new(&scene.store, 2);
    let begin = async || {
        let create = story.create().await;
        story.try_apply(Begin { create, again_after_cancel: false }).await
    };
    let refused = begin().await.expect_err("Redis is full");
    assert_eq!(refused.kind(), StoreErrorKind::Full, "{refused}");
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    until_confirmed(&scene, &[gid]).await;
    page(&scene).follow(nothing).await;
    begin().await.expect("a transaction can begin").result.expect("an answer");
}

async fn redis_read_only(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    let (mut raw, other) = (scene.server.raw().await, Server::volatile().await.port().to_string());
    let () = ask(&mut raw, &["REPLICAOF", "127.0.0.1", &other]).await;
    let said = page(&scene).follow(nothing).await;
    assert!(said[0].data.contains("role:slave"), "{said:?}");
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    until_confirmed(&scene, &[gid]).await;
}

async fn durability(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let said = page(&scene).follow(nothing).await;
    assert!(said[0].data.contains("appendfsync") && said[1].data.contains("noeviction"), "{said:?}");
}

async fn restore(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let sold = decided(&scene, 1, STOCK).await;
    let other = decided(&scene, 2, STOCK).await;
    let gids = tempfile::NamedTempFile::new().unwrap();
    let unknown = crate::story::gid(3);
    std::fs::write(gids.path(), format!("{sold}\n{unknown}\n")).unwrap();
    let process = RefCell::new(None);
    let page = page(&scene).with("GID", &sold).with("GIDS", gids.path().display());
    let said = page
        .follow(async |typed| {
            // Services start once what has no fence is paused.
            if typed.contains("list --participant") {
                process.replace(Some(scene.host("shop-1", &Moods::new(Mood::Well)).await));
            }
        })
        .await;
    assert_eq!(
        said.last().unwrap().data.trim(),
        unknown.as_str(),
        "it finds what Redis does not know: {said:?}"
    );
    until_confirmed(&scene, &[sold.clone(), other]).await;
    assert_eq!(scene.record(&sold).await.branches[0].attempts, 0, "what was attested is not driven");
}

async fn upgrading(page: fn(&Scene) -> Page) {
    let scene = Scene::new().await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let said = page(&scene).follow(nothing).await;
    assert!(said[0].data.contains("stock.reserve@1"), "{said:?}");
}

#[test]
fn every_cause_of_parking_leads_to_a_page() {
    let pages = page::all();
    for cause in [
        ParkCause::AttemptsExhausted,
        ParkCause::OngoingTooLong,
        ParkCause::Handler,
        ParkCause::Undecodable,
        ParkCause::UnknownAction,
    ] {
        let row = format!("| parked: {cause} | [");
        assert!(pages["operating.md"].contains(&row), "operating.md has no row {row:?}");
    }
}

const UNREACHABLE: &str = "alarms/redis-unreachable.md";

#[tokio::test]
async fn a_redis_that_is_not_there_is_put_right() {
    let mut server = Server::start().await;
    let store = RedisStore::connect(server.url()).await.expect("a store");
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
    let page = Page::new(UNREACHABLE, &server, &Ctl::new(server.url()));
    server.kill();
    let mut pings = 0;
    let said = page
        .follow(async |typed| {
            if typed.contains("PING") {
                pings += 1;
                // It is started between the two.
                if pings == 2 {
                    server.restart().await;
                }
            }
        })
        .await;
    assert!(said[4].data.contains(story.gid.as_str()), "what was decided is there: {said:?}");
}
