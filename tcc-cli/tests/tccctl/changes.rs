//! What changes something: one and many, refused and repeated, told to the audit.

use std::time::{Duration, Instant};

use serde_json::Value;
use tcc_core::{
    Gid,
    machine::How,
    record::{Direction, ParkCause, TransactionState},
    store::Store,
};

use crate::{
    shop::{Mood, Moods, Scene},
    story::{PAY, STOCK, Story, succeeded},
};

/// Transactions with one parked branch each.
async fn parked(scene: &Scene, count: u64) -> Vec<Gid> {
    let mut gids = Vec::new();
    for number in 0..count {
        let story = Story::new(&scene.store, number);
        story.register(&[STOCK]).await;
        let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
        let how = How::Park { cause: ParkCause::AttemptsExhausted, error: "no answer".into() };
        story.close(&drives[0], how).await;
        gids.push(story.gid);
    }
    gids
}

async fn audit(scene: &Scene) -> Vec<Value> {
    let audit = scene.ctl.json(&["audit"]).await;
    audit["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_decision_is_never_turned_round() {
    let scene = Scene::new().await;
    let gid = parked(&scene, 1).await.remove(0);
    let gid = gid.as_str();
    let cancel = scene.ctl.run(&["cancel", gid, "--reason", "a mistake"]).await;
    assert_eq!(cancel.code, 5, "{cancel:?}");
    let turned =
        scene.ctl.run(&["resolve", gid, "--branch", "01", "--as", "cancelled", "--reason", "x"]).await;
    assert_eq!(turned.code, 5, "{turned:?}");
    assert!(turned.words.contains("driven in the other direction"), "{turned:?}");
    let absent =
        scene.ctl.run(&["resolve", gid, "--branch", "02", "--as", "confirmed", "--reason", "x"]).await;
    assert_eq!(absent.code, 3, "{absent:?}");
    assert_eq!(audit(&scene).await, [Value::Null; 0], "what is refused is not audited");

    scene
        .ctl
        .done(&["resolve", gid, "--branch", "01", "--as", "confirmed", "--reason", "seen in the books"])
        .await;
    let again =
        scene.ctl.done(&["resolve", gid, "--branch", "01", "--as", "confirmed", "--reason", "again"]).await;
    assert!(again.data.contains("before"), "{again:?}");
    let nothing = scene.ctl.run(&["retry", gid, "--reason", "x"]).await;
    assert_eq!(nothing.code, 5, "{nothing:?}");
    let audit = audit(&scene).await;
    assert_eq!(audit.len(), 1, "{audit:#?}");
    let entry = &audit[0];
    assert_eq!(
        ["by", "what", "gid", "direction", "why"].map(|field| entry[field].as_str().unwrap()),
        ["alice-corp", "resolved", gid, "confirm", "seen in the books"]
    );
    assert_eq!(entry["branches"], serde_json::json!(["01"]));
}

#[tokio::test]
async fn a_change_without_a_host_warns() {
    let scene = Scene::new().await;
    let gids = parked(&scene, 2).await;
    let said = scene.ctl.done(&["retry", gids[0].as_str(), "--reason", "x"]).await;
    assert!(said.words.contains("no live process hosts stock.reserve@1"), "{said:?}");
    let said = scene.ctl.done(&["pause", "pay", "--reason", "x"]).await;
    assert!(said.words.contains("no live process hosts pay"), "{said:?}");
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let said = scene.ctl.done(&["retry", gids[1].as_str(), "--reason", "x"]).await;
    assert_eq!(said.words, "", "a host is there");
    scene.until_state(&gids[1], TransactionState::Confirmed).await;
}

#[tokio::test]
async fn many_are_changed_only_when_it_is_said() {
    let scene = Scene::new().await;
    let gids = parked(&scene, 5).await;
    let other = Story::new(&scene.store, 99);
    other.register(&[PAY]).await;
    let bulk = ["retry", "--parked", "--participant", "stock", "--reason", "the warehouse is back"];
    let dry = scene.ctl.done(&bulk).await;
    assert!(dry.words.contains("dry run: 5 transactions would be retried; add --yes"), "{dry:?}");
    assert!(gids.iter().all(|gid| dry.data.contains(gid.as_str())), "{dry:?}");
    assert_eq!(audit(&scene).await.len(), 0);
    let plan = scene.ctl.json(&bulk).await;
    assert_eq!((plan["kind"].as_str(), plan["items"].as_array().unwrap().len()), (Some("plan"), 5));

    let few = scene.ctl.run(&[&bulk[..], &["--yes", "--limit", "4"]].concat()).await;
    assert_eq!(few.code, 5, "{few:?}");
    assert!(few.words.contains("more than 4"), "{few:?}");
    assert_eq!(audit(&scene).await.len(), 0);

    let started = Instant::now();
    let done = scene.ctl.done(&[&bulk[..], &["--yes", "--rate", "10"]].concat()).await;
    assert!(started.elapsed() >= Duration::from_millis(400), "ten a second, and not all at once");
    assert!(done.words.contains("5 done, 0 failed"), "{done:?}");
    assert_eq!(done.data.lines().count(), 5, "{done:?}");
    assert_eq!(audit(&scene).await.len(), 5);
    assert!(scene.record(&other.gid).await.decision.is_none());
}

#[tokio::test]
async fn what_fails_among_many_is_listed_and_the_rest_is_done() {
    let scene = Scene::new().await;
    let gids = parked(&scene, 3).await;
    scene.ctl.done(&["retry", gids[1].as_str(), "--reason", "x"]).await;
    let texts: Vec<&str> = gids.iter().map(Gid::as_str).collect();
    let change = [&["retry"], &texts[..], &["--reason", "x", "-o", "jsonl"]].concat();
    let said = scene.ctl.run(&change).await;
    assert_eq!(said.code, 1, "{said:?}");
    let lines: Vec<Value> = said.data.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter().for_each(crate::ctl::check);
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["change", "change", "failure"]);
    assert_eq!((lines[2]["gid"].as_str(), lines[2]["code"].as_u64()), (Some(texts[1]), Some(5)));
    assert!(said.words.contains("2 done, 1 failed"), "{said:?}");
    // Nothing is left to be done.
    let json = scene.ctl.run(&[&["retry"], &texts[..], &["--reason", "x", "-o", "json"]].concat()).await;
    let document: Value = serde_json::from_str(&json.data).unwrap();
    crate::ctl::check(&document);
    assert_eq!(document["failures"].as_array().unwrap().len(), 3, "{document:#}");
}

