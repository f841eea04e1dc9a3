//! Every way in which a transaction can stand still is seen as what it is, and ends by the command that its hint
//! names.

use serde_json::Value;
use tcc_core::{
    Gid, Presence, Timestamp,
    machine::{Close, CloseDrive, How},
    record::{Direction, Known, TransactionState},
    store::Store,
};
use tcc_redis::{Durability, RedisStore};

use crate::{
    ctl::Ctl,
    server::{Server, ask},
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
    let how = How::Failed { after_ms: 600_000, error: "the warehouse does not answer".into() };
    story.apply(Close { drives: vec![CloseDrive { ordinal, epoch, direction, how }] }).await;
    let _process = scene.host("shop-2", &Moods::new(Mood::Well)).await;
    let command = named(&scene, &story.gid, "retrying", "tried again by itself").await;
    let detail = shown(&scene, &story.gid).await;
    assert_eq!(detail["branches"][0]["error"], "the warehouse does not answer");
    scene.wait(600_000).await;
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
    let right: String = ask(&mut raw, &["HGET", &key, "decided"]).await;
    let _: i64 = ask(&mut raw, &["HSET", &key, "decided", "yesterday"]).await;
    let process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    crate::ctl::until("it is listed", async || {
        !scene.store.inspect().unreadable(0).await.unwrap().is_empty()
    })
    .await;
    let command = named(&scene, &gid, "unreadable", "mend the field named").await;
    let said = scene.ctl.typed(&command).await;
    assert_eq!(said.code, 8, "nothing is mended yet: {said:?}");
    assert!(said.words.contains("decided"), "{said:?}");
    let _: i64 = ask(&mut raw, &["HSET", &key, "decided", &right]).await;
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

#[tokio::test]
async fn a_decided_one_that_nobody_looks_at_goes_on_when_a_process_sweeps() {
    let scene = Scene::new().await;
    let gid = decided(&scene, 1, STOCK).await;
    // It is heard, and does nothing: it hangs, or its sweeper is dead.
    let presence = Presence {
        process: "shop-1".parse().unwrap(),
        actions: vec![STOCK.parse().unwrap()],
        version: "0.1.0".into(),
        heard_at: Timestamp::from_millis(0),
    };
    scene.store.announce(&presence).await.unwrap();
    named(&scene, &gid, "underway", "by itself").await;
    scene.wait(120_000).await;
    let command = named(&scene, &gid, "overdue", "no process sweeps").await;
    let _process = scene.host("shop-2", &Moods::new(Mood::Well)).await;
    type_it(&scene, &command).await;
    scene.until_state(&gid, TransactionState::Confirmed).await;
}

#[tokio::test]
async fn one_that_is_followed_is_told_line_by_line_until_it_ends_or_waits() {
    let scene = Scene::new().await;
    let moods = Moods::new(Mood::Fails);
    let _process = scene.host("shop-1", &moods).await;
    let gid = decided(&scene, 1, STOCK).await;
    let follow = ["show", gid.as_str(), "--follow", "-o", "jsonl"];
    let parked = scene.ctl.run(&follow).await;
    assert_eq!(parked.code, 1, "it waits for an operator: {parked:?}");
    moods.set(Mood::Well);
    scene.ctl.done(&["retry", gid.as_str(), "--reason", "x"]).await;
    let ended = scene.ctl.done(&follow).await;
    for said in [parked, ended] {
        let lines: Vec<Value> = said.data.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.iter().for_each(crate::ctl::check);
        let (last, events) = lines.split_last().unwrap();
        assert_eq!(last["kind"], "transaction_detail");
        let told: Vec<&Value> = events.iter().map(|event| &event["what"]).collect();
        let kept: Vec<&Value> =
            last["events"].as_array().unwrap().iter().map(|event| &event["what"]).collect();
        assert_eq!(told, kept, "each event once, in order");
    }
    // Nobody hosts it: it is not over when the time is.
    let hostless = decided(&scene, 2, "mail.book@1").await;
    let said = scene.ctl.run(&["show", hostless.as_str(), "--follow", "--for", "0s", "-o", "json"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.words.contains("is not over after 0s"), "{said:?}");
    crate::ctl::check(&serde_json::from_str(&said.data).unwrap());
}

#[tokio::test]
async fn a_hint_names_the_flags_that_it_needs() {
    let server = Server::volatile().await;
    let store =
        RedisStore::builder(server.url()).namespace("shop").shards(3).durability(Durability::Volatile);
    let store = store.connect().await.unwrap();
    let mut story = Story::new(&store, 1);
    story.gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 2);
    story.register(&[STOCK]).await;
    let gid = story.gid.as_str();
    let by_flags = Ctl::new("redis://nowhere.invalid/");
    let url = server.url();
    let flags = ["--url", &url, "--namespace", "shop"];
    let detail = by_flags.json(&[&flags[..], &["show", &gid[..12]]].concat()).await;
    let command = detail["hint"]["command"].as_str().unwrap();
    assert_eq!(command, format!("tccctl --url {url} --namespace shop cancel {gid} --reason ..."));
    by_flags.done(&[&flags[..], &["pause", "pay", "--reason", "x"]].concat()).await;
    let said = by_flags.typed(command).await;
    assert_eq!(said.code, 0, "{said:?}");
    let by_environment = Ctl::new(&url).with("TCC_NAMESPACE", "shop");
    let detail = by_environment.json(&["show", gid]).await;
    assert_eq!(detail["hint"]["command"], format!("tccctl show {gid} --follow"));
    // All shards answer as one.
    let listed = by_environment.json(&["list"]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(by_environment.json(&["stats"]).await["shards"], 3);
    let audit = by_environment.json(&["audit"]).await;
    assert_eq!(
        (&audit["items"][0]["gid"], &audit["items"][1]["scope"]),
        (&gid.into(), &"pay".into()),
        "newest first"
    );
    let doctor = by_environment.run(&["doctor", "--durability", "volatile"]).await;
    assert_eq!(doctor.code, 0, "{doctor:?}");
    let secret = format!("redis://default:secret@127.0.0.1:{}/", server.port());
    let () = ask(&mut server.raw().await, &["CONFIG", "SET", "requirepass", "secret"]).await;
    let said = by_flags.done(&["--url", &secret, "--namespace", "shop", "show", gid]).await;
    assert!(!said.data.contains("secret") && !said.words.contains("secret"), "{said:?}");
}
