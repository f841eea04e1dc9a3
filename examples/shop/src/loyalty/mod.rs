//! Loyalty: promises points for an order, then awards or drops them. A tonic service on Redis.

mod wire;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use tcc::{
    CancelCx, ConfirmCx, PhaseError, TryCx, TryError, TryOutcome,
    propagate::{JoinLayer, tonic::joined},
};
use tcc_fence::{
    FenceError,
    redis::{Ran, Script},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

pub(crate) use wire::{Award, LoyaltyClient};
use wire::{LoyaltyApi, LoyaltyServer, Promised};

use crate::{
    Failure,
    books::{BookError, TryFailure},
    goods::{BARRED, CUSTOMERS},
    hold::{Holds, Phase},
    place::{Place, Service},
    serve,
};

// Of an order, `pending` and `points` of its customer, and what became of it.
static PROMISE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if ARGV[3] == 'barred' then return nil, 'barred' end
         redis.call('HSET', KEYS[2], ARGV[1], 'held ' .. ARGV[2])
         return redis.call('HINCRBY', KEYS[1], 'pending', ARGV[2])",
    )
});
static AWARD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('HINCRBY', KEYS[1], 'pending', -ARGV[2])
         redis.call('HINCRBY', KEYS[1], 'points', ARGV[2])
         redis.call('HSET', KEYS[2], ARGV[1], 'awarded ' .. ARGV[2])",
    )
});
static DROP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('HINCRBY', KEYS[1], 'pending', -ARGV[2])
         redis.call('HSET', KEYS[2], ARGV[1], 'dropped ' .. ARGV[2])",
    )
});

/// Where a customer's points are. Both lie in one slot, with the fences.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    tag: String,
}

impl Account {
    pub(crate) fn of(place: &Place, customer: &str) -> Self {
        Self { tag: format!("{}:{customer}", place.name) }
    }

    pub(crate) fn balance(&self) -> String {
        format!("points:{{{}}}", self.tag)
    }

    pub(crate) fn orders(&self) -> String {
        format!("orders:{{{}}}", self.tag)
    }
}

pub(crate) struct Loyalty {
    place: Place,
    client: redis::Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    holds: Holds,
}

#[tcc::participant(name = "loyalty")]
impl Loyalty {
    /// Returns the points pending.
    #[tcc(try, confirm = award, cancel = drop_points, timeout = "5s", retry(max = 50, base = "50ms", cap = "1s"))]
    async fn promise(
        &self,
        cx: &TryCx,
        order: String,
        customer: String,
        points: i64,
    ) -> Result<i64, TryFailure> {
        let standing = if customer == BARRED { "barred" } else { "welcome" };
        let promised = match self.run(&PROMISE, cx, &order, &customer, points, standing).await {
            Err(BookError::Fence(FenceError::Refused(why))) => return Err(TryFailure::Refused(why)),
            promised => promised?,
        };
        self.holds.at(Phase::Try, &order).await;
        Ok(promised.answer().get()?)
    }

    async fn award(
        &self,
        cx: &ConfirmCx,
        order: String,
        customer: String,
        points: i64,
        _pending: i64,
    ) -> Result<(), PhaseError> {
        self.run(&AWARD, cx, &order, &customer, points, "").await?;
        self.holds.at(Phase::Confirm, &order).await;
        Ok(())
    }

    async fn drop_points(
        &self,
        cx: &CancelCx,
        order: String,
        customer: String,
        points: i64,
        _pending: TryOutcome<i64>,
    ) -> Result<(), PhaseError> {
        self.run(&DROP, cx, &order, &customer, points, "").await?;
        self.holds.at(Phase::Cancel, &order).await;
        Ok(())
    }
}

impl Loyalty {
    fn new(place: &Place, holds: Holds) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(place.redis_url.as_str())?;
        Ok(Self { place: place.clone(), client, connection: Mutex::default(), holds })
    }

    /// Fence and effect, in one step. A connection that failed is not used again.
    async fn run<C: tcc_fence::Context>(
        &self,
        script: &Script,
        cx: &C,
        order: &str,
        customer: &str,
        points: i64,
        standing: &str,
    ) -> Result<Ran<C::Empty>, BookError> {
        let kept = self.connection().clone();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection().await?,
        };
        let account = Account::of(&self.place, customer);
        let asked = script.fence(cx, &account.tag).key(account.balance()).key(account.orders());
        let ran = asked.arg(order).arg(points).arg(standing).run(&mut connection).await;
        let failed = matches!(ran, Err(FenceError::Database { .. }));
        *self.connection() = (!failed).then_some(connection);
        Ok(ran?)
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service: each call is a branch of the transaction it belongs to.
struct Desk;

#[tonic::async_trait]
impl LoyaltyApi for Desk {
    async fn promise(&self, request: Request<Award>) -> Result<Response<Promised>, Status> {
        let tx = joined(&request).await?;
        let Award { order, customer, points } = request.into_inner();
        match LoyaltyTcc::new(&tx).promise(order, customer, points).await {
            Ok(pending) => Ok(Response::new(Promised { pending })),
            Err(TryError::Rejected(TryFailure::Refused(why))) => Err(Status::permission_denied(why)),
            Err(error) => Err(Status::unavailable(crate::chain(&error))),
        }
    }
}

pub(crate) async fn run(place: &Place, holds: Holds) -> Result<(), Failure> {
    let loyalty = Loyalty::new(place, holds.clone())?;
    let runtime = serve::runtime(place, &holds, loyalty).await?;
    let listener = serve::listen(place, Service::Loyalty).await?;
    let server =
        Server::builder().layer(JoinLayer::new(runtime.clone())).add_service(LoyaltyServer(Arc::new(Desk)));
    server.serve_with_incoming_shutdown(TcpIncoming::from(listener), serve::asked_to_stop()).await?;
    runtime.shutdown().await;
    Ok(())
}

/// Removes what a run left in Redis, but for its fences and transactions, which go by themselves.
pub(crate) async fn forget(place: &Place) -> Result<(), BookError> {
    let client = redis::Client::open(place.redis_url.as_str())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    for customer in CUSTOMERS {
        let account = Account::of(place, customer);
        for key in [account.balance(), account.orders()] {
            let _: () = redis.del(key).await?;
        }
    }
    Ok(())
}
