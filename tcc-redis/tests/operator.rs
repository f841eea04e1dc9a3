//! What operators see and change in Redis: pauses, the audit, lists, numbers, and what contradicts itself.

mod support;

use std::collections::BTreeSet;

use support::{
    server::{Server, ask},
    story::{MAIL, PAY, STOCK, Story, name, ordinal, succeeded},
};
use tcc_core::{
    ActionName, AuditCursor, AuditEntry, Changed, Gid, PAUSES_MAX, Presence, Scope, Timestamp, Why,
    machine::{Answer, Change, Operate, Operated, Refusal},
    record::{Direction, TransactionState},
    store::{Store, StoreErrorKind},
};
use tcc_redis::{CheckCursor, Checked, Cursor, Durability, Filter, FindingKind, Index, RedisStore, Row};

async fn connect(server: &Server, shards: u16) -> RedisStore {
    let builder = RedisStore::builder(server.url()).durability(Durability::Volatile).shards(shards);
    builder.connect().await.expect("a store")
}

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

fn why(text: &str) -> Why {
    text.parse().expect("a reason")
}

fn by_alice(change: Change) -> Operate {
    Operate { by: name("alice"), why: why("ticket 17: ä"), change }
}

fn resolve(place: usize, direction: Direction) -> Operate {
    by_alice(Change::Resolve { branch: ordinal(place), direction })
}

async fn audit(store: &RedisStore) -> Vec<AuditEntry> {
    store.audit(0, None, 100).await.expect("the audit").entries
}

#[tokio::test]
async fn pauses_stand_until_they_are_resumed_and_outlive_redis() {
    let mut server = Server::start().await;
    let store = RedisStore::connect(server.url()).await.expect("a store");
    let reason = why("the warehouse: moving by night, ä");
    assert!(store.pause(&scope("stock"), &name("alice"), &reason).await.expect("an answer"));
    assert!(store.pause(&scope("pay.authorize@2"), &name("bob"), &reason).await.expect("an answer"));
    let again = store.pause(&scope("stock"), &name("bob"), &why("another")).await;
    assert!(!again.expect("an answer"), "the first one stands");
    server.kill_and_restart().await;
    let pauses = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        loop {
            if let Ok(pauses) = store.pauses().await {
                return pauses;
            }
        }
    });
    let pauses = pauses.await.expect("the store comes back");
    let told: Vec<_> = pauses.iter().map(|pause| (pause.scope.to_string(), pause.by.as_str())).collect();
    assert_eq!(told, [("stock".to_owned(), "alice"), ("pay.authorize@2".to_owned(), "bob")]);
    assert!(pauses.iter().all(|pause| pause.why == reason && pause.since > Timestamp::default()));
    assert!(store.resume(&scope("stock"), &name("bob"), &reason).await.expect("an answer"));
    assert!(!store.resume(&scope("stock"), &name("bob"), &reason).await.expect("an answer"));
    assert_eq!(store.pauses().await.expect("pauses").len(), 1);
    let entries = audit(&store).await;
    let changed: Vec<_> = entries.iter().map(|entry| (entry.by.as_str(), entry.changed.clone())).collect();
    let expected = [
        ("bob", Changed::Resumed(scope("stock"))),
        ("bob", Changed::Paused(scope("pay.authorize@2"))),
        ("alice", Changed::Paused(scope("stock"))),
    ];
    assert_eq!(changed, expected, "newest first, and only what changed something");
    assert!(entries.iter().all(|entry| entry.why == reason));
}

#[tokio::test]
async fn there_are_no_more_pauses_than_may_be() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    for number in 0..PAUSES_MAX {
        let paused = store.pause(&scope(&format!("p{number}")), &name("alice"), &why("a test")).await;
        assert!(paused.expect("an answer"));
    }
    let error = store.pause(&scope("more"), &name("alice"), &why("a test")).await.expect_err("a refusal");
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert!(error.to_string().contains(&PAUSES_MAX.to_string()), "{error}");
    assert_eq!(store.pauses().await.expect("pauses").len(), PAUSES_MAX);
}

