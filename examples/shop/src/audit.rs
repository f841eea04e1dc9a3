//! The check of all books: what every store holds, against what became of each order's transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use redis::AsyncCommands as _;
use sqlx::Row as _;
use tcc::{BusinessKey, Name, RedisStore, record::TransactionState, store::Store as _};

use crate::{
    Failure,
    books::{Books, postgres},
    goods::{CARDS, CUSTOMERS, Order, STOCK, Told, opening},
    loyalty::Account,
    orders,
    place::{Place, Service},
    push::Answers,
};

/// What a store holds of one kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    opening: i64,
    /// Nothing where there is no end of it: points are made when they are awarded.
    free: Option<i64>,
    held: i64,
    spent: i64,
}

/// One store.
#[derive(Clone, Debug)]
struct Book {
    title: &'static str,
    /// By sku, card or customer.
    lines: BTreeMap<String, Line>,
    /// What became of each order: `held`, or how it ended.
    orders: BTreeMap<String, String>,
    /// Fences whose branch has not ended.
    open_fences: i64,
    /// What an order that went through takes, and of what.
    takes: fn(&Order) -> (&str, i64),
    /// How an entry ends that went through.
    done: &'static str,
}

/// What was found.
pub(crate) struct Audit {
    table: String,
    pub(crate) placed: usize,
    pub(crate) refused: usize,
    pub(crate) findings: Vec<String>,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)
    }
}

