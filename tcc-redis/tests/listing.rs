//! How far lists look, and what they leave out.

mod support;

use support::{
    server::{Server, ask},
    story::{STOCK, Story, name},
};
use tcc_core::{Gid, Timestamp, record::Direction, store::Store};
use tcc_redis::{Cursor, Durability, Filter, History, Index, RedisStore};

const TIMERS_MAX: usize = 10_000;

async fn store(server: &Server, history: History) -> RedisStore {
    let builder = RedisStore::builder(server.url()).durability(Durability::Volatile).history(history);
    builder.connect().await.expect("a store")
}

fn gid(number: usize) -> Gid {
    Gid::new(Timestamp::from_millis(number as u64), 0, 0)
}

#[tokio::test]
async fn what_is_open_is_looked_for_among_ten_thousand_timers() {
    let server = Server::volatile().await;
    let store = store(&server, History::default()).await;
    let mut raw = server.raw().await;
    let mut fill = redis::pipe();
    for number in 0..=TIMERS_MAX {
        fill.cmd("ZADD").arg("{tcc:00}:due").arg(number).arg(gid(number).as_str()).ignore();
    }
    let () = fill.query_async(&mut raw).await.expect("timers");
    let open = store.open(0, None, 2 * TIMERS_MAX).await.expect("gids");
    assert_eq!((open.len(), open.last()), (TIMERS_MAX, Some(&gid(TIMERS_MAX - 1))));
    let after = store.open(0, Some(&gid(TIMERS_MAX - 3)), 100).await.expect("gids");
    assert_eq!(after, [gid(TIMERS_MAX - 2), gid(TIMERS_MAX - 1)]);
}

#[tokio::test]
async fn a_page_of_one_score_goes_on_after_a_member_that_is_gone() {
    let server = Server::volatile().await;
    let store = store(&server, History::default()).await;
    let mut raw = server.raw().await;
    let mut gids = Vec::new();
    for number in 1..=9 {
        let story = Story::new(&store, number);
        story.trying().await;
        // Three scores of three members each.
        let score = (1_000 * ((number - 1) / 3)).to_string();
        let () = ask(&mut raw, &["ZADD", "{tcc:00}:due", &score, story.gid.as_str()]).await;
        gids.push(story.gid);
    }
    let list = async |after: Option<&Cursor>, max| {
        let page = store.inspect().list(Index::Due, &Filter::default(), after, max).await.expect("a page");
        (page.rows.into_iter().map(|row| row.gid).collect::<Vec<_>>(), page.next)
    };
    for (taken, max) in [(4, 1), (4, 2), (4, 5), (4, 100), (5, 1), (5, 3), (6, 2), (6, 3), (6, 100)] {
        let (page, next) = list(None, taken).await;
        assert_eq!(page, gids[..taken]);
        let gone = &gids[taken - 1];
        let score: String = ask(&mut raw, &["ZSCORE", "{tcc:00}:due", gone.as_str()]).await;
        let _: i64 = ask(&mut raw, &["ZREM", "{tcc:00}:due", gone.as_str()]).await;
        let (page, _) = list(next.as_ref(), max).await;
        assert_eq!(page, gids[taken..9.min(taken + max)], "{max} after {taken}, which is gone");
        // At another place it is no predecessor either.
        let _: i64 = ask(&mut raw, &["ZADD", "{tcc:00}:due", "5000", gone.as_str()]).await;
        let (page, _) = list(next.as_ref(), max).await;
        let moved: Vec<Gid> = gids[taken..].iter().chain([gone]).take(max).cloned().collect();
        assert_eq!(page, moved, "{max} after {taken}, which is elsewhere");
        let _: i64 = ask(&mut raw, &["ZADD", "{tcc:00}:due", &score, gone.as_str()]).await;
    }
}

#[tokio::test]
async fn a_list_ends_where_its_pages_end() {
    let server = Server::volatile().await;
    let store = store(&server, History::default()).await;
    for number in 1..=4 {
        Story::new(&store, number).trying().await;
    }
    let inspector = store.inspect();
    let filter = Filter::default();
    let whole = inspector.list(Index::Due, &filter, None, 5).await.expect("a page");
    assert_eq!((whole.rows.len(), whole.looked, whole.next), (4, 4, None));
    let full = inspector.list(Index::Due, &filter, None, 4).await.expect("a page");
    let rest = inspector.list(Index::Due, &filter, full.next.as_ref(), 4).await.expect("a page");
    assert_eq!((full.rows.len(), rest.rows.len(), rest.looked, rest.next), (4, 0, 0, None));
}

#[tokio::test]
async fn a_queue_is_as_long_as_it_was_rung_for() {
    let server = Server::volatile().await;
    let store = store(&server, History::off()).await;
    for number in 1..=3 {
        let story = Story::new(&store, number);
        story.register(&[STOCK]).await;
        story.decide(Direction::Cancel, &[(1, None)], &[]).await;
    }
    for (participant, length) in [("stock", 3), ("mail", 0)] {
        assert_eq!(store.inspect().queued(0, &name(participant)).await.expect("a length"), length);
    }
}

#[tokio::test]
async fn a_row_tells_its_moment_where_the_list_goes_by_moments() {
    let server = Server::volatile().await;
    let store = store(&server, History::default()).await;
    let (old, young) = (Story::new(&store, 1), Story::new(&store, 2));
    for story in [&old, &young] {
        story.trying().await;
    }
    old.sweep().await.expect("swept").result.expect("swept");
    let list = async |index, after: Option<&Cursor>| {
        let page = store.inspect().list(index, &Filter::default(), after, 10).await.expect("a page");
        (page.rows.into_iter().map(|row| (row.gid.to_string(), row.at)).collect::<Vec<_>>(), page.next)
    };
    let timers = store.inspect().timers(0, 10).await.expect("timers");
    let timers: Vec<_> = timers.into_iter().map(|(gid, at)| (gid, Some(at))).collect();
    assert_eq!(timers.len(), 2);
    assert_eq!(list(Index::Due, None).await.0, timers);
    let (first, next) = list(Index::Open, None).await;
    assert_eq!(first, [(old.gid.to_string(), None)]);
    let second = timers.into_iter().filter(|(gid, _)| gid == young.gid.as_str());
    assert_eq!(list(Index::Open, next.as_ref()).await.0, Vec::from_iter(second));
}

#[tokio::test]
async fn a_gid_typed_but_for_its_last_letter_is_found() {
    let server = Server::volatile().await;
    let store = store(&server, History::default()).await;
    let story = Story::new(&store, 1);
    story.trying().await;
    let typed = story.gid.as_str().strip_suffix('0').expect("a shard");
    assert!(typed.contains('-'));
    assert_eq!(store.inspect().by_prefix(typed, 10).await.expect("gids"), std::slice::from_ref(&story.gid));
}
