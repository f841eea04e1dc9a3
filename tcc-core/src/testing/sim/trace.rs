//! What happened, a line each, the same for the same seed to the byte.

use std::{fmt, fmt::Write as _, time::Duration};

/// Lines shown of a run that broke an invariant.
const TAIL_LINES: usize = 60;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    text: String,
}

impl Trace {
    pub(super) fn line(&mut self, at: Duration, process: &str, what: fmt::Arguments<'_>) {
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{seconds:>5}.{micros:06} {process:<6} {what}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// The last lines of a trace.
pub(super) fn tail(text: &str) -> &str {
    let start = text.rmatch_indices('\n').nth(TAIL_LINES).map_or(0, |(place, _)| place + 1);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_time_process_and_event() {
        let mut trace = Trace::default();
        trace.line(Duration::from_micros(1_000_002), "p1.1", format_args!("crashes"));
        assert_eq!(trace.into_text(), "    1.000002 p1.1   crashes\n");
    }

    #[test]
    fn the_tail_is_the_end() {
        let text: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert!(tail(&text).starts_with("40\n") && tail(&text).ends_with("99\n"));
        assert_eq!(tail("one\n"), "one\n");
    }
}
