//! `kill -9` of every service at every phase, each kill at the named point and nowhere else, as the service says and the
//! record shows. Nothing is waited for in between: the next one is killed while the last one's transaction is picked up.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tcc::{
    BusinessKey, Name, RedisStore,
    record::{Branch, BranchState, Direction, Record, TransactionState},
    store::Store as _,
};

use crate::{
    Failure,
    fleet::Fleet,
    goods::{self, Order},
    hold::{Hold, Phase},
    orders,
    place::{Place, Service},
    push::Customers,
    run, serve,
};

/// A machine with much to do may cancel what should be confirmed; then another order is taken.
const ORDERS_MAX: usize = 5;
const POINT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One kill: of whom, when, and for which time.
#[derive(Clone, Copy, Debug)]
struct Cell {
    service: Service,
    phase: Phase,
    round: usize,
}

impl Cell {
    /// How the ids of its orders begin.
    fn orders(self) -> String {
        format!("{}-{}-{}.", self.service.name(), self.phase, self.round)
    }

    fn hold(self) -> Hold {
        Hold { phase: self.phase, orders: self.orders() }
    }

    /// Which way the transaction is to go.
    fn direction(self) -> Direction {
        match self.phase {
            Phase::Cancel => Direction::Cancel,
            Phase::Decided if self.round % 2 == 1 => Direction::Cancel,
            _ => Direction::Confirm,
        }
    }

    /// A transaction that is to cancel is refused by another service than the one to be killed.
    fn order(self, number: usize) -> Order {
        let mut order = goods::good(format!("{}{number}", self.orders()));
        match (self.direction(), self.service) {
            (Direction::Confirm, _) => {}
            (Direction::Cancel, Service::Payment) => order.sku = "unicorn".into(),
            (Direction::Cancel, _) => order.card = "empty".into(),
        }
        order
    }
}

/// Kills each service at each phase so many times; whether everything became final and balances.
pub(crate) async fn run(place: &Place, each: usize) -> Result<bool, Failure> {
    let store = serve::store(place).await?;
    let cells: Vec<Cell> = (0..each)
        .flat_map(|round| Phase::ALL.map(|phase| Service::ALL.map(|service| Cell { service, phase, round })))
        .flatten()
        .collect();
    let started = Instant::now();
    let first = cells.iter().take(4).map(|cell| (cell.service, cell.hold())).collect();
    let mut fleet = Fleet::start(place, &first).await?;
    let mut customers = Customers::new(place)?;
    let mut killed: BTreeMap<(Service, Phase), usize> = BTreeMap::new();
    for (index, cell) in cells.iter().enumerate() {
        reach(*cell, &mut fleet, &mut customers, &store).await?;
        fleet.kill(cell.service).await?;
        *killed.entry((cell.service, cell.phase)).or_default() += 1;
        let next = cells[index + 1..].iter().find(|next| next.service == cell.service);
        fleet.restart(cell.service, next.map(|next| next.hold()).as_ref()).await?;
    }
    println!("{:12}{}", "killed at", Phase::ALL.map(|phase| format!("{phase:>9}")).concat());
    for service in Service::ALL {
        let counts = Phase::ALL.map(|phase| killed.get(&(service, phase)).copied().unwrap_or_default());
        println!("{:12}{}", service.name(), counts.map(|count| format!("{count:>9}")).concat());
    }
    let (sent, told) = customers.done().await?;
    println!("\n{} kills in {:.1} s\n", cells.len(), started.elapsed().as_secs_f64());
    run::finish(place, fleet, &sent, &told).await
}

/// Brings a service to its point, where it stays: sends orders until one takes it there.
async fn reach(
    cell: Cell,
    fleet: &mut Fleet,
    customers: &mut Customers,
    store: &RedisStore,
) -> Result<(), Failure> {
    for number in 0..ORDERS_MAX {
        let order = cell.order(number);
        let id = order.id.clone();
        customers.send(order);
        let mut held = false;
        let give_up = Instant::now() + POINT_WITHIN;
        loop {
            if !held && cell.phase != Phase::Decided {
                held =
                    tokio::time::timeout(LOOK_EVERY, fleet.holding(cell.service, cell.phase)).await.is_ok();
            }
            let record = load(store, &id).await?;
            match record.as_ref().map(|record| stands(cell, record)) {
                Some(Stands::There) if held || cell.phase == Phase::Decided => return Ok(()),
                Some(Stands::Elsewhere) => break,
                _ => {}
            }
            if Instant::now() >= give_up {
                return Err(format!(
                    "{cell:?} was not reached in {POINT_WITHIN:?}; held: {held}, {record:#?}"
                )
                .into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Err(format!("{cell:?} was not reached by {ORDERS_MAX} orders").into())
}

enum Stands {
    NotYet,
    There,
    /// It went the other way, or past it.
    Elsewhere,
}

/// Whether the service's branch is where its service is to be killed.
fn stands(cell: Cell, record: &Record) -> Stands {
    let decided = match record.state {
        TransactionState::Trying => None,
        TransactionState::Confirming | TransactionState::Confirmed => Some(Direction::Confirm),
        TransactionState::Cancelling | TransactionState::Cancelled => Some(Direction::Cancel),
    };
    let branch =
        record.branches.iter().find(|branch| branch.action.as_str().starts_with(cell.service.name()));
    let Some(branch) = branch else {
        return if decided.is_none() { Stands::NotYet } else { Stands::Elsewhere };
    };
    let there = match cell.phase {
        Phase::Try => decided.is_none() && branch.state == BranchState::Trying && branch.known.is_none(),
        Phase::Decided => decided == Some(cell.direction()) && is_open(branch) && branch.epoch == 0,
        Phase::Confirm | Phase::Cancel => {
            let claimed = branch.claim.as_ref().is_some_and(|claim| claim.closed.is_none());
            decided == Some(cell.direction()) && is_open(branch) && claimed
        }
    };
    let missed = match cell.phase {
        Phase::Try => decided.is_some(),
        _ => {
            let ended = matches!(branch.state, BranchState::Confirmed | BranchState::Cancelled);
            decided.is_some_and(|decided| decided != cell.direction() || ended)
        }
    };
    match (there, missed) {
        (true, _) => Stands::There,
        (false, true) => Stands::Elsewhere,
        (false, false) => Stands::NotYet,
    }
}

fn is_open(branch: &Branch) -> bool {
    branch.state.open_direction().is_some()
}

async fn load(store: &RedisStore, order: &str) -> Result<Option<Record>, Failure> {
    match store.find(&Name::new(orders::NAME)?, &BusinessKey::new(order)?).await? {
        Some(gid) => Ok(store.load(&gid).await?),
        None => Ok(None),
    }
}
