//! The demo's service: it takes tea from the stock and charges a card, and keeps its books in a file.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tcc_core::{
    Action, ActionPolicy, CancelCx, ConfirmCx, Name, PhaseError, Runtime, TransactionError, TryCx, TryOutcome,
};
use tcc_redis::RedisStore;

use crate::{
    args::Part,
    exit::{Code, Failure, Outcome},
};

/// The card that is declined.
const DECLINED: &str = "card-declined";
/// A hanging confirm is killed long before.
const HANG: Duration = Duration::from_secs(120);
/// Leases are short, so that nobody waits for the recovery.
const LEASE: Duration = Duration::from_secs(2);

/// What happened to stock and card, a line each. A line that stands is not written again, so that an effect is at most
/// one, however often it is asked for.
struct Books(PathBuf);

impl Books {
    fn enter(&self, line: &str) -> std::io::Result<()> {
        let written = fs::read_to_string(&self.0).unwrap_or_default();
        if written.lines().any(|other| other == line) {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0)?;
        writeln!(file, "{line}")
    }
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the card is declined")]
    Declined,
    #[error("the books cannot be written")]
    Books(#[from] std::io::Error),
}

fn action(name: &str, done: &'static str, undone: &'static str, books: &Arc<Books>, hangs: bool) -> Action {
    let [tries, confirms, cancels] = [0; 3].map(|_| Arc::clone(books));
    Action::new(
        name,
        1,
        move |cx: TryCx, what: String| {
            let books = Arc::clone(&tries);
            async move {
                if what == DECLINED {
                    return Err(Refused::Declined);
                }
                books.enter(&format!("{} reserved {what}", cx.branch_key()))?;
                Ok(what)
            }
        },
        move |cx: ConfirmCx, what: String, _: String| {
            let books = Arc::clone(&confirms);
            async move {
                if hangs {
                    tokio::time::sleep(HANG).await;
                }
                Ok::<_, PhaseError>(books.enter(&format!("{} {done} {what}", cx.branch_key()))?)
            }
        },
        move |cx: CancelCx, what: String, _: TryOutcome<String>| {
            let books = Arc::clone(&cancels);
            async move { Ok::<_, PhaseError>(books.enter(&format!("{} {undone} {what}", cx.branch_key()))?) }
        },
    )
    .with_policy(ActionPolicy::new().timeout(HANG))
}

/// One process of the demo.
pub(crate) async fn play(part: Part, url: &str, books: &Path) -> Outcome {
    let failed = |what: String| Failure::said(Code::Other, what);
    let books = Arc::new(Books(books.to_owned()));
    let name = Name::new(&format!("shop-{}", part.name())).map_err(|error| failed(error.to_string()))?;
    let hangs = part == Part::Hanging;
    let runtime = Runtime::builder()
        .store(RedisStore::connect(url).await?)
        .process(name)
        .actions("stock", [action("take", "sold", "put back", &books, false)])
        .actions("card", [action("charge", "charged", "released", &books, hangs)])
        .lease(LEASE)
        .drive_lease(LEASE)
        .start()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if part == Part::Serve {
        // The demo ends this process when the work is done.
        tokio::time::sleep(HANG).await;
        return Ok(Code::Done);
    }
    let card = if part == Part::Declined { DECLINED } else { "card-1" };
    let order = runtime
        .transaction("order")
        .key(part.key())
        .wait_final(HANG)
        .run(async |tx| {
            tx.call("stock.take@1", &"tea").await?;
            tx.call("card.charge@1", &card).await?;
            Ok(())
        })
        .await;
    let outcome: Result<_, TransactionError> = order.map(|_| ());
    runtime.shutdown().await;
    match (part, outcome) {
        (Part::Declined, Err(_)) | (_, Ok(())) => Ok(Code::Done),
        (_, Err(error)) => Err(failed(error.to_string())),
    }
}
