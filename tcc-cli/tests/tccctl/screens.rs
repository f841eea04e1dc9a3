//! What people see, held to files in `expected/`. `TCC_UPDATE_EXPECTED=1` writes them anew.

use std::{fs, path::PathBuf, sync::Arc, sync::atomic::AtomicU64};

use tcc_core::{
    Name, Presence, Scope, Timestamp, Why,
    machine::{Change, How, Operate},
    record::{Direction, Known, ParkCause},
    store::Store,
};
use tcc_redis::{Durability, RedisStore};

use crate::{
    ctl::{Ctl, Said},
    server::{Server, ask},
    story::{MAIL, PAY, STOCK, Story, ordinal, succeeded},
};

/// 2099-11-21T05:10:00.000Z: later than any clock here, so that the time stands.
const NOON: u64 = 4_098_921_000_000;

struct Stage {
    _server: Server,
    ctl: Ctl,
    gids: Vec<String>,
}

/// One transaction of each kind, at fixed times.
async fn stage() -> Stage {
    let server = Server::volatile().await;
    let clock = Arc::new(AtomicU64::new(NOON));
    let set = |at: u64| clock.store(NOON + at, std::sync::atomic::Ordering::SeqCst);
    let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
    let store = builder.given_time(Arc::clone(&clock)).connect().await.expect("a store");
    let by: Name = "alice-corp".parse().unwrap();
    let why = |text: &str| Why::new(text).unwrap();

    let mut parked = Story::new(&store, 1);
    parked.key = Some("order 17 / ä".into());
    parked.begin().await;
    parked.register(&[STOCK, PAY, MAIL]).await;
    set(250);
    parked.report(&[(1, succeeded())]).await;
    let heard = [(1, Some(succeeded())), (2, Some(succeeded())), (3, Some(Known::Refused))];
    let drives = parked.decide(Direction::Confirm, &heard, &[1, 2]).await;
    set(1_250);
    let error = "the warehouse at the old harbour does not answer: connection refused (os error 111), \u{1b}[31mreally";
    let how = How::Park { cause: ParkCause::AttemptsExhausted, error: error.into() };
    parked.close(&drives[0], how).await;
    parked.finish(&drives[1..]).await;

    set(5_000);
    let trying = Story::new(&store, 2);
    trying.trying().await;

    let confirmed = Story::new(&store, 3);
    confirmed.confirm_all().await;

    set(10_000);
    let waiting = Story::new(&store, 4);
    waiting.register(&[STOCK]).await;
    let drives = waiting.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    waiting.close(&drives[0], How::Failed { after_ms: 90_000, error: "no answer".into() }).await;

    let hostless = Story::new(&store, 5);
    hostless.register(&["mail.book@7"]).await;
    hostless.decide(Direction::Cancel, &[(1, None)], &[]).await;

    set(20_000);
    store
        .pause(&Scope::Participant("pay".parse().unwrap()), &by, &why("the bank asked for it"))
        .await
        .unwrap();
    set(60_000);
    let change = Change::Resolve { branch: ordinal(3), direction: Direction::Cancel };
    let operate = Operate { by: by.clone(), why: why("the letter was stopped by hand"), change };
    parked.apply(operate).await;
    for (process, heard, actions) in
        [("shop-1", 58_000, &[STOCK, PAY, MAIL][..]), ("shop-2", 1_000, &[STOCK]), ("gate-1", 59_500, &[])]
    {
        set(heard);
        let presence = Presence {
            process: process.parse().unwrap(),
            actions: actions.iter().map(|action| action.parse().unwrap()).collect(),
            version: "0.1.0".into(),
            heard_at: Timestamp::from_millis(NOON + heard),
        };
        store.announce(&presence).await.unwrap();
    }
    set(61_500);
    store.now(0).await.unwrap();
    let mut raw = server.raw().await;
    // Processes are heard in the server's own time: later than any, so that they stay heard.
    for process in ["shop-1", "shop-2", "gate-1"] {
        let _: i64 = ask(&mut raw, &["ZADD", "{tcc:00}:nodes", &NOON.to_string(), process]).await;
    }
    let later = (NOON + 61_500).to_string();
    let () = ask(&mut raw, &["SET", "{tcc:00}:clock", &later]).await;
    let stories = [&parked, &trying, &confirmed, &waiting, &hostless];
    let gids = stories.map(|story| story.gid.to_string()).to_vec();
    Stage { ctl: Ctl::new(server.url()), _server: server, gids }
}

/// Holds what was said to a file.
fn hold(name: &str, said: &Said) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tccctl/expected").join(format!("{name}.txt"));
    let mut text = said.data.replace('\u{1b}', "<esc>");
    if !said.words.is_empty() {
        text.push_str(&format!("--- standard error ---\n{}", said.words.replace('\u{1b}', "<esc>")));
    }
    if said.code != 0 {
        text.push_str(&format!("--- exit code {} ---\n", said.code));
    }
    if std::env::var_os("TCC_UPDATE_EXPECTED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        expected,
        "{name} is not as in {}; see it, and if it is right, TCC_UPDATE_EXPECTED=1",
        path.display()
    );
}

