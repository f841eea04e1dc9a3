//! Who tells an alarm: the store in Redis answers as the one in memory does.

mod support;

use support::server::{Server, ask};
use tcc_core::{MemoryStore, Timestamp, store::Store};
use tcc_redis::{Durability, RedisStore};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

#[tokio::test]
async fn an_alarm_is_one_processs_until_it_is_let_go() {
    let server = Server::volatile().await;
    let redis =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    let memory = MemoryStore::new();
    let stores: [&dyn Store; 2] = [&redis, &memory];
    for store in stores {
        let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let take = async |names: &[&str], now, until| {
            store.take_alarms(0, &ids(names), at(now), at(until)).await.expect("an answer")
        };
        assert_eq!(take(&["a", "b"], 100, 160).await, [true, true]);
        assert_eq!(take(&["b", "c"], 110, 170).await, [false, true], "held, though another asks");
        assert_eq!(take(&["a", "b", "c"], 160, 220).await, [true, true, false], "until its time, not after");
        store.rest_alarms(0, &ids(&["a"]), at(900)).await.expect("an answer");
        assert_eq!(take(&["a", "b"], 300, 360).await, [false, true], "what was told rests longer");
        store.rest_alarms(0, &ids(&["a"]), at(310)).await.expect("an answer");
        assert_eq!(take(&["a"], 320, 380).await, [true], "or shorter");
        assert_eq!(take(&[], 320, 380).await, Vec::<bool>::new());
    }
    let kept: Vec<String> = ask(&mut server.raw().await, &["ZRANGE", "{tcc:00}:alarms", "0", "-1"]).await;
    assert_eq!(kept, ["b", "a"], "what nobody holds is gone");
}
