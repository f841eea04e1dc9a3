//! With a key, the same key is the same transaction, and callers see whether theirs was the first.

#[path = "support/mod.rs"]
mod support;

use support::start;
use tcc::{Keyed, Runtime, TransactionError, Tx};

struct Order {
    id: String,
    total: u32,
}

struct Shop(Runtime);

type Result<T> = std::result::Result<T, TransactionError>;

impl Shop {
    fn runtime(&self) -> &Runtime {
        &self.0
    }

    #[tcc::transaction(name = "checkout", key = order.id)]
    async fn checkout(&self, _tx: &Tx, order: Order) -> Result<u32> {
        Ok(order.total)
    }
}

#[tcc::transaction(name = "refund", runtime = shop.0, key = format!("{order}-{}", 1 + 1))]
async fn refund(_tx: &Tx, shop: &Shop, order: &str) -> Result<usize> {
    Ok(order.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let shop = Shop(start(|builder| builder).await);
    let order = |total| Order { id: "order-7".into(), total };
    assert_eq!(shop.checkout(order(900)).await.unwrap(), Keyed::First(900));
    let Keyed::Repeated(outcome) = shop.checkout(order(1)).await.unwrap() else { panic!("ran twice") };
    assert!(outcome.is_confirm());
    assert_eq!(refund(&shop, "order-7").await.unwrap().first(), Some(7));
}
