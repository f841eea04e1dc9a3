//! What lies in Redis is plain text that a person understands.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::aio::MultiplexedConnection;
use support::{
    harm::mark,
    server::{Server, ask},
    story::{MAIL, PAY, STOCK, Story, gid, name, ordinal, register, succeeded},
};
use tcc_core::store::Store;
use tcc_core::{
    Gid,
    machine::{
        Answer, Change, ClaimWork, Close, CloseDrive, Decide, Decided, Heard, How, InlineClaim, Op, Operate,
        Redrive, Report, TryReport,
    },
    record::{Direction, Known, ParkCause, Reason, Record, Seen, Token},
};
use tcc_redis::{Durability, History, RedisStore};

/// 2099-11-21T05:10:00.000Z
const NOON: u64 = 4_098_921_000_000;

struct Scene {
    _server: Server,
    raw: MultiplexedConnection,
    store: RedisStore,
    clock: Arc<AtomicU64>,
}

impl Scene {
    async fn new(history: History) -> Self {
        let server = Server::volatile().await;
        let clock = Arc::new(AtomicU64::new(NOON));
        let builder = RedisStore::builder(server.url()).durability(Durability::Volatile).history(history);
        let store = builder.given_time(Arc::clone(&clock)).connect().await.expect("a store");
        Self { raw: server.raw().await, _server: server, store, clock }
    }

