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
    pub(crate) retries: u64,
    pub(crate) turned_away: u64,
    pub(crate) took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancelled = self.out_of_stock + self.declined + self.not_answered + self.other;
        let transactions = self.confirmed + cancelled;
        let per_second = transactions as f64 / self.took.as_secs_f64().max(0.001);
        let mut line =
            |name: &str, count: &dyn fmt::Display, note: &str| writeln!(f, "  {name:<22}{count:>8}  {note}");
        line("rows of orders", &self.rows, "")?;
        line("rows left out", &self.bad_rows, "")?;
        line("confirmed", &self.confirmed, "")?;
        line("cancelled", &cancelled, "")?;
        line("  out of stock", &self.out_of_stock, "")?;
        line("  card declined", &self.declined, "")?;
        line(
            "  bank too slow",
            &self.not_answered,
            "the try timed out: its effect is unknown until it ends",
        )?;
        line("  other reasons", &self.other, "")?;
        line("unknown", &self.unknown, "")?;
        line("parked", &self.parked, "wait for an operator")?;
        line("unfinished", &self.unfinished, "decided, and not carried out in time")?;
        line("repeated", &self.repeated, "an earlier row's order: answered, not run again")?;
        line("retries", &self.retries, "confirms and cancels run again, most after a fault on purpose")?;
        line(
            "tries turned away",
            &self.turned_away,
            "came after their cancel: the fence kept them from taking effect",
        )?;
        line("seconds", &format_args!("{:.2}", self.took.as_secs_f64()), "")?;
        line("transactions a second", &format_args!("{per_second:.0}"), "")
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
