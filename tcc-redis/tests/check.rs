//! A check tells what stands and nothing that passes, and nothing of what may be so.

mod support;

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;
use support::{
    server::{Server, ask},
    story::{MAIL, STOCK, Story, name, succeeded},
};
use tcc_core::{
    machine::{Begin, How},
    record::{Direction, ParkCause, Seen},
};
use tcc_redis::{Checked, Durability, Finding, FindingKind, RedisStore};

const DUE: &str = "{tcc:00}:due";
const OPEN: &str = "{tcc:00}:open";
const PARKED: &str = "{tcc:00}:parked";
const UNREADABLE: &str = "{tcc:00}:unreadable";

struct Scene {
    _server: Server,
    raw: MultiplexedConnection,
    store: RedisStore,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::volatile().await;
        let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
        let store = builder.connect().await.expect("a store");
        Self { raw: server.raw().await, _server: server, store }
    }

    async fn found(&self, what: &Checked) -> Vec<Finding> {
        let page = self.store.inspect().check(0, what, None, 100).await.expect("a page");
        assert_eq!(page.next, None);
        page.findings
    }

    async fn kinds(&self, what: &Checked) -> BTreeSet<FindingKind> {
        self.found(what).await.into_iter().map(|finding| finding.kind).collect()
    }
}

/// Listed as open, as after its first timer.
async fn listed(raw: &mut MultiplexedConnection, story: &Story<'_, RedisStore>) {
    let _: i64 = ask(raw, &["ZADD", OPEN, "0", story.gid.as_str()]).await;
}

#[tokio::test]
async fn what_passes_is_not_told_beside_what_stays() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    story.trying().await;
    listed(&mut scene.raw, &story).await;
    let _: i64 = ask(&mut scene.raw, &["ZADD", DUE, "9999999999999", story.gid.as_str()]).await;
    assert_eq!(scene.kinds(&Checked::Open).await, [FindingKind::TimerLate].into());
    for _ in 0..3 {
        // Gone before the second look.
        let mut passing = redis::pipe();
        passing.atomic().cmd("ZADD").arg(PARKED).arg(5).arg(story.gid.as_str());
        passing.cmd("PEXPIRE").arg(PARKED).arg(50);
        let _: redis::Value = passing.query_async(&mut scene.raw).await.expect("an index that passes");
        assert_eq!(scene.kinds(&Checked::Open).await, [FindingKind::TimerLate].into());
    }
}

#[tokio::test]
async fn a_timer_may_be_a_second_late() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    story.trying().await;
    listed(&mut scene.raw, &story).await;
    let timer: u64 = ask(&mut scene.raw, &["ZSCORE", DUE, story.gid.as_str()]).await;
    for (late, found) in [(0, false), (1_000, false), (1_001, true)] {
        let _: i64 =
            ask(&mut scene.raw, &["ZADD", DUE, &(timer + late).to_string(), story.gid.as_str()]).await;
        assert_eq!(!scene.found(&Checked::Open).await.is_empty(), found, "{late} ms late");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_listed_as_parked_and_queues_beside_it() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    story.trying().await;
    listed(&mut scene.raw, &story).await;
    let gid = story.gid.as_str();
    let _: i64 = ask(&mut scene.raw, &["ZADD", PARKED, "5", gid]).await;
    let _: i64 = ask(&mut scene.raw, &["HSET", UNREADABLE, gid, "once", "ready:mail", "no stream"]).await;
    for what in [Checked::Open, Checked::Parked, Checked::Unreadable] {
        let found = scene.found(&what).await;
        let told: Vec<_> = found.iter().map(|finding| (finding.subject.as_str(), finding.kind)).collect();
        assert_eq!(told, [(gid, FindingKind::ReadableAgain)], "{what:?}");
    }
}

#[tokio::test]
async fn what_is_gone_or_final_is_told_with_every_index_that_leads_to_it() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let (gone, done) = (Story::new(&store, 1), Story::new(&store, 2));
    done.confirm_all().await;
    for (index, story) in [(OPEN, &gone), (DUE, &gone), (DUE, &done), (PARKED, &done)] {
        let _: i64 = ask(&mut scene.raw, &["ZADD", index, "5", story.gid.as_str()]).await;
    }
    let _: i64 = ask(&mut scene.raw, &["HSET", UNREADABLE, gone.gid.as_str(), "once"]).await;
    use FindingKind::{ListedFinal, ListedGone};
    let of_gone = [(ListedGone, "due"), (ListedGone, "open")];
    let of_done = [(ListedFinal, "due"), (ListedFinal, "parked")];
    for (what, expected) in [
        (Checked::Open, of_gone.to_vec()),
        (Checked::Due, [of_gone, of_done].concat()),
        (Checked::Parked, of_done.to_vec()),
        (Checked::Unreadable, vec![(ListedGone, "unreadable")]),
    ] {
        let found = scene.found(&what).await;
        let told: Vec<_> = found.iter().map(|finding| (finding.kind, finding.detail.as_str())).collect();
        assert_eq!(told, expected, "{what:?}");
    }
}

