//! Looking for what contradicts itself: records against the indexes that lead to them, page by page.

use std::{collections::BTreeMap, fmt, time::Duration};

use redis::{Value, from_redis_value};
use tcc_core::{
    Gid, Name, Timestamp,
    record::{Record, TransactionState},
    store::StoreError,
};

use crate::{
    codec::{
        Unreadable,
        record::{self, Fields},
    },
    inspect::Inspector,
    outline,
    place::{self, Member, Place},
};

/// The most looked at for one page: their records are read whole, and of the largest these are 400 MB.
const PAGE_MAX: usize = 100;
/// Before what was found is looked at again: it may have been found half-way through a change.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// How much later than it should a timer may run out before that is told.
const TIMER_SLACK: Duration = Duration::from_secs(1);

/// What a check goes through, in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checked {
    /// The list of open transactions.
    Open,
    /// Timers.
    Due,
    /// Transactions that wait for an operator.
    Parked,
    /// What could not be read.
    Unreadable,
    /// The messages of a participant.
    Queue(Name),
}

/// A place in a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckCursor(String, u64);

/// A page of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckPage {
    /// How many were looked at.
    pub looked: usize,
    /// What was found, and found again a moment later.
    pub findings: Vec<Finding>,
    /// Where the next page begins; nothing at the end.
    pub next: Option<CheckCursor>,
}

/// Something that contradicts something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// A gid, or what stands where one should, or the id of a message.
    pub subject: String,
    /// What kind it is of.
    pub kind: FindingKind,
    /// Which index, field or time.
    pub detail: String,
}

/// What a check can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// It is open, not wholly parked, and has no timer: nobody will ever look at it.
    TimerMissing,
    /// Its timer runs out later than there is something to do.
    TimerLate,
    /// It is open, and Redis will delete it, or its history.
    ExpiresInFlight,
    /// It is final, and Redis will never delete it.
    NeverExpires,
    /// Its record cannot be read.
    Unreadable,
    /// An index leads to a record that is not there.
    ListedGone,
    /// An index of what is open leads to what is final.
    ListedFinal,
    /// It is open, wholly parked, and in no list of what is open.
    NotListedOpen,
    /// It has a parked branch, and is not among those that wait for an operator.
    NotListedParked,
    /// It is among those that wait for an operator, and nothing of it is parked.
    ListedNotParked,
    /// Its business key leads elsewhere or nowhere: the same key could begin twice.
    KeyElsewhere,
    /// It is open, and Redis will delete its business key.
    KeyExpires,
    /// A message announces work that there is not. It costs a claim that finds nothing.
    MessageStray,
    /// An index or a queue holds what is no gid of this shard.
    ForeignMember,
    /// It is among what cannot be read, and can be.
    ReadableAgain,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimerMissing => "open, and no timer leads to it",
            Self::TimerLate => "its timer is too late",
            Self::ExpiresInFlight => "open, and about to be deleted",
            Self::NeverExpires => "final, and never to be deleted",
            Self::Unreadable => "its record cannot be read",
            Self::ListedGone => "listed, and not there",
            Self::ListedFinal => "listed, and final",
            Self::NotListedOpen => "wholly parked, and not listed as open",
            Self::NotListedParked => "parked, and not listed as parked",
            Self::ListedNotParked => "listed as parked, and not parked",
            Self::KeyElsewhere => "its business key does not lead to it",
            Self::KeyExpires => "open, and its business key is about to be deleted",
            Self::MessageStray => "a message without work",
            Self::ForeignMember => "no transaction of this shard",
            Self::ReadableAgain => "listed as unreadable, and can be read",
        })
    }
}

/// All that is known of one transaction.
struct Facts {
    /// Nothing if there is none.
    record: Option<Result<Record, Unreadable>>,
    /// What is left of each until Redis deletes it: -1 if it never does, -2 if there is none.
    ttl: i64,
    history_ttl: i64,
    due: Option<f64>,
    open: Option<f64>,
    parked: Option<f64>,
    is_unreadable: bool,
    /// Of its business key: who holds it, and what is left of it.
    key: Option<(Option<String>, i64)>,
}

