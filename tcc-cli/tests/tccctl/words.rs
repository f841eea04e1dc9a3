//! What the documentation tells to type works as told, and the demo, too.

use tcc_core::{
    machine::How,
    record::{Direction, ParkCause, TransactionState},
};

use crate::{
    ctl::{Ctl, Said},
    server::ask,
    shop::{Mood, Moods, Scene},
    story::{STOCK, Story, succeeded},
};

const TCCCTL: &str = include_str!("../../../docs/src/tccctl.md");
const REDIS_CLI: &str = include_str!("../../../docs/src/inspect-with-redis-cli.md");

/// The lines of a page that are to be typed.
fn typed(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect()
}

/// One parked after two attempts, with what it failed of.
async fn parked(scene: &Scene, number: u64, cause: ParkCause) -> String {
    let mut story = Story::new(&scene.store, number);
    story.key = Some(format!("order-{number}"));
    story.begin().await;
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    let error = || "the warehouse does not answer".to_owned();
    story.close(&drives[0], How::Failed { after_ms: 0, error: error() }).await;
    let drives = story.claim("stock", 8).await;
    story.close(&drives[0], How::Park { cause, error: error() }).await;
    story.gid.to_string()
}

#[tokio::test]
async fn every_command_of_the_page_does_what_it_says() {
    let scene = Scene::new().await;
    let gid = parked(&scene, 17, ParkCause::AttemptsExhausted).await;
    let given_up = parked(&scene, 18, ParkCause::Handler).await;
    let undecided = Story::new(&scene.store, 19);
    undecided.register(&["gone.home@1"]).await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let ctl = scene.ctl.clone().with("GID", &gid).with("GIVEN_UP", &given_up);
    let ctl = ctl.with("UNDECIDED", undecided.gid.as_str());
    let lines = typed(TCCCTL);
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines.into_iter().filter(|line| line.starts_with("tccctl")) {
        if !line.starts_with("tccctl demo") {
            let said = ctl.typed(line).await;
            assert_eq!(said.code, 0, "{line}: {said:?}");
        }
    }
    for gid in [gid, given_up] {
        scene.until_state(&gid.parse().unwrap(), TransactionState::Confirmed).await;
    }
}

#[tokio::test]
async fn redis_cli_alone_finds_a_parked_one_and_why() {
    let scene = Scene::new().await;
    let gid = parked(&scene, 17, ParkCause::AttemptsExhausted).await;
    scene.ctl.done(&["pause", "mail", "--reason", "the post is on strike"]).await;
    let _process = scene.host("shop-1", &Moods::new(Mood::Well)).await;
    let mut raw = scene.server.raw().await;
    let broken: i64 =
        ask(&mut raw, &["HSET", "{tcc:00}:unreadable", "some-gid", "01.state: no such state"]).await;
    assert_eq!(broken, 1);
    let ctl = scene.ctl.clone().with("GID", &gid);
    let port = scene.server.port();
    // Debian's `redis-cli` comes with its server, Valkey's has another name.
    let cli = format!("$(command -v redis-cli valkey-cli | head -n 1) -p {port} ");
    let run = async |line: &str| -> Said {
        let said = ctl.typed(&line.replacen("redis-cli ", &cli, 1)).await;
        assert_eq!(said.code, 0, "{line}: {said:?}");
        assert!(!said.data.is_empty() && !said.data.contains("ERR"), "{line}: {said:?}");
        said
    };
    let lines = typed(REDIS_CLI);
    assert!(run(lines[0]).await.data.contains(&gid), "the first command names it");
    let mut answers = Vec::new();
    for line in &lines {
        answers.push((*line, run(line).await.data));
    }
    let why =
        answers.iter().find(|(line, _)| line.contains("HMGET")).map(|(_, answer)| answer.clone()).unwrap();
    let sample = REDIS_CLI.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(why.lines().count(), sample.lines().count(), "{why}");
    for (answered, told) in why.lines().zip(sample.lines()) {
        assert!(answered.contains(told), "the page tells {told:?}, and redis-cli {answered:?}");
    }
    for (part, told) in [
        ("history", "parked 01 attempts_exhausted"),
        ("unreadable", "no such state"),
        ("nodes", "shop-1"),
        ("paused", "the post is on strike"),
        ("audit", "the post is on strike"),
    ] {
        let (_, answer) = answers.iter().find(|(line, _)| line.contains(part)).expect(part);
        assert!(answer.contains(told), "{part}: {answer}");
    }
}

#[tokio::test]
async fn every_situation_and_exit_code_is_on_the_page() {
    let schema = include_str!("../../../docs/schema/tccctl.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let situations = &schema["$defs"]["transaction"]["properties"]["situation"]["enum"];
    for situation in situations.as_array().unwrap() {
        let situation = situation.as_str().unwrap();
        assert!(situation == "over" || TCCCTL.contains(&format!("| `{situation}` |")), "{situation}");
    }
    let help = Ctl::new("").done(&["--help"]).await.data;
    for code in 0..=9 {
        assert!(TCCCTL.contains(&format!("| {code} |")), "{code} is not on the page");
        assert!(help.contains(&format!("{code} ")), "{code} is not in the help");
    }
}

#[tokio::test]
async fn the_demo_succeeds_refuses_and_recovers() {
    let said = Ctl::new("redis://nowhere.invalid/").done(&["demo"]).await;
    let scenes: Vec<&str> = said.data.split("\n\n").collect();
    assert!(scenes.len() > 10, "{said:?}");
    for told in [
        "confirmed: decided to confirm by shop-order",
        "cancelled: decided to cancel by shop-declined",
        "was killed while it confirmed the payment",
        "confirmed: decided to confirm by shop-hanging",
        "claimed 02 confirm attempt 2",
    ] {
        assert!(said.data.contains(told), "{told:?} is not in {}", said.data);
    }
    let books: Vec<&str> =
        said.data.lines().filter_map(|line| line.split_once("-00/").map(|(_, entry)| entry)).collect();
    let sold = books.iter().filter(|entry| entry.starts_with("01 sold")).count();
    let charged = books.iter().filter(|entry| entry.starts_with("02 charged")).count();
    let back = books.iter().filter(|entry| entry.starts_with("01 put back")).count();
    assert_eq!((sold, charged, back), (2, 2, 1), "{books:#?}");
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = Ctl::new("").done(&["completions", shell]).await;
        assert!(said.data.contains("resolve") && said.data.contains("older-than"), "{shell}");
    }
}
