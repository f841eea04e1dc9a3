//! Handlers that block their thread: what begins beside them is kept waiting once, and not again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Condvar, Mutex};

use support::*;
use tcc::{Action, CancelCx, ConfirmCx, MemoryStore, PhaseError, TryCx, TryOutcome};

/// A place where two threads meet.
#[derive(Default)]
struct Meeting {
    here: Mutex<usize>,
    came: Condvar,
}

impl Meeting {
    /// Blocks until another thread is here; not for ever.
    fn meet(&self) -> bool {
        let mut here = self.here.lock().unwrap();
        *here += 1;
        self.came.notify_all();
        let (here, _) = self.came.wait_timeout_while(here, LONG, |here| *here < 2).unwrap();
        *here >= 2
    }
}

/// What is blocked for: a while, or until another comes.
async fn block(alone: bool, meeting: &Meeting) -> bool {
    if alone {
        std::thread::sleep(ms(50));
        return true;
    }
    meeting.meet()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_that_block_run_beside_each_other_once_one_was_seen_to_block() {
    let (tries, confirms) = (Arc::new(Meeting::default()), Arc::new(Meeting::default()));
    let met = Arc::new(Mutex::new(Vec::new()));
    let (told, confirmed) = (Arc::clone(&met), Arc::clone(&confirms));
    let meet = Action::new(
        "meet",
        1,
        move |_: TryCx, alone: bool| {
            let tries = Arc::clone(&tries);
            async move { Ok::<_, std::io::Error>(block(alone, &tries).await) }
        },
        move |_: ConfirmCx, alone: bool, _: bool| {
            let (confirms, told) = (Arc::clone(&confirmed), Arc::clone(&told));
            async move {
                let met = block(alone, &confirms).await;
                told.lock().unwrap().push(met);
                Ok::<(), PhaseError>(())
            }
        },
        |_: CancelCx, _: bool, _: TryOutcome<bool>| async { Ok::<(), PhaseError>(()) },
    );
    let meet = meet.with_policy(policy().timeout(LONG * 2).hard_limit(LONG * 3).phase_timeout(LONG * 2));
    let runtime =
        quick(&MemoryStore::new()).drive_lease(LONG * 3).actions("pair", [meet]).start().await.unwrap();

    let open = runtime.transaction("alone").begin().await.unwrap();
    open.call("pair.meet@1", &true).await.unwrap();
    open.commit().await.unwrap().wait(LONG).await.unwrap();

    let open = runtime.transaction("together").begin().await.unwrap();
    let calls = [open.call("pair.meet@1", &false), open.call("pair.meet@1", &false)];
    let tried = tcc::try_join_all(calls).await.unwrap();
    assert!(tried.iter().all(|met| met.as_str() == "true"), "tries ran one after the other: {tried:?}");
    open.commit().await.unwrap().wait(LONG * 3).await.unwrap();
    let met = met.lock().unwrap().clone();
    assert_eq!(met, [true; 3], "confirms ran one after the other");
    runtime.shutdown().await;
}
