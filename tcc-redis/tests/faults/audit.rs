//! What must hold in the end, of the ledger and of Redis, read without the framework.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    customer::Customer,
    ledger::{ACCOUNTS, Ledger, OPENING, Row, Side, State, Word},
    process::{LONG, becomes},
    support::{
        records::{Fields, branches, decision, records, state},
        server::{Server, ask},
    },
};

/// How long a transaction whose record was spoiled is waited for.
const SPOILED: Duration = Duration::from_secs(5);

/// What became of all transactions, and every promise that was broken.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) confirmed: usize,
    pub(crate) cancelled: usize,
    /// Initiators that were not told what was decided.
    pub(crate) unknown: usize,
    pub(crate) broken: Vec<String>,
    /// What became of the transaction whose record was spoiled.
    pub(crate) spoiled: Option<String>,
}

impl Verdict {
    /// Whether the run says nothing, and why.
    pub(crate) fn void(&self) -> Option<&'static str> {
        (self.cancelled * 20 < self.confirmed + self.cancelled).then_some("fewer than 5 % were cancelled")
    }
}

/// Where an operator would see a transaction, and why it is there.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) parked: Vec<String>,
    pub(crate) unreadable: BTreeMap<String, String>,
}

impl Listed {
    async fn of(server: &Server) -> Self {
        let mut raw = server.raw().await;
        Self {
            parked: ask(&mut raw, &["ZRANGE", "{tcc:00}:parked", "0", "-1"]).await,
            unreadable: ask(&mut raw, &["HGETALL", "{tcc:00}:unreadable"]).await,
        }
    }
}

/// Waits until nothing is in flight, and judges.
pub(crate) async fn wait_and_judge(server: &Server, ledger: &Customer) -> Verdict {
    let broken = wait(server, None).await;
    let mut verdict = look_and_judge(server, ledger, None).await;
    verdict.broken.extend(broken);
    verdict
}

/// A transaction whose record was spoiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoiled<'a> {
    pub(crate) gid: &'a str,
    /// Why its outcome is not told, if it is asked for and is not.
    pub(crate) refused: Option<&'a str>,
}

/// Waits until nothing is in flight, the spoiled transaction excepted; what is, if that was in vain.
pub(crate) async fn wait(server: &Server, spoiled: Option<&str>) -> Option<String> {
    let mut raw = server.raw().await;
    let mut open = async |spoiled: Option<&str>| {
        let mut all = async |index: &str| -> Vec<String> {
            ask(&mut raw, &["ZRANGE", &format!("{{tcc:00}}:{index}"), "0", "-1"]).await
        };
        let mut open = all("open").await;
        // What waits for an operator goes no further.
        let parked = all("parked").await;
        open.retain(|gid| !parked.contains(gid));
        open.extend(all("due").await);
        open.retain(|gid| Some(gid.as_str()) != spoiled);
        open
    };
    let ended = becomes(LONG, async || open(spoiled).await.is_empty()).await;
    if let Some(gid) = spoiled {
        let mut raw = server.raw().await;
        let mut is_parked = async || ask::<Option<f64>>(&mut raw, &["ZSCORE", "{tcc:00}:parked", gid]).await;
        becomes(SPOILED, async || is_parked().await.is_some() || open(None).await.is_empty()).await;
    }
    if ended { None } else { Some(format!("open: {:?}", open(spoiled).await)) }
}

pub(crate) async fn look_and_judge(
    server: &Server,
    ledger: &Customer,
    spoiled: Option<Spoiled<'_>>,
) -> Verdict {
    let listed = Listed::of(server).await;
    let mut raw = server.raw().await;
    judge(&ledger.show().await, &records(&mut raw).await, &listed, spoiled)
}

pub(crate) fn judge(
    ledger: &Ledger,
    records: &BTreeMap<String, Fields>,
    listed: &Listed,
    spoiled: Option<Spoiled<'_>>,
) -> Verdict {
    let mut judge = Judge { ledger, records, excused: None, verdict: Verdict::default() };
    judge.verdict.broken.extend(ledger.broken.iter().cloned());
    judge.look_at_lists(listed, spoiled);
    judge.look_at_begins();
    for (gid, record) in records {
        judge.look_at_record(gid, record);
    }
    judge.look_at_rows();
    judge.look_at_heard();
    judge.look_at_balances();
    judge.verdict
}

struct Judge<'a> {
    ledger: &'a Ledger,
    records: &'a BTreeMap<String, Fields>,
    /// Spoiled, and found to be so: what it reserved may stand.
    excused: Option<&'a str>,
    verdict: Verdict,
}

impl<'a> Judge<'a> {
    fn breaks(&mut self, what: String) {
        self.verdict.broken.push(what);
    }

    fn rows(&self, gid: &str) -> impl Iterator<Item = &'a Row> + use<'a> {
        self.ledger.rows.get(gid).into_iter().flat_map(BTreeMap::values)
    }

    fn look_at_lists(&mut self, listed: &Listed, spoiled: Option<Spoiled<'a>>) {
        let unreadable = |gid: &str| listed.unreadable.get(gid);
        for gid in &listed.parked {
            if spoiled.is_none_or(|spoiled| spoiled.gid != gid) {
                let why = unreadable(gid).cloned().unwrap_or_else(|| format!("{:?}", self.records.get(gid)));
                self.breaks(format!("parked: {gid}: {why}"));
            }
        }
        for (queue, why) in listed.unreadable.iter().filter(|(gid, _)| !listed.parked.contains(gid)) {
            self.breaks(format!("unreadable: {queue}: {why}"));
        }
        let Some(Spoiled { gid, refused }) = spoiled else { return };
        if listed.parked.iter().any(|parked| parked == gid) {
            self.excused = Some(gid);
            let why = unreadable(gid).map_or("a branch", String::as_str);
            self.verdict.spoiled = Some(format!("parked: {why}"));
        } else if let Some(why) = refused {
            self.excused = Some(gid);
            self.verdict.spoiled = Some(format!("not told: {why}"));
        }
    }

