//! The ledger: accounts, what is reserved in them, and what must never be seen.
//!
//! It is the participants' database, fence included, and at the same time the oracle: it knows nothing of the
//! framework but what the handlers are told, and looks at every step whether a promise is broken.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What each account holds before the first transfer.
pub(crate) const OPENING: i64 = 10_000_000;
/// Accounts whose names are one bit apart from each other.
pub(crate) const ACCOUNTS: [&str; 4] = ["acct-1", "acct-3", "acct-5", "acct-7"];

/// What one branch is asked to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) amount: i64,
    /// Whether the account takes what its neighbour refuses.
    pub(crate) spare: bool,
    pub(crate) text: String,
}

impl Order {
    /// Amounts that an account refuses to take.
    pub(crate) fn is_refused(&self) -> bool {
        self.amount % 5 == 0 && !self.spare
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    Pay,
    Get,
}

/// A branch, as its handlers name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Branch {
    pub(crate) gid: String,
    pub(crate) ordinal: String,
    pub(crate) account: String,
    pub(crate) side: Side,
    pub(crate) order: Order,
}

/// What an initiator means to do: told before its first try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Who takes it if `to` refuses.
    pub(crate) spare: Option<String>,
    pub(crate) amount: i64,
    /// Whether Redis acknowledged the begin by itself, as it does with a business key; without one, the first
    /// registration is the begin.
    pub(crate) is_acknowledged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    Confirm,
    Cancel,
    Unknown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// An initiator begins.
    Begun {
        gid: String,
        intent: Intent,
    },
    Try(Branch),
    Confirm {
        branch: Branch,
        receipt: String,
    },
    /// With what cancel was told the try had returned, if it was told that it had succeeded.
    Cancel {
        branch: Branch,
        receipt: Option<String>,
    },
    /// What an initiator was told in the end.
    Heard {
        gid: String,
        word: Word,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Reserved(String),
    Refused,
    /// The step contradicts what stands; it changed nothing.
    Contradiction(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum State {
    Reserved,
    Refused,
    /// Cancelled before anything was reserved; no try takes effect any more.
    Barred,
    Confirmed,
    Released,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) branch: Branch,
    pub(crate) state: State,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: i64,
    /// Reserved to be paid.
    pub(crate) held: i64,
    /// Reserved to be received.
    pub(crate) promised: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) accounts: BTreeMap<String, Account>,
    /// By transaction, then by ordinal and account: each account is a database of its own.
    pub(crate) rows: BTreeMap<String, BTreeMap<String, Row>>,
    pub(crate) begun: BTreeMap<String, Intent>,
    pub(crate) heard: BTreeMap<String, Word>,
    /// Paid and not yet received, by transaction.
    pub(crate) on_the_way: BTreeMap<String, i64>,
    pub(crate) broken: BTreeSet<String>,
}

impl Ledger {
    pub(crate) fn open() -> Self {
        let account = Account { balance: OPENING, held: 0, promised: 0 };
        let accounts = ACCOUNTS.iter().map(|name| ((*name).to_owned(), account.clone())).collect();
        Self { accounts, ..Self::default() }
    }

    /// Takes a step, and looks whether everything still holds.
    pub(crate) fn take(&mut self, step: &Step) -> Answer {
        let (answer, gid) = match step {
            Step::Begun { gid, intent } => {
                if self.begun.insert(gid.clone(), intent.clone()).is_some_and(|before| before != *intent) {
                    self.broken.insert(format!("begun twice: {gid}"));
                }
                return Answer::Done;
            }
            Step::Heard { gid, word } => {
                self.hear(gid, *word);
                return Answer::Done;
            }
            Step::Try(branch) => (self.reserve(branch), &branch.gid),
            Step::Confirm { branch, receipt } => (self.confirm(branch, receipt), &branch.gid),
            Step::Cancel { branch, receipt } => (self.cancel(branch, receipt.as_deref()), &branch.gid),
        };
        if let Answer::Contradiction(what) = &answer {
            self.broken.insert(format!("contradiction: {gid}: {what}"));
        }
        self.look(gid);
        answer
    }

    fn hear(&mut self, gid: &str, word: Word) {
        let before = self.heard.insert(gid.to_owned(), word);
        if before.is_some_and(|before| before != word && before != Word::Unknown) {
            self.broken.insert(format!("told two things: {gid}: {before:?} and {word:?}"));
        }
    }

    fn row(&mut self, branch: &Branch) -> Option<&mut Row> {
        self.rows.get_mut(&branch.gid)?.get_mut(&place(branch))
    }

    fn add(&mut self, branch: &Branch, state: State) {
        let rows = self.rows.entry(branch.gid.clone()).or_default();
        rows.insert(place(branch), Row { branch: branch.clone(), state });
    }

