//! `list` and `stats` cost the same however many transactions there are. What Redis does for them is counted, because
//! a time would be the machine's; `docs/src/tccctl.md` tells how to see the times.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tcc_core::store::Store;
use tcc_redis::{Durability, RedisStore};

use crate::{
    ctl::Ctl,
    server::{Server, ask},
    story::{STOCK, Story},
};

/// Transactions of the larger store, unless `TCC_SCALE` says otherwise.
const MANY: u64 = 100_000;
const FEW: u64 = 1_000;

/// Copies one record and its entries in the indexes under ids of its own time and shard, `from` to `to`.
const COPY: &str = r"
local fields = redis.call('HGETALL', KEYS[1])
local letters = '0123456789abcdefghjkmnpqrstvwxyz'
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local text, rest = '', number
  for _ = 1, 12 do
    local digit = rest % 32
    text = string.sub(letters, digit + 1, digit + 1) .. text
    rest = (rest - digit) / 32
  end
  local gid = ARGV[3] .. text .. '-00'
  redis.call('HSET', '{tcc:00}:tx:' .. gid, unpack(fields))
  redis.call('ZADD', '{tcc:00}:due', ARGV[4] + number % 1000, gid)
  redis.call('ZADD', '{tcc:00}:open', 0, gid)
  if number % 2 == 0 then
    redis.call('ZADD', '{tcc:00}:parked', ARGV[4] + number % 1000, gid)
  end
end";

/// A store with so many open transactions, half of them parked as far as the index knows.
async fn filled(count: u64) -> (Server, Ctl) {
    let server = Server::with(&["--appendonly", "no", "--maxmemory", "8gb"]).await;
    let store = RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.unwrap();
    let story = Story::new(&store, 0);
    story.register(&[STOCK]).await;
    story.sweep().await.unwrap().result.unwrap();
    let key = store.inspect().record_key(&story.gid);
    let time = story.gid.as_str()[..10].to_owned();
    let later = (store.now(0).await.unwrap().as_millis() + 3_000_000).to_string();
    let mut raw = server.raw().await;
    for from in (1..count).step_by(10_000) {
        let to = (from + 9_999).min(count - 1).to_string();
        let () = ask(&mut raw, &["EVAL", COPY, "1", &key, &from.to_string(), &to, &time, &later]).await;
    }
    let ctl = Ctl::new(server.url());
    (server, ctl)
}

#[allow(clippy::print_stdout, reason = "for whoever measures; `--nocapture` shows it")]
fn tell(command: &[&str], took: Duration) {
    println!("{command:?} took {took:?}");
}

/// What Redis did for a command: calls by name, and bytes it answered.
async fn cost(server: &Server, ctl: &Ctl, command: &[&str]) -> (BTreeMap<String, u64>, u64) {
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["CONFIG", "RESETSTAT"]).await;
    let started = Instant::now();
    ctl.done(command).await;
    let took = started.elapsed();
    let bytes: String = ask(&mut raw, &["INFO", "stats"]).await;
    let text: String = ask(&mut raw, &["INFO", "commandstats"]).await;
    let number = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split([',', '\r', '\n']).next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    let calls = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
    let calls: BTreeMap<String, u64> =
        calls.map(|(name, rest)| (name.to_owned(), number(rest, "calls="))).collect();
    tell(command, took);
    (calls, number(&bytes, "total_net_output_bytes:"))
}

#[tokio::test]
async fn list_and_stats_cost_the_same_for_many_as_for_few() {
    let many = std::env::var("TCC_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(MANY);
    let stores = [filled(FEW).await, filled(many).await];
    for command in [
        &["list"][..],
        &["list", "--limit", "200", "-o", "jsonl"],
        &["list", "--parked"],
        &["list", "--name", "checkout", "--older-than", "1s"],
        &["list", "--name", "checkout", "--key", "order-1"],
        &["stats"],
    ] {
        let (calls_of_few, bytes_of_few) = cost(&stores[0].0, &stores[0].1, command).await;
        let (calls_of_many, bytes_of_many) = cost(&stores[1].0, &stores[1].1, command).await;
        let (few, many): (u64, u64) = (calls_of_few.values().sum(), calls_of_many.values().sum());
        assert!(many < 2 * few, "{command:?}: {calls_of_many:?} and {calls_of_few:?}");
        assert!(bytes_of_many < 2 * bytes_of_few, "{command:?}: {bytes_of_many} bytes and {bytes_of_few}");
    }
}
