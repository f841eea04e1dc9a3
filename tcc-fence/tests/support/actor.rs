//! A connection that does what it is told, one step at a time, so that a test can put other steps in between.

use sqlx::{AssertSqlSafe, Connection as _, Transaction};
use tcc_fence::{Entry, FenceError, enter};
use tokio::sync::{mpsc, oneshot};

use super::{
    cancel_cx, confirm_cx, gid,
    oracle::{Heard, Kind},
    try_cx,
};
use crate::Db;

/// One run of one phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// What it answers, if it is the first.
    pub(crate) answer: u64,
    /// What begins its local transaction.
    pub(crate) begin: Begin,
    /// Whether the transaction has read something before it asks the fence.
    pub(crate) reads_first: bool,
}

/// A statement that sets the isolation level of the next transaction, if one is needed, and one that begins it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin(pub(crate) Option<&'static str>, pub(crate) &'static str);

/// The database gave another transaction precedence: the same run is to be run again.
#[derive(Debug)]
pub(crate) struct Again(pub(crate) String);

enum Step {
    Enter(Run, oneshot::Sender<Result<Heard, Again>>),
    End { commit: bool, done: oneshot::Sender<Result<(), Again>> },
}

pub(crate) struct Actor {
    steps: mpsc::Sender<Step>,
}

impl Actor {
    pub(crate) fn start(mut connection: <Db as sqlx::Database>::Connection) -> Self {
        let (steps, mut told) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(step) = told.recv().await {
                let Step::Enter(run, heard) = step else { panic!("a run begins with its entry") };
                let Begin(level, begin) = run.begin;
                if let Some(level) = level {
                    sqlx::raw_sql(level).execute(&mut connection).await.expect("a level");
                }
                let mut local = connection.begin_with(begin).await.expect("a local transaction");
                let entered = entered(&mut local, run).await;
                let failed = entered.is_err();
                let _ = heard.send(entered);
                if failed {
                    local.rollback().await.expect("rolled back");
                    continue;
                }
                let Some(Step::End { commit, done }) = told.recv().await else { return };
                let ended = if commit { local.commit().await } else { local.rollback().await };
                let _ = done.send(ended.map_err(|error| Again(error.to_string())));
            }
        });
        Self { steps }
    }

    /// Sends the run's entry, and its effect if it is the first. The local transaction stays open unless this fails.
    pub(crate) async fn enter(&self, run: Run) -> oneshot::Receiver<Result<Heard, Again>> {
        let (heard, hear) = oneshot::channel();
        assert!(self.steps.send(Step::Enter(run, heard)).await.is_ok(), "the connection is there");
        hear
    }

    /// Sends the end of the local transaction.
    pub(crate) async fn end(&self, commit: bool) -> oneshot::Receiver<Result<(), Again>> {
        let (done, hear) = oneshot::channel();
        assert!(self.steps.send(Step::End { commit, done }).await.is_ok(), "the connection is there");
        hear
    }
}

async fn entered(local: &mut Transaction<'_, Db>, run: Run) -> Result<Heard, Again> {
    if run.reads_first {
        let read = sqlx::raw_sql("SELECT gid FROM effect LIMIT 1").execute(&mut **local).await;
        read.map_err(|error| Again(error.to_string()))?;
    }
    match acted(local, run).await {
        Ok(heard) => Ok(heard),
        Err(FenceError::TooLate { .. }) => Ok(Heard::TooLate),
        Err(FenceError::Contradiction { .. }) => Ok(Heard::Contradiction),
        Err(error) if error.is_retryable() => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Err(Again(cause.unwrap_or_default()))
        }
        Err(error) => panic!("{run:?}: {error}"),
    }
}

async fn acted(local: &mut Transaction<'_, Db>, run: Run) -> Result<Heard, FenceError> {
    let first = match run.kind {
        Kind::Try => match enter(local, &try_cx(run.number)).await? {
            Entry::First(first) => first,
            Entry::AlreadyDone(answer) => return Ok(Heard::AlreadyDone(answer.get()?)),
        },
        Kind::Confirm => match enter(local, &confirm_cx(run.number, 1)).await? {
            Entry::First(first) => first,
            Entry::AlreadyDone(answer) => return Ok(Heard::AlreadyDone(answer.get()?)),
        },
        Kind::Cancel => match enter(local, &cancel_cx(run.number, 1)).await? {
            Entry::First(first) => first,
            Entry::AlreadyDone(answer) => return Ok(Heard::AlreadyDone(answer.get()?)),
            Entry::EmptyCancel(_) => return Ok(Heard::EmptyCancel),
        },
    };
    let (gid, kind) = (gid(run.number), run.kind.as_str());
    let effect = format!("INSERT INTO effect (gid, kind) VALUES ('{gid}', '{kind}')");
    let written = sqlx::raw_sql(AssertSqlSafe(effect)).execute(&mut **local).await;
    written.expect("nothing stands against the effect");
    first.keep(local, &run.answer).await?;
    Ok(Heard::First)
}
