//! The slip of a branch: which order it is about. The fence says what became of a branch; the books add for whom, in the
//! same local transaction.

use sqlx::{Sqlite, Transaction};
use tcc::{Gid, Ordinal};
use tcc_fence::{Context, Entry};

use crate::books::BookError;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS slip (
        gid      TEXT NOT NULL,
        branch   TEXT NOT NULL,
        order_id TEXT NOT NULL,
        PRIMARY KEY (gid, branch)
    ) STRICT, WITHOUT ROWID;";

/// A branch, and the order that it is about.
#[derive(Clone, Debug)]
pub(crate) struct Slip {
    pub(crate) gid: String,
    pub(crate) branch: String,
    pub(crate) order: String,
}

impl Slip {
    pub(crate) fn new(gid: &Gid, branch: Ordinal, order: String) -> Self {
        Self { gid: gid.to_string(), branch: branch.to_string(), order }
    }
}

/// Asks the fence for entry, and leaves a slip beside every row that it leaves.
pub(crate) async fn enter<C: Context>(
    local: &mut Transaction<'static, Sqlite>,
    cx: &C,
    slip: &Slip,
) -> Result<Entry<C::Empty>, BookError> {
    let entry = tcc_fence::enter(local, cx).await?;
    sqlx::query(
        "INSERT INTO slip (gid, branch, order_id) VALUES (?, ?, ?) ON CONFLICT (gid, branch) DO NOTHING",
    )
    .bind(&slip.gid)
    .bind(&slip.branch)
    .bind(&slip.order)
    .execute(&mut **local)
    .await?;
    Ok(entry)
}
