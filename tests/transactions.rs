//! What a transaction comes to: run, begun by hand, joined, aborted, dropped, out of time.

mod support;

use std::time::Duration;

use support::{Act, Insufficient, start, until};
use tcc::{Abort, TransactionErrorKind, TryError, record::TransactionState};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn ok_confirms_every_branch() {
    let (store, bank, runtime) = start().await;
    let holds = runtime
        .transaction("transfer")
        .wait_final(SECOND)
        .run(async |tx| Ok(tcc::try_join!(tx.call("bank.debit@1", &10), tx.call("bank.credit@1", &20))?))
        .await
        .unwrap();
    assert_eq!((holds.0.as_str(), holds.1.as_str()), ("\"hold-10\"", "\"hold-20\""));
    assert_eq!((bank.count("try"), bank.count("confirm"), bank.count("cancel")), (2, 2, 0));
    assert_eq!(store.records()[0].state, TransactionState::Confirmed);
}

#[tokio::test]
async fn err_cancels_every_branch_and_gives_the_error_back() {
    let (store, bank, runtime) = start().await;
    let error = runtime
        .transaction("transfer")
        .wait_final(SECOND)
        .run(async |tx| {
            tx.call("bank.debit@1", &10).await?;
            Err::<(), _>(Abort::new(Insufficient))
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Aborted);
    assert!(error.abort().unwrap().downcast_ref::<Insufficient>().is_some());
    assert_eq!((bank.count("confirm"), bank.count("cancel")), (0, 1));
    assert_eq!(store.records()[0].state, TransactionState::Cancelled);
}

#[tokio::test]
async fn a_refused_branch_whose_error_is_handled_is_cancelled_while_the_rest_is_confirmed() {
    let (store, bank, runtime) = start().await;
    bank.script("try", &[Act::Fail]);
    runtime
        .transaction("transfer")
        .wait_final(SECOND)
        .run(async |tx| {
            let refused = tx.call("bank.debit@1", &10).await;
            assert!(matches!(refused, Err(TryError::Rejected(_))));
            tx.call("bank.debit@1", &20).await?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((bank.count("confirm"), bank.count("cancel")), (1, 1));
    assert_eq!(store.records()[0].state, TransactionState::Confirmed);
    until("no timer", || store.timers().is_empty()).await;
}
