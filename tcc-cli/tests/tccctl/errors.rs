//! What goes wrong is told clearly, with a documented exit code, and never by a panic.

use std::{process::Stdio, time::Duration};

use tcc_core::{Gid, Timestamp};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    ctl::{Ctl, LONG},
    server::{Server, ask, free_port},
    shop::Scene,
    story::{STOCK, Story},
};

/// A command that fails: with this code, these words, and no data.
async fn fails(ctl: &Ctl, arguments: &[&str], code: i32, words: &[&str]) {
    let said = ctl.run(arguments).await;
    assert_eq!(said.code, code, "{arguments:?}: {said:?}");
    for word in words {
        assert!(said.words.contains(word), "{arguments:?}: {word:?} is not in: {}", said.words);
    }
    assert_eq!(said.data, "", "{arguments:?}: words are not data");
}

#[tokio::test]
async fn a_wrong_url_is_told_without_its_password() {
    for url in ["", "nonsense", "http://localhost", "redis://user:secret@:x/"] {
        fails(&Ctl::new(url), &["list"], 7, &["the URL cannot be read", "redis://"]).await;
    }
    let ctl = Ctl::new(format!("redis://user:secret@127.0.0.1:{}/", free_port()));
    let said = ctl.run(&["list"]).await;
    assert_eq!(said.code, 6, "{said:?}");
    assert!(!said.words.contains("secret"), "{said:?}");
    let help = ctl.run(&["--help"]).await;
    assert!(!help.data.contains("secret"), "{help:?}");
}