impl Inspector {
    /// Looks at a page of a shard, no more than `max` and no more than 100, for what contradicts itself. What
    /// it finds, it found twice.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn check(
        &self,
        shard: u16,
        what: &Checked,
        after: Option<&CheckCursor>,
        max: usize,
    ) -> Result<CheckPage, StoreError> {
        let max = max.clamp(1, PAGE_MAX);
        let (members, next) = self.checked(shard, what, after, max).await?;
        let looked = members.len();
        let mut findings = self.look_for(shard, what, &members).await?;
        if !findings.is_empty() {
            tokio::time::sleep(SECOND_LOOK).await;
            let found: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
            let again: Vec<Subject> =
                members.into_iter().filter(|subject| found.contains(&subject.name.as_str())).collect();
            let still = self.look_for(shard, what, &again).await?;
            findings.retain(|one| {
                still.iter().any(|other| one.subject == other.subject && one.kind == other.kind)
            });
        }
        Ok(CheckPage { looked, findings, next })
    }

    /// What a page is about, and where the next one begins.
    async fn checked(
        &self,
        shard: u16,
        what: &Checked,
        after: Option<&CheckCursor>,
        max: usize,
    ) -> Result<(Vec<Subject>, Option<CheckCursor>), StoreError> {
        let place =
            after.map_or(Place::Start, |CheckCursor(member, score)| Place::After((member.clone(), *score)));
        let of_members = |page: Vec<Member>| {
            let last = page.last().filter(|_| page.len() >= max).cloned();
            let next = last.map(|(member, score)| CheckCursor(member, score));
            (
                page.into_iter().map(|(member, _)| Subject { gid: member.clone(), name: member }).collect(),
                next,
            )
        };
        match what {
            Checked::Open => {
                let key = self.key(shard, "open");
                Ok(of_members(place::by_name(&self.link, &key, &place, ("-", "+"), max).await?))
            }
            Checked::Due | Checked::Parked => {
                let suffix = if *what == Checked::Due { "due" } else { "parked" };
                Ok(of_members(place::by_score(&self.link, &self.key(shard, suffix), &place, max).await?))
            }
            Checked::Unreadable => {
                let mut scan = redis::cmd("HSCAN");
                let from = after.map_or("0", |CheckCursor(cursor, _)| cursor.as_str());
                scan.arg(self.key(shard, "unreadable")).arg(from).arg("COUNT").arg(max);
                let (next, fields): (String, Vec<(String, String)>) = self.link.read(&scan).await?;
                let subjects = fields.into_iter().map(|(name, _)| Subject { gid: name.clone(), name });
                // Queues are listed there too.
                let subjects = subjects.filter(|subject| !subject.name.contains(':')).collect();
                Ok((subjects, (next != "0").then_some(CheckCursor(next, 0))))
            }
            Checked::Queue(participant) => {
                let from = after.map_or_else(|| "-".to_owned(), |CheckCursor(id, _)| format!("({id}"));
                let mut range = redis::cmd("XRANGE");
                range.arg(self.link.settings.keys.queue(shard, participant)).arg(from).arg("+");
                let found: Vec<(String, BTreeMap<String, String>)> =
                    self.link.read(range.arg("COUNT").arg(max)).await?;
                let next =
                    found.last().filter(|_| found.len() >= max).map(|(id, _)| CheckCursor(id.clone(), 0));
                let subject = |(name, mut fields): (String, BTreeMap<String, String>)| Subject {
                    name,
                    gid: fields.remove("gid").unwrap_or_default(),
                };
                Ok((found.into_iter().map(subject).collect(), next))
            }
        }
    }

    async fn look_for(
        &self,
        shard: u16,
        what: &Checked,
        subjects: &[Subject],
    ) -> Result<Vec<Finding>, StoreError> {
        let now = self.now(shard).await?;
        let mut findings = Vec::new();
        let mut known = Vec::new();
        for subject in subjects {
            match subject.gid.parse::<Gid>().ok().filter(|gid| gid.shard() == shard) {
                Some(gid) => known.push((subject, gid)),
                None => findings.push(finding(subject, FindingKind::ForeignMember, &subject.gid)),
            }
        }
        let gids: Vec<Gid> = known.iter().map(|(_, gid)| gid.clone()).collect();
        let facts = self.facts(shard, &gids).await?;
        for ((subject, _), facts) in known.iter().zip(facts) {
            let found = match what {
                Checked::Queue(participant) => facts.of_message(participant, &subject.gid, now),
                _ => facts.contradictions(what, now),
            };
            findings.extend(found.into_iter().map(|(kind, detail)| finding(subject, kind, &detail)));
        }
        findings.sort();
        Ok(findings)
    }

    async fn facts(&self, shard: u16, gids: &[Gid]) -> Result<Vec<Facts>, StoreError> {
        if gids.is_empty() {
            return Ok(Vec::new());
        }
        let types = outline::types(&self.link, gids).await?;
        let mut pipeline = redis::pipe();
        for (gid, found) in gids.iter().zip(&types) {
            let record = self.record_key(gid);
            match found.as_str() {
                outline::HASH => pipeline.cmd("HGETALL").arg(&record),
                _ => pipeline.cmd("EXISTS").arg(&record),
            };
            pipeline.cmd("PTTL").arg(&record);
            pipeline.cmd("PTTL").arg(self.link.settings.keys.history(gid));
            for index in ["due", "open", "parked"] {
                pipeline.cmd("ZSCORE").arg(self.key(shard, index)).arg(gid.as_str());
            }
            pipeline.cmd("HEXISTS").arg(self.key(shard, "unreadable")).arg(gid.as_str());
        }
        let answers: Vec<Value> = self.link.query(&pipeline).await?;
        let mut answers = answers.into_iter();
        let mut all = Vec::with_capacity(gids.len());
        for gid in gids {
            let mut next = || answers.next().unwrap_or(Value::Nil);
            let record = read_record(gid, next());
            all.push(Facts {
                record,
                ttl: from_redis_value(next()).unwrap_or(-2),
                history_ttl: from_redis_value(next()).unwrap_or(-2),
                due: from_redis_value(next()).unwrap_or_default(),
                open: from_redis_value(next()).unwrap_or_default(),
                parked: from_redis_value(next()).unwrap_or_default(),
                is_unreadable: from_redis_value(next()).unwrap_or_default(),
                key: None,
            });
        }
        self.add_keys(shard, &mut all).await?;
        Ok(all)
    }

    /// What is known of the business keys of open transactions.
    async fn add_keys(&self, shard: u16, all: &mut [Facts]) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        let mut keyed = Vec::new();
        for facts in all.iter_mut() {
            let Some(record) = facts.open_record() else { continue };
            let Some(key) = &record.key else { continue };
            let key = self.business_key(shard, &record.name, key);
            pipeline.cmd("GET").arg(&key);
            pipeline.cmd("PTTL").arg(&key);
            keyed.push(facts);
        }
        if keyed.is_empty() {
            return Ok(());
        }
        let answers: Vec<Value> = self.link.query(&pipeline).await?;
        let mut answers = answers.into_iter();
        for facts in keyed {
            let mut next = || answers.next().unwrap_or(Value::Nil);
            facts.key =
                Some((from_redis_value(next()).unwrap_or_default(), from_redis_value(next()).unwrap_or(-2)));
        }
        Ok(())
    }
}

