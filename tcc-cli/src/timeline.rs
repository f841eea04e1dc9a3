//! What happened to a transaction, out of its history: lines for people, one a branch.

use std::collections::BTreeMap;

use serde::Serialize;
use tcc_core::{Ordinal, Timestamp};

use crate::output::text;

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) at: String,
    pub(crate) what: String,
}

impl Event {
    /// The store keeps a moment, a space, and what happened.
    pub(crate) fn of(line: &str) -> Self {
        let (at, what) = line.split_once(' ').unwrap_or(("", line));
        Self { at: at.to_owned(), what: what.to_owned() }
    }

    fn since(&self, begun: Timestamp) -> Option<String> {
        let millis = millis_of_day_and_date(&self.at)?;
        Some(text::between(begun, Timestamp::from_millis(millis)))
    }
}

/// A moment as it is stored, back in milliseconds.
fn millis_of_day_and_date(moment: &str) -> Option<u64> {
    let number = |from: usize, to: usize| moment.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, millis) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    // Days since 1970-01-01, by Howard Hinnant's `days_from_civil`.
    let shifted = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + millis)
}

/// What happened, one line for the transaction itself (no branch) and one for each branch.
pub(crate) fn lines(events: &[Event], begun: Timestamp) -> BTreeMap<Option<Ordinal>, String> {
    let mut steps: BTreeMap<Option<Ordinal>, Vec<Step>> = BTreeMap::new();
    for event in events {
        let (place, label) = place_and_label(&event.what);
        let since = event.since(begun).unwrap_or_default();
        let line = steps.entry(place).or_default();
        match line.iter_mut().find(|step| step.label == label) {
            Some(step) => {
                step.count += 1;
                step.since = since;
            }
            None => line.push(Step { label, since, count: 1 }),
        }
    }
    steps.into_iter().map(|(place, steps)| (place, join(&steps))).collect()
}

/// Something that happened, how often, and when the last time.
struct Step {
    label: String,
    since: String,
    count: u32,
}

fn join(steps: &[Step]) -> String {
    let step = |Step { label, since, count }: &Step| match count {
        1 => format!("{label} +{since}"),
        _ => format!("{label} {count}x, last +{since}"),
    };
    steps.iter().map(step).collect::<Vec<_>>().join(" > ")
}

/// Which branch a line is about, and what it says of it in a word or two.
fn place_and_label(what: &str) -> (Option<Ordinal>, String) {
    let words: Vec<&str> = what.split(' ').collect();
    if let ["operator", _, verb, rest @ ..] = words.as_slice() {
        let place = rest.first().and_then(|word| word.trim_end_matches(':').parse().ok());
        return (place, format!("{} by operator", verb.trim_end_matches(':')));
    }
    if let ["try", "of", place, outcome, ..] = words.as_slice() {
        return (place.parse().ok(), format!("try {outcome}"));
    }
    if let ["decided", direction, ..] = words.as_slice() {
        return (None, format!("decided {direction}"));
    }
    if let [label, place, ..] = words.as_slice()
        && let Ok(place) = place.parse()
    {
        return (Some(place), (*label).to_owned());
    }
    (None, words.first().copied().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_back() {
        for millis in [0, 951_782_400_000, 1_795_237_800_123, 4_107_542_399_999] {
            let text = Timestamp::from_millis(millis).to_string();
            assert_eq!(millis_of_day_and_date(&text), Some(millis), "{text}");
        }
        for wrong in ["", "yesterday", "2026-11-21", "0000-00-00T00:00:00.000Z", "äöü6-11-21T05:10:00.123Z"]
        {
            assert_eq!(millis_of_day_and_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_branch_is_told_in_one_line() {
        let line = |second: u64, what: &str| {
            Event::of(&format!("{} {what}", Timestamp::from_millis(second * 1_000)))
        };
        let events = [
            line(0, "begun by shop-1"),
            line(0, "registered 01 stock.reserve@1"),
            line(1, "try of 01 succeeded"),
            line(2, "decided confirm because committed by shop-1"),
            line(2, "claimed 01 confirm attempt 1"),
            line(3, "failed 01 after 900 ms again at 1970-01-01T00:00:05.000Z"),
            line(5, "claimed 01 confirm attempt 2"),
            line(6, "parked 01 handler after 900 ms"),
            line(90, "operator alice resolved 01 as confirmed: seen in the books"),
        ];
        let lines = lines(&events, Timestamp::from_millis(0));
        assert_eq!(lines[&None], "begun +0s > decided confirm +2s");
        let first = "01".parse().ok();
        assert_eq!(
            lines[&first],
            "registered +0s > try succeeded +1s > claimed 2x, last +5s > failed +3s > parked +6s > \
             resolved by operator +1m30s"
        );
    }
}
