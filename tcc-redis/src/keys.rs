//! Names of keys. All keys of a shard carry its hash tag, so that they share one slot of a Redis Cluster.

use std::borrow::Cow;

use tcc_core::{BusinessKey, Gid, Name};

/// The consumer group of every queue.
pub(crate) const GROUP: &str = "workers";

/// The keys of one namespace, as `layout.md` lists them.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    namespace: Name,
    /// What the keys of each shard begin with.
    tags: Vec<String>,
}

/// What comes before a transaction's id.
const TRANSACTION: &str = "tx:";
/// The changes of operators, a stream.
pub(crate) const AUDIT: &str = "audit";
/// What is paused, a hash in shard 0.
pub(crate) const PAUSED: &str = "paused";
/// When processes were heard, a sorted set in shard 0.
pub(crate) const NODES: &str = "nodes";

/// Keys that every call of operations is given, in their order.
pub(crate) const FIXED: [&str; 5] = ["clock", "due", "open", "parked", "unreadable"];

impl Keys {
    pub(crate) fn new(namespace: Name, shards: u16) -> Self {
        let tags = (0..shards).map(|shard| tag_of(&namespace, shard)).collect();
        Self { namespace, tags }
    }

    pub(crate) fn namespace(&self) -> &Name {
        &self.namespace
    }

    pub(crate) fn shards(&self) -> u16 {
        self.tags.len() as u16
    }

    /// A key of a shard.
    pub(crate) fn of(&self, shard: u16, suffix: &str) -> String {
        self.joined(shard, &[suffix])
    }

    pub(crate) fn transaction(&self, gid: &Gid) -> String {
        self.joined(gid.shard(), &[TRANSACTION, gid.as_str()])
    }

    /// Put together without formatting: every call needs dozens.
    fn joined(&self, shard: u16, suffix: &[&str]) -> String {
        let tag = self.tags.get(usize::from(shard));
        let tag =
            tag.map_or_else(|| Cow::Owned(tag_of(&self.namespace, shard)), |tag| Cow::Borrowed(tag.as_str()));
        let mut key = String::with_capacity(tag.len() + suffix.iter().map(|part| part.len()).sum::<usize>());
        key.push_str(&tag);
        suffix.iter().for_each(|part| key.push_str(part));
        key
    }

    /// Where what happened to a transaction is kept for people.
    pub(crate) fn history(&self, gid: &Gid) -> String {
        self.joined(gid.shard(), &["history:", gid.as_str()])
    }

    pub(crate) fn queue(&self, shard: u16, participant: &Name) -> String {
        self.of(shard, &queue_suffix(participant))
    }
}

fn tag_of(namespace: &Name, shard: u16) -> String {
    format!("{{{namespace}:{shard:02}}}:")
}

/// What a process tells of itself, in shard 0.
pub(crate) fn node_suffix(process: &str) -> String {
    format!("node:{process}")
}

pub(crate) fn queue_suffix(participant: &Name) -> String {
    format!("ready:{participant}")
}

pub(crate) fn business_suffix(name: &Name, key: &BusinessKey) -> String {
    format!("key:{name}:{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_shard_share_its_tag() {
        let keys = Keys::new(Name::new("shop").unwrap(), 8);
        assert_eq!(keys.of(7, "due"), "{shop:07}:due");
        assert_eq!(keys.queue(0, &Name::new("inventory").unwrap()), "{shop:00}:ready:inventory");
        let gid: Gid = "01kaj0p5zk4t8m2qw7rxbc-07".parse().unwrap();
        assert_eq!(keys.transaction(&gid), "{shop:07}:tx:01kaj0p5zk4t8m2qw7rxbc-07");
    }
}
