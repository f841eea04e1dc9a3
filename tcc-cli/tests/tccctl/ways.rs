//! Every way in which a transaction can stand still is seen as what it is, and ends by the command that its hint
//! names.

use serde_json::Value;
use tcc_core::{
    Gid,
    machine::{Close, CloseDrive, How},
    record::{Direction, Known, TransactionState},
};

use crate::{
    server::ask,
    shop::{Mood, Moods, Scene, action},
    story::{PAY, STOCK, Story, succeeded},
};

/// What `show` says of it.
async fn shown(scene: &Scene, gid: &Gid) -> Value {
    scene.ctl.json(&["show", gid.as_str()]).await
}

/// Holds what is said of it to what it is, and gives back the command that is named.
async fn named(scene: &Scene, gid: &Gid, situation: &str, words: &str) -> String {
    let detail = shown(scene, gid).await;
    assert_eq!(detail["situation"], situation, "{detail:#}");
    let hint = &detail["hint"];
    assert!(hint["words"].as_str().is_some_and(|said| said.contains(words)), "{words:?} is not in {hint:#}");
    let listed = scene.ctl.json(&["list"]).await;
    let listed = listed["items"].as_array().unwrap().iter().find(|item| item["gid"] == gid.as_str());
    assert_eq!(listed.expect("it is listed")["situation"], situation);
    let stuck = scene.ctl.json(&["list", "--stuck"]).await;
    let stuck = stuck["items"].as_array().unwrap().iter().any(|item| item["gid"] == gid.as_str());
    assert_eq!(stuck, detail["stuck"].as_bool().unwrap(), "--stuck lists what is said to be");
    hint["command"].as_str().expect("a command").to_owned()
}

/// Types the command, which has to do what it says.
async fn type_it(scene: &Scene, command: &str) {
    let said = scene.ctl.typed(command).await;
    assert_eq!(said.code, 0, "{command}: {said:?}");
}

/// Decided to be confirmed, with nobody told.
async fn decided(scene: &Scene, number: u64, action: &str) -> Gid {
    let story = Story::new(&scene.store, number);
    story.register(&[action]).await;
    story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
    story.gid
}

#[tokio::test]
async fn a_tried_one_whose_initiator_died_is_cancelled() {
    let scene = Scene::new().await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK, PAY]).await;
    story.report(&[(1, succeeded()), (2, Known::Refused)]).await;
    let command = named(&scene, &story.gid, "abandoned", "shop-1 is not heard").await;
    type_it(&scene, &command).await;
    let _process = scene.host("shop-2", &Moods::new(Mood::Well)).await;
    scene.until_state(&story.gid, TransactionState::Cancelled).await;
    let decision = scene.record(&story.gid).await.decision.expect("a decision");
    assert_eq!((decision.direction, decision.by.as_str()), (Direction::Cancel, "alice-corp"));
}

#[tokio::test]
async fn one_that_nobody_sweeps_is_cancelled() {
    let scene = Scene::new().await;
    let mut story = Story::new(&scene.store, 1);
    story.lease_ms = 1_000;
    story.register(&[STOCK]).await;
    scene.wait(60_000).await;
    let command = named(&scene, &story.gid, "overdue", "no process sweeps").await;
    type_it(&scene, &command).await;
    let _process = scene.host("shop-2", &Moods::new(Mood::Well)).await;
    scene.until_state(&story.gid, TransactionState::Cancelled).await;
}

#[tokio::test]
async fn one_whose_initiator_lives_is_waited_for() {
    let scene = Scene::new().await;
    let process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let open = process.transaction("checkout").begin().await.unwrap();
    open.call(STOCK, &serde_json::json!({})).await.unwrap();
    let gid = open.gid().clone();
    let command = named(&scene, &gid, "underway", "by itself").await;
    let (said, ()) = tokio::join!(scene.ctl.typed(&command), async {
        open.commit().await.unwrap();
    });
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.data.contains("ended confirmed"), "{said:?}");
}

