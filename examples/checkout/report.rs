//! What the run and the audit tell their reader.

use std::fmt;
use std::time::Duration;

use crate::audit::Totals;

/// The counts of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: usize,
    pub(crate) bad_rows: usize,
    pub(crate) confirmed: usize,
    pub(crate) out_of_stock: usize,
    pub(crate) declined: usize,
    pub(crate) not_answered: usize,
    pub(crate) other: usize,
    pub(crate) unknown: usize,
    pub(crate) repeated: usize,
    pub(crate) parked: usize,
    pub(crate) unfinished: usize,
    pub(crate) retries: usize,
    pub(crate) turned_away: usize,
    pub(crate) took: Duration,
    pub(crate) first_receipt: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancelled = self.out_of_stock + self.declined + self.not_answered + self.other;
        let seconds = self.took.as_secs_f64();
        let per_second = (self.confirmed + cancelled) as f64 / seconds.max(0.001);
        for (name, count, note) in [
            ("rows of orders", self.rows, ""),
            ("rows left out", self.bad_rows, ""),
            ("confirmed", self.confirmed, ""),
            ("cancelled", cancelled, ""),
            ("  out of stock", self.out_of_stock, ""),
            ("  card declined", self.declined, ""),
            (
                "  bank too slow",
                self.not_answered,
                "what their tries did was unknown, so they were cancelled",
            ),
            ("  other reasons", self.other, ""),
            ("unknown", self.unknown, ""),
            ("parked", self.parked, ""),
            ("unfinished", self.unfinished, ""),
            ("repeated", self.repeated, "an earlier row's order: answered, not run again"),
            ("retries", self.retries, "confirms and cancels run again, most after a fault on purpose"),
            (
                "tries turned away",
                self.turned_away,
                "they came after their cancel, and the fence let nothing happen",
            ),
        ] {
            writeln!(f, "{}", format!("  {name:<22}{count:>8}  {note}").trim_end())?;
        }
        writeln!(f, "  {:<22}{seconds:>8.2}", "seconds")?;
        writeln!(f, "  {:<22}{per_second:>8.0}", "tx/s")?;
        match &self.first_receipt {
            Some(receipt) => writeln!(f, "\n  first receipt: {receipt}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  stock     {} at the start = {} on hand + {} sold",
            self.opening_stock, self.on_hand, self.sold
        )?;
        writeln!(f, "  money     {} charged for {} orders", Money(self.charged_cents), self.confirmed)?;
        writeln!(f, "  points    {} awarded", self.points)?;
        writeln!(
            f,
            "  cancelled {} orders, of which nothing is left in stock, on a card or in an account",
            self.cancelled
        )
    }
}

struct Money(i128);

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}
