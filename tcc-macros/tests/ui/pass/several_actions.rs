//! One participant with several actions, one pair of confirm and cancel shared by two of them, and methods that are no
//! actions among them.

#[path = "support/mod.rs"]
mod support;

use support::{Journal, SOON, start};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

struct Account {
    journal: Journal,
}

#[tcc::participant(name = "account")]
impl Account {
    const CURRENCY: &str = "EUR";

    fn new(journal: &Journal) -> Self {
        Self { journal: journal.clone() }
    }

    #[tcc(try, confirm = settle, cancel = release)]
    async fn debit(&self, _cx: &TryCx, cents: u64) -> Result<i64, std::num::TryFromIntError> {
        i64::try_from(cents).map(|cents| -cents)
    }

    #[tcc(try, confirm = settle, cancel = release)]
    async fn credit(&self, _cx: &TryCx, cents: u64) -> Result<i64, std::num::TryFromIntError> {
        cents.try_into()
    }

    async fn settle(&self, _cx: &ConfirmCx, _cents: u64, change: i64) -> Result<(), PhaseError> {
        self.journal.write(format!("settle {change} {}", Self::CURRENCY));
        Ok(())
    }

    async fn release(&self, _cx: &CancelCx, _cents: u64, _change: TryOutcome<i64>) -> Result<(), PhaseError> {
        Ok(())
    }

    #[tcc(try, confirm = opened, cancel = not_opened)]
    async fn open(&self, _cx: &TryCx) -> Result<(), std::fmt::Error> {
        Ok(())
    }

    async fn opened(&self, _cx: &ConfirmCx, (): ()) -> Result<(), PhaseError> {
        self.journal.write("opened");
        Ok(())
    }

    async fn not_opened(&self, _cx: &CancelCx, _: TryOutcome<()>) -> Result<(), PhaseError> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let journal = Journal::default();
    let runtime = start(|builder| builder.participant(Account::new(&journal))).await;
    runtime
        .transaction("transfer")
        .wait_final(SOON)
        .run(async |tx| {
            let account = AccountTcc::new(tx);
            tcc::try_join!(account.clone().open(), account.clone().debit(5), account.credit(5))?;
            Ok(())
        })
        .await
        .unwrap();
    journal.until(&["opened", "settle -5 EUR", "settle 5 EUR"]).await;
}