#[tokio::test]
async fn answers_look_as_expected() {
    let stage = stage().await;
    let gid = |number: usize| stage.gids[number].as_str();
    let commands: &[(&str, &[&str])] = &[
        ("list", &["list"]),
        ("list-stuck", &["list", "--stuck"]),
        ("list-parked", &["list", "--parked", "--participant", "stock"]),
        ("list-none", &["list", "--name", "refund"]),
        ("show-parked", &["show", gid(0)]),
        ("show-events", &["show", gid(0), "--events", "--payloads"]),
        ("show-trying", &["show", gid(1)]),
        ("show-confirmed", &["show", gid(2)]),
        ("show-retrying", &["show", gid(3)]),
        ("show-hostless", &["show", gid(4)]),
        ("stats", &["stats"]),
        ("nodes", &["nodes"]),
        ("paused", &["paused"]),
        ("audit", &["audit"]),
        ("retry-dry-run", &["retry", "--parked", "--reason", "the warehouse is back"]),
    ];
    for (name, arguments) in commands {
        for width in ["80", "120"] {
            for colour in ["never", "always"] {
                let look = ["--width", width, "--color", colour];
                let said = stage.ctl.run(&[arguments, &look[..]].concat()).await;
                hold(&format!("{name}-{width}{}", if colour == "always" { "-colour" } else { "" }), &said);
                let widest =
                    said.data.lines().filter(|line| !line.contains("tccctl")).map(|line| {
                        let bare =
                            line.split('\u{1b}').map(|part| {
                                part.split_once('m').map_or(part, |(code, rest)| {
                                    if code.starts_with('[') { rest } else { part }
                                })
                            });
                        bare.map(|part| part.chars().count()).sum::<usize>()
                    });
                assert!(
                    widest.max().unwrap_or(0) <= width.parse().unwrap(),
                    "{name} is wider than {width}: {}",
                    said.data
                );
                assert!(!said.data.contains("\u{1b}[31mreally"), "what others wrote acts on the terminal");
            }
        }
    }
}

#[tokio::test]
async fn colour_and_width_follow_flags_and_environment() {
    let stage = stage().await;
    let list = |ctl: Ctl| async move { ctl.done(&["list"]).await.data };
    let plain = list(stage.ctl.clone()).await;
    assert!(!plain.contains('\u{1b}'), "no colour off a terminal");
    assert_eq!(plain, stage.ctl.done(&["list", "--width", "80", "--color", "never"]).await.data);
    let wide = list(stage.ctl.clone().with("COLUMNS", "120")).await;
    assert_eq!(wide, stage.ctl.done(&["list", "--width", "120"]).await.data);
    assert_ne!(wide, plain);
    for nonsense in ["", "wide", "-1"] {
        assert_eq!(list(stage.ctl.clone().with("COLUMNS", nonsense)).await, plain);
    }
    let coloured = list(stage.ctl.clone().with("TCC_COLOR", "always")).await;
    assert!(coloured.contains("\u{1b}["));
    let flag_wins = stage.ctl.clone().with("TCC_COLOR", "always").with("COLUMNS", "120");
    assert_eq!(flag_wins.done(&["list", "--color", "never", "--width", "80"]).await.data, plain);
    let json = stage.ctl.clone().with("TCC_OUTPUT", "jsonl");
    assert!(list(json).await.starts_with("{\"kind\":\"transaction\""));
}

#[tokio::test]
async fn every_answer_is_as_the_schema_says() {
    let stage = stage().await;
    for gid in &stage.gids {
        stage.ctl.json(&["show", gid]).await;
        stage.ctl.json(&["show", gid, "--payloads"]).await;
    }
    for command in
        [&["list"][..], &["list", "--parked"], &["stats"], &["nodes"], &["paused"], &["audit"], &["doctor"]]
    {
        stage.ctl.json(command).await;
    }
    let confirmed = ["list", "--name", "checkout", "--key", "order 17 / ä"];
    assert_eq!(stage.ctl.json(&confirmed).await["items"][0]["gid"], stage.gids[0].as_str());
    let page = stage.ctl.json(&["list", "--limit", "2"]).await;
    let next = page["next"].as_str().expect("there is more");
    let rest = stage.ctl.json(&["list", "--after", next]).await;
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["gid"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut both = [ids(&page), ids(&rest)].concat();
    both.sort();
    let mut all = ids(&stage.ctl.json(&["list"]).await);
    all.sort();
    assert_eq!(both, all);
    for (command, kind) in [
        (&["pause", "stock", "--reason", "x"][..], "pause_change"),
        (&["resume", "stock", "--reason", "x"], "pause_change"),
        (&["retry", &stage.gids[0], "--reason", "x"], "changes"),
        (&["cancel", &stage.gids[1], "--reason", "x"], "changes"),
    ] {
        let said = stage.ctl.done(&[command, &["-o", "json"]].concat()).await;
        let document: serde_json::Value = serde_json::from_str(&said.data).unwrap();
        crate::ctl::check(&document);
        assert_eq!(document["kind"], kind);
    }
}

/// `script`, of Debian's essential packages, gives it a terminal.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_terminal_gets_colour_and_its_whole_width() {
    let stage = stage().await;
    let ctl = stage.ctl.clone().with("TERM", "xterm");
    let on_terminal = async |ctl: &Ctl| {
        let said = ctl.typed("script -qec 'stty cols 110 rows 40; tccctl list' /dev/null").await;
        assert_eq!(said.code, 0, "{said:?}");
        said.data.replace("\r\n", "\n")
    };
    let expected = stage.ctl.done(&["list", "--width", "110", "--color", "always"]).await.data;
    assert_eq!(on_terminal(&ctl).await, expected);
    let plain = stage.ctl.done(&["list", "--width", "110", "--color", "never"]).await.data;
    assert_eq!(on_terminal(&ctl.clone().with("NO_COLOR", "1")).await, plain);
    assert_eq!(on_terminal(&ctl.clone().with("TERM", "dumb")).await, plain);
}