    fn wait(&self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    async fn fields(&mut self, gid: &Gid) -> BTreeMap<String, String> {
        ask(&mut self.raw, &["HGETALL", &self.store.inspect().record_key(gid)]).await
    }

    async fn lives_until(&mut self, key: &str) -> i64 {
        ask(&mut self.raw, &["PEXPIRETIME", key]).await
    }
}

/// The record that `layout.md` shows.
fn documented() -> BTreeMap<String, String> {
    let sample = include_str!("../src/layout.md").split("```text\n").nth(1).expect("a sample");
    let lines = sample.lines().take_while(|line| *line != "```");
    let fields = lines.map(|line| line.split_once("  ").expect("a name and a value"));
    fields.map(|(name, value)| (name.to_owned(), value.trim_start().to_owned())).collect()
}

#[tokio::test]
async fn a_record_is_plain_text_as_documented() {
    let mut scene = Scene::new(History::off()).await;
    let store = scene.store.clone();
    let mut story = Story::new(&store, 1);
    story.key = Some("order 17 / ä".into());
    story.begin().await;
    story.register(&[STOCK, PAY, MAIL]).await;
    scene.wait(250);
    let heard: Vec<_> = (1..=3).map(|place| (place, Some(succeeded()))).collect();
    let drives = story.decide(Direction::Confirm, &heard, &[1, 2]).await;
    scene.wait(1_000);
    let error = "the warehouse does not answer: connection refused".to_owned();
    story.close(&drives[0], How::Failed { after_ms: 2_000, error }).await;
    let mut fields = scene.fields(&story.gid).await;
    let documented = documented();
    let entry_of = |bells: &str| bells.split(' ').nth(1).expect("an entry").to_owned();
    let entry = entry_of(&fields["bells"]);
    fields.insert("bells".into(), fields["bells"].replace(&entry, &entry_of(&documented["bells"])));
    assert_eq!(fields, documented);
    let entries: Vec<(String, Vec<String>)> =
        ask(&mut scene.raw, &["XRANGE", "{tcc:00}:ready:mail", "-", "+"]).await;
    assert_eq!(
        entries,
        [(entry, vec!["gid".to_owned(), story.gid.to_string()])],
        "the record names its message"
    );
}

#[tokio::test]
async fn a_record_says_who_else_decided_and_how_it_ended() {
    let mut scene = Scene::new(History::off()).await;
    let store = scene.store.clone();
    let mut story = Story::new(&store, 1);
    story.lease_ms = 1_000;
    story.register(&[STOCK, PAY]).await;
    story.report(&[(2, Known::Refused)]).await;
    let fields = scene.fields(&story.gid).await;
    let shown = |fields: &BTreeMap<String, String>, name: &str| fields.get(name).cloned().unwrap_or_default();
    assert_eq!(
        ["record", "01.state", "02.state", "decided"].map(|name| shown(&fields, name)),
        ["format=1 branches=2 keep_ms=3600000 marked", "", "refused refused", ""]
    );
    scene.wait(1_000);
    story.sweep().await.expect("a sweep").result.expect("an answer");
    let fields = scene.fields(&story.gid).await;
    assert_eq!(
        ["record", "01.state", "02.state", "decided", "held"].map(|name| shown(&fields, name)),
        [
            "format=1 branches=2 keep_ms=3600000 looked",
            "cancelling unknown",
            "cancelling refused",
            "2099-11-21T05:10:01.000Z cancel initiator_lost by sweeper",
            ""
        ]
    );
    let drives = [story.claim("stock", 5).await, story.claim("pay", 6).await].concat();
    let fields = scene.fields(&story.gid).await;
    assert_eq!(
        ["01.state", "02.state", "02.drive", "held"].map(|name| shown(&fields, name)),
        [
            "cancelling unknown held",
            "cancelling refused attempts=1",
            "epoch=1 token=0000000000000006 lease=2099-11-21T06:10:01.000Z",
            "token=0000000000000005 lease=2099-11-21T06:10:01.000Z"
        ]
    );
    story.finish(&drives).await;
    let fields = scene.fields(&story.gid).await;
    assert_eq!(
        ["until", "01.state", "02.state", "02.drive", "held", "ended"].map(|name| shown(&fields, name)),
        ["", "cancelled unknown once", "cancelled refused once", "", "", "2099-11-21T05:10:01.000Z"]
    );
    let payloads = ["01", "01.arguments", "02", "02.arguments"].map(|name| shown(&fields, name));
    assert_eq!(
        payloads,
        [
            "stock.reserve@1 call=1 arguments=21:3f417cae",
            "{\"sku\":\"tea\",\"qty\":1}",
            "pay.authorize@1 call=2 arguments=21:3c0bb972",
            ""
        ],
        "arguments of an unknown try stay, and every seal does"
    );
}

#[tokio::test]
async fn the_trace_of_a_try_stands_in_its_branch_and_nothing_where_there_is_none() {
    let mut scene = Scene::new(History::off()).await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    let mut register = register(Some(story.create().await), &[STOCK, PAY]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    register.branches[1].trace = Some(trace.parse().expect("a trace"));
    store.apply(&story.gid, &register.into()).await.expect("an answer").result.expect("branches");
    let fields = scene.fields(&story.gid).await;
    assert_eq!(fields["01"], "stock.reserve@1 call=1 arguments=21:3f417cae");
    assert_eq!(fields["02"], format!("pay.authorize@1 call=2 trace={trace} arguments=21:73832e0d"));
    story.decide(Direction::Cancel, &[(1, None), (2, None)], &[]).await;
    let drives = story.claim("pay", 1).await;
    assert_eq!(drives[0].trace.as_ref().map(|trace| trace.as_str()), Some(trace));
    assert_eq!(drives[0].name, Some(name("checkout")));
}

#[tokio::test]
async fn messages_stand_in_the_order_of_names() {
    let actions = ["m.x@1", "d.x@1", "z.x@1", "a.x@1", "k.x@1", "q.x@1", "f.x@1"];
    for (direction, known) in [(Direction::Cancel, None), (Direction::Confirm, Some(succeeded()))] {
        let mut scene = Scene::new(History::off()).await;
        let store = scene.store.clone();
        let story = Story::new(&store, 1);
        story.register(&actions).await;
        let heard: Vec<_> = (1..=actions.len()).map(|place| (place, known.clone())).collect();
        story.decide(direction, &heard, &[]).await;
        let fields = scene.fields(&story.gid).await;
        let names: Vec<&str> =
            fields["bells"].split("; ").filter_map(|bell| bell.split(' ').next()).collect();
        assert_eq!(names, ["a", "d", "f", "k", "m", "q", "z"]);
        let is_short = store.short_ways().contains_key("decide");
        assert_eq!(is_short, direction == Direction::Confirm, "a commit goes the short way");
    }
}

#[tokio::test]
async fn only_what_is_final_has_a_time_to_live() {
    let mut scene = Scene::new(History::default()).await;
    let store = scene.store.clone();
    let mut story = Story::new(&store, 1);
    story.key = Some("order-17".into());
    story.begin().await;
    story.register(&[STOCK]).await;
    let keys = [
        store.inspect().record_key(&story.gid),
        "{tcc:00}:key:checkout:order-17".to_owned(),
        format!("{{tcc:00}}:history:{}", story.gid),
    ];
    for key in &keys {
        assert_eq!(scene.lives_until(key).await, -1, "{key} has none while open");
    }
    let drives = story.decide(Direction::Cancel, &[(1, None)], &[1]).await;
    story.finish(&drives).await;
    for key in &keys {
        assert_eq!(scene.lives_until(key).await, (NOON + 3_600_000) as i64, "{key} has one once final");
    }
    // A late outcome reopens it, with its arguments.
    scene.wait(60_000);
    story.report(&[(1, succeeded())]).await;
    for key in &keys {
        assert_eq!(scene.lives_until(key).await, -1, "{key} has none once reopened");
    }
    let fields = scene.fields(&story.gid).await;
    assert!(fields.contains_key("01.arguments") && fields.contains_key("01.result"));
    let drives = story.claim("stock", 9).await;
    story.finish(&drives).await;
    for key in &keys {
        assert_eq!(scene.lives_until(key).await, (NOON + 3_660_000) as i64, "{key} has one once final again");
    }
    let fields = scene.fields(&story.gid).await;
    assert!(
        !fields.contains_key("01.arguments") && !fields.contains_key("01.result"),
        "payloads go when final"
    );
}

#[tokio::test]
async fn history_tells_what_happened() {
    let scene = Scene::new(History::default()).await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK, PAY]).await;
    scene.wait(10);
    story.report(&[(1, succeeded()), (2, Known::Refused)]).await;
    let heard = [(1, Some(succeeded())), (2, Some(Known::Refused))];
    let drives = story.decide(Direction::Confirm, &heard, &[1, 2]).await;
    scene.wait(30);
    story.close(&drives[0], How::Failed { after_ms: 0, error: "no".into() }).await;
    story.close(&drives[1], How::Done { seen: Seen::Refused }).await;
    let drive = &story.claim("stock", 9).await[0];
    scene.wait(5);
    story.close(drive, How::Ongoing { after_ms: 0 }).await;
    let drive = &story.claim("stock", 10).await[0];
    story.close(drive, How::Release { after_ms: 0, unhandled: false }).await;
    let drive = &story.claim("stock", 11).await[0];
    story.close(drive, How::Release { after_ms: 0, unhandled: true }).await;
    let drive = &story.claim("stock", 12).await[0];
    story.close(drive, How::Park { cause: ParkCause::Handler, error: "no".into() }).await;
    story.apply(Redrive { branches: vec![] }).await;
    let drive = &story.claim("stock", 13).await[0];
    story.finish(std::slice::from_ref(drive)).await;
    let history = scene.store.inspect().history(&story.gid).await.expect("the history");
    let lines: Vec<&str> =
        history.iter().map(|line| line.strip_prefix("2099-11-21T05:10:00.").expect("a time")).collect();
    assert_eq!(
        lines,
        [
            "000Z begun by shop-1",
            "000Z registered 01 stock.reserve@1",
            "000Z registered 02 pay.authorize@1",
            "010Z try of 01 succeeded",
            "010Z try of 02 refused",
            "010Z decided confirm because committed by shop-1",
            "010Z claimed 01 confirm attempt 1",
            "010Z claimed 02 cancel attempt 1",
            "040Z failed 01 after 30 ms again at 2099-11-21T05:10:00.040Z",
            "040Z cancelled 02 after 30 ms",
            "040Z claimed 01 confirm attempt 2",
            "045Z ongoing 01 after 5 ms again at 2099-11-21T05:10:00.045Z",
            "045Z claimed 01 confirm attempt 2",
            "045Z released 01 after 0 ms again at 2099-11-21T05:10:00.045Z",
            "045Z claimed 01 confirm attempt 2",
            "045Z unhandled 01 after 0 ms again at 2099-11-21T05:10:00.045Z",
            "045Z claimed 01 confirm attempt 2",
            "045Z parked 01 handler after 0 ms",
            "045Z redriven 01",
            "045Z claimed 01 confirm attempt 1",
            "045Z confirmed 01 after 0 ms",
            "045Z ended confirmed",
        ]
    );
}

