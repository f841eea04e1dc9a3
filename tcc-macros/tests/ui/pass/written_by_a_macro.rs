//! A participant and a transaction may come out of `macro_rules!`.
#![deny(warnings)]

use tcc::{CancelCx, ConfirmCx, PhaseError, Runtime, TransactionError, TryCx, TryOutcome, Tx};

macro_rules! participant {
    ($type:ident, $name:literal, $argument:ty, $result:ty, $confirm:ident, $timeout:literal, $runtime:expr) => {
        pub struct $type;

        #[tcc::participant(name = $name)]
        impl $type {
            #[tcc(try, confirm = $confirm, cancel = cancel, timeout = $timeout)]
            pub async fn reserve(&self, _cx: &TryCx, argument: $argument) -> $result {
                let local = argument;
                Ok(local)
            }

            async fn $confirm(
                &self,
                _cx: &ConfirmCx,
                _argument: $argument,
                _hold: $argument,
            ) -> Result<(), PhaseError> {
                Ok(())
            }

            async fn cancel(
                &self,
                _cx: &CancelCx,
                _argument: $argument,
                _hold: TryOutcome<$argument>,
            ) -> Result<(), PhaseError> {
                Ok(())
            }

            #[tcc::transaction(name = $name, runtime = $runtime)]
            pub async fn run(&self, tx: &Tx, argument: $argument) -> Result<$argument, TransactionError> {
                drop(tx.clone());
                Ok(argument)
            }
        }
    };
}

participant!(Inventory, "inventory", Vec<u32>, Result<Vec<u32>, std::fmt::Error>, keep, "2s", runtime());
participant!(Payment, "payment", (u8, String), Result<(u8, String), std::fmt::Error>, pay, "3s", &runtime());

fn runtime() -> Runtime {
    unreachable!("compiled only")
}

pub fn uses(tx: &Tx) {
    let _ = InventoryTcc::new(tx).reserve(vec![1]);
    let _ = PaymentTcc::new(tx).reserve((1, String::new()));
}

fn main() {}
