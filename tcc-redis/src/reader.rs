//! Reading messages: one task and one connection a shard, blocked until something comes.
//!
//! A blocked read is never given up half-way, because what it would have answered is already taken: no
//! timeout below its own, no `select!`. A task ends by being ended. What a broken connection swallowed
//! stands in the reader's own pending list and is read from there.
//!
//! A message that was read goes on standing until the claim it leads to removes it. One that leads to none is
//! rung again by the timer of its transaction, which replaces it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use redis::{RedisError, Value, aio::MultiplexedConnection, from_redis_value};
use tcc_core::{
    Gid, Name,
    store::{Doorbell, Doorbells, StoreError, StoreErrorKind},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    connect::{Call, Link},
    keys::{GROUP, NODES},
    operator::NODES_MAX,
    scripts::Function,
    trouble::{first, store_error},
};

/// How long one read waits for messages.
const BLOCK: Duration = Duration::from_secs(2);
/// Messages taken of a queue at once.
const BATCH: usize = 64;
/// Reads whose messages wait for the caller; a shard's reader waits when they are this many.
const WAITING_MAX: usize = 2;
/// How often a reader tidies up behind those that died, and says that its process lives.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// Messages that a reader took and did not remove within this time are removed; `due` finds their work.
const STALE_MS: u64 = 60_000;
/// A consumer without messages that was silent for this long is removed.
const GONE_MS: u64 = 3_600_000;
/// Before a broken connection is made anew: at first, and at the most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The messages of a process's participants, of all shards.
#[derive(Debug)]
pub(crate) struct Listener {
    messages: mpsc::Receiver<Vec<Doorbell>>,
    /// Messages of a read that the caller has not asked for yet.
    rest: VecDeque<Doorbell>,
    readers: Vec<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn start(link: &Arc<Link>, process: &Name, participants: &[Name]) -> Self {
        let (send, messages) = mpsc::channel(WAITING_MAX);
        let participants: Vec<Name> = BTreeSet::from_iter(participants.iter().cloned()).into_iter().collect();
        // Without participants there is nothing to read, and `next` waits for ever.
        let shards = if participants.is_empty() { 0 } else { link.settings.keys.shards() };
        let readers = (0..shards).map(|shard| {
            let queues =
                participants.iter().map(|name| (link.settings.keys.queue(shard, name), name.clone()));
            let reader = Reader {
                link: Arc::clone(link),
                process: process.clone(),
                shard,
                queues: queues.collect(),
                send: send.clone(),
            };
            tokio::spawn(reader.run())
        });
        Self { readers: readers.collect(), messages, rest: VecDeque::new() }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

#[async_trait]
impl Doorbells for Listener {
    async fn next(&mut self, max: usize) -> Result<Vec<Doorbell>, StoreError> {
        if self.readers.is_empty() {
            std::future::pending::<()>().await;
        }
        while self.rest.is_empty() {
            let ended = || StoreError::new(StoreErrorKind::Unavailable, "the readers of messages have ended");
            self.rest = self.messages.recv().await.ok_or_else(ended)?.into();
        }
        Ok(self.rest.drain(..self.rest.len().min(max.max(1))).collect())
    }
}

/// Reads the queues of one shard.
struct Reader {
    link: Arc<Link>,
    process: Name,
    shard: u16,
    queues: Vec<(String, Name)>,
    send: mpsc::Sender<Vec<Doorbell>>,
}

/// A message as it was read: the place of its queue, its id, and whose work it announces.
pub(crate) struct Entry {
    place: usize,
    pub(crate) id: String,
    pub(crate) gid: Option<Gid>,
}

/// Which messages a read is for.
enum Which {
    /// Those that were delivered to this reader, and may have got lost on the way: of each queue those after this
    /// id.
    Pending(Vec<String>),
    /// New ones.
    New,
}

impl Which {
    fn pending(queues: &[(String, Name)]) -> Self {
        Self::Pending(vec!["0".to_owned(); queues.len()])
    }
}

/// Takes an answer apart. What does not look like a message still has an id, by which it is removed.
pub(crate) fn entries(queues: &[(String, Name)], answer: Value) -> Vec<Entry> {
    type Message = (String, Option<Vec<(Vec<u8>, Vec<u8>)>>);
    let streams: Vec<(String, Vec<Message>)> = from_redis_value(answer).unwrap_or_default();
    let mut entries = Vec::new();
    for (key, messages) in streams {
        let Some(place) = queues.iter().position(|(queue, _)| *queue == key) else { continue };
        for (id, fields) in messages {
            let gid = fields.unwrap_or_default().into_iter().find(|(name, _)| name == b"gid");
            let gid = gid.and_then(|(_, gid)| std::str::from_utf8(&gid).ok()?.parse().ok());
            entries.push(Entry { place, id, gid });
        }
    }
    entries
}

/// Puts messages of one transaction together, where the first of them stands. Queues are read from their beginnings, and
/// claims that come in that order can trim them.
fn together(entries: Vec<Entry>) -> Vec<Entry> {
    let mut first = BTreeMap::new();
    let mut placed: Vec<(usize, Entry)> = Vec::with_capacity(entries.len());
    for (place, entry) in entries.into_iter().enumerate() {
        let gid = entry.gid.clone();
        placed.push((gid.map_or(place, |gid| *first.entry(gid).or_insert(place)), entry));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, entry)| entry).collect()
}

impl Reader {
    async fn run(self) {
        let mut pause = PAUSE.0;
        while !self.send.is_closed() {
            let started = Instant::now();
            let error = match self.read().await {
                Ok(()) => return,
                Err(error) => error,
            };
            tracing::warn!(shard = self.shard, %error, "reading messages failed; it is begun again");
            if started.elapsed() > PAUSE.1 {
                pause = PAUSE.0;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Reads over one connection until it breaks; ends well only when nobody listens any more.
    async fn read(&self) -> Result<(), StoreError> {
        // The shared connection looks at the server first.
        self.link.connection().await?;
        let mut connection = self.link.open(BLOCK + self.link.settings.call_timeout).await?;
        let mut queues = self.ensure_groups(&mut connection).await?;
        let mut which = Which::pending(&self.queues);
        let mut tidy_at = Instant::now();
        loop {
            if Instant::now() >= tidy_at {
                queues = self.ensure_groups(&mut connection).await?;
                self.tidy(&mut connection, &queues).await.map_err(store_error)?;
                tidy_at = Instant::now() + TIDY_EVERY;
            }
            if queues.is_empty() {
                sleep(BLOCK).await;
                continue;
            }
            match self.take(&mut connection, &queues, &which).await {
                Ok(entries) if entries.is_empty() => which = Which::New,
                Ok(entries) => {
                    if let Which::Pending(after) = &mut which {
                        entries.iter().for_each(|entry| after[entry.place].clone_from(&entry.id));
                    }
                    if !self.pass_on(&mut connection, entries).await {
                        return Ok(());
                    }
                }
                // A group or a queue was deleted, or replaced by something else.
                Err(error) if matches!(first(&error).code(), Some("NOGROUP" | "WRONGTYPE" | "UNBLOCKED")) => {
                    queues = self.ensure_groups(&mut connection).await?;
                    which = Which::pending(&self.queues);
                    sleep(PAUSE.0).await;
                }
                Err(error) => return Err(store_error(error)),
            }
        }
    }

    /// Creates the groups that are missing, and gives back the places of the queues that can be read.
    async fn ensure_groups(&self, connection: &mut MultiplexedConnection) -> Result<Vec<usize>, StoreError> {
        let keys: Vec<String> = self.queues.iter().map(|(key, _)| key.clone()).collect();
        let library = &self.link.settings.library;
        let strange = Call::new(library, Function::Groups, keys.iter())
            .send(connection, library)
            .await
            .map_err(store_error)?;
        let strange: Vec<usize> = from_redis_value(strange).unwrap_or_default();
        for place in &strange {
            let key = keys.get(place - 1).map_or("", String::as_str);
            tracing::warn!(
                key,
                "a queue is no stream, and its messages are not read; rename or delete the key"
            );
        }
        Ok((0..keys.len()).filter(|place| !strange.contains(&(place + 1))).collect())
    }

    /// Waits for new messages of any queue; a wait that one queue ends is followed by a look at all, because a
    /// decision rings for several participants, and what belongs together is claimed together.
    async fn take(
        &self,
        connection: &mut MultiplexedConnection,
        queues: &[usize],
        which: &Which,
    ) -> Result<Vec<Entry>, RedisError> {
        let read = |waits: bool| {
            let mut read = redis::cmd("XREADGROUP");
            read.arg("GROUP").arg(GROUP).arg(self.process.as_str()).arg("COUNT").arg(BATCH);
            if waits {
                read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
            }
            read.arg("STREAMS");
            for place in queues {
                read.arg(&self.queues[*place].0);
            }
            for place in queues {
                read.arg(match which {
                    Which::Pending(after) => after[*place].as_str(),
                    Which::New => ">",
                });
            }
            read
        };
        if matches!(which, Which::Pending(_)) {
            let answer: Value = read(false).query_async(connection).await?;
            return Ok(entries(&self.queues, answer));
        }
        let mut reads = redis::pipe();
        reads.add_command(read(true));
        if queues.len() > 1 {
            reads.add_command(read(false));
        }
        let answers: Vec<Value> = reads.query_async(connection).await?;
        Ok(together(answers.into_iter().flat_map(|answer| entries(&self.queues, answer)).collect()))
    }

    /// Hands messages to the caller; false when nobody listens any more. What is no message is removed.
    async fn pass_on(&self, connection: &mut MultiplexedConnection, entries: Vec<Entry>) -> bool {
        let (mut remove, mut bells) = (redis::pipe(), Vec::with_capacity(entries.len()));
        for Entry { place, id, gid } in entries {
            let (key, participant) = &self.queues[place];
            let Some(gid) = gid else {
                tracing::warn!(key, id, "a message that cannot be read is removed");
                remove.cmd("XACK").arg(key).arg(GROUP).arg(&id).ignore();
                remove.cmd("XDEL").arg(key).arg(&id).ignore();
                continue;
            };
            bells.push(Doorbell { gid, participant: participant.clone() });
        }
        // What is not passed on now was not heard, and is read again.
        if self.send.send(bells).await.is_err() {
            return false;
        }
        if !remove.is_empty()
            && let Err(error) = remove.query_async::<()>(connection).await
        {
            tracing::debug!(%error, "what cannot be read was not removed; it is read again");
        }
        true
    }

    /// Removes what dead readers left behind: messages taken and not removed, and the readers themselves.
    async fn tidy(&self, connection: &mut MultiplexedConnection, queues: &[usize]) -> Result<(), RedisError> {
        if self.shard == 0 {
            let nodes = self.link.settings.keys.of(0, NODES);
            let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
            let mut pipeline = redis::pipe();
            pipeline
                .cmd("ZADD")
                .arg(&nodes)
                .arg(seconds * 1_000 + micros / 1_000)
                .arg(self.process.as_str())
                .ignore();
            pipeline.cmd("ZREMRANGEBYRANK").arg(&nodes).arg(0).arg(-NODES_MAX - 1).ignore();
            // When memory is full, the list of nodes may wait.
            let _ = pipeline.query_async::<()>(connection).await;
        }
        for place in queues {
            let (key, _) = &self.queues[*place];
            let mut pending = redis::cmd("XPENDING");
            pending.arg(key).arg(GROUP).arg("IDLE").arg(STALE_MS).arg("-").arg("+").arg(BATCH);
            let stale: Vec<(String, String, u64, u64)> = pending.query_async(connection).await?;
            let consumers: Vec<std::collections::BTreeMap<String, Value>> =
                redis::cmd("XINFO").arg("CONSUMERS").arg(key).arg(GROUP).query_async(connection).await?;
            let mut pipeline = redis::pipe();
            for (id, ..) in stale {
                pipeline.cmd("XACK").arg(key).arg(GROUP).arg(&id).ignore();
                pipeline.cmd("XDEL").arg(key).arg(&id).ignore();
            }
            let number = |value: Option<&Value>| match value {
                Some(Value::Int(number)) => u64::try_from(*number).unwrap_or(0),
                _ => 0,
            };
            for consumer in consumers.iter().take(BATCH) {
                let gone = number(consumer.get("idle")) > GONE_MS && number(consumer.get("pending")) == 0;
                if let Some(Value::BulkString(name)) = consumer.get("name").filter(|_| gone) {
                    pipeline.cmd("XGROUP").arg("DELCONSUMER").arg(key).arg(GROUP).arg(name).ignore();
                }
            }
            if !pipeline.is_empty() {
                pipeline.query_async::<()>(connection).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tcc_core::Timestamp;

    use super::*;

    #[test]
    fn messages_of_one_transaction_stand_where_the_first_of_them_stood() {
        let gid = |number| Gid::new(Timestamp::from_millis(number), 0, 0);
        let entry = |place, number: Option<u64>| Entry { place, id: String::new(), gid: number.map(gid) };
        // The first queue as far as it was read, then the second; ids do not come in the order of messages.
        let read = [(0, Some(3)), (0, Some(1)), (0, None), (1, Some(2)), (1, Some(1)), (1, Some(3))];
        let entries = together(read.map(|(place, number)| entry(place, number)).into());
        let sorted: Vec<_> = entries.into_iter().map(|entry| (entry.place, entry.gid)).collect();
        let expected = [(0, Some(3)), (1, Some(3)), (0, Some(1)), (1, Some(1)), (0, None), (1, Some(2))];
        assert_eq!(sorted, expected.map(|(place, number)| (place, number.map(gid))));
    }
}