#[tokio::test]
async fn history_tells_of_queued_work_that_went_the_short_way() {
    for later in [0, 20] {
        let scene = Scene::new(History::default()).await;
        let story = Story::new(&scene.store, 1);
        story.register(&[STOCK]).await;
        story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
        scene.wait(later);
        let drives = story.claim("stock", 9).await;
        scene.wait(7);
        story.finish(&drives).await;
        let short = scene.store.short_ways();
        assert_eq!(
            short.keys().copied().collect::<Vec<_>>(),
            ["claim", "close", "decide", "register"],
            "all went the short way"
        );
        let history = scene.store.inspect().history(&story.gid).await.expect("the history");
        let lines: Vec<&str> = history.iter().skip(2).map(|line| &line[20..]).collect();
        let (claimed, ended) = (format!("{later:03}Z"), format!("{:03}Z", later + 7));
        assert_eq!(
            lines,
            [
                "000Z try of 01 succeeded".to_owned(),
                "000Z decided confirm because committed by shop-1".to_owned(),
                format!("{claimed} claimed 01 confirm attempt 1"),
                format!("{ended} confirmed 01 after 7 ms"),
                format!("{ended} ended confirmed"),
            ]
        );
    }
}

#[tokio::test]
async fn history_tells_of_a_late_outcome() {
    let scene = Scene::new(History::latest(2)).await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Cancel, &[(1, None)], &[1]).await;
    story.finish(&drives).await;
    story
        .apply(Report { tries: vec![TryReport { ordinal: support::story::ordinal(1), known: succeeded() }] })
        .await;
    let history = scene.store.inspect().history(&gid(1)).await.expect("the history");
    let lines: Vec<&str> = history.iter().map(|line| &line[25..]).collect();
    assert_eq!(
        lines,
        ["cancelled 01 after 0 ms", "ended cancelled", "try of 01 succeeded", "reopened 01"],
        "only the latest are kept"
    );
}

