//! Orders: the front, and the initiator. Takes orders over HTTP, and asks the three other services in one transaction
//! with its own book of orders, a SQLite database.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde::de::DeserializeOwned;
use tcc::{
    Abort, CancelCx, ConfirmCx, Keyed, PhaseError, Runtime, TransactionError, TransactionErrorKind, TryCx,
    TryOutcome, Tx,
    propagate::{
        AllowedHosts, CallLayer, CallService,
        reqwest::{Client, SendError},
        tonic::InTransaction as _,
    },
};
use tcc_fence::enter;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tower::Layer as _;

use crate::{
    Failure,
    books::{Books, TryFailure, exactly_one},
    goods::{Order, Told},
    hold::{Holds, Phase},
    inventory::{Held, Wanted},
    loyalty::{Award, LoyaltyClient},
    payment::Bill,
    place::{Place, Service},
    serve,
};

/// The transaction's name; with an order's id it makes the business key.
pub(crate) const NAME: &str = "order";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS orders (
        order_id TEXT PRIMARY KEY NOT NULL,
        cents    INTEGER NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('open', 'placed', 'refused'))
    ) STRICT, WITHOUT ROWID;";

/// For an order, all in all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For one answer of another service.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// How often payment is asked, if it does not answer.
const ASKED_MAX: u32 = 4;
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The book of orders. Its entry is a branch like any other, so that it says what became of the rest.
struct Book {
    books: Books,
    holds: Holds,
}

#[tcc::participant(name = "orders")]
impl Book {
    #[tcc(try, confirm = place, cancel = refuse, timeout = "5s", retry(max = 50, base = "50ms", cap = "1s"))]
    async fn open(&self, cx: &TryCx, order: String, cents: i64) -> Result<(), TryFailure> {
        let mut local = self.books.begin().await?;
        if !enter(&mut local, cx).await?.is_first() {
            return Ok(());
        }
        sqlx::query("INSERT INTO orders (order_id, cents, state) VALUES (?, ?, 'open')")
            .bind(&order)
            .bind(cents)
            .execute(&mut *local)
            .await?;
        local.commit().await?;
        self.holds.at(Phase::Try, &order).await;
        Ok(())
    }

    async fn place(&self, cx: &ConfirmCx, order: String, _cents: i64, _opened: ()) -> Result<(), PhaseError> {
        let mut local = self.books.begin().await?;
        if enter(&mut local, cx).await?.is_first() {
            let moved =
                sqlx::query("UPDATE orders SET state = 'placed' WHERE order_id = ? AND state = 'open'");
            exactly_one(moved.bind(&order).execute(&mut *local).await?.rows_affected(), "the order")?;
        }
        local.commit().await?;
        self.holds.at(Phase::Confirm, &order).await;
        Ok(())
    }

    async fn refuse(
        &self,
        cx: &CancelCx,
        order: String,
        _cents: i64,
        _opened: TryOutcome<()>,
    ) -> Result<(), PhaseError> {
        let mut local = self.books.begin().await?;
        if enter(&mut local, cx).await?.is_first() {
            let moved =
                sqlx::query("UPDATE orders SET state = 'refused' WHERE order_id = ? AND state = 'open'");
            exactly_one(moved.bind(&order).execute(&mut *local).await?.rows_affected(), "the order")?;
        }
        local.commit().await?;
        self.holds.at(Phase::Cancel, &order).await;
        Ok(())
    }
}

/// A service's answer that ends the order.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

struct Front {
    runtime: Runtime,
    http: Client,
    inventory: String,
    payment: String,
    loyalty: LoyaltyClient<CallService<Channel>>,
}

impl Front {
    fn new(place: &Place, runtime: Runtime) -> Result<Self, Failure> {
        let [inventory, payment, loyalty] =
            [Service::Inventory, Service::Payment, Service::Loyalty].map(|service| place.listens(service));
        // Only these two are told of transactions; whatever else this client may be led to is not.
        let allowed = AllowedHosts::new([inventory, payment])?;
        let http = Client::new(reqwest::Client::builder().timeout(ANSWER_WITHIN), allowed)?;
        let channel =
            Endpoint::from_shared(format!("http://{loyalty}"))?.timeout(ANSWER_WITHIN).connect_lazy();
        let loyalty = LoyaltyClient::new(CallLayer.layer(channel));
        Ok(Self {
            runtime,
            http,
            inventory: format!("http://{inventory}/reserve"),
            payment: format!("http://{payment}/authorize"),
            loyalty,
        })
    }