/// Holds every store against the orders that were sent, and against what their customers were told.
pub(crate) async fn examine(
    place: &Place,
    store: &RedisStore,
    sent: &[Order],
    told: &Answers,
) -> Result<Audit, Failure> {
    let mut findings = Vec::new();
    let mut placed = BTreeMap::new();
    let by_id: BTreeMap<&str, &Order> = sent.iter().map(|order| (order.id.as_str(), order)).collect();
    for (id, order) in &by_id {
        let confirmed = match confirmed(store, id).await? {
            Ok(confirmed) => confirmed,
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        if confirmed {
            placed.insert(*id, *order);
        }
        match told.get(*id) {
            Some(Told::Placed) if confirmed => {}
            Some(Told::Refused { .. }) if !confirmed => {}
            told => findings.push(format!(
                "{id}: its transaction is confirmed: {confirmed}, the customer was told {told:?}"
            )),
        }
    }
    let mut table =
        format!("{:32}{:>11}{:>11}{:>7}{:>11}{:>11}\n", "", "opening", "free", "held", "spent", "of orders");
    for book in [inventory(place).await?, payment(place).await?, loyalty(place).await?] {
        book.examine(&by_id, &placed, &mut findings);
        let wanted: i64 = placed.values().map(|order| (book.takes)(order).1).sum();
        table += &format!("{:32}{}{wanted:>11}\n", book.title, book.total());
    }
    let entries = order_book(place, &by_id, &placed, &mut findings).await?;
    let of = |state: &str| entries.values().filter(|entry| *entry == state).count();
    table += &format!(
        "orders, SQLite: {} placed, {} refused, {} open; of {} orders, {} transactions are confirmed",
        of("placed"),
        of("refused"),
        of("open"),
        by_id.len(),
        placed.len(),
    );
    Ok(Audit { table, placed: placed.len(), refused: by_id.len() - placed.len(), findings })
}

/// Whether an order's transaction is confirmed, as a whole.
async fn confirmed(store: &RedisStore, id: &str) -> Result<Result<bool, String>, Failure> {
    let gid = store.find(&Name::new(orders::NAME)?, &BusinessKey::new(id)?).await?;
    let record = match &gid {
        Some(gid) => store.load(gid).await?,
        None => None,
    };
    Ok(match record {
        None => Err(format!("{id}: there is no transaction")),
        Some(record) => match record.state {
            TransactionState::Confirmed => Ok(true),
            TransactionState::Cancelled => Ok(false),
            state => Err(format!("{id}: its transaction is {state:?}")),
        },
    })
}

impl Book {
    fn total(&self) -> String {
        let sum = |of: fn(&Line) -> i64| self.lines.values().map(of).sum::<i64>();
        let (opening, held, spent) =
            (sum(|line| line.opening), sum(|line| line.held), sum(|line| line.spent));
        let free: Option<i64> = self.lines.values().map(|line| line.free).sum();
        let free = free.map_or_else(|| "-".to_owned(), |free| free.to_string());
        format!("{opening:>11}{free:>11}{held:>7}{spent:>11}")
    }

    fn examine(
        &self,
        sent: &BTreeMap<&str, &Order>,
        placed: &BTreeMap<&str, &Order>,
        findings: &mut Vec<String>,
    ) {
        let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
        for order in placed.values() {
            let (of, amount) = (self.takes)(order);
            *wanted.entry(of).or_default() += amount;
        }
        for (name, line) in &self.lines {
            let takes = wanted.remove(name.as_str()).unwrap_or(0);
            let whole = line.free.is_none_or(|free| free + line.held + line.spent == line.opening);
            let balances = whole && line.held == 0 && line.spent == takes;
            if !balances {
                findings
                    .push(format!("{}: {name} does not balance: {line:?}, orders took {takes}", self.title));
            }
        }
        for (name, takes) in wanted.into_iter().filter(|(_, takes)| *takes != 0) {
            findings.push(format!("{}: {name} is not there, orders took {takes}", self.title));
        }
        let known: BTreeSet<&str> =
            sent.keys().copied().chain(self.orders.keys().map(String::as_str)).collect();
        for id in known {
            let entry = self.orders.get(id).map(String::as_str);
            let right = match (placed.contains_key(id), entry) {
                (true, entry) => entry == Some(self.done),
                (false, None) => true,
                (false, Some(entry)) => sent.contains_key(id) && entry != self.done && entry != "held",
            };
            if !right {
                findings.push(format!(
                    "{}: {id} is {entry:?}, placed: {}",
                    self.title,
                    placed.contains_key(id)
                ));
            }
        }
        if self.open_fences != 0 {
            findings
                .push(format!("{}: {} fences of branches that have not ended", self.title, self.open_fences));
        }
    }
}

const OPEN_FENCES: &str = "SELECT count(*) FROM tcc_fence WHERE phase = 'try'";

async fn inventory(place: &Place) -> Result<Book, Failure> {
    let pool = postgres(place).await?;
    let mut lines = BTreeMap::new();
    let opening = opening(&STOCK);
    for row in sqlx::query("SELECT sku, on_hand, held, sold FROM stock").fetch_all(&pool).await? {
        let sku: String = row.try_get(0)?;
        let opening = opening.get(&sku).copied().unwrap_or_default();
        lines.insert(
            sku,
            Line { opening, free: Some(row.try_get(1)?), held: row.try_get(2)?, spent: row.try_get(3)? },
        );
    }
    let orders: Vec<(String, String)> =
        sqlx::query_as("SELECT order_id, state FROM reservation").fetch_all(&pool).await?;
    let open_fences = sqlx::query_scalar(OPEN_FENCES).fetch_one(&pool).await?;
    pool.close().await;
    fn takes(order: &Order) -> (&str, i64) {
        (&order.sku, order.quantity)
    }
    let title = "inventory, PostgreSQL: pieces";
    Ok(Book { title, lines, orders: orders.into_iter().collect(), open_fences, takes, done: "sold" })
}

async fn payment(place: &Place) -> Result<Book, Failure> {
    let pool = Books::open(place, Service::Payment, "").await?.pool;
    let mut lines = BTreeMap::new();
    let opening = opening(&CARDS);
    for row in sqlx::query("SELECT card, available, held, charged FROM card").fetch_all(&pool).await? {
        let card: String = row.try_get(0)?;
        let opening = opening.get(&card).copied().unwrap_or_default();
        lines.insert(
            card,
            Line { opening, free: Some(row.try_get(1)?), held: row.try_get(2)?, spent: row.try_get(3)? },
        );
    }
    let orders: Vec<(String, String)> =
        sqlx::query_as("SELECT order_id, state FROM charge").fetch_all(&pool).await?;
    let open_fences = sqlx::query_scalar(OPEN_FENCES).fetch_one(&pool).await?;
    pool.close().await;
    fn takes(order: &Order) -> (&str, i64) {
        (&order.card, order.amount_cents)
    }
    let title = "payment, SQLite: cents";
    Ok(Book { title, lines, orders: orders.into_iter().collect(), open_fences, takes, done: "charged" })
}

/// Points come from nowhere: what was awarded is owed.
async fn loyalty(place: &Place) -> Result<Book, Failure> {
    let client = redis::Client::open(place.redis_url.as_str())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let (mut lines, mut orders) = (BTreeMap::new(), BTreeMap::new());
    for customer in CUSTOMERS {
        let account = Account::of(place, customer);
        let balance: BTreeMap<String, i64> = redis.hgetall(account.balance()).await?;
        let of = |field: &str| balance.get(field).copied().unwrap_or_default();
        let (held, spent) = (of("pending"), of("points"));
        lines.insert(customer.to_owned(), Line { opening: 0, free: None, held, spent });
        let entries: BTreeMap<String, String> = redis.hgetall(account.orders()).await?;
        orders.extend(entries.into_iter().map(|(id, entry)| {
            let state = entry.split_once(' ').map_or(entry.as_str(), |(state, _)| state).to_owned();
            (id, state)
        }));
    }
    fn takes(order: &Order) -> (&str, i64) {
        (&order.customer, order.points())
    }
    Ok(Book { title: "loyalty, Redis: points", lines, orders, open_fences: 0, takes, done: "awarded" })
}

/// What orders says of itself.
async fn order_book(
    place: &Place,
    sent: &BTreeMap<&str, &Order>,
    placed: &BTreeMap<&str, &Order>,
    findings: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let pool = Books::open(place, Service::Orders, "").await?.pool;
    let entries: Vec<(String, String)> =
        sqlx::query_as("SELECT order_id, state FROM orders").fetch_all(&pool).await?;
    let entries: BTreeMap<String, String> = entries.into_iter().collect();
    let open_fences: i64 = sqlx::query_scalar(OPEN_FENCES).fetch_one(&pool).await?;
    pool.close().await;
    if open_fences != 0 {
        findings.push(format!("orders: {open_fences} fences of branches that have not ended"));
    }
    for id in sent.keys() {
        let entry = entries.get(*id).map(String::as_str);
        let right = match placed.contains_key(id) {
            true => entry == Some("placed"),
            // Killed before it wrote, it knows nothing of an order that was refused.
            false => entry.is_none_or(|entry| entry == "refused"),
        };
        if !right {
            findings.push(format!("orders: {id} is {entry:?}, placed: {}", placed.contains_key(id)));
        }
    }
    for id in entries.keys().filter(|id| !sent.contains_key(id.as_str())) {
        findings.push(format!("orders: {id} was never sent"));
    }
    Ok(entries)
}
