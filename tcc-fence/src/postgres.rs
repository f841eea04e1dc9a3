//! PostgreSQL.
//!
//! An insert that meets a key of a transaction in progress waits for its end, at every isolation level. Then it locks
//! the row and sees it as committed; under `REPEATABLE READ` and `SERIALIZABLE`, where it may not, it fails with a
//! serialization failure, which is to be tried again.

use sqlx::{PgConnection, PgPool, Postgres, Row as _};

use crate::{
    context::{Asked, Phase, Place},
    local::{FenceDatabase, Statements, exactly_one},
    rules::Row,
};

impl FenceDatabase for Postgres {}

impl Statements for Postgres {
    // Two services that start at once would both find no table: one waits. All of it is one transaction.
    const CREATE: &'static str = concat!(
        "SELECT pg_advisory_xact_lock(hashtext('tcc_fence'));",
        include_str!("../migrations/postgres/0001_tcc_fence.sql")
    );

    async fn seize(
        local: &mut PgConnection,
        asked: &Asked<'_>,
        phase: &'static str,
    ) -> sqlx::Result<Option<Row>> {
        let row = sqlx::query(
            "INSERT INTO tcc_fence AS fence (gid, branch, action, phase, epoch, changed_at)
             VALUES ($1, $2, $3, $4, $5, clock_timestamp())
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

    async fn advance(local: &mut PgConnection, asked: &Asked<'_>) -> sqlx::Result<()> {
        let moved = sqlx::query(
            "UPDATE tcc_fence SET phase = $3, epoch = $4, changed_at = clock_timestamp()
             WHERE gid = $1 AND branch = $2",
        )
        .bind(asked.gid.as_str())
        .bind(asked.branch.to_string())
        .bind(asked.phase.as_str())
        .bind(asked.epoch())
        .execute(local)
        .await?;
        exactly_one(moved.rows_affected())
    }

    async fn keep(local: &mut PgConnection, place: &Place, phase: Phase, json: &str) -> sqlx::Result<()> {
        let kept = sqlx::query(match phase {
            Phase::Try => "UPDATE tcc_fence SET try_answer = $3 WHERE gid = $1 AND branch = $2",
            _ => "UPDATE tcc_fence SET answer = $3 WHERE gid = $1 AND branch = $2",
        })
        .bind(place.gid.as_str())
        .bind(place.branch.to_string())
        .bind(json)
        .execute(local)
        .await?;
        exactly_one(kept.rows_affected())
    }

    async fn withdraw(local: &mut PgConnection, asked: &Asked<'_>) -> sqlx::Result<()> {
        let gone = sqlx::query("DELETE FROM tcc_fence WHERE gid = $1 AND branch = $2 AND asked = 0")
            .bind(asked.gid.as_str())
            .bind(asked.branch.to_string())
            .execute(local)
            .await?;
        exactly_one(gone.rows_affected())
    }

    async fn forget(pool: &PgPool, older_ms: i64, rows_max: u32) -> sqlx::Result<u64> {
        let gone = sqlx::query(
            "DELETE FROM tcc_fence WHERE (gid, branch) IN (
                 SELECT gid, branch FROM tcc_fence
                 WHERE phase <> 'try' AND changed_at < clock_timestamp() - $1 * interval '1 millisecond'
                 ORDER BY changed_at LIMIT $2 FOR UPDATE SKIP LOCKED
             )",
        )
        .bind(older_ms)
        .bind(i64::from(rows_max))
        .execute(pool)
        .await?;
        Ok(gone.rows_affected())
    }
}
