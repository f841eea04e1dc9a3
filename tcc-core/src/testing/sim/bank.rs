//! The participants' durable books: accounts, reservations and fences. A crash takes nothing from them.
//!
//! Every method is one local transaction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::{ACCOUNTS, BANKS};
use crate::{gid::Gid, name::Ordinal};

const OPENING: i64 = 1_000;
/// The last account's opening balance: less than any debit.
const POOR: i64 = 5;
/// Every debit and credit is at least this much.
pub(super) const AMOUNT_MIN: u64 = 10;
pub(super) const AMOUNT_MAX: u64 = 120;

/// One branch's movement: a debit is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Movement {
    pub(super) account: usize,
    pub(super) amount: i64,
}

/// Which branch a row belongs to.
pub(super) type Place = (Gid, Ordinal);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Reserved(Movement),
    Confirmed,
    Cancelled,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Insufficient,
    /// The fence: its cancel ran before (rule 6).
    Cancelled,
}

/// What a confirm or cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Moved(Movement),
    /// It had been done before, or there was nothing to undo.
    Nothing,
    /// The fence holds the opposite: the framework broke its word.
    Contradiction,
}

struct Bank {
    fenced: bool,
    balances: [i64; ACCOUNTS],
    rows: BTreeMap<Place, Row>,
}

/// The books of both banks.
pub(super) struct Books {
    banks: BTreeMap<&'static str, Bank>,
}

pub(super) fn openings() -> [i64; ACCOUNTS] {
    let mut balances = [OPENING; ACCOUNTS];
    balances[ACCOUNTS - 1] = POOR;
    balances
}

impl Books {
    /// The first bank keeps fences; the second does if `fenced`, else it relies on the framework alone
    /// to tell it of late tries.
    pub(super) fn new(fenced: bool) -> Self {
        let banks = BANKS.iter().enumerate().map(|(index, name)| {
            let fenced = fenced || index == 0;
            (*name, Bank { fenced, balances: openings(), rows: BTreeMap::new() })
        });
        Self { banks: banks.collect() }
    }

    fn bank(&mut self, name: &str) -> Option<&mut Bank> {
        self.banks.get_mut(name)
    }

    /// Reserves: takes a debit out of its account, notes a credit.
    pub(super) fn reserve(&mut self, bank: &str, place: &Place, movement: Movement) -> Result<bool, Refused> {
        let Some(bank) = self.bank(bank) else { return Err(Refused::Insufficient) };
        match bank.rows.get(place) {
            Some(Row::Reserved(_)) => return Ok(false),
            Some(Row::Confirmed | Row::Cancelled) => return Err(Refused::Cancelled),
            None => {}
        }
        let balance = &mut bank.balances[movement.account];
        if *balance + movement.amount < 0 {
            return Err(Refused::Insufficient);
        }
        *balance += movement.amount.min(0);
        bank.rows.insert(place.clone(), Row::Reserved(movement));
        Ok(true)
    }

    pub(super) fn confirm(&mut self, bank: &str, place: &Place) -> Effect {
        let Some(bank) = self.bank(bank) else { return Effect::Contradiction };
        match bank.rows.get(place).copied() {
            Some(Row::Reserved(movement)) => {
                bank.balances[movement.account] += movement.amount.max(0);
                bank.close(place, Row::Confirmed);
                Effect::Moved(movement)
            }
            Some(Row::Confirmed) => Effect::Nothing,
            None if !bank.fenced => Effect::Nothing,
            Some(Row::Cancelled) | None => Effect::Contradiction,
        }
    }

    pub(super) fn cancel(&mut self, bank: &str, place: &Place) -> Effect {
        let Some(bank) = self.bank(bank) else { return Effect::Contradiction };
        match bank.rows.get(place).copied() {
            Some(Row::Reserved(movement)) => {
                bank.balances[movement.account] -= movement.amount.min(0);
                bank.close(place, Row::Cancelled);
                Effect::Moved(movement)
            }
            Some(Row::Confirmed) => Effect::Contradiction,
            Some(Row::Cancelled) => Effect::Nothing,
            None => {
                bank.close(place, Row::Cancelled);
                Effect::Nothing
            }
        }
    }

    pub(super) fn balances(&self) -> BTreeMap<&'static str, [i64; ACCOUNTS]> {
        self.banks.iter().map(|(name, bank)| (*name, bank.balances)).collect()
    }

    /// Reservations that stand.
    pub(super) fn reserved(&self) -> Vec<(&'static str, Place, Movement)> {
        let of = |(name, bank): (&&'static str, &Bank)| {
            let name = *name;
            let rows = bank.rows.iter().filter_map(move |(place, row)| match row {
                Row::Reserved(movement) => Some((name, place.clone(), *movement)),
                Row::Confirmed | Row::Cancelled => None,
            });
            rows.collect::<Vec<_>>()
        };
        self.banks.iter().flat_map(of).collect()
    }
}

impl Bank {
    fn close(&mut self, place: &Place, row: Row) {
        if self.fenced {
            self.rows.insert(place.clone(), row);
        } else {
            self.rows.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const TAKE: Movement = Movement { account: 0, amount: -100 };

    fn place() -> Place {
        (Gid::new(Timestamp::from_millis(1), 1, 0), Ordinal::from_index(0))
    }

    #[test]
    fn a_fence_refuses_a_try_after_its_cancel() {
        let mut books = Books::new(true);
        assert_eq!(books.cancel("north", &place()), Effect::Nothing);
        assert_eq!(books.reserve("north", &place(), TAKE), Err(Refused::Cancelled));
        assert_eq!(books.balances()["north"], openings());
    }

    #[test]
    fn without_a_fence_a_late_try_reserves_until_it_is_cancelled_again() {
        let mut books = Books::new(false);
        books.cancel("south", &place());
        assert_eq!(books.reserve("south", &place(), TAKE), Ok(true));
        assert_eq!(books.reserved().len(), 1);
        assert_eq!(books.cancel("south", &place()), Effect::Moved(TAKE));
        assert_eq!(books.balances()["south"], openings());
    }

    #[test]
    fn effects_happen_once_and_contradictions_are_seen() {
        let mut books = Books::new(true);
        assert_eq!(books.confirm("north", &place()), Effect::Contradiction);
        books.reserve("north", &place(), TAKE).unwrap();
        assert_eq!(books.confirm("north", &place()), Effect::Moved(TAKE));
        assert_eq!(books.confirm("north", &place()), Effect::Nothing);
        assert_eq!(books.cancel("north", &place()), Effect::Contradiction);
        assert_eq!(books.balances()["north"][0], OPENING - 100);
    }
}