#[tokio::test]
async fn the_audit_is_read_page_by_page_and_keeps_no_more_than_ten_thousand() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let mut raw = server.raw().await;
    let fill = "for n = 1, 10000 do redis.call('XADD', KEYS[1], '*', 'at', '2026-11-21T05:10:00.000Z', 'by', 'n' .. n, 'why', 'x', 'changed', 'paused', 'scope', 'p') end";
    let () = ask(&mut raw, &["EVAL", fill, "1", "{tcc:00}:audit"]).await;
    let story = Story::new(&store, 1);
    story.confirming().await;
    story.apply(resolve(1, Direction::Confirm)).await;
    let length: usize = ask(&mut raw, &["XLEN", "{tcc:00}:audit"]).await;
    assert_eq!(length, 10_000);
    let first = store.audit(0, None, 3).await.expect("a page");
    let names = |entries: &[AuditEntry]| entries.iter().map(|entry| entry.by.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&first.entries), ["alice", "n10000", "n9999"]);
    let second = store.audit(0, first.next.as_ref(), 2).await.expect("a page");
    assert_eq!(names(&second.entries), ["n9998", "n9997"]);
    let changed =
        Changed::Resolved { gid: story.gid.clone(), branch: ordinal(1), direction: Direction::Confirm };
    assert_eq!(first.entries[0].changed, changed);
    for strange in ["", "x", "5", "5-", "-1"] {
        let error = store.audit(0, Some(&AuditCursor::new(strange.into())), 2).await.expect_err("no place");
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{strange}: {error}");
    }
    let all = store.audit(0, None, 20_000).await.expect("a page");
    assert_eq!((all.entries.len(), all.next), (10_000, None));
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_is_not_made() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let mut raw = server.raw().await;
    let story = Story::new(&store, 1);
    story.confirming().await;
    let () = ask(&mut raw, &["SET", "{tcc:00}:audit", "text"]).await;
    let before = story.record().await;
    let error = story.try_apply(resolve(1, Direction::Confirm)).await.expect_err("no audit");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(story.record().await, before);
    let error = store.pause(&scope("stock"), &name("alice"), &why("a test")).await.expect_err("no audit");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.pauses().await.expect("pauses"), []);
}

#[tokio::test]
async fn an_operators_change_is_told_in_the_history_and_in_the_record() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let story = Story::new(&store, 1);
    story.confirming().await;
    let refused = story.try_apply(resolve(2, Direction::Confirm)).await.expect("an answer").result;
    assert_eq!(refused, Err(Refusal::BranchLeased(ordinal(2))), "it is driven now");
    story.apply(resolve(1, Direction::Confirm)).await;
    let other = Story::new(&store, 2);
    other.trying().await;
    let Answer::Operated(Operated::Cancelled { decision, changed: true }) =
        other.apply(by_alice(Change::Cancel)).await
    else {
        panic!("it is cancelled")
    };
    assert_eq!(decision.by, name("alice"));
    assert_eq!(other.record().await.decision, Some(decision));
    let history = store.inspect().history(&story.gid).await.expect("a history");
    assert!(
        history.iter().any(|line| line.ends_with("operator alice resolved 01 as confirmed: ticket 17: ä")),
        "{history:?}"
    );
    let history = store.inspect().history(&other.gid).await.expect("a history");
    assert!(
        history.iter().any(|line| line.ends_with("operator alice cancelled: ticket 17: ä")),
        "{history:?}"
    );
}

