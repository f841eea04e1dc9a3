use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

struct Inventory;

struct Hold;

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = confirm_reserve, cancel = cancel_reserve)]
    async fn reserve(&self, _cx: &TryCx, _sku: String, qty: u32) -> Result<Hold, std::fmt::Error> {
        Ok(if qty > 1 { Hold } else { Hold })
    }

    async fn confirm_reserve(
        &self,
        _cx: &ConfirmCx,
        _sku: String,
        _qty: u32,
        _hold: Hold,
    ) -> Result<(), PhaseError> {
        Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _sku: String,
        _qty: u32,
        _hold: TryOutcome<Hold>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

fn used(tx: &tcc::Tx) {
    let _ = tcc::Runtime::builder().participant(Inventory);
    let _ = InventoryTcc::new(tx).reserve("anvil".to_owned(), 2);
}

fn main() {}
