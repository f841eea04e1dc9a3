//! The audit tells every change as it was made.

mod support;

use support::{
    server::Server,
    story::{MAIL, STOCK, Story, name, ordinal, succeeded},
};
use tcc_core::{
    Changed,
    machine::{Change, How, Operate},
    record::{Direction, ParkCause},
    store::Store,
};
use tcc_redis::{Durability, RedisStore};

#[tokio::test]
async fn what_operators_did_to_transactions_stands_in_the_audit() {
    let server = Server::volatile().await;
    let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
    let store = builder.connect().await.expect("a store");
    let by_alice =
        |change| Operate { by: name("alice"), why: "ticket 17".parse().expect("a reason"), change };
    let (parked, open) = (Story::new(&store, 1), Story::new(&store, 2));
    parked.register(&[STOCK, MAIL]).await;
    let heard = [(1, Some(succeeded())), (2, Some(succeeded()))];
    for drive in parked.decide(Direction::Confirm, &heard, &[1, 2]).await {
        parked.close(&drive, How::Park { cause: ParkCause::Handler, error: "closed".into() }).await;
    }
    parked.apply(by_alice(Change::Redrive { branches: Vec::new() })).await;
    parked.apply(by_alice(Change::Resolve { branch: ordinal(2), direction: Direction::Confirm })).await;
    open.trying().await;
    open.apply(by_alice(Change::Cancel)).await;
    let told = store.audit(0, None, 10).await.expect("the audit").entries;
    let told: Vec<_> = told.into_iter().map(|entry| entry.changed).collect();
    let expected = [
        Changed::Cancelled { gid: open.gid.clone() },
        Changed::Resolved { gid: parked.gid.clone(), branch: ordinal(2), direction: Direction::Confirm },
        Changed::Retried { gid: parked.gid.clone(), branches: vec![ordinal(1), ordinal(2)], count: 2 },
    ];
    assert_eq!(told, expected);
}
