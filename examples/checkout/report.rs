//! What the run and the audit tell their reader.

use std::collections::BTreeMap;
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
    /// Confirms and cancels that ran in this process, by participant, if some run elsewhere.
    pub(crate) here: Option<BTreeMap<&'static str, usize>>,
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
            ("repeated", self.repeated, "orders placed before: answered, not run again"),
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
        if let Some(here) = &self.here {
            writeln!(f, "\n{}", Here(here))?;
        }
        match &self.first_receipt {
            Some(receipt) => writeln!(f, "\n  first receipt: {receipt}"),
            None => Ok(()),
        }
    }
}

/// What a process did of phase two.
pub(crate) struct Here<'a>(pub(crate) &'a BTreeMap<&'static str, usize>);

impl fmt::Display for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("  confirms and cancels run in this process:")?;
        for (place, (participant, count)) in self.0.iter().enumerate() {
            write!(f, "{} {participant} {count}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
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
