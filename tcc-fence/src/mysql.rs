//! MySQL and MariaDB.
//!
//! An insert that meets a key of a transaction in progress waits for its end. `ON DUPLICATE KEY UPDATE` then takes the
//! exclusive lock at once, where a plain insert would take a shared one, and two that waited would block each other.
//! The row is read with a lock: under `REPEATABLE READ` a plain read would show it as it was before the wait.

use sqlx::{MySql, MySqlConnection, MySqlPool, Row as _};

use crate::{
    context::{Asked, Phase, Place},
    local::{FenceDatabase, Statements, exactly_one},
    rules::Row,
};

impl FenceDatabase for MySql {}

impl Statements for MySql {
    const CREATE: &'static str = include_str!("../migrations/mysql/0001_tcc_fence.sql");

    async fn seize(
        local: &mut MySqlConnection,
        asked: &Asked<'_>,
        phase: &'static str,
    ) -> sqlx::Result<Option<Row>> {
        let inserted = sqlx::query(
            "INSERT INTO tcc_fence (gid, branch, action, phase, epoch, changed_at)
             VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE asked = asked + 1",
        )
        .bind(asked.gid.as_str())
        .bind(asked.branch.to_string())
        .bind(asked.action.as_str())
        .bind(phase)
        .bind(asked.epoch())
        .execute(&mut *local)
        .await?;
        // One for a row inserted; two for one updated, which this always changes.
        if inserted.rows_affected() == 1 {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT action, phase, try_answer, answer FROM tcc_fence WHERE gid = ? AND branch = ? FOR UPDATE",
        )
        .bind(asked.gid.as_str())
        .bind(asked.branch.to_string())
        .fetch_one(local)
        .await?;
        let (action, phase) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Some(Row { action, phase, try_answer: row.try_get(2)?, answer: row.try_get(3)? }))
    }

    async fn advance(local: &mut MySqlConnection, asked: &Asked<'_>) -> sqlx::Result<()> {
        let moved = sqlx::query(
            "UPDATE tcc_fence SET phase = ?, epoch = ?, changed_at = UTC_TIMESTAMP(3)
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

    async fn keep(local: &mut MySqlConnection, place: &Place, phase: Phase, json: &str) -> sqlx::Result<()> {
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

    async fn withdraw(local: &mut MySqlConnection, asked: &Asked<'_>) -> sqlx::Result<()> {
        let gone = sqlx::query("DELETE FROM tcc_fence WHERE gid = ? AND branch = ? AND asked = 0")
            .bind(asked.gid.as_str())
            .bind(asked.branch.to_string())
            .execute(local)
            .await?;
        exactly_one(gone.rows_affected())
    }

    /// Found by a read without locks and deleted one by one by their whole key: a range would lock the gaps between
    /// the rows too, and branches that begin would wait.
    async fn forget(pool: &MySqlPool, older_ms: i64, rows_max: u32) -> sqlx::Result<u64> {
        let microseconds = older_ms.saturating_mul(1_000);
        let mut local = pool.begin().await?;
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT gid, branch FROM tcc_fence
             WHERE phase IN ('confirm', 'cancel', 'empty') AND changed_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND
             LIMIT ?",
        )
        .bind(microseconds)
        .bind(rows_max)
        .fetch_all(&mut *local)
        .await?;
        let mut gone = 0;
        for (gid, branch) in rows {
            let deleted = sqlx::query("DELETE FROM tcc_fence WHERE gid = ? AND branch = ?")
                .bind(gid)
                .bind(branch)
                .execute(&mut *local)
                .await?;
            gone += deleted.rows_affected();
        }
        local.commit().await?;
        Ok(gone)
    }
}