    fn account(&mut self, branch: &Branch) -> &mut Account {
        self.accounts.entry(branch.account.clone()).or_default()
    }

    /// Reserves, or takes a reservation back.
    fn hold(&mut self, branch: &Branch, sign: i64) {
        let account = self.account(branch);
        match branch.side {
            Side::Pay => account.held += sign * branch.order.amount,
            Side::Get => account.promised += sign * branch.order.amount,
        }
    }

    fn reserve(&mut self, branch: &Branch) -> Answer {
        if let Some(row) = self.row(branch) {
            return match row.state {
                _ if row.branch != *branch => altered(row, branch),
                State::Reserved => Answer::Reserved(receipt(branch)),
                _ => Answer::Refused,
            };
        }
        if branch.side == Side::Get && branch.order.is_refused() {
            self.add(branch, State::Refused);
            return Answer::Refused;
        }
        self.add(branch, State::Reserved);
        self.hold(branch, 1);
        Answer::Reserved(receipt(branch))
    }

    fn confirm(&mut self, branch: &Branch, told: &str) -> Answer {
        let Some(row) = self.row(branch) else {
            return Answer::Contradiction(format!("confirm of what was never tried: {branch:?}"));
        };
        match row.state {
            _ if row.branch != *branch => return altered(row, branch),
            _ if told != receipt(branch) => {
                return Answer::Contradiction(format!(
                    "confirm is told a result that try did not give: {told}"
                ));
            }
            State::Confirmed => return Answer::Done,
            State::Reserved => row.state = State::Confirmed,
            State::Refused | State::Barred | State::Released => {
                return Answer::Contradiction(format!(
                    "confirm of what is {:?}: {}",
                    row.state,
                    place(branch)
                ));
            }
        }
        self.hold(branch, -1);
        let amount = branch.order.amount;
        let moved = if branch.side == Side::Pay { -amount } else { amount };
        self.account(branch).balance += moved;
        Answer::Done
    }

    fn cancel(&mut self, branch: &Branch, told: Option<&str>) -> Answer {
        let Some(row) = self.row(branch) else {
            if let Some(told) = told {
                return Answer::Contradiction(format!("cancel is told of a try that never was: {told}"));
            }
            self.add(branch, State::Barred);
            return Answer::Done;
        };
        match row.state {
            _ if row.branch != *branch => return altered(row, branch),
            _ if told.is_some_and(|told| told != receipt(branch)) => {
                return Answer::Contradiction(format!(
                    "cancel is told a result that try did not give: {told:?}"
                ));
            }
            State::Refused | State::Barred | State::Released => return Answer::Done,
            State::Reserved => row.state = State::Released,
            State::Confirmed => {
                return Answer::Contradiction(format!("cancel of what is confirmed: {}", place(branch)));
            }
        }
        self.hold(branch, -1);
        Answer::Done
    }

    /// What must hold after every step: no money made or lost, no transaction mixed.
    fn look(&mut self, gid: &str) {
        let rows = self.rows.get(gid).map(BTreeMap::values).into_iter().flatten();
        let (mut on_the_way, mut confirmed, mut released) = (0, false, false);
        for row in rows {
            confirmed |= row.state == State::Confirmed;
            released |= row.state == State::Released;
            on_the_way += match (row.state, row.branch.side) {
                (State::Confirmed, Side::Pay) => row.branch.order.amount,
                (State::Confirmed, Side::Get) => -row.branch.order.amount,
                _ => 0,
            };
        }
        if on_the_way == 0 {
            self.on_the_way.remove(gid);
        } else {
            self.on_the_way.insert(gid.to_owned(), on_the_way);
        }
        if confirmed && released {
            self.broken.insert(format!("mixed: {gid}"));
        }
        let balances: i64 = self.accounts.values().map(|account| account.balance).sum();
        let there = balances + self.on_the_way.values().sum::<i64>();
        let opening = OPENING * ACCOUNTS.len() as i64;
        if there != opening {
            self.broken.insert(format!("money: {} made, first seen at {gid}", there - opening));
        }
        if self.accounts.values().any(|account| account.held < 0 || account.promised < 0) {
            self.broken.insert(format!("released twice: {gid}: {:?}", self.accounts));
        }
    }
}

fn altered(row: &Row, branch: &Branch) -> Answer {
    Answer::Contradiction(format!("altered: {:?} became {branch:?}", row.branch))
}

fn place(branch: &Branch) -> String {
    format!("{} {}", branch.ordinal, branch.account)
}

fn receipt(branch: &Branch) -> String {
    format!("{} holds {} of {}", branch.account, branch.order.amount, branch.gid)
}
