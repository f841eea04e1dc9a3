//! Business keys: several transactions that begin with one (rule 15).

use stateright::{Model, Property};
use tcc_core::{
    BusinessKey, Gid, Name, Timestamp,
    machine::{self, Answer, Begin, Begun, Create, Decide, Op},
    record::{Direction, Reason, Record, TransactionState},
};

use crate::part::NOW;

/// How many transactions begin with the key.
const RIVALS: usize = 3;

/// Transactions that begin with one key, each in a call that may be repeated at any time.
#[derive(Debug)]
pub struct Keys {
    again_after_cancel: bool,
}

/// What became of one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rival {
    /// How its record stands, if there is one.
    pub state: Option<TransactionState>,
    /// Whether it was told that it has begun.
    pub begun: bool,
    /// Whether its deadline has passed.
    pub late: bool,
}

/// All of them, and the one that holds the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// The transactions.
    pub rivals: [Rival; RIVALS],
    /// Whose the key is.
    pub holder: Option<usize>,
    /// Whether one was told of a key's owner that it is not, or a key was taken that was not free.
    pub misled: bool,
}

/// What can happen to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAction {
    /// A begin is applied, again or for the first time.
    Begin(usize),
    /// One is decided. Without branches that is its end.
    Decide(usize, Direction),
    /// The deadline of one passes.
    Late(usize),
    /// The retention of one ends.
    Forget(usize),
}

impl Keys {
    /// All that can happen, whether or not the key of a cancelled transaction may begin again.
    #[must_use]
    pub fn new(again_after_cancel: bool) -> Self {
        Self { again_after_cancel }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

fn begin(place: usize, late: bool, again_after_cancel: bool) -> Begin {
    let key = BusinessKey::new("order 17").unwrap_or_else(|error| unreachable!("{error}"));
    let far = if late { 0 } else { 2 * NOW.as_millis() };
    let create = Create {
        gid: Gid::new(NOW, place as u64, 0),
        name: name("checkout"),
        key: Some(key),
        initiator: name("initiator"),
        deadline_at: Timestamp::from_millis(far),
        lease_ms: 1_000,
        retention_ms: 1_000,
    };
    Begin { create, again_after_cancel }
}

fn decide(direction: Direction) -> Op {
    let (reason, by) = (Reason::Committed, name("initiator"));
    Decide { direction, reason, by, create: None, heard: Vec::new(), inline: None }.into()
}

/// The record of one of them, made by the state machine.
fn record(place: usize, state: TransactionState) -> Option<Record> {
    let mut slot = None;
    machine::apply(&mut slot, None, &begin(place, false, false).into(), NOW);
    match state {
        TransactionState::Confirmed => machine::apply(&mut slot, None, &decide(Direction::Confirm), NOW),
        TransactionState::Cancelled => machine::apply(&mut slot, None, &decide(Direction::Cancel), NOW),
        _ => return slot,
    };
    slot
}

impl Keys {
    fn begin(&self, held: &mut Held, place: usize) {
        let mut slot = held.rivals[place].state.and_then(|state| record(place, state));
        let holder = held.holder.filter(|holder| *holder != place);
        let rival = holder.and_then(|holder| record(holder, held.rivals[holder].state?));
        let op = begin(place, held.rivals[place].late, self.again_after_cancel);
        let step = machine::apply(&mut slot, rival.as_ref(), &op.into(), NOW);
        let had = held.rivals[place].state;
        held.rivals[place].state = slot.map(|record| record.state);
        if step.effects.take_key {
            let free = rival
                .as_ref()
                .is_none_or(|rival| self.again_after_cancel && rival.state == TransactionState::Cancelled);
            held.misled |= !free || had.is_some();
            held.holder = Some(place);
        }
        match step.result {
            Ok(Answer::Begun(Begun::New)) => {
                held.rivals[place].begun = true;
                held.misled |= held.rivals[place].state.is_none();
            }
            Ok(Answer::Begun(Begun::Taken(gid))) => {
                held.misled |= rival.is_none_or(|rival| rival.gid != gid) || had.is_some();
            }
            _ => held.misled |= had != held.rivals[place].state,
        }
    }
}

impl Model for Keys {
    type State = Held;
    type Action = KeyAction;

    fn init_states(&self) -> Vec<Held> {
        vec![Held::default()]
    }

    fn actions(&self, held: &Held, actions: &mut Vec<KeyAction>) {
        for (place, rival) in held.rivals.iter().enumerate() {
            actions.push(KeyAction::Begin(place));
            if rival.state == Some(TransactionState::Trying) {
                actions.push(KeyAction::Decide(place, Direction::Confirm));
                actions.push(KeyAction::Decide(place, Direction::Cancel));
            }
            if !rival.late {
                actions.push(KeyAction::Late(place));
            }
            // Retention is longer than any deadline (rule 13).
            if rival.late && rival.state.is_some_and(TransactionState::is_final) {
                actions.push(KeyAction::Forget(place));
            }
        }
    }

    fn next_state(&self, held: &Held, action: KeyAction) -> Option<Held> {
        let mut next = *held;
        match action {
            KeyAction::Begin(place) => self.begin(&mut next, place),
            KeyAction::Decide(place, direction) => {
                let late = held.rivals[place].late;
                let confirmed = direction == Direction::Confirm && !late;
                let ended = if confirmed { TransactionState::Confirmed } else { TransactionState::Cancelled };
                next.rivals[place].state = Some(ended);
            }
            KeyAction::Late(place) => next.rivals[place].late = true,
            KeyAction::Forget(place) => {
                next.rivals[place].state = None;
                if next.holder == Some(place) {
                    next.holder = None;
                }
            }
        }
        (next != *held).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a key is taken only when it is free, and its owner told", |_, held: &Held| {
                !held.misled
            }),
            Property::always("one transaction of a key is not cancelled", |_, held: &Held| {
                let states = held.rivals.iter().filter_map(|rival| rival.state);
                states.filter(|state| *state != TransactionState::Cancelled).count() <= 1
            }),
            Property::always(
                "one transaction has the key, unless it may begin again",
                |keys: &Self, held: &Held| {
                    let kept = held.rivals.iter().filter(|rival| rival.state.is_some()).count();
                    keys.again_after_cancel || kept <= 1
                },
            ),
            Property::always("the holder has a record", |_, held: &Held| {
                held.holder.is_none_or(|holder| held.rivals[holder].state.is_some())
            }),
            Property::sometimes("a key is taken again when its first is forgotten", |_, held: &Held| {
                held.rivals.iter().filter(|rival| rival.begun).count() == RIVALS
            }),
        ]
    }
}