#[tokio::test]
async fn a_line_of_history_is_bounded() {
    let scene = Scene::new(History::default()).await;
    let story = Story::new(&scene.store, 1);
    let long = format!("{}.{}@1", "p".repeat(128), "a".repeat(128));
    story.register(&[&long]).await;
    let history = scene.store.inspect().history(&story.gid).await.expect("the history");
    assert!(history[1].contains("registered 01 ppp") && history[1].len() < 512, "{history:?}");
    let (by, why) = (name(&"n".repeat(128)), "ä".repeat(128).parse().expect("a reason"));
    story.apply(Operate { by, why, change: Change::Cancel }).await;
    let history = scene.store.inspect().history(&story.gid).await.expect("the history");
    assert!(history.iter().all(|line| line.len() <= 512), "{history:?}");
    assert!(
        history.iter().any(|line| line.ends_with(&"ä".repeat(128))),
        "a reason is kept whole: {history:?}"
    );
}

#[tokio::test]
async fn a_step_with_much_to_tell_has_several_entries_and_an_operator_one_of_his_own() {
    let mut scene = Scene::new(History::default()).await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    story.register(&[STOCK; 20]).await;
    let (by, why) = (name("alice"), "ticket 17; and again".parse().expect("a reason"));
    story.apply(Operate { by, why, change: Change::Cancel }).await;
    let kept = format!("{{tcc:00}}:history:{}", story.gid);
    let entries: Vec<String> = ask(&mut scene.raw, &["LRANGE", &kept, "0", "-1"]).await;
    assert!(entries.len() == 4 && entries.iter().all(|entry| entry.len() <= 512), "{entries:?}");
    assert!(entries.iter().any(|entry| entry.ends_with("cancelled: ticket 17; and again")), "{entries:?}");
    let history = store.inspect().history(&story.gid).await.expect("the history");
    let told = |what: &str| history.iter().filter(|line| line[25..].starts_with(what)).count();
    assert_eq!([told("begun"), told("registered"), told("operator"), told("and again")], [1, 20, 1, 0]);
}

