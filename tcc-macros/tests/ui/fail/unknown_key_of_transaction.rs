use tcc::{Runtime, TransactionError, Tx};

struct Shop(Runtime);

impl Shop {
    fn runtime(&self) -> &Runtime {
        &self.0
    }

    #[tcc::transaction(name = "checkout", retry = 3)]
    async fn checkout(&self, _tx: &Tx, order: u64) -> Result<u64, TransactionError> {
        Ok(order)
    }
}

async fn used(shop: &Shop) {
    let _ = shop.checkout(7).await;
}

fn main() {}
