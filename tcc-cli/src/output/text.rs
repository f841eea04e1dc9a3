//! Texts from elsewhere made fit for a terminal, and times as people say them.

use std::time::Duration;

use tcc_core::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Without what a terminal would act on: keys and error texts come from others.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        let acts = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            _ if acts => clean.extend(c.escape_unicode()),
            _ => clean.push(c),
        }
    }
    clean
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text cut to so many columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut cut, mut taken) = (String::new(), 1);
    for c in text.chars() {
        taken += UnicodeWidthChar::width(c).unwrap_or(0);
        if taken > columns {
            break;
        }
        cut.push(c);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// The text in lines of at most so many columns, broken at spaces where there are any.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let mut word = word;
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while width(&line) + width(word) > columns {
            let (mut end, mut taken) = (0, width(&line));
            for (at, c) in word.char_indices() {
                taken += UnicodeWidthChar::width(c).unwrap_or(0);
                if taken > columns {
                    break;
                }
                end = at + c.len_utf8();
            }
            line.push_str(&word[..end]);
            lines.push(std::mem::take(&mut line));
            word = &word[end..];
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// A time in its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if seconds == 0 && duration.subsec_millis() > 0 => format!("{}ms", duration.subsec_millis()),
        () if seconds < 60 => format!("{seconds}s"),
        () if minutes < 60 => format!("{minutes}m{:02}s", seconds % 60),
        () if hours < 24 => format!("{hours}h{:02}m", minutes % 60),
        () => format!("{days}d{:02}h", hours % 24),
    }
}

/// The time from one moment to a later one.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> String {
    duration(from.until(to))
}

/// A text that a shell takes for one word.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mred\nb\u{202e}c"), "a\\u{1b}[31mred b\\u{202e}c");
    }

    #[test]
    fn texts_are_cut_and_wrapped_by_columns() {
        assert_eq!((cut("short", 5), cut("longer", 5)), ("short".into(), "long…".into()));
        assert_eq!(cut("日本語の鍵", 6), "日本…");
        assert_eq!(wrap("the warehouse does not answer", 14), ["the warehouse", "does not", "answer"]);
        assert_eq!(wrap("abcdefghijklmnop", 8), ["abcdefgh", "ijklmnop"]);
        assert_eq!(wrap("日本語の鍵", 8), ["日本語の", "鍵"]);
    }

    #[test]
    fn times_have_two_units() {
        let say = |millis| duration(Duration::from_millis(millis));
        let said = [0, 250, 59_999, 60_000, 3_661_000, 90_000_000].map(say);
        assert_eq!(said, ["0s", "250ms", "59s", "1m00s", "1h01m", "1d01h"]);
    }

    #[test]
    fn a_shell_takes_it_for_one_word() {
        assert_eq!([quoted("a-1"), quoted("it's"), quoted("")], ["a-1", "'it'\\''s'", "''"]);
    }
}
