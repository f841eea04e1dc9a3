use tcc::{TransactionError, Tx};

#[tcc::transaction(name = "checkout")]
async fn checkout(_tx: &Tx, order: u64) -> Result<u64, TransactionError> {
    Ok(order)
}

async fn used() {
    let _ = checkout(7).await;
}

fn main() {}
