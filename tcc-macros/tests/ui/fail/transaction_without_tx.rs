use tcc::{Runtime, TransactionError};

struct Shop(Runtime);

impl Shop {
    fn runtime(&self) -> &Runtime {
        &self.0
    }

    #[tcc::transaction(name = "checkout")]
    async fn checkout(&self, order: u64) -> Result<u64, TransactionError> {
        Ok(order)
    }
}

async fn used(shop: &Shop) {
    let _ = shop.checkout(7).await;
}

fn main() {}