#[tokio::test]
async fn processes_tell_what_they_host_as_long_as_they_live() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let actions: Vec<ActionName> = [PAY, STOCK].map(|action| action.parse().expect("an action")).into();
    let presence = |process: &str| Presence {
        process: name(process),
        actions: actions.clone(),
        version: "0.1.0".into(),
        heard_at: Timestamp::default(),
    };
    store.announce(&presence("shop-2")).await.expect("told");
    store.announce(&presence("shop-1")).await.expect("told");
    let mut raw = server.raw().await;
    // One that was heard long ago, and one of a version that does not tell.
    let () = ask(&mut raw, &["ZADD", "{tcc:00}:nodes", "1000", "old"]).await;
    let (seconds, _): (u64, u64) = ask(&mut raw, &["TIME"]).await;
    let () = ask(&mut raw, &["ZADD", "{tcc:00}:nodes", &(seconds * 1_000).to_string(), "quiet"]).await;
    let processes = store.processes(10).await.expect("processes");
    let told: Vec<_> = processes.iter().map(|one| (one.process.as_str(), one.actions.len())).collect();
    assert_eq!(told, [("quiet", 0), ("shop-1", 2), ("shop-2", 2)]);
    assert_eq!((&processes[1].actions, processes[1].version.as_str()), (&actions, "0.1.0"));
    assert!(processes.iter().all(|one| one.heard_at.as_millis() > 1_000));
    let ttl: i64 = ask(&mut raw, &["PTTL", "{tcc:00}:node:shop-1"]).await;
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

/// Every row of a list, and how many pages it took.
async fn rows(store: &RedisStore, index: Index, filter: &Filter, max: usize) -> (Vec<Row>, usize) {
    let (mut rows, mut pages, mut after): (Vec<Row>, usize, Option<Cursor>) = (Vec::new(), 0, None);
    loop {
        let page = store.inspect().list(index, filter, after.as_ref(), max).await.expect("a page");
        assert!(page.looked <= max && pages < 1_000);
        rows.extend(page.rows);
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => return (rows, pages),
        }
    }
}

fn gids(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.gid.to_string()).collect()
}

fn story_in<'a>(store: &'a RedisStore, number: u64, shard: u16) -> Story<'a, RedisStore> {
    let mut story = Story::new(store, number);
    story.gid = Gid::new(Timestamp::from_millis(1_795_000_000_000 + number * 1_000), number, shard);
    story
}

