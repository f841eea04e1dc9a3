//! The fence: one row per branch, written in the same local transaction as the effect it guards.
//!
//! It makes each effect happen at most once, whatever repeats, overtakes or dies on the way:
//! a repeated confirm or cancel finds its own state and does nothing; a cancel that finds no row leaves `barred`
//! behind, and the try that comes after it is turned away; a cancel that comes again, now knowing how the try ended,
//! finds `cancelled` or `barred` and does nothing.

use sqlx::{Sqlite, Transaction};

use tcc::{Gid, Ordinal};

use crate::books::BookError;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS fence (
        gid      TEXT NOT NULL,
        branch   TEXT NOT NULL,
        order_id TEXT NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('tried', 'confirmed', 'cancelled', 'barred')),
        PRIMARY KEY (gid, branch)
    ) STRICT, WITHOUT ROWID;";

/// The branch a fence row stands for, and the order that the branch is about.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) gid: String,
    pub(crate) branch: String,
    pub(crate) order: String,
}

impl Slot {
    pub(crate) fn new(gid: &Gid, branch: Ordinal, order: String) -> Self {
        Self { gid: gid.to_string(), branch: branch.to_string(), order }
    }
}

/// What is left to do for a confirm or cancel that the fence let through.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Change the books, in this same local transaction.
    Act,
    /// It was done before, or there is nothing to undo.
    Done,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TryFence {
    #[error("the branch was cancelled before its try came")]
    Barred,
    #[error(transparent)]
    Books(#[from] BookError),
}

type Local = Transaction<'static, Sqlite>;

/// Marks the branch as tried. The caller writes the effect in `local` and commits both; if it refuses instead,
/// dropping `local` takes the mark back with the effect.
pub(crate) async fn enter_try(local: &mut Local, slot: &Slot) -> Result<(), TryFence> {
    match insert(local, slot, "tried").await? {
        true => Ok(()),
        false => Err(TryFence::Barred),
    }
}

pub(crate) async fn enter_confirm(local: &mut Local, slot: &Slot) -> Result<Pass, BookError> {
    if leave_tried(local, slot, "confirmed").await? {
        return Ok(Pass::Act);
    }
    match state(local, slot).await?.as_deref() {
        Some("confirmed") => Ok(Pass::Done),
        other => Err(contradiction(slot, other, "confirmed")),
    }
}

pub(crate) async fn enter_cancel(local: &mut Local, slot: &Slot) -> Result<Pass, BookError> {
    if leave_tried(local, slot, "cancelled").await? {
        return Ok(Pass::Act);
    }
    if insert(local, slot, "barred").await? {
        return Ok(Pass::Done);
    }
    match state(local, slot).await?.as_deref() {
        Some("cancelled" | "barred") => Ok(Pass::Done),
        other => Err(contradiction(slot, other, "cancelled")),
    }
}

async fn insert(local: &mut Local, slot: &Slot, state: &str) -> Result<bool, BookError> {
    let inserted = sqlx::query(
        "INSERT INTO fence (gid, branch, order_id, state) VALUES (?, ?, ?, ?) ON CONFLICT (gid, branch) DO NOTHING",
    )
    .bind(&slot.gid)
    .bind(&slot.branch)
    .bind(&slot.order)
    .bind(state)
    .execute(&mut **local)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn leave_tried(local: &mut Local, slot: &Slot, state: &str) -> Result<bool, BookError> {
    let updated = sqlx::query("UPDATE fence SET state = ? WHERE gid = ? AND branch = ? AND state = 'tried'")
        .bind(state)
        .bind(&slot.gid)
        .bind(&slot.branch)
        .execute(&mut **local)
        .await?;
    Ok(updated.rows_affected() == 1)
}

async fn state(local: &mut Local, slot: &Slot) -> Result<Option<String>, BookError> {
    Ok(sqlx::query_scalar("SELECT state FROM fence WHERE gid = ? AND branch = ?")
        .bind(&slot.gid)
        .bind(&slot.branch)
        .fetch_optional(&mut **local)
        .await?)
}

fn contradiction(slot: &Slot, state: Option<&str>, wanted: &'static str) -> BookError {
    BookError::Contradiction {
        gid: slot.gid.clone(),
        branch: slot.branch.clone(),
        state: state.unwrap_or("never tried").to_owned(),
        wanted,
    }
}