#[tokio::test]
async fn history_tells_no_duration_of_a_late_report() {
    let scene = Scene::new(History::latest(1)).await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let first = story.decide(Direction::Cancel, &[(1, None)], &[1]).await;
    scene.wait(3_600_000);
    assert_eq!(story.claim("stock", 9).await.len(), 1, "its lease is over");
    story.finish(&first).await;
    let history = scene.store.inspect().history(&story.gid).await.expect("the history");
    let lines: Vec<&str> = history.iter().map(|line| &line[25..]).collect();
    assert_eq!(lines, ["cancelled 01 after unknown time", "ended cancelled"]);
}

#[tokio::test]
async fn history_can_be_switched_off() {
    let mut scene = Scene::new(History::off()).await;
    let story = Story::new(&scene.store, 1);
    story.confirm_all().await;
    assert!(scene.store.inspect().history(&story.gid).await.expect("no history").is_empty());
    let names: Vec<String> = ask(&mut scene.raw, &["KEYS", "*history*"]).await;
    assert!(names.is_empty());
    let fields = scene.fields(&gid(1)).await;
    assert!(fields.values().all(|value| !value.contains("claimed=")));
}

#[tokio::test]
async fn time_never_goes_back() {
    let scene = Scene::new(History::off()).await;
    let story = Story::new(&scene.store, 1);
    story.register(&[STOCK]).await;
    let hour = 3_600_000;
    // An hour on, the initiator counts as dead; an hour back again, nothing is undone.
    scene.wait(hour);
    let swept = story.sweep().await.expect("a sweep");
    assert_eq!(swept.now.as_millis(), NOON + hour);
    let record = story.record().await;
    assert_eq!(record.decision.as_ref().map(|decision| decision.at.as_millis()), Some(NOON + hour));
    scene.clock.fetch_sub(hour, Ordering::Relaxed);
    let claimed = story.claim("stock", 5).await;
    assert_eq!(claimed.len(), 1, "what was due stays due");
    story.finish(&claimed).await;
    let record = story.record().await;
    assert_eq!(record.ended_at.map(|at| at.as_millis()), Some(NOON + hour));
    assert_eq!(
        tcc_core::store::Store::now(&scene.store, 0).await.expect("the time").as_millis(),
        NOON + hour
    );
}

#[tokio::test]
async fn a_clock_key_of_another_type_heals() {
    let mut scene = Scene::new(History::off()).await;
    for harm in [&["RPUSH", "{tcc:00}:clock", "text"][..], &["SET", "{tcc:00}:clock", "text"]] {
        let _: i64 = ask(&mut scene.raw, &["DEL", "{tcc:00}:clock"]).await;
        let _: redis::Value = ask(&mut scene.raw, harm).await;
        let story = Story::new(&scene.store, 1);
        story.register(&[STOCK]).await;
        let kept: String = ask(&mut scene.raw, &["GET", "{tcc:00}:clock"]).await;
        assert_eq!(kept, NOON.to_string());
    }
}