#[tokio::test]
async fn what_is_open_is_listed_oldest_first_over_all_shards_and_nothing_twice() {
    let server = Server::volatile().await;
    let store = connect(&server, 3).await;
    let mut expected = Vec::new();
    for number in 1..=30 {
        let story = story_in(&store, number, (number % 3) as u16);
        match number % 5 {
            0 => story.confirm_all().await,
            1 => story.confirming().await,
            _ => story.trying().await,
        }
        // The last ones no sweep has looked at yet.
        if number <= 20 {
            story.sweep().await.expect("swept").result.expect("swept");
        }
        if number % 5 != 0 {
            expected.push((number, story.gid.to_string()));
        }
    }
    let listed: Vec<String> = expected.iter().map(|(_, gid)| gid.clone()).collect();
    for max in [1, 4, 7, 1_000] {
        let (rows, pages) = rows(&store, Index::Open, &Filter::default(), max).await;
        let found = gids(&rows);
        assert_eq!(BTreeSet::from_iter(&found), BTreeSet::from_iter(&listed), "in pages of {max}");
        assert_eq!(found.len(), listed.len(), "nothing twice in pages of {max}");
        assert_eq!(found[..16], listed[..16], "oldest first in pages of {max}");
        assert!(pages > 24 / max);
    }
    let parked = Filter { parked: Some(true), ..Filter::default() };
    let (found, _) = rows(&store, Index::Open, &parked, 5).await;
    assert_eq!(found.len(), 6);
    assert!(
        found
            .iter()
            .all(|row| row.record.as_ref().is_ok_and(|record| record.branches[0].arguments.is_none()))
    );
    let (found, _) = rows(&store, Index::Parked, &Filter::default(), 4).await;
    assert_eq!(found.len(), 6);
    assert!(found.windows(2).all(|pair| pair[0].at <= pair[1].at), "longest first");
    let (found, _) = rows(&store, Index::Due, &Filter::default(), 5).await;
    assert_eq!(found.len(), listed.len(), "none is wholly parked");
    let at = |number: u64| Some(Timestamp::from_millis(1_795_000_000_000 + number * 1_000));
    let between = Filter { begun_after: at(3), begun_before: at(9), ..Filter::default() };
    let (found, _) = rows(&store, Index::Open, &between, 2).await;
    let expected: Vec<&String> =
        expected.iter().filter(|(n, _)| (4..9).contains(n)).map(|(_, gid)| gid).collect();
    assert_eq!(gids(&found).iter().collect::<Vec<_>>(), expected);
    let (found, _) = rows(&store, Index::Due, &between, 2).await;
    assert_eq!(BTreeSet::from_iter(&gids(&found)), BTreeSet::from_iter(expected), "whatever the index");
    let states = Filter { states: vec![TransactionState::Trying], ..Filter::default() };
    let (found, _) = rows(&store, Index::Open, &states, 100).await;
    assert_eq!(found.len(), 18);
    for (filter, count) in [
        (Filter { name: Some(name("checkout")), ..Filter::default() }, 24),
        (Filter { name: Some(name("refund")), ..Filter::default() }, 0),
        (Filter { participant: Some(name("mail")), ..Filter::default() }, 24),
        (Filter { participant: Some(name("bank")), ..Filter::default() }, 0),
        (Filter { key: Some("order-1".parse().expect("a key")), ..Filter::default() }, 0),
    ] {
        assert_eq!(rows(&store, Index::Open, &filter, 100).await.0.len(), count, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended_though_members_of_one_score_come_and_go() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let mut raw = server.raw().await;
    let mut all = Vec::new();
    for number in 1..=12 {
        let story = story_in(&store, number, 0);
        story.trying().await;
        let () = ask(&mut raw, &["ZADD", "{tcc:00}:due", "5000", story.gid.as_str()]).await;
        all.push(story.gid.to_string());
    }
    let inspector = store.inspect();
    let filter = Filter::default();
    let first = inspector.list(Index::Due, &filter, None, 4).await.expect("a page");
    // The last of the page is gone, and one before it.
    for gid in [&all[3], &all[1]] {
        let () = ask(&mut raw, &["ZREM", "{tcc:00}:due", gid]).await;
    }
    let second = inspector.list(Index::Due, &filter, first.next.as_ref(), 4).await.expect("a page");
    assert_eq!(gids(&second.rows), all[4..8]);
    let third = inspector.list(Index::Due, &filter, second.next.as_ref(), 4).await.expect("a page");
    assert_eq!(gids(&third.rows), all[8..]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_listed_with_why() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let mut raw = server.raw().await;
    let [good, bad, worse, gone] = [1, 2, 3, 4].map(|number| story_in(&store, number, 0));
    for story in [&good, &bad, &worse, &gone] {
        story.trying().await;
    }
    let _: i64 = ask(&mut raw, &["DEL", &store.inspect().record_key(&gone.gid)]).await;
    let () = ask(&mut raw, &["HSET", &store.inspect().record_key(&bad.gid), "state", "maybe"]).await;
    let () = ask(&mut raw, &["SET", &store.inspect().record_key(&worse.gid), "text"]).await;
    let (found, _) =
        rows(&store, Index::Open, &Filter { name: Some(name("other")), ..Filter::default() }, 10).await;
    let told: Vec<_> = found.into_iter().map(|row| (row.gid, row.record.expect_err("unreadable"))).collect();
    assert_eq!(
        told,
        [(bad.gid, "field state: no such word".into()), (worse.gid, "field type: no hash".into())]
    );
}

#[tokio::test]
async fn numbers_tell_what_each_index_holds() {
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let stock = name("stock");
    let empty = store.inspect().counts(0, std::slice::from_ref(&stock)).await.expect("numbers");
    assert_eq!((empty.open_at_least(), empty.queued[&stock], empty.oldest_open), (0, 0, None));
    for number in 1..=3 {
        story_in(&store, number, 0).confirming().await;
    }
    let story = story_in(&store, 4, 0);
    story.trying().await;
    story_in(&store, 1, 0).sweep().await.expect("swept").result.expect("swept");
    story.apply(by_alice(Change::Cancel)).await;
    let () = ask(&mut server.raw().await, &["ZADD", "{tcc:00}:due", "1", "late"]).await;
    let participants = [stock.clone(), name("mail"), name("nobody")];
    let counts = store.inspect().counts(0, &participants).await.expect("numbers");
    assert_eq!((counts.open_listed, counts.timers, counts.overdue), (1, 5, 1));
    assert_eq!(counts.open_at_least(), 5);
    assert_eq!((counts.parked, counts.unreadable, counts.audit), (3, 0, 1));
    let queued: Vec<u64> = participants.iter().map(|participant| counts.queued[participant]).collect();
    assert_eq!(queued, [1, 4, 0]);
    assert_eq!(counts.oldest_open, Some(story_in(&store, 1, 0).gid));
    assert!(counts.longest_parked.is_some());
}

#[tokio::test]
async fn a_half_typed_gid_is_found_among_what_is_open() {
    let server = Server::volatile().await;
    let store = connect(&server, 2).await;
    let (one, two) = (story_in(&store, 1, 0), story_in(&store, 2, 1));
    one.trying().await;
    two.trying().await;
    one.sweep().await.expect("swept").result.expect("swept");
    let done = story_in(&store, 3, 0);
    done.confirm_all().await;
    let inspector = store.inspect();
    let find = async |prefix: &str| {
        let found = inspector.by_prefix(prefix, 10).await.expect("gids");
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let common = &one.gid.as_str()[..7];
    assert!(two.gid.as_str().starts_with(common));
    assert_eq!(find(common).await, [one.gid.to_string(), two.gid.to_string()]);
    assert_eq!(inspector.by_prefix(common, 1).await.expect("gids").len(), 1);
    assert_eq!(find(&one.gid.as_str()[..20]).await, [one.gid.to_string()]);
    assert_eq!(find(&two.gid.as_str()[..20]).await, [two.gid.to_string()]);
    assert_eq!(find(done.gid.as_str()).await, [done.gid.to_string()]);
    for strange in ["", "zzz", "*", "[", "01\u{e4}", story_in(&store, 9, 0).gid.as_str()] {
        assert!(find(strange).await.is_empty(), "{strange}");
    }
}

async fn found(store: &RedisStore, what: &Checked) -> Vec<(String, FindingKind)> {
    let (mut found, mut after, mut pages): (_, Option<CheckCursor>, _) = (Vec::new(), None, 0);
    loop {
        let page = store.inspect().check(0, what, after.as_ref(), 3).await.expect("a page");
        found.extend(page.findings.into_iter().map(|finding| (finding.subject, finding.kind)));
        pages += 1;
        assert!(pages < 100, "a check ends");
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_check_finds_every_contradiction_and_none_where_there_is_none() {
    use FindingKind as K;
    let server = Server::volatile().await;
    let store = connect(&server, 1).await;
    let mut raw = server.raw().await;
    let mut stories = Vec::new();
    for number in 1..=16 {
        let mut story = story_in(&store, number, 0);
        story.key = Some(format!("order-{number}"));
        story.begin().await;
        match number {
            1..=4 => story.trying().await,
            5..=12 => story.confirming().await,
            _ => {
                story.register(&[STOCK, MAIL]).await;
                let drives =
                    story.decide(Direction::Cancel, &[(1, Some(succeeded())), (2, None)], &[1, 2]).await;
                story.finish(&drives).await;
            }
        }
        story.sweep().await.expect("swept").result.expect("swept");
        stories.push(story);
    }
    // Wholly parked.
    let wholly = story_in(&store, 20, 0);
    wholly.register(&[STOCK]).await;
    let drives = wholly.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    let cause = tcc_core::record::ParkCause::Handler;
    wholly.close(&drives[0], tcc_core::machine::How::Park { cause, error: "closed".into() }).await;

    let every =
        [Checked::Open, Checked::Due, Checked::Parked, Checked::Unreadable, Checked::Queue(name("mail"))];
    for what in &every {
        assert_eq!(found(&store, what).await, [], "{what:?}");
    }

    let inspector = store.inspect();
    let gid = |number: usize| stories[number - 1].gid.to_string();
    let record = |number: usize| inspector.record_key(&stories[number - 1].gid);
    let index = |suffix: &str| format!("{{tcc:00}}:{suffix}");
    let key = |number: usize| index(&format!("key:checkout:order-{number}"));
    for words in [
        vec!["ZREM", &index("due"), &gid(1)],
        vec!["ZADD", &index("due"), "9999999999999", &gid(2)],
        vec!["PEXPIRE", &record(3), "3600000"],
        vec!["PERSIST", &record(13)],
        vec!["ZADD", &index("open"), "0", &gid(13)],
        vec!["HSET", &record(4), "01.arguments", "{\"sku\":\"tee\"}"],
        vec!["DEL", &record(14)],
        vec!["ZADD", &index("due"), "9999999999999", &gid(14)],
        vec!["ZADD", &index("parked"), "5", &gid(15)],
        vec!["ZREM", &index("open"), wholly.gid.as_str()],
        vec!["ZREM", &index("parked"), &gid(5)],
        vec!["ZADD", &index("parked"), "5", &gid(1)],
        vec!["SET", &key(6), &gid(7)],
        vec!["PEXPIRE", &key(7), "3600000"],
        vec!["XADD", &index("ready:mail"), "99999999999999-1", "gid", &gid(14)],
        vec!["ZADD", &index("open"), "0", "nonsense"],
        vec!["ZREM", &index("open"), &gid(10)],
        vec!["ZREM", &index("parked"), &gid(10)],
        vec!["ZREM", &index("due"), &gid(10)],
        vec!["HSET", &index("unreadable"), &gid(8), "once"],
        vec!["HSET", &index("unreadable"), &gid(14), "gone"],
        vec!["PEXPIRE", &index(&format!("history:{}", gid(9))), "3600000"],
    ] {
        let _: redis::Value = ask(&mut raw, &words).await;
    }

    // In no index any more; only its message leads to it.
    let messages: Vec<(String, Vec<String>)> =
        ask(&mut raw, &["XRANGE", &index("ready:mail"), "-", "+"]).await;
    let lost = messages.into_iter().find(|(_, fields)| fields[1] == gid(10)).expect("its message").0;

    let expected = [
        (
            Checked::Open,
            vec![
                (gid(1), K::TimerMissing),
                (gid(1), K::ListedNotParked),
                (gid(2), K::TimerLate),
                (gid(3), K::ExpiresInFlight),
                (gid(4), K::Unreadable),
                (gid(5), K::NotListedParked),
                (gid(6), K::KeyElsewhere),
                (gid(7), K::KeyExpires),
                (gid(8), K::ReadableAgain),
                (gid(9), K::ExpiresInFlight),
                (gid(13), K::NeverExpires),
                (gid(13), K::ListedFinal),
                ("nonsense".into(), K::ForeignMember),
            ],
        ),
        (Checked::Due, vec![(gid(14), K::ListedGone)]),
        (Checked::Parked, vec![(gid(15), K::ListedFinal), (wholly.gid.to_string(), K::NotListedOpen)]),
        (Checked::Unreadable, vec![(gid(8), K::ReadableAgain), (gid(14), K::ListedGone)]),
        (
            Checked::Queue(name("mail")),
            vec![("99999999999999-1".into(), K::MessageStray), (lost, K::TimerMissing)],
        ),
    ];
    for (what, expected) in expected {
        let found = BTreeSet::from_iter(found(&store, &what).await);
        let missed: Vec<_> = expected.iter().filter(|one| !found.contains(one)).collect();
        assert!(missed.is_empty(), "{what:?} missed {missed:?} and found {found:?}");
        if what == Checked::Open {
            assert_eq!(found, BTreeSet::from_iter(expected));
        }
    }
}