#[tokio::test]
async fn one_whose_host_is_absent_goes_on_when_it_comes() {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    let command = named(&scene, &gid, "hostless", "no live process hosts stock.reserve@1").await;
    let _process = scene.host("shop-2", &Moods::new(Mood::Well)).await;
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn one_that_is_tried_again_is_waited_for() {
    let scene = Scene::new().await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    let (ordinal, epoch, direction) = (drives[0].ordinal, drives[0].epoch, drives[0].direction);
    let how = How::Failed { after_ms: 3_000, error: "the warehouse does not answer".into() };
    story.apply(Close { drives: vec![CloseDrive { ordinal, epoch, direction, how }] }).await;
    let _process = scene.host("shop-2", &Moods::new(Mood::Well)).await;
    let command = named(&scene, &story.gid, "retrying", "tried again by itself").await;
    let detail = shown(&scene, &story.gid).await;
    assert_eq!(detail["branches"][0]["error"], "the warehouse does not answer");
    type_it(&scene, &command).await;
    scene.until_state(&story.gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn one_parked_after_its_last_attempt_is_retried() {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Fails);
    let _process = scene.host("shop-1", &moods).await;
    let gid = decided(&scene, 1, STOCK).await;
    scene.until_parked(&gid).await;
    let command = named(&scene, &gid, "parked", "mend what stock.reserve@1 failed of").await;
    moods.set(Mood::Well);
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn one_whose_handler_gave_up_is_attested() {
    let scene = Scene::new().await;
    let _process = scene.host("shop-1", &Moods::new(Mood::GivesUp)).await;
    let gid = decided(&scene, 1, STOCK).await;
    scene.until_parked(&gid).await;
    let command = named(&scene, &gid, "parked", "its handler gave up on 01: do its confirm by hand").await;
    type_it(&scene, &command).await;
    assert_eq!(scene.record(&gid).await.state, TransactionState::Confirmed);
}

#[tokio::test]
async fn one_whose_books_contradict_is_attested_as_it_is_driven() {
    let scene = Scene::new().await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Contradicts)).await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    story.decide(Direction::Cancel, &[(1, None)], &[]).await;
    scene.until_parked(&story.gid).await;
    let command = named(&scene, &story.gid, "parked", "do its cancel by hand").await;
    assert!(command.contains("--as cancelled"), "{command}");
    type_it(&scene, &command).await;
    assert_eq!(scene.record(&story.gid).await.state, TransactionState::Cancelled);
}

#[tokio::test]
async fn one_that_works_for_too_long_is_asked_again() {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Works);
    let _process = scene.host("shop-1", &moods).await;
    let gid = decided(&scene, 1, STOCK).await;
    scene.until_parked(&gid).await;
    let command = named(&scene, &gid, "parked", "takes so long").await;
    moods.set(Mood::Well);
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn one_whose_payload_is_not_understood_is_retried_by_a_version_that_does() {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Well);
    let builder = scene.process("shop-1").actions("stock", [action::<u64>("reserve", 1, &moods)]);
    let old = builder.start().await.unwrap();
    let gid = decided(&scene, 1, STOCK).await;
    scene.until_parked(&gid).await;
    let command = named(&scene, &gid, "parked", "reads its payload").await;
    old.shutdown().await;
    let _new = scene.host("shop-2", &moods).await;
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn one_whose_version_nobody_knows_is_retried_when_somebody_does() {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Well);
    let _old = scene.host("shop-1", &moods).await;
    let gid = decided(&scene, 1, "stock.reserve@2").await;
    scene.until_parked(&gid).await;
    let command = named(&scene, &gid, "parked", "start a process that knows stock.reserve@2").await;
    let builder = scene.process("shop-2").actions("stock", [action::<Value>("reserve", 2, &moods)]);
    let _new = builder.start().await.unwrap();
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn a_paused_one_goes_on_when_it_is_resumed() {
    let scene = Scene::new().await;
    // A process knows of a pause from its start on, and of one that comes later within a round of its sweeper.
    scene.ctl.done(&["pause", "stock", "--reason", "stocktaking"]).await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let gid = decided(&scene, 1, STOCK).await;
    let command = named(&scene, &gid, "paused", "stock is paused").await;
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn an_unreadable_one_goes_on_once_it_is_mended() {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    let key = scene.store.inspect().record_key(&gid);
    let mut raw = scene.server.raw().await;
    let right: String = ask(&mut raw, &["HGET", &key, "01.state"]).await;
    let _: i64 = ask(&mut raw, &["HSET", &key, "01.state", "conforming"]).await;
    let process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    crate::ctl::until("it is listed", async || {
        !scene.store.inspect().unreadable(0).await.unwrap().is_empty()
    })
    .await;
    let command = named(&scene, &gid, "unreadable", "mend the field named").await;
    let said = scene.ctl.typed(&command).await;
    assert_eq!(said.code, 8, "nothing is mended yet: {said:?}");
    assert!(said.words.contains("01.state"), "{said:?}");
    let _: i64 = ask(&mut raw, &["HSET", &key, "01.state", &right]).await;
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
    process.shutdown().await;
}

#[tokio::test]
async fn branches_parked_for_different_reasons_are_told_one_by_one() {
    let scene = Scene::new().await;
    let [stock, pay] = [Mood::GivesUp, Mood::Fails].map(Moods::new);
    let builder = scene.process("shop-1").actions("stock", [action::<Value>("reserve", 1, &stock)]);
    let _process = builder.actions("pay", [action::<Value>("authorize", 1, &pay)]).start().await.unwrap();
    let story = Story::new(&scene.store, 1);
    story.register(&[PAY, STOCK]).await;
    story.decide(Direction::Confirm, &[(1, Some(succeeded())), (2, Some(succeeded()))], &[]).await;
    crate::ctl::until("both are parked", async || {
        scene.record(&story.gid).await.branches.iter().all(|branch| branch.parked.is_some())
    })
    .await;
    let command = named(&scene, &story.gid, "parked", "mend what pay.authorize@1").await;
    assert!(command.contains("--branch 01"), "{command}");
    pay.set(Mood::Well);
    type_it(&scene, &command).await;
    crate::ctl::until("01 is confirmed", async || {
        scene.record(&story.gid).await.branches[0].state.is_final()
    })
    .await;
    let command = named(&scene, &story.gid, "parked", "its handler gave up on 02").await;
    type_it(&scene, &command).await;
    scene.until_state(&story.gid, TransactionState::Confirmed).await;
}