    /// An order that comes again is answered like the first time: it has one transaction.
    async fn order(&self, order: Order) -> Told {
        let transaction = self.runtime.transaction(NAME).key(&order.id).timeout(TIMEOUT);
        match transaction.run(async |tx| self.ask_all(tx, &order).await).await {
            Ok(Keyed::First(())) => Told::Placed,
            Ok(Keyed::Repeated(outcome)) if outcome.is_confirm() => Told::Placed,
            Ok(Keyed::Repeated(outcome)) if outcome.is_cancel() => {
                Told::Refused { why: "it was refused before".into() }
            }
            Ok(Keyed::Repeated(_)) => Told::Open { why: "it is under way".into() },
            Err(error) => told(&error),
        }
    }

    async fn ask_all(&self, tx: &Tx, order: &Order) -> Result<(), Abort> {
        let (opened, stock, money, points) = tokio::join!(
            BookTcc::new(tx).open(order.id.clone(), order.amount_cents),
            self.reserve(tx, order),
            self.authorize(tx, order),
            self.promise(tx, order),
        );
        opened?;
        stock?;
        money?;
        points
    }

    async fn reserve(&self, tx: &Tx, order: &Order) -> Result<(), Abort> {
        let (order, sku, quantity) = (order.id.clone(), order.sku.clone(), order.quantity);
        let request = self.http.requests().post(&self.inventory).json(&Wanted { order, sku, quantity });
        let answer = self.http.send(tx, request).await?;
        accepted::<Held>(answer).await.map(drop)
    }

    /// A call that was not answered is made again: the same call, and so the same branch.
    async fn authorize(&self, tx: &Tx, order: &Order) -> Result<(), Abort> {
        let bill = Bill { order: order.id.clone(), card: order.card.clone(), cents: order.amount_cents };
        let call = tx.remote_call().await?;
        let mut asked = 1;
        loop {
            let request = self.http.requests().post(&self.payment).json(&bill);
            match self.http.send_call(&call, request).await {
                Err(SendError::Failed(_)) if asked < ASKED_MAX => tokio::time::sleep(ASKED_AGAIN_AFTER).await,
                answer => return accepted::<()>(answer?).await,
            }
            asked += 1;
        }
    }

    async fn promise(&self, tx: &Tx, order: &Order) -> Result<(), Abort> {
        let award =
            Award { order: order.id.clone(), customer: order.customer.clone(), points: order.points() };
        let call = tx.remote_call().await?;
        match self.loyalty.clone().promise(tonic::Request::new(award).in_transaction(&call)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::PermissionDenied => {
                Err(Refused(format!("{} is {}", order.customer, status.message())).into())
            }
            Err(status) => Err(status.into()),
        }
    }
}

async fn accepted<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, Abort> {
    if answer.status() == StatusCode::CONFLICT {
        return Err(Refused(answer.text().await?).into());
    }
    Ok(answer.error_for_status()?.json().await?)
}

fn told(error: &TransactionError) -> Told {
    let why = match error.find::<Refused>() {
        Some(Refused(why)) => why.clone(),
        None => crate::chain(error),
    };
    match error.kind() {
        TransactionErrorKind::Aborted | TransactionErrorKind::Cancelled(_) => Told::Refused { why },
        _ => Told::Open { why },
    }
}

async fn order(State(front): State<Arc<Front>>, Json(order): Json<Order>) -> (StatusCode, Json<Told>) {
    // A customer who hangs up does not end the order.
    let placing = tokio::spawn(async move { front.order(order).await });
    let told = placing.await.unwrap_or_else(|error| Told::Open { why: error.to_string() });
    let status = match &told {
        Told::Placed => StatusCode::OK,
        Told::Refused { .. } => StatusCode::CONFLICT,
        Told::Open { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(told))
}

pub(crate) async fn run(place: &Place, holds: Holds) -> Result<(), Failure> {
    let books = Books::open(place, Service::Orders, TABLES).await?;
    let runtime = serve::runtime(place, &holds, Book { books, holds: holds.clone() }).await?;
    let front = Arc::new(Front::new(place, runtime.clone())?);
    let routes = Router::new().route("/orders", post(order)).with_state(front);
    serve::http(place, Service::Orders, runtime, routes).await
}
