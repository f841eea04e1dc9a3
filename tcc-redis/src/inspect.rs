//! What a namespace holds, for operators and tests.

use std::{collections::BTreeMap, sync::Arc};

use tcc_core::{BusinessKey, Gid, Name, Timestamp, store::StoreError};

use crate::{connect::Link, keys};

/// Looks into a namespace without changing it.
#[derive(Clone, Debug)]
pub struct Inspector {
    pub(crate) link: Arc<Link>,
}

/// A transaction that waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Its id.
    pub gid: String,
    /// Since when.
    pub since: Timestamp,
    /// Why its record cannot be read, if that is why.
    pub unreadable: Option<String>,
}

impl Inspector {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    pub(crate) fn key(&self, shard: u16, suffix: &str) -> String {
        self.link.settings.keys.of(shard, suffix)
    }

    /// Server time of a shard.
    pub(crate) async fn now(&self, shard: u16) -> Result<Timestamp, StoreError> {
        Ok(self.link.look(shard, 0).await?.0)
    }

    /// Name of the key that holds a transaction's record, for `HGETALL`.
    #[must_use]
    pub fn record_key(&self, gid: &Gid) -> String {
        self.link.settings.keys.transaction(gid)
    }

    /// Transactions of a shard that wait for an operator, longest first, no more than `max`.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn parked(&self, shard: u16, max: usize) -> Result<Vec<Waiting>, StoreError> {
        let parked = self.scored(shard, "parked", max).await?;
        let unreadable = self.unreadable(shard).await?;
        let waiting = |(gid, since): (String, Timestamp)| {
            let unreadable = unreadable.get(&gid).cloned();
            Waiting { gid, since, unreadable }
        };
        Ok(parked.into_iter().map(waiting).collect())
    }

    /// Records and queues of a shard that cannot be read, with the cause.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn unreadable(&self, shard: u16) -> Result<BTreeMap<String, String>, StoreError> {
        let mut all = redis::cmd("HGETALL");
        self.link.read(all.arg(self.key(shard, "unreadable"))).await
    }

    /// Timers of a shard, earliest first, no more than `max`.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn timers(&self, shard: u16, max: usize) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.scored(shard, "due", max).await
    }

    /// What the server's clock says, in which processes are heard; that of a shard never goes back, and may be ahead.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn server_time(&self) -> Result<Timestamp, StoreError> {
        crate::operator::server_time(&self.link).await.map(Timestamp::from_millis)
    }

    /// Processes that listen or listened, and when each was last heard.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn nodes(&self, max: usize) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.scored(0, "nodes", max).await
    }

    /// How many messages stand in a participant's queue.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn queued(&self, shard: u16, participant: &Name) -> Result<u64, StoreError> {
        let mut length = redis::cmd("XLEN");
        self.link.read(length.arg(self.link.settings.keys.queue(shard, participant))).await
    }

    /// What happened to a transaction, oldest first, as far as it is kept: a line each, its moment first.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn history(&self, gid: &Gid) -> Result<Vec<String>, StoreError> {
        let mut range = redis::cmd("LRANGE");
        range.arg(self.link.settings.keys.history(gid)).arg(0).arg(-1);
        let entries: Vec<String> = self.link.read(&range).await?;
        Ok(entries.iter().flat_map(|entry| lines_of(entry)).collect())
    }

    /// Name of the key that leads from a business key to its transaction.
    #[must_use]
    pub fn business_key(&self, shard: u16, name: &Name, key: &BusinessKey) -> String {
        self.key(shard, &keys::business_suffix(name, key))
    }

    async fn scored(
        &self,
        shard: u16,
        suffix: &str,
        max: usize,
    ) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let mut range = redis::cmd("ZRANGE");
        range
            .arg(self.key(shard, suffix))
            .arg("-inf")
            .arg("+inf")
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(0)
            .arg(max);
        let scored: Vec<(String, f64)> = self.link.read(range.arg("WITHSCORES")).await?;
        let moment = |(member, score): (String, f64)| (member, Timestamp::from_millis(score as u64));
        Ok(scored.into_iter().map(moment).collect())
    }
}

/// The lines of an entry of the history: what a step did, each with the moment. What an operator did stands alone, with
/// a reason in free words.
fn lines_of(entry: &str) -> Vec<String> {
    match entry.split_once(' ') {
        Some((at, said)) if !said.starts_with("operator ") => {
            said.split("; ").map(|line| format!("{at} {line}")).collect()
        }
        _ => vec![entry.to_owned()],
    }
}