    /// Every acknowledged begin is found, and whatever was tried or told to be confirmed.
    fn look_at_begins(&mut self) {
        let ledger = self.ledger;
        let begun = ledger.begun.iter().filter(|(_, intent)| intent.is_acknowledged).map(|(gid, _)| gid);
        let confirmed = ledger.heard.iter().filter(|(_, word)| **word == Word::Confirm).map(|(gid, _)| gid);
        let known: BTreeSet<_> = begun.chain(ledger.rows.keys()).chain(confirmed).collect();
        for gid in known {
            if !self.records.contains_key(gid) {
                self.breaks(format!("lost: {gid}"));
            }
        }
    }

    /// It is final, and the ledger agrees with it branch by branch.
    fn look_at_record(&mut self, gid: &str, record: &Fields) {
        if self.excused == Some(gid) {
            return;
        }
        match record.get("state").map(String::as_str) {
            Some("confirmed") => self.verdict.confirmed += 1,
            Some("cancelled") => self.verdict.cancelled += 1,
            other => return self.breaks(format!("open: {gid} is {other:?}: {record:?}")),
        }
        let lines = branches(record);
        for row in self.rows(gid) {
            let line = lines.get(row.branch.ordinal.as_str()).map(|line| state(line));
            let agrees = match row.state {
                State::Confirmed => line == Some("confirmed"),
                State::Reserved => false,
                State::Refused | State::Barred | State::Released => line == Some("cancelled"),
            };
            if !agrees {
                self.breaks(format!("disagrees: {gid}: {row:?} is {line:?} in {record:?}"));
            }
        }
        let of_place = |place: &str| self.rows(gid).any(|row| row.branch.ordinal == place);
        let confirmed = lines.iter().filter(|(_, line)| state(line) == "confirmed");
        let missing: Vec<_> = confirmed.map(|(place, _)| *place).filter(|place| !of_place(place)).collect();
        if !missing.is_empty() {
            self.breaks(format!("disagrees: {gid}: {missing:?} were never confirmed in the ledger"));
        }
    }

    /// Nothing is reserved, nothing is mixed.
    fn look_at_rows(&mut self) {
        for gid in self.ledger.rows.keys() {
            let states: Vec<State> = self.rows(gid).map(|row| row.state).collect();
            let has = |state| states.contains(&state);
            if has(State::Reserved) && self.excused != Some(gid) {
                self.breaks(format!("reserved: {gid}"));
            }
            if has(State::Confirmed) && has(State::Released) {
                self.breaks(format!("mixed in the end: {gid}"));
            }
        }
    }

    /// What initiators were told is what stands; what they were not told is decided one way.
    fn look_at_heard(&mut self) {
        for (gid, word) in &self.ledger.heard {
            let Some(record) = self.records.get(gid) else { continue };
            let decided = decision(record).map(|[direction, ..]| direction);
            let agrees = match word {
                Word::Confirm => decided == Some("confirm"),
                Word::Cancel => decided == Some("cancel"),
                Word::Unknown => decided.is_some(),
            };
            self.verdict.unknown += usize::from(*word == Word::Unknown);
            if !agrees && self.excused != Some(gid) {
                self.breaks(format!("told otherwise: {gid}: {word:?}, and it is {record:?}"));
            }
        }
    }

    /// The balances are what the confirmed transfers make them, as their initiators meant them.
    fn look_at_balances(&mut self) {
        let mut expected: BTreeMap<&str, i64> = ACCOUNTS.iter().map(|name| (*name, OPENING)).collect();
        for (gid, record) in self.records {
            if self.excused == Some(gid) {
                for row in self.rows(gid).filter(|row| row.state == State::Confirmed) {
                    let sign = if row.branch.side == Side::Pay { -1 } else { 1 };
                    *expected.entry(&row.branch.account).or_default() += sign * row.branch.order.amount;
                }
            } else if record.get("state").is_some_and(|state| state == "confirmed") {
                let Some(intent) = self.ledger.begun.get(gid) else {
                    self.breaks(format!("confirmed without a begin: {gid}"));
                    continue;
                };
                let to = if intent.amount % 5 == 0 { intent.spare.as_ref() } else { Some(&intent.to) };
                let Some(to) = to else {
                    self.breaks(format!("confirmed although it was refused: {gid}"));
                    continue;
                };
                *expected.entry(&intent.from).or_default() -= intent.amount;
                *expected.entry(to).or_default() += intent.amount;
            }
        }
        for (name, account) in &self.ledger.accounts {
            let expected = expected.get(name.as_str()).copied().unwrap_or_default();
            if account.balance != expected {
                self.breaks(format!("balance: {name} has {}, and should have {expected}", account.balance));
            }
            if (account.held, account.promised) != (0, 0) && self.excused.is_none() {
                self.breaks(format!("reserved: {name}: {account:?}"));
            }
        }
        if !self.ledger.on_the_way.is_empty() && self.excused.is_none() {
            self.breaks(format!("on the way: {:?}", self.ledger.on_the_way));
        }
    }
}
