//! Records that somebody spoiled by hand, in the midst of the work.

use super::{
    audit::{initiator, records},
    kills::{hold, holding},
    process::{Scene, until},
    role::Role,
    support::server::ask,
};

#[tokio::test]
async fn spoiled_records_are_listed_with_their_cause_and_everything_else_goes_on() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    let mut keys = Vec::new();
    for name in ["unreadable", "of-another-type"] {
        let role = Role { name: name.into(), ..holding(&scene, "first-try") };
        let process = hold(&scene, role).await;
        let gids = records(&mut raw).await.into_iter();
        let gid = gids.filter(|(_, record)| initiator(record) == name).map(|(gid, _)| gid).next();
        keys.push(format!("{{tcc:00}}:tx:{}", gid.expect("its record")));
        process.kill();
    }
    for key in &keys {
        let _: i64 = ask(&mut raw, &["COPY", key, &format!("whole:{key}")]).await;
    }
    let () = ask(&mut raw, &["HSET", &keys[0], "until", "tomorrow"]).await;
    let () = ask(&mut raw, &["SET", &keys[1], "text"]).await;

    let mut load = scene.start(Role { load: 4, ..scene.role("load") }).await;
    let listed = async |key: &str| -> (Option<String>, Option<f64>) {
        let (mut raw, gid) = (scene.raw().await, key.rsplit(':').next().expect("a gid"));
        let cause = ask(&mut raw, &["HGET", "{tcc:00}:unreadable", gid]).await;
        (cause, ask(&mut raw, &["ZSCORE", "{tcc:00}:parked", gid]).await)
    };
    for (key, cause) in keys.iter().zip(["until: no limits", "type: no hash"]) {
        until("it is listed", async || listed(key).await.1.is_some()).await;
        assert_eq!(listed(key).await.0.as_deref(), Some(cause));
    }
    scene.goes_on(60).await;

    // Mended, they go on as well, when they are looked at next.
    for key in &keys {
        let _: i64 = ask(&mut raw, &["COPY", &format!("whole:{key}"), key, "REPLACE"]).await;
        let _: i64 = ask(&mut raw, &["DEL", &format!("whole:{key}")]).await;
        let gid = key.rsplit(':').next().expect("a gid");
        let _: i64 = ask(&mut raw, &["ZADD", "{tcc:00}:due", "0", gid]).await;
    }
    scene.books.mark("enough");
    load.says("done").await;
    until("they are listed no more", async || ask::<u64>(&mut raw, &["ZCARD", "{tcc:00}:parked"]).await == 0)
        .await;
    let balance = scene.balance().await;
    assert!(balance.confirmed > 30 && balance.cancelled >= 2, "{balance:?}");
    load.leave().await;
}