#[tokio::test]
async fn an_absent_redis_is_told() {
    let port = free_port();
    let ctl = Ctl::new(format!("redis://127.0.0.1:{port}/"));
    for command in
        [&["list"][..], &["show", "01kaj"], &["stats"], &["nodes"], &["doctor"], &["audit"], &["paused"]]
    {
        fails(&ctl, command, 6, &["no connection to 127.0.0.1", &port.to_string()]).await;
    }
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_told_in_time() {
    // It takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let ctl = Ctl::new(format!("redis://127.0.0.1:{}/", listener.local_addr().unwrap().port()));
    fails(&ctl, &["--timeout", "300ms", "list"], 6, &["no connection"]).await;
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_not_made() {
    let scene = Scene::new().await;
    let words = ["there is no namespace `shpo`", "is the name right"];
    fails(&scene.ctl, &["--namespace", "shpo", "list"], 7, &words).await;
    fails(&scene.ctl.clone().with("TCC_NAMESPACE", "shpo"), &["list"], 7, &words).await;
    fails(&scene.ctl, &["--namespace", "a b", "list"], 2, &["--namespace"]).await;
    let keys: Vec<String> = ask(&mut scene.server.raw().await, &["KEYS", "{shpo*"]).await;
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let scene = Scene::new().await;
    let mut raw = scene.server.raw().await;
    let with = |rule: &'static str| ["ACL", "SETUSER", "eve", "reset", "on", ">pw", "~{tcc:*", "+@all", rule];
    let url = |password: &str| format!("redis://eve:{password}@127.0.0.1:{}/", scene.server.port());
    for rule in ["-fcall", "-zrange", "-hmget"] {
        let () = ask(&mut raw, &with(rule)).await;
        fails(&Ctl::new(url("pw")), &["list"], 7, &["denies this user", "tccctl acl"]).await;
    }
    fails(&Ctl::new(url("wrong")), &["list"], 7, &["password"]).await;
    let () = ask(&mut raw, &["ACL", "SETUSER", "eve", "reset", "on", ">pw", "~other:*", "+@all"]).await;
    fails(&Ctl::new(url("pw")), &["list"], 7, &["denies"]).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let server = Server::volatile().await;
    let _: i64 =
        ask(&mut server.raw().await, &["HSET", "{tcc:00}:meta", "schema", "99", "shards", "1"]).await;
    fails(&Ctl::new(server.url()), &["list"], 7, &["newer version (schema 99", "upgrade"]).await;
}

#[tokio::test]
async fn an_unknown_id_is_told() {
    let scene = Scene::new().await;
    let unknown = Gid::new(Timestamp::from_millis(1), 1, 0).to_string();
    let elsewhere = Gid::new(Timestamp::from_millis(1), 1, 3).to_string();
    let reason = ["--reason", "a test"];
    for command in
        [&["show"][..], &["retry"], &["cancel"], &["resolve", "--branch", "01", "--as", "confirmed"]]
    {
        let reason = if command[0] == "show" { &[][..] } else { &reason };
        fails(&scene.ctl, &[command, &[&unknown], reason].concat(), 3, &["is not known"]).await;
        let gone = scene.ctl.run(&[command, &["01zzz"], reason].concat()).await;
        assert_eq!(gone.code, 3, "{gone:?}");
        for wrong in ["", "zzz/zz", "01KAJ", &format!("{unknown}0"), "-x"] {
            let said = scene.ctl.run(&[command, &[wrong], reason].concat()).await;
            assert_eq!((said.code, said.data.as_str()), (2, ""), "{wrong:?}: {said:?}");
        }
    }
    fails(&scene.ctl, &["show", &elsewhere], 3, &["is not known", "shard"]).await;
    fails(&scene.ctl, &["audit", "--gid", &elsewhere], 3, &["shard"]).await;
}

#[tokio::test]
async fn a_half_typed_id_is_taken_if_it_is_unique_and_listed_if_not() {
    let scene = Scene::new().await;
    // Both begin in the same millisecond: they share ten characters of time, and differ in the last of the rest.
    let gids = [1, 2].map(|number| Story::new(&scene.store, number).gid);
    for number in [1, 2] {
        Story::new(&scene.store, number).register(&[STOCK]).await;
    }
    let text = gids[0].as_str();
    let said = scene.ctl.done(&["show", &text[..22]]).await;
    assert!(said.data.contains(text), "{said:?}");
    for prefix in [&text[..10], &text[..4], &text[..21]] {
        fails(&scene.ctl, &["show", prefix], 4, &["ambiguous", text, gids[1].as_str()]).await;
    }
    let cancel = ["cancel", &text[..4], "--reason", "a test"];
    fails(&scene.ctl, &cancel, 4, &["ambiguous"]).await;
}

#[tokio::test]
async fn a_pipe_closed_early_is_no_failure() {
    let scene = Scene::new().await;
    for number in 0..300 {
        Story::new(&scene.store, number).register(&[STOCK]).await;
    }
    for form in ["table", "json", "jsonl"] {
        let mut command = scene.ctl.command(env!("CARGO_BIN_EXE_tccctl"));
        command.args(["list", "--limit", "300", "-o", form]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::with_capacity(64, child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(LONG, lines.next_line()).await.expect("a line in time").unwrap();
        assert!(first.is_some_and(|line| !line.is_empty()));
        drop(lines);
        let output = tokio::time::timeout(LONG, child.wait_with_output()).await.expect("it ends").unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(0), ""),
            "{form}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_is_told() {
    let scene = Scene::new().await;
    Story::new(&scene.store, 1).register(&[STOCK]).await;
    if std::path::Path::new("/dev/full").exists() {
        let said = scene.ctl.typed("tccctl list >/dev/full").await;
        assert_eq!(said.code, 9, "{said:?}");
        assert!(said.words.contains("the output cannot be written"), "{said:?}");
    }
}

#[tokio::test]
async fn redis_that_goes_away_while_it_is_followed_is_told() {
    let mut scene = Scene::new().await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let ctl = scene.ctl.clone();
    let gid = story.gid.to_string();
    let following = tokio::spawn(async move { ctl.run(&["show", &gid, "--follow"]).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    scene.server.kill();
    let said = following.await.unwrap();
    assert_eq!(said.code, 6, "{said:?}");
    scene.server.restart().await;
}

#[tokio::test]
async fn a_wrong_command_line_is_told() {
    let scene = Scene::new().await;
    for (arguments, words) in [
        (&["lisst"][..], "list"),
        (&["retry", "--reason", "x"], "which?"),
        (&["retry", "01kaj", "--parked", "--reason", "x"], "exclude each other"),
        (&["retry", "--parked", "--branch", "01", "--reason", "x"], "--branch needs one id"),
        (&["retry", "01kaj"], "--reason"),
        (&["cancel", "01kaj", "--reason", ""], "--reason is refused"),
        (&["cancel", "01kaj", "--reason", "two\nlines"], "--reason is refused"),
        (&["list", "--state", "confirmed"], "no index"),
        (&["list", "--state", "parkd"], "trying, confirming"),
        (&["list", "--older-than", "soon"], "a time is a number"),
        (&["list", "--key", "k"], "--name"),
        (&["list", "--after", "nonsense"], "--after"),
        (&["resolve", "01kaj", "--branch", "01", "--as", "done", "--reason", "x"], "confirmed"),
        (&["pause", "a/b", "--reason", "x"], "a/b"),
        (&["list", "--limit", "0"], "--limit"),
    ] {
        fails(&scene.ctl, arguments, 2, &[words]).await;
    }
    let nobody = Ctl::new(scene.server.url()).with("TCC_OPERATOR", "");
    let said = nobody.run(&["pause", "stock", "--reason", "x"]).await;
    assert_eq!(said.code, 2, "{said:?}");
}

#[tokio::test]
async fn a_full_redis_is_seen_and_mended_all_the_same() {
    let scene = Scene::new().await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let gid = story.gid.as_str();
    let mut raw = scene.server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    for flushed in [false, true] {
        if flushed {
            let () = ask(&mut raw, &["FUNCTION", "FLUSH"]).await;
        }
        for command in [&["list"][..], &["show", gid], &["stats"], &["nodes"], &["paused"], &["audit"]] {
            scene.ctl.done(command).await;
        }
    }
    scene.ctl.done(&["cancel", gid, "--reason", "x"]).await;
    scene.ctl.done(&["pause", "stock", "--reason", "x"]).await;
    scene.ctl.done(&["resume", "stock", "--reason", "x"]).await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_seen_all_the_same() {
    let scene = Scene::new().await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let gid = story.gid.as_str();
    let mut raw = scene.server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    for command in [&["list"][..], &["show", gid], &["stats"], &["nodes"], &["paused"], &["audit"]] {
        scene.ctl.done(command).await;
    }
    fails(&scene.ctl, &["cancel", gid, "--reason", "x"], 6, &["misses the replicas"]).await;
    let doctor = scene.ctl.run(&["doctor", "--durability", "volatile"]).await;
    assert!(doctor.code == 1 && doctor.data.contains("misses the replicas"), "{doctor:?}");
}