#[tokio::test]
async fn a_business_key_is_missed_unless_its_transaction_was_cancelled_before() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let mut reopened = Story::new(&store, 1);
    reopened.key = Some("order-1".into());
    let create = reopened.create().await;
    reopened.apply(Begin { create, again_after_cancel: false }).await;
    reopened.register(&[STOCK]).await;
    reopened.decide(Direction::Cancel, &[(1, None)], &[]).await;
    listed(&mut scene.raw, &reopened).await;
    assert_eq!(scene.found(&Checked::Open).await, []);
    let key = store.inspect().business_key(0, &name("checkout"), &"order-1".parse().expect("a key"));
    let _: i64 = ask(&mut scene.raw, &["PEXPIRE", &key, "3600000"]).await;
    assert_eq!(scene.kinds(&Checked::Open).await, [FindingKind::KeyExpires].into());
    let _: i64 = ask(&mut scene.raw, &["DEL", &key]).await;
    assert_eq!(scene.found(&Checked::Open).await, []);

    let mut trying = Story::new(&store, 2);
    trying.key = Some("order-2".into());
    trying.begin().await;
    listed(&mut scene.raw, &trying).await;
    let key = store.inspect().business_key(0, &name("checkout"), &"order-2".parse().expect("a key"));
    let _: i64 = ask(&mut scene.raw, &["DEL", &key]).await;
    let found = scene.found(&Checked::Open).await;
    let told: Vec<_> = found.iter().map(|finding| (finding.kind, finding.detail.as_str())).collect();
    assert_eq!(told, [(FindingKind::KeyElsewhere, "order-2 leads to nowhere")]);
}

#[tokio::test]
async fn a_message_without_work_is_stray_and_one_of_an_unreadable_record_is_not() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let mail = Checked::Queue(name("mail"));
    // Work for mail; mail is done and stock is not; unreadable.
    let (works, done, strange) = (Story::new(&store, 1), Story::new(&store, 2), Story::new(&store, 3));
    for story in [&works, &done, &strange] {
        story.register(&[STOCK, MAIL]).await;
        let heard = [(1, Some(succeeded())), (2, Some(succeeded()))];
        story.decide(Direction::Confirm, &heard, &[]).await;
    }
    assert_eq!(scene.found(&mail).await, []);
    let drives = done.claim("mail", 5).await;
    done.close(&drives[0], How::Done { seen: Seen::Succeeded }).await;
    let _: String =
        ask(&mut scene.raw, &["XADD", "{tcc:00}:ready:mail", "*", "gid", done.gid.as_str()]).await;
    let _: i64 =
        ask(&mut scene.raw, &["HSET", &store.inspect().record_key(&strange.gid), "state", "maybe"]).await;
    let found = scene.found(&mail).await;
    let told: Vec<_> = found.iter().map(|finding| (finding.kind, finding.detail.as_str())).collect();
    assert_eq!(told, [(FindingKind::MessageStray, done.gid.as_str())]);
}

/// What waits for an operator has no timer and needs none; every kind is told in words of its own.
#[tokio::test]
async fn a_wholly_parked_transaction_is_in_order() {
    let scene = Scene::new().await;
    let store = scene.store.clone();
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    story.close(&drives[0], How::Park { cause: ParkCause::Handler, error: "closed".into() }).await;
    for what in [Checked::Open, Checked::Due, Checked::Parked, Checked::Unreadable] {
        assert_eq!(scene.found(&what).await, [], "{what:?}");
    }
}

#[test]
fn every_kind_of_finding_is_told_in_words_of_its_own() {
    use FindingKind::*;
    let kinds = [
        TimerMissing,
        TimerLate,
        ExpiresInFlight,
        NeverExpires,
        Unreadable,
        ListedGone,
        ListedFinal,
        NotListedOpen,
        NotListedParked,
        ListedNotParked,
        KeyElsewhere,
        KeyExpires,
        MessageStray,
        ForeignMember,
        ReadableAgain,
    ];
    let told: BTreeSet<String> = kinds.iter().map(ToString::to_string).collect();
    assert!(told.len() == kinds.len() && told.iter().all(|words| words.len() > 10), "{told:?}");
}