#[tokio::test]
async fn ids_come_from_a_list_as_well() {
    let scene = Scene::new().await;
    parked(&scene, 3).await;
    let line = "tccctl list --parked -o jsonl | sed 's/.*\"gid\":\"\\([^\"]*\\)\".*/\\1/' | tccctl retry - --reason 'all of them'";
    let said = scene.ctl.typed(line).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.words.contains("3 done, 0 failed"), "{said:?}");
}

#[tokio::test]
async fn a_pause_holds_back_and_is_listed_until_it_is_resumed() {
    let scene = Scene::new().await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let pause = scene.ctl.done(&["pause", "stock.reserve@1", "--reason", "stocktaking"]).await;
    assert!(pause.data.contains("paused: stock.reserve@1"), "{pause:?}");
    let again = scene.ctl.done(&["pause", "stock.reserve@1", "--reason", "again"]).await;
    assert!(again.words.contains("paused already"), "{again:?}");
    let paused = scene.ctl.json(&["paused"]).await;
    assert_eq!(paused["items"][0]["why"], "stocktaking", "{paused:#}");
    let resumed = scene.ctl.done(&["resume", "stock", "--reason", "x"]).await;
    assert!(resumed.words.contains("stock was not paused\nbut stock.reserve@1 is"), "{resumed:?}");
    scene.ctl.done(&["resume", "stock.reserve@1", "--reason", "done"]).await;
    assert_eq!(scene.ctl.json(&["paused"]).await["items"], serde_json::json!([]));
    let what: Vec<String> =
        audit(&scene).await.iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(what, ["resumed", "paused"], "newest first, and what changed nothing is not there");
}

#[tokio::test]
async fn the_audit_is_narrowed_to_a_transaction() {
    let scene = Scene::new().await;
    let gids = parked(&scene, 3).await;
    for gid in &gids {
        scene.ctl.done(&["retry", gid.as_str(), "--reason", "x", "--who", "bob"]).await;
    }
    let one = scene.ctl.json(&["audit", "--gid", gids[1].as_str()]).await;
    let items = one["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), items[0]["gid"].as_str(), items[0]["by"].as_str()),
        (1, Some(gids[1].as_str()), Some("bob"))
    );
    let two = scene.ctl.json(&["audit", "--limit", "2"]).await;
    assert_eq!(two["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_selected_is_fixed_before_the_first_change() {
    let scene = Scene::new().await;
    parked(&scene, 4).await;
    let ctl = scene.ctl.clone();
    let bulk = ["retry", "--parked", "--reason", "x", "--yes", "--rate", "2"];
    let changing = tokio::spawn(async move { ctl.done(&bulk).await });
    crate::ctl::until("the first is changed", async || {
        scene.store.audit(0, None, 1).await.is_ok_and(|page| !page.entries.is_empty())
    })
    .await;
    let late = Story::new(&scene.store, 50);
    late.register(&[STOCK]).await;
    let drives = late.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    late.close(&drives[0], How::Park { cause: ParkCause::AttemptsExhausted, error: "no answer".into() })
        .await;
    let said = changing.await.unwrap();
    assert_eq!(said.data.lines().count(), 4, "{said:?}");
    assert!(scene.record(&late.gid).await.branches[0].parked.is_some(), "it was not there at the start");
}

#[tokio::test]
async fn pages_of_a_filter_miss_none_and_repeat_none() {
    let scene = Scene::new().await;
    let mut wanted = Vec::new();
    for number in 0..60 {
        let story = Story::new(&scene.store, number);
        // The first ones fill pages, the later ones are sparse.
        let action = if number < 20 || number % 7 == 0 { STOCK } else { PAY };
        story.register(&[action]).await;
        // Some are listed, the others are found by their timers.
        if number % 2 == 0 {
            story.sweep().await.unwrap().result.unwrap();
        }
        if action == STOCK {
            wanted.push(story.gid.to_string());
        }
    }
    for limit in ["1", "7", "50"] {
        let mut found: Vec<String> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..=wanted.len() + 1 {
            let mut list = vec!["list", "--participant", "stock", "--limit", limit];
            if let Some(after) = &after {
                list.extend(["--after", after]);
            }
            let page = scene.ctl.json(&list).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit.parse().unwrap(), "no more than asked for");
            found.extend(items.iter().map(|item| item["gid"].as_str().unwrap().to_owned()));
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(after, None, "the list ends");
        found.sort();
        assert_eq!(found, wanted, "--limit {limit}");
    }
}