#[tokio::test]
async fn a_thousand_branches_are_no_trouble() {
    let scene = Scene::new(History::default()).await;
    let story = Story::new(&scene.store, 1);
    let actions = vec![STOCK; 1_000];
    story.register(&actions).await;
    let places = || (1..=1_000).map(ordinal);
    let decide = Decide {
        direction: Direction::Confirm,
        reason: Reason::Committed,
        by: name("shop-1"),
        create: None,
        heard: places().map(|ordinal| Heard { ordinal, known: Some(succeeded()) }).collect(),
        inline: Some(InlineClaim {
            token: Token(7),
            lease_ms: 5_000,
            branches: places().collect(),
            actions: places().map(|_| STOCK.parse().expect("an action")).collect(),
        }),
    };
    let Answer::Decided(Decided { drives, .. }) = story.apply(decide).await else { panic!("no decision") };
    assert_eq!(drives.len(), 1_000);
    let closes = drives.iter().map(|drive| tcc_core::machine::CloseDrive {
        ordinal: drive.ordinal,
        epoch: drive.epoch,
        direction: drive.direction,
        how: How::Done { seen: Seen::Succeeded },
    });
    story.apply(tcc_core::machine::Close { drives: closes.collect() }).await;
    assert!(story.record().await.state.is_final());
    assert!(scene.store.short_ways().is_empty(), "the short way is for a hundred");
}

/// A transaction of two branches, driven to its end by its initiator in three steps. Each step goes the long
/// way if it must look at more than the short way knows.
async fn driven_to_its_end(
    scene: &mut Scene,
    story: &Story<'_, RedisStore>,
    direction: Direction,
    is_long: bool,
) {
    let mut register = support::story::register(Some(story.create().await), &[STOCK, PAY]);
    if is_long {
        register.branches.push(register.branches[0].clone());
    }
    story.apply(register).await;
    scene.wait(250);
    let is_confirm = direction == Direction::Confirm;
    let heard = |place: usize, known: Known| Heard { ordinal: ordinal(place), known: Some(known) };
    let second = if is_confirm { succeeded() } else { Known::Refused };
    let actions = if is_long { &[][..] } else { &[STOCK, PAY] };
    let inline = InlineClaim {
        token: Token(7),
        lease_ms: 5_000,
        branches: vec![ordinal(1), ordinal(2)],
        actions: actions.iter().map(|action| action.parse().expect("an action")).collect(),
    };
    let decide = Decide {
        direction,
        reason: if is_confirm { Reason::Committed } else { Reason::Aborted },
        by: name("shop-2"),
        create: None,
        heard: vec![heard(1, succeeded()), heard(2, second)],
        inline: Some(inline),
    };
    story.apply(decide).await;
    if is_long {
        mark(&mut scene.raw, &story.store.inspect().record_key(&story.gid)).await;
    }
    scene.wait(30);
    let close = |place: usize, seen| CloseDrive {
        ordinal: ordinal(place),
        epoch: 1,
        direction,
        how: How::Done { seen },
    };
    let second = if is_confirm { Seen::Succeeded } else { Seen::Refused };
    story.apply(Close { drives: vec![close(1, Seen::Succeeded), close(2, second)] }).await;
}

#[tokio::test]
async fn the_short_way_writes_what_the_long_way_writes() {
    for history in [History::default(), History::latest(2), History::off()] {
        for direction in [Direction::Confirm, Direction::Cancel] {
            let mut left = Vec::new();
            for is_long in [false, true] {
                let mut scene = Scene::new(history).await;
                let store = scene.store.clone();
                let story = Story::new(&store, 1);
                driven_to_its_end(&mut scene, &story, direction, is_long).await;
                let short = store.short_ways();
                let ways = ["register", "decide", "close"].map(|operation| short.contains_key(operation));
                assert_eq!(ways, [!is_long, !is_long && direction == Direction::Confirm, !is_long]);
                let history = store.inspect().history(&story.gid).await.expect("the history");
                let names: BTreeSet<String> = ask(&mut scene.raw, &["KEYS", "*"]).await;
                let record = store.inspect().record_key(&story.gid);
                let fields = scene.fields(&story.gid).await;
                let kept = format!("{{tcc:00}}:history:{}", story.gid);
                let lives = [scene.lives_until(&record).await, scene.lives_until(&kept).await];
                left.push((fields, history, lives, names));
            }
            assert_eq!(left[0], left[1]);
        }
    }
}

