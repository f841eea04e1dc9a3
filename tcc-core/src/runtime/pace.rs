//! Whether an action's handlers may begin on their caller's task.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// For longer than this a handler that begins may not keep its caller from anything else.
const PROMPT_MAX: Duration = Duration::from_millis(10);
/// How many handlers of an action begin in tasks of their own after one that kept its caller for longer.
const APART: u32 = 1_000;

/// How promptly an action's handlers come to their first await. One that computes or blocks before it would keep its
/// caller from timing out, from renewing a lease, and from beginning its siblings (rule 9).
#[derive(Debug, Default)]
pub(crate) struct Pace {
    apart: AtomicU32,
}

impl Pace {
    /// Whether the next handler may begin on its caller's task.
    pub(crate) fn is_prompt(&self) -> bool {
        self.apart.load(Ordering::Relaxed) == 0
            || self
                .apart
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_err()
    }

    /// Takes in for how long a handler kept its caller.
    pub(crate) fn kept(&self, caller_for: Duration) {
        if caller_for > PROMPT_MAX {
            self.apart.store(APART, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_keeps_its_caller_sends_the_next_ones_to_tasks_of_their_own() {
        let pace = Pace::default();
        pace.kept(PROMPT_MAX);
        assert!(pace.is_prompt());
        pace.kept(PROMPT_MAX + Duration::from_millis(1));
        assert!((0..APART).all(|_| !pace.is_prompt()));
        assert!(pace.is_prompt(), "and then it is tried again");
    }
}
