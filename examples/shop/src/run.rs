//! The run: orders through the front, services killed in the middle, and the check of all books.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tcc::{RedisStore, store::Store as _};

use crate::{
    Failure,
    audit::{self, Audit},
    fleet::Fleet,
    goods::{self, Order, Told},
    inventory, loyalty,
    place::{Directory, Place, Service},
    push::{Answers, Customers},
    serve,
    stores::Stores,
};

/// Customers at a time.
const CUSTOMERS_MAX: usize = 8;
/// Every so many orders one is sent twice at the same time.
const TWICE_EVERY: usize = 15;
/// Longer than any lease and any retry here.
const FINAL_WITHIN: Duration = Duration::from_secs(90);
/// More findings than this are counted, not listed.
const FINDINGS_SHOWN_MAX: usize = 50;

/// What was ordered and what customers were told, beside the books.
#[derive(Serialize, Deserialize)]
struct Heard {
    sent: Vec<Order>,
    told: Answers,
}

const HEARD: &str = "answers.json";

/// Opens a directory and its stores, and does this work there, unless asked to stop before. What stands in the stores
/// goes with a directory that was not named, if all is well.
pub(crate) async fn started(
    named: Option<&Path>,
    work: impl AsyncFnOnce(&Place) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let directory = Directory::new(named)?;
    let stores = Stores::open(&directory.path).await?;
    println!("{}\n", stores.notice());
    let place = Place::new(&directory.path, &stores.redis_url, &stores.postgres_url)?;
    let ended = tokio::select! {
        biased;
        // Dropping the work ends the services.
        () = serve::asked_to_stop() => Err("stopped before the end".into()),
        ended = work(&place) => ended,
    }?;
    if ended && named.is_none() {
        inventory::forget(&place).await?;
        loyalty::forget(&place).await?;
    }
    Ok(ended)
}

/// Whether everything became final and balances.
pub(crate) async fn run(place: &Place, count: usize, kills: usize) -> Result<bool, Failure> {
    let started = Instant::now();
    let mut fleet = Fleet::start(place, &BTreeMap::new()).await?;
    let names = Service::ALL.map(|service| format!("{} at {}", service.name(), place.listens(service)));
    println!("{}.\n", names.join(", "));

    let mut customers = Customers::new(place)?;
    let (mut answered, mut killed) = (0, 0);
    let assortment = goods::assortment(count);
    for (number, order) in assortment.into_iter().enumerate() {
        if number % TWICE_EVERY == TWICE_EVERY - 1 {
            customers.send(order.clone());
        }
        customers.send(order);
        while customers.waiting() >= CUSTOMERS_MAX {
            customers.next().await?;
            answered += 1;
        }
        // In the middle of whatever is under way.
        if killed < kills && answered * (kills + 1) >= count * (killed + 1) {
            let service = Service::ALL[killed % 4];
            let id = fleet.kill(service).await?;
            fleet.restart(service, None).await?;
            killed += 1;
            let waiting = customers.waiting();
            println!(
                "kill {killed}: {} (process {id}), {waiting} orders under way; started again",
                service.name()
            );
        }
    }
    let (sent, told) = customers.done().await?;
    println!("\n{}", Reasons(&told));
    let balanced = finish(place, fleet, &sent, &told).await?;
    println!("\n{count} orders in {:.1} s, {killed} kills", started.elapsed().as_secs_f64());
    Ok(balanced)
}

/// Waits until every transaction is final, ends the services, and examines the books.
pub(crate) async fn finish(
    place: &Place,
    fleet: Fleet,
    sent: &[Order],
    told: &Answers,
) -> Result<bool, Failure> {
    let store = serve::store(place).await?;
    until_final(&store).await?;
    fleet.stop().await?;
    let heard = Heard { sent: sent.to_vec(), told: told.clone() };
    fs::write(place.directory.join(HEARD), serde_json::to_string(&heard)?)?;
    examine(place, &store, &heard).await
}

/// Examines the books of an earlier run, wherever they are.
pub(crate) async fn audit(directory: &Path) -> Result<bool, Failure> {
    let place = Place::open(directory)?;
    let heard = serde_json::from_str(&fs::read_to_string(place.directory.join(HEARD))?)?;
    examine(&place, &serve::store(&place).await?, &heard).await
}

async fn examine(place: &Place, store: &RedisStore, heard: &Heard) -> Result<bool, Failure> {
    let audit = audit::examine(place, store, &heard.sent, &heard.told).await?;
    println!("{audit}");
    Ok(balances(&audit))
}

fn balances(audit: &Audit) -> bool {
    if audit.findings.is_empty() {
        println!("All books balance: {} orders placed, {} refused.", audit.placed, audit.refused);
        return true;
    }
    eprintln!("The books do NOT balance:");
    for finding in audit.findings.iter().take(FINDINGS_SHOWN_MAX) {
        eprintln!("  {finding}");
    }
    if audit.findings.len() > FINDINGS_SHOWN_MAX {
        eprintln!("  and {} more", audit.findings.len() - FINDINGS_SHOWN_MAX);
    }
    false
}

/// Nothing is open any more, and so nothing parked either.
async fn until_final(store: &RedisStore) -> Result<(), Failure> {
    let give_up = Instant::now() + FINAL_WITHIN;
    loop {
        let mut open = Vec::new();
        for shard in 0..store.shards() {
            open.extend(store.open(shard, None, 10).await?);
        }
        let Some(gid) = open.first() else { return Ok(()) };
        if Instant::now() >= give_up {
            let record = store.load(gid).await?;
            return Err(format!("{gid} and others are not final after {FINAL_WITHIN:?}: {record:#?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What customers were told, counted.
struct Reasons<'a>(&'a Answers);

impl std::fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for told in self.0.values() {
            let reason = match told {
                Told::Placed => "placed",
                Told::Refused { why } if why.contains("out of stock") => "refused: out of stock",
                Told::Refused { why } if why.contains("declined") => "refused: card declined",
                Told::Refused { why } if why.contains("barred") => "refused: customer barred",
                Told::Refused { .. } => "refused: a service did not answer, or was killed",
                Told::Open { .. } => "open",
            };
            *reasons.entry(reason).or_default() += 1;
        }
        let listed: Vec<String> =
            reasons.iter().map(|(reason, count)| format!("{count:>6} {reason}")).collect();
        write!(f, "Customers were told:\n{}\n", listed.join("\n"))
    }
}
