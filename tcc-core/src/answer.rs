//! What a service that was called tells its caller: the branches it knows of, with their outcomes.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{error::InvalidInput, name::Ordinal, record::Seen};

/// The longest an answer may be as text, in bytes. The text takes at the most two bytes for a branch or a gap, so
/// that 1,000 branches fit twice over.
pub const ANSWER_BYTES_MAX: usize = 4_096;

const RULE: &str = "runs of branches such as 3s2gr, or -, up to 4096 bytes";
const NO_BRANCHES: &str = "-";
const PENDING: char = 'p';

/// The branches that a service registered for a call, and those of the calls it made itself (rule 16).
///
/// As text it is runs in the order of the branches' places: a number, left out if it is 1, and `s` for tries that
/// succeeded, `r` for refused, `u` for unknown, `g` for a gap of places that are not the service's. `2g3sr` is
/// branches 03 to 05, which succeeded, and 06, which was refused. `p` at the end says that a call of the service
/// itself was not answered, so that the list may lack branches; `-` is no branch at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallAnswer {
    branches: BTreeMap<Ordinal, Seen>,
    pending: bool,
}

impl CallAnswer {
    /// An answer of these branches; `pending` if there may be more, so that the caller cannot commit.
    ///
    /// A list that is too long as text is left out, and the answer is pending.
    #[must_use]
    pub fn new(branches: BTreeMap<Ordinal, Seen>, pending: bool) -> Self {
        let answer = Self { branches, pending };
        if answer.to_string().len() > ANSWER_BYTES_MAX {
            return Self { branches: BTreeMap::new(), pending: true };
        }
        answer
    }

    /// The branches and what their tries came to.
    #[must_use]
    pub fn branches(&self) -> &BTreeMap<Ordinal, Seen> {
        &self.branches
    }

    /// Whether there may be more branches than these.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }
}

fn letter(seen: Seen) -> char {
    match seen {
        Seen::Succeeded => 's',
        Seen::Refused => 'r',
        Seen::Unknown => 'u',
    }
}

impl fmt::Display for CallAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut run = |length: usize, letter: char| match length {
            0 => Ok(()),
            1 => write!(f, "{letter}"),
            _ => write!(f, "{length}{letter}"),
        };
        let (mut length, mut of, mut next) = (0, 'g', 0);
        for (ordinal, seen) in &self.branches {
            let (index, letter) = (ordinal.index(), letter(*seen));
            if index > next || letter != of {
                run(length, of)?;
                run(index - next, 'g')?;
                (length, of) = (0, letter);
            }
            length += 1;
            next = index + 1;
        }
        run(length, of)?;
        match (self.pending, self.branches.is_empty()) {
            (true, _) => write!(f, "{PENDING}"),
            (false, true) => f.write_str(NO_BRANCHES),
            (false, false) => Ok(()),
        }
    }
}

impl FromStr for CallAnswer {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        parse(text).ok_or_else(|| InvalidInput::new("answer", text, RULE))
    }
}

fn parse(text: &str) -> Option<CallAnswer> {
    if text.len() > ANSWER_BYTES_MAX {
        return None;
    }
    let mut answer = CallAnswer::default();
    let runs = match text.strip_suffix(PENDING) {
        Some(runs) => {
            answer.pending = true;
            runs
        }
        None if text == NO_BRANCHES => return Some(answer),
        None => text,
    };
    let mut place = 0_usize;
    let mut rest = runs;
    while !rest.is_empty() {
        let at = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (digits, tail) = rest.split_at(at);
        let length: usize = if digits.is_empty() { 1 } else { digits.parse().ok()? };
        let end = place.checked_add(length).filter(|end| *end <= usize::from(u16::MAX))?;
        let seen = match tail.as_bytes().first()? {
            b's' => Some(Seen::Succeeded),
            b'r' => Some(Seen::Refused),
            b'u' => Some(Seen::Unknown),
            b'g' => None,
            _ => return None,
        };
        if let Some(seen) = seen {
            answer.branches.extend((place..end).map(|index| (Ordinal::from_index(index), seen)));
        }
        place = end;
        rest = &tail[1..];
    }
    // One text an answer: what was written another way was not written by a service of ours.
    (answer.to_string() == text).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn answer(branches: &[(usize, Seen)], pending: bool) -> CallAnswer {
        let branches = branches.iter().map(|(index, seen)| (Ordinal::from_index(*index), *seen));
        CallAnswer::new(branches.collect(), pending)
    }

    #[test]
    fn answers_are_runs() {
        use Seen::{Refused, Succeeded, Unknown};
        let cases = [
            (answer(&[], false), "-"),
            (answer(&[], true), "p"),
            (answer(&[(0, Succeeded)], false), "s"),
            (answer(&[(2, Succeeded), (3, Succeeded), (4, Succeeded), (5, Refused)], false), "2g3sr"),
            (answer(&[(0, Unknown), (2, Unknown)], true), "ugup"),
        ];
        for (answer, text) in cases {
            assert_eq!(answer.to_string(), text);
            assert_eq!(text.parse::<CallAnswer>().unwrap(), answer, "{text}");
        }
    }

    #[test]
    fn what_no_service_writes_is_refused() {
        let long = "sr".repeat(ANSWER_BYTES_MAX / 2 + 1);
        for text in [
            "",
            " ",
            "--",
            "-p",
            "3",
            "0s",
            "1s",
            "02s",
            "ss",
            "sg",
            "2g",
            "x",
            "S",
            "s r",
            "65536s",
            "sé",
            "65535ss",
            "99999999999999999999s",
            "pp",
            "ps",
            "+2s",
            &long,
        ] {
            assert!(text.parse::<CallAnswer>().is_err(), "{text}");
        }
    }

    #[test]
    fn any_answer_of_a_thousand_branches_fits_and_reads_back() {
        for seed in 0..500 {
            let mut random = StdRng::seed_from_u64(seed);
            let share = random.random_range(0.0..1.0);
            let mut branches = BTreeMap::new();
            for index in 0..1_000 {
                let seen = [Seen::Succeeded, Seen::Refused, Seen::Unknown][random.random_range(0..3)];
                if random.random_bool(share) {
                    branches.insert(Ordinal::from_index(index), seen);
                }
            }
            let answer = CallAnswer::new(branches.clone(), seed % 2 == 0);
            let text = answer.to_string();
            assert!(text.len() <= 2_001, "{} bytes", text.len());
            assert_eq!((answer.branches(), text.parse::<CallAnswer>().unwrap()), (&branches, answer.clone()));
        }
    }

    #[test]
    fn an_answer_too_long_to_send_is_pending() {
        let seen = |index: usize| if index.is_multiple_of(2) { Seen::Succeeded } else { Seen::Refused };
        let answer = CallAnswer::new(
            (0..5_000).map(|index| (Ordinal::from_index(index), seen(index))).collect(),
            false,
        );
        assert_eq!(answer.to_string(), "p");
    }
}