/// What is looked at: how it is called, and the gid it stands for.
struct Subject {
    name: String,
    gid: String,
}

fn finding(subject: &Subject, kind: FindingKind, detail: &str) -> Finding {
    Finding { subject: subject.name.clone(), kind, detail: detail.to_owned() }
}

fn read_record(gid: &Gid, answer: Value) -> Option<Result<Record, Unreadable>> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = match answer {
        Value::Int(0) => return None,
        Value::Int(_) => return Some(Err(outline::no_hash())),
        answer => from_redis_value(answer).unwrap_or_default(),
    };
    // It may have gone since its type was asked for.
    (!pairs.is_empty()).then(|| Fields::new(pairs).and_then(|fields| record::read(gid, &fields)))
}

type Found = Vec<(FindingKind, String)>;

impl Facts {
    fn open_record(&self) -> Option<&Record> {
        self.record.as_ref()?.as_ref().ok().filter(|record| !record.state.is_final())
    }

    fn indexes(&self) -> Vec<&'static str> {
        let indexes = [("open", self.open), ("due", self.due), ("parked", self.parked)];
        indexes.into_iter().filter(|(_, score)| score.is_some()).map(|(name, _)| name).collect()
    }

    fn contradictions(&self, what: &Checked, now: Timestamp) -> Found {
        match &self.record {
            None if *what == Checked::Unreadable => vec![(FindingKind::ListedGone, "unreadable".into())],
            None => {
                self.indexes().iter().map(|index| (FindingKind::ListedGone, (*index).to_owned())).collect()
            }
            Some(Err(unreadable)) => vec![(FindingKind::Unreadable, unreadable.to_string())],
            Some(Ok(record)) => {
                let mut found =
                    if record.state.is_final() { self.of_final() } else { self.of_open(record, now) };
                if self.is_unreadable {
                    found.push((FindingKind::ReadableAgain, "unreadable".into()));
                }
                found
            }
        }
    }

    fn of_final(&self) -> Found {
        let listed = self.indexes().into_iter().map(|index| (FindingKind::ListedFinal, index.to_owned()));
        let mut found: Found = listed.collect();
        if self.ttl == -1 {
            found.push((FindingKind::NeverExpires, "record".into()));
        }
        found
    }

    fn of_open(&self, record: &Record, now: Timestamp) -> Found {
        let mut found = Found::new();
        for (ttl, of) in [(self.ttl, "record"), (self.history_ttl, "history")] {
            if ttl >= 0 {
                found.push((FindingKind::ExpiresInFlight, format!("{of}, in {ttl} ms")));
            }
        }
        match (record.due_at(now), self.due) {
            (Some(at), None) => found.push((FindingKind::TimerMissing, format!("due at {at}"))),
            (Some(at), Some(score)) => {
                let timer = Timestamp::from_millis(score.max(0.0) as u64);
                if timer > at.max(now) + TIMER_SLACK {
                    found.push((FindingKind::TimerLate, format!("{timer} instead of {at}")));
                }
            }
            (None, None) if self.open.is_none() => {
                found.push((FindingKind::NotListedOpen, "open".into()));
            }
            (None, _) => {}
        }
        match (record.parked() > 0, self.parked) {
            (true, None) => found.push((FindingKind::NotListedParked, "parked".into())),
            (false, Some(_)) if !self.is_unreadable => {
                found.push((FindingKind::ListedNotParked, "parked".into()));
            }
            _ => {}
        }
        if let (Some((holder, ttl)), Some(key)) = (&self.key, &record.key) {
            // One that was cancelled may have lost its key to a later one before it was reopened.
            let lost = holder.as_deref() != Some(record.gid.as_str());
            if lost && record.state != TransactionState::Cancelling {
                let holder = holder.as_deref().unwrap_or("nowhere");
                found.push((FindingKind::KeyElsewhere, format!("{key} leads to {holder}")));
            } else if !lost && *ttl >= 0 {
                found.push((FindingKind::KeyExpires, format!("{key}, in {ttl} ms")));
            }
        }
        found
    }

    /// A message leads to its transaction even where no index does any more.
    fn of_message(&self, participant: &Name, gid: &str, now: Timestamp) -> Found {
        let untimed = |record: &Record| {
            let missing =
                self.of_open(record, now).into_iter().find(|(kind, _)| *kind == FindingKind::TimerMissing);
            missing.map(|(kind, detail)| (kind, format!("{gid}, {detail}")))
        };
        if let Some(found) = self.open_record().and_then(untimed) {
            return vec![found];
        }
        let works = self.open_record().is_some_and(|record| {
            let mut branches = record.branches.iter();
            branches.any(|branch| branch.is_drivable() && branch.action.participant() == participant.as_str())
        });
        let unreadable = matches!(&self.record, Some(Err(_)));
        if works || unreadable { Vec::new() } else { vec![(FindingKind::MessageStray, gid.to_owned())] }
    }
}
