//! Lists of transactions, page by page over the indexes there are.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use tcc_core::{
    BusinessKey, Gid, Name, Timestamp,
    record::{Record, TransactionState},
    store::StoreError,
};

use crate::{
    cursor::Cursor,
    inspect::Inspector,
    outline,
    place::{self, Member, Place},
};

/// The most transactions looked at for one page.
const PAGE_MAX: usize = 1_000;
/// Timers looked through for a gid that no sweep has looked at yet.
const TIMERS_MAX: usize = 10_000;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// What is not final, oldest first; then what no sweep has looked at yet, which is younger than an
    /// initiator's lease as a rule, by its timers. What goes from the second part to the first while it is
    /// listed may be missed.
    Open,
    /// What waits for an operator, longest first.
    Parked,
    /// What someone must look at, earliest first: everything open that is not wholly parked.
    Due,
}

/// What a listed transaction must be. What is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; any, if there is none.
    pub states: Vec<TransactionState>,
    /// Of this name.
    pub name: Option<Name>,
    /// With this business key.
    pub key: Option<BusinessKey>,
    /// With a branch of this participant.
    pub participant: Option<Name>,
    /// Begun before this moment, by its gid.
    pub begun_before: Option<Timestamp>,
    /// Begun after this moment, by its gid.
    pub begun_after: Option<Timestamp>,
    /// With or without a parked branch.
    pub parked: Option<bool>,
}

impl Filter {
    /// Whether a record is what is looked for.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let participant = |wanted: &Name| {
            record.branches.iter().any(|branch| branch.action.participant() == wanted.as_str())
        };
        (self.states.is_empty() || self.states.contains(&record.state))
            && self.name.as_ref().is_none_or(|name| *name == record.name)
            && self.key.as_ref().is_none_or(|key| Some(key) == record.key.as_ref())
            && self.participant.as_ref().is_none_or(participant)
            && self.parked.is_none_or(|parked| parked == (record.parked() > 0))
    }

    /// Whether a gid was made in the time that is asked for.
    fn spans(&self, gid: &Gid) -> bool {
        let time = &gid.as_str()[..TIME_CHARS];
        self.begun_after.is_none_or(|after| *time > *begun_at(after))
            && self.begun_before.is_none_or(|before| *time < *begun_at(before))
    }

    /// The gids that were made in that time, as bounds of an index.
    fn bounds(&self) -> (String, String) {
        let from = self.begun_after.map(|after| {
            let next = Timestamp::from_millis(after.as_millis().saturating_add(1));
            format!("[{}", begun_at(next))
        });
        let to = self.begun_before.map(|before| format!("({}", begun_at(before)));
        (from.unwrap_or_else(|| "-".into()), to.unwrap_or_else(|| "+".into()))
    }
}

/// Characters of a gid that tell its time.
const TIME_CHARS: usize = 10;

fn begun_at(at: Timestamp) -> String {
    Gid::new(at, 0, 0).as_str()[..TIME_CHARS].to_owned()
}

/// A listed transaction.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// Its id.
    pub gid: Gid,
    /// Since when it waits for an operator, or when someone must look at it; nothing in a list of what is open
    /// that has no timers.
    pub at: Option<Timestamp>,
    /// Its record without payloads, or why that cannot be read.
    pub record: Result<Record, String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// What matches the filter. What cannot be read always does.
    pub rows: Vec<Row>,
    /// How many were looked at.
    pub looked: usize,
    /// Where the next page begins; nothing at the end.
    pub next: Option<Cursor>,
}

/// How much a shard holds. Each number is an index's own, and costs the same however large it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Transactions in the list of open ones, which are there from their first timer on.
    pub open_listed: u64,
    /// Timers: open transactions that are not wholly parked.
    pub timers: u64,
    /// Timers that ran out, and were not acted upon yet.
    pub overdue: u64,
    /// Transactions with a parked branch, or a record that cannot be read.
    pub parked: u64,
    /// Records and queues that cannot be read.
    pub unreadable: u64,
    /// Messages in the queues of the participants asked for.
    pub queued: BTreeMap<Name, u64>,
    /// The oldest that outlived its first timer.
    pub oldest_open: Option<Gid>,
    /// Since when the first waits for an operator.
    pub longest_parked: Option<Timestamp>,
    /// Entries of the audit.
    pub audit: u64,
}