/// What a transaction of two services that joined is after each step, and what is told of it.
async fn driven_apart(scene: &mut Scene, is_long: bool) -> Vec<(Record, Vec<String>)> {
    let store = scene.store.clone();
    let story = Story { key: Some("order 17 / ä".to_owned()), ..Story::new(&store, 1) };
    story.begin().await;
    // What was looked at because it outlived its first timer.
    story.sweep().await.expect("a sweep").result.expect("an answer");
    let joined = |call: &str, action: &str| {
        let mut register = register(None, &[action]);
        register.branches[0].call = call.parse().expect("a call");
        register.branches[0].runner = Some(Token(1));
        Op::from(register)
    };
    let report = |place| Report { tries: vec![TryReport { ordinal: ordinal(place), known: succeeded() }] };
    let heard = |place| Heard { ordinal: ordinal(place), known: Some(succeeded()) };
    let decide = Decide {
        direction: Direction::Confirm,
        reason: Reason::Committed,
        by: name("shop-1"),
        create: None,
        heard: (1..=3).map(heard).collect(),
        inline: None,
    };
    let claim = |participant, token| ClaimWork {
        participants: vec![name(participant)],
        token: Token(token),
        lease_ms: 60_000,
        except: Vec::new(),
        own: None,
    };
    let close = |places: &[usize]| {
        let drive = |place: &usize| CloseDrive {
            ordinal: ordinal(*place),
            epoch: 1,
            direction: Direction::Confirm,
            how: How::Done { seen: Seen::Succeeded },
        };
        Op::from(Close { drives: places.iter().map(drive).collect() })
    };
    let steps: [Op; 11] = [
        joined("1.1", STOCK),
        report(1).into(),
        joined("2.1", PAY),
        joined("2.2", PAY),
        // One of them is heard of by the decision alone.
        report(3).into(),
        decide.into(),
        claim("pay", 8).into(),
        close(&[3]),
        claim("stock", 9).into(),
        close(&[2]),
        close(&[1]),
    ];
    let count = steps.len() as u64;
    let mut seen = Vec::new();
    for step in steps {
        scene.wait(10);
        if is_long {
            mark(&mut scene.raw, &store.inspect().record_key(&story.gid)).await;
        }
        story.apply(step).await;
        seen.push((story.record().await, store.inspect().history(&story.gid).await.expect("the history")));
    }
    let short = if is_long { 1 } else { 1 + count };
    assert_eq!(store.short_ways().values().sum::<u64>(), short);
    seen
}

#[tokio::test]
async fn the_short_way_of_services_that_joined_writes_what_the_long_way_writes() {
    for history in [History::default(), History::off()] {
        let mut left = Vec::new();
        for is_long in [false, true] {
            let mut scene = Scene::new(history).await;
            let seen = driven_apart(&mut scene, is_long).await;
            let names: BTreeSet<String> = ask(&mut scene.raw, &["KEYS", "*"]).await;
            let fields = scene.fields(&gid(1)).await;
            let mut lives = Vec::new();
            for name in &names {
                lives.push(scene.lives_until(name).await);
            }
            left.push((seen, names, fields, lives));
        }
        assert_eq!(left[0], left[1]);
    }
}

#[tokio::test]
async fn what_goes_on_is_counted_from_its_first_word() {
    let mut scene = Scene::new(History::off()).await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
    let ongoing = How::Ongoing { after_ms: 0 };
    let unhandled = How::Release { after_ms: 0, unhandled: true };
    let told = "ongoing=2099-11-21T05:10:00.005Z";
    let both = "ongoing=2099-11-21T05:10:00.005Z unhandled=2099-11-21T05:10:00.015Z";
    let first = [(ongoing.clone(), told), (ongoing, told), (unhandled.clone(), both), (unhandled, both)];
    for (place, (how, told)) in first.into_iter().enumerate() {
        let drive = &story.claim("stock", 10 + place as u64).await[0];
        scene.wait(5);
        story.close(drive, how).await;
        let fields = scene.fields(&story.gid).await;
        assert!(fields["01.wait"].ends_with(told), "{place}: {}", fields["01.wait"]);
    }
    let drive = &story.claim("stock", 20).await[0];
    assert_eq!((drive.ongoing_ms, drive.unhandled_ms), (Some(15), Some(5)));
}
