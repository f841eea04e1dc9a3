//! SQLite.
//!
//! It has one writer at a time: the first statement of a fence takes the lock on the whole database, and a second
//! connection waits for it for its `busy_timeout`. A transaction that read before it asks may be told that the database
//! has changed since; it is to be tried again. `BEGIN IMMEDIATE` avoids that.

use sqlx::{Row as _, Sqlite, SqliteConnection, SqlitePool};

use crate::{
    context::{Asked, Phase, Place},
    local::{FenceDatabase, Statements, exactly_one},
    rules::Row,
};

impl FenceDatabase for Sqlite {}

impl Statements for Sqlite {
    const CREATE: &'static str = include_str!("../migrations/sqlite/0001_tcc_fence.sql");

    async fn seize(
        local: &mut SqliteConnection,
        asked: &Asked<'_>,
        phase: &'static str,
    ) -> sqlx::Result<Option<Row>> {
        let row = sqlx::query(
            "INSERT INTO tcc_fence AS fence (gid, branch, action, phase, epoch, changed_at)
             VALUES (?, ?, ?, ?, ?, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
             ON CONFLICT (gid, branch) DO UPDATE SET asked = fence.asked + 1
             RETURNING asked, action, phase, try_answer, answer",
        )
        .bind(asked.gid.as_str())
        .bind(asked.branch.to_string())
        .bind(asked.action.as_str())
        .bind(phase)
        .bind(asked.epoch())
        .fetch_one(local)
        .await?;
        if row.try_get::<i64, _>(0)? == 0 {
            return Ok(None);
        }
        let (action, phase) = (row.try_get(1)?, row.try_get(2)?);
        Ok(Some(Row { action, phase, try_answer: row.try_get(3)?, answer: row.try_get(4)? }))
    }

    async fn advance(local: &mut SqliteConnection, asked: &Asked<'_>) -> sqlx::Result<()> {
        let moved = sqlx::query(
            "UPDATE tcc_fence SET phase = ?, epoch = ?,
                 changed_at = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
             WHERE gid = ? AND branch = ?",
        )
        .bind(asked.phase.as_str())
        .bind(asked.epoch())
        .bind(asked.gid.as_str())
        .bind(asked.branch.to_string())
        .execute(local)
        .await?;
        exactly_one(moved.rows_affected())
    }

    async fn keep(local: &mut SqliteConnection, place: &Place, phase: Phase, json: &str) -> sqlx::Result<()> {
        let kept = sqlx::query(match phase {
            Phase::Try => "UPDATE tcc_fence SET try_answer = ? WHERE gid = ? AND branch = ?",
            _ => "UPDATE tcc_fence SET answer = ? WHERE gid = ? AND branch = ?",
        })
        .bind(json)
        .bind(place.gid.as_str())
        .bind(place.branch.to_string())
        .execute(local)
        .await?;
        exactly_one(kept.rows_affected())
    }

    async fn withdraw(local: &mut SqliteConnection, asked: &Asked<'_>) -> sqlx::Result<()> {
        let gone = sqlx::query("DELETE FROM tcc_fence WHERE gid = ? AND branch = ? AND asked = 0")
            .bind(asked.gid.as_str())
            .bind(asked.branch.to_string())
            .execute(local)
            .await?;
        exactly_one(gone.rows_affected())
    }

    async fn forget(pool: &SqlitePool, older_ms: i64, rows_max: u32) -> sqlx::Result<u64> {
        let gone = sqlx::query(
            "DELETE FROM tcc_fence WHERE (gid, branch) IN (
                 SELECT gid, branch FROM tcc_fence
                 WHERE phase <> 'try'
                   AND changed_at < CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - ?
                 ORDER BY changed_at LIMIT ?
             )",
        )
        .bind(older_ms)
        .bind(i64::from(rows_max))
        .execute(pool)
        .await?;
        Ok(gone.rows_affected())
    }
}