impl Counts {
    /// How many transactions are open, at the least. At the most, those that are parked come to the timers.
    #[must_use]
    pub fn open_at_least(&self) -> u64 {
        self.open_listed.max(self.timers)
    }
}

impl Inspector {
    /// A page of transactions of all shards, merged in the list's order. No more than `max` are looked at, and
    /// no more than 1,000; what matches may be fewer, down to none, with more to come.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn list(
        &self,
        index: Index,
        filter: &Filter,
        after: Option<&Cursor>,
        max: usize,
    ) -> Result<Page, StoreError> {
        let max = max.clamp(1, PAGE_MAX);
        let shards = self.link.settings.keys.shards();
        let start = Cursor { young: false, places: vec![Place::Start; usize::from(shards)] };
        let cursor = after.cloned().filter(|after| after.places.len() == start.places.len()).unwrap_or(start);
        let pages = try_join_all(
            (0..shards)
                .zip(&cursor.places)
                .map(|(shard, place)| self.members(index, filter, cursor.young, shard, place, max)),
        )
        .await?;
        let mut merged: Vec<(usize, Member)> = Vec::new();
        for (shard, page) in pages.iter().enumerate() {
            merged.extend(page.iter().map(|member| (shard, member.clone())));
        }
        merged.sort_by(|(_, one), (_, other)| (one.1, &one.0).cmp(&(other.1, &other.0)));
        merged.truncate(max);
        let mut next = cursor.clone();
        for (shard, page) in pages.iter().enumerate() {
            let taken = merged.iter().filter(|(of, _)| *of == shard).count();
            let more = taken < page.len() || page.len() >= max;
            match page.get(..taken).and_then(<[Member]>::last) {
                _ if !more => next.places[shard] = Place::End,
                Some(last) => next.places[shard] = Place::After(last.clone()),
                None => {}
            }
        }
        let ended = next.places.iter().all(|place| *place == Place::End);
        let next = match (index, ended) {
            (_, false) => Some(next),
            (Index::Open, true) if !cursor.young => {
                Some(Cursor { young: true, places: vec![Place::Start; next.places.len()] })
            }
            _ => None,
        };
        let looked = merged.len();
        let members = merged.into_iter().map(|(_, member)| member).collect();
        let rows = self.rows(index, filter, cursor.young, members).await?;
        Ok(Page { rows, looked, next })
    }

    async fn members(
        &self,
        index: Index,
        filter: &Filter,
        young: bool,
        shard: u16,
        place: &Place,
        max: usize,
    ) -> Result<Vec<Member>, StoreError> {
        let by_score = async |suffix| place::by_score(&self.link, &self.key(shard, suffix), place, max).await;
        match index {
            Index::Parked => by_score("parked").await,
            Index::Due => by_score("due").await,
            Index::Open if young => by_score("due").await,
            Index::Open => {
                let (from, to) = filter.bounds();
                place::by_name(&self.link, &self.key(shard, "open"), place, (&from, &to), max).await
            }
        }
    }

    async fn rows(
        &self,
        index: Index,
        filter: &Filter,
        young: bool,
        members: Vec<Member>,
    ) -> Result<Vec<Row>, StoreError> {
        let gid = |member: Member| {
            let at = (index != Index::Open || young).then(|| place::moment_of(&member));
            member.0.parse::<Gid>().ok().filter(|gid| filter.spans(gid)).map(|gid| (gid, at))
        };
        let mut found: Vec<(Gid, Option<Timestamp>)> = members.into_iter().filter_map(gid).collect();
        if young {
            let mut listed = redis::pipe();
            for (gid, _) in &found {
                listed.cmd("ZSCORE").arg(self.key(gid.shard(), "open")).arg(gid.as_str());
            }
            let listed: Vec<Option<f64>> =
                if found.is_empty() { Vec::new() } else { self.link.query(&listed).await? };
            let mut listed = listed.into_iter();
            found.retain(|_| listed.next().flatten().is_none());
        }
        let gids: Vec<Gid> = found.iter().map(|(gid, _)| gid.clone()).collect();
        let records = outline::outlines(&self.link, &gids).await?;
        let row = |((gid, at), record): ((Gid, Option<Timestamp>), outline::Outline)| {
            let record = record?;
            // What ended since the index was read is no more what was asked for.
            let matches = match &record {
                Ok(record) => !record.state.is_final() && filter.matches(record),
                Err(_) => true,
            };
            matches.then_some(Row { gid, at, record })
        };
        Ok(found.into_iter().zip(records).filter_map(row).collect())
    }

    /// How much a shard holds, with the queues of these participants.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn counts(&self, shard: u16, participants: &[Name]) -> Result<Counts, StoreError> {
        let now = self.now(shard).await?;
        let key = |suffix: &str| self.key(shard, suffix);
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZCARD").arg(key("open"));
        pipeline.cmd("ZCARD").arg(key("due"));
        pipeline.cmd("ZCOUNT").arg(key("due")).arg("-inf").arg(now.as_millis());
        pipeline.cmd("ZCARD").arg(key("parked"));
        pipeline.cmd("HLEN").arg(key("unreadable"));
        pipeline.cmd("XLEN").arg(key(crate::keys::AUDIT));
        for participant in participants {
            pipeline.cmd("XLEN").arg(self.link.settings.keys.queue(shard, participant));
        }
        let numbers: Vec<u64> = self.link.query(&pipeline).await?;
        let oldest = place::by_name(&self.link, &key("open"), &Place::Start, ("-", "+"), 1).await?;
        let longest = place::by_score(&self.link, &key("parked"), &Place::Start, 1).await?;
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or_default();
        Ok(Counts {
            open_listed: next(),
            timers: next(),
            overdue: next(),
            parked: next(),
            unreadable: next(),
            audit: next(),
            queued: participants.iter().map(|participant| (participant.clone(), next())).collect(),
            oldest_open: oldest.first().and_then(|(gid, _)| gid.parse().ok()),
            longest_parked: longest.first().map(place::moment_of),
        })
    }

    /// Transactions whose gid begins with a text, in order, no more than `max`: open ones, because what is
    /// final is in no index, and any by its whole gid. Of those that no sweep has looked at yet, as far as
    /// they are among the first 10,000 timers.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn by_prefix(&self, prefix: &str, max: usize) -> Result<Vec<Gid>, StoreError> {
        let mut found = std::collections::BTreeSet::new();
        if let Ok(gid) = prefix.parse::<Gid>() {
            let mut exists = redis::cmd("EXISTS");
            let there: u64 = self.link.read(exists.arg(self.record_key(&gid))).await?;
            found.extend((there > 0).then_some(gid));
            return Ok(found.into_iter().collect());
        }
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Ok(Vec::new());
        }
        let (from, to) = (format!("[{prefix}"), format!("[{prefix}\u{7f}"));
        for shard in 0..self.link.settings.keys.shards() {
            let listed =
                place::by_name(&self.link, &self.key(shard, "open"), &Place::Start, (&from, &to), max)
                    .await?;
            let timed =
                place::by_score(&self.link, &self.key(shard, "due"), &Place::Start, TIMERS_MAX).await?;
            let all = listed.into_iter().chain(timed).filter(|(gid, _)| gid.starts_with(prefix));
            found.extend(all.filter_map(|(gid, _)| gid.parse::<Gid>().ok()));
        }
        Ok(found.into_iter().take(max).collect())
    }
}
