//! Stopping a service at a named point, for whoever wants to kill it there.

use std::{fmt, str::FromStr};

/// Names the point: `confirm:o-17` holds a service in the confirm of any order whose id begins with `o-17`.
pub(crate) const VARIABLE: &str = "SHOP_HOLD";
/// What a service says, once, when it is there.
pub(crate) const SAID: &str = "holding at ";

/// Where a service can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// In a try: its effect is written, and nobody told.
    Try,
    /// Before phase two: confirms and cancels do not begin in this process. The records show when they could.
    Decided,
    /// In a confirm: its effect is written, and nobody told.
    Confirm,
    /// In a cancel, as in a confirm.
    Cancel,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Try, Self::Decided, Self::Confirm, Self::Cancel];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Try => "try",
            Self::Decided => "decided",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        })
    }
}

/// The point a service was told to hold at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) phase: Phase,
    /// How the ids of the orders begin that it is about.
    pub(crate) orders: String,
}

/// Not a point.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE} is {0:?}; it is to be try:ORDER, decided:ORDER, confirm:ORDER or cancel:ORDER")]
pub(crate) struct NoPoint(String);

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.phase, self.orders)
    }
}

impl FromStr for Hold {
    type Err = NoPoint;

    fn from_str(text: &str) -> Result<Self, NoPoint> {
        let read = || {
            let (phase, orders) = text.split_once(':')?;
            let phase = Phase::ALL.into_iter().find(|known| known.to_string() == phase)?;
            (!orders.is_empty()).then(|| Self { phase, orders: orders.to_owned() })
        };
        read().ok_or_else(|| NoPoint(text.to_owned()))
    }
}

/// A service's own: nothing, most of the time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Option<Hold>);

impl Holds {
    pub(crate) fn from_env() -> Result<Self, NoPoint> {
        match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => Ok(Self(Some(text.parse()?))),
            _ => Ok(Self(None)),
        }
    }

    /// Whether this process is to begin no confirm and no cancel.
    pub(crate) fn before_phase_two(&self) -> bool {
        self.0.as_ref().is_some_and(|hold| hold.phase == Phase::Decided)
    }

    /// Goes on, or says so and never does.
    pub(crate) async fn at(&self, phase: Phase, order: &str) {
        let Some(hold) = &self.0 else { return };
        if hold.phase == phase && order.starts_with(&hold.orders) {
            println!("{SAID}{phase}:{order}");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_reads_as_it_is_written_and_nothing_else_does() {
        for phase in Phase::ALL {
            let hold = Hold { phase, orders: "o-1".into() };
            assert_eq!(hold.to_string().parse::<Hold>().unwrap(), hold);
        }
        for bad in ["", "confirm", "confirm:", "sell:o-1"] {
            assert!(bad.parse::<Hold>().unwrap_err().to_string().contains("try:ORDER"), "{bad}");
        }
    }
}
