//! Pauses: what operators stopped, as this process knows it, and the messages it holds until they end.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Shared;
use crate::{
    metrics::StoreCall,
    name::{ActionName, Name},
    operator::{Presence, Scope},
    store::{Doorbell, StoreError},
    time::Timestamp,
};

/// Messages held at the most while what they announce is paused. The others are rung again by `due`.
const HELD_MAX: usize = 10_000;

/// The pauses a process knows of.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    scopes: BTreeSet<Scope>,
    held: BTreeSet<Doorbell>,
}

/// What is paused of a participant.
pub(crate) enum Paused {
    /// All of it.
    Wholly,
    /// These actions; none as a rule.
    Actions(Vec<ActionName>),
}

impl Pauses {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is paused, as text.
    pub(crate) fn scopes(&self) -> Vec<String> {
        self.known().scopes.iter().map(ToString::to_string).collect()
    }

    /// Whether phase two of an action is paused.
    pub(crate) fn cover(&self, action: &ActionName) -> bool {
        self.known().scopes.iter().any(|scope| scope.covers(action))
    }

    /// What is paused of the participant that a message is for. The message is kept if anything is.
    pub(crate) fn hold(&self, bell: &Doorbell) -> Paused {
        let mut known = self.known();
        let paused = known.of(&bell.participant);
        let holds = !matches!(&paused, Paused::Actions(actions) if actions.is_empty());
        if holds && known.held.len() < HELD_MAX {
            known.held.insert(bell.clone());
        }
        paused
    }

    /// Learns what is paused. Gives the messages that were held, if some of it is no more.
    fn learn(&self, scopes: BTreeSet<Scope>) -> BTreeSet<Doorbell> {
        let mut known = self.known();
        if known.scopes == scopes {
            return BTreeSet::new();
        }
        tracing::info!(?scopes, "what is paused has changed");
        let resumed = !known.scopes.is_subset(&scopes);
        known.scopes = scopes;
        if resumed { std::mem::take(&mut known.held) } else { BTreeSet::new() }
    }
}

impl Known {
    fn of(&self, participant: &Name) -> Paused {
        let mut actions = Vec::new();
        for scope in &self.scopes {
            match scope {
                Scope::Participant(paused) if paused == participant => return Paused::Wholly,
                Scope::Action(action) if action.participant() == participant.as_str() => {
                    actions.push(action.clone());
                }
                Scope::Participant(_) | Scope::Action(_) => {}
            }
        }
        Paused::Actions(actions)
    }
}

impl Shared {
    /// Asks what is paused, and answers the messages of what was resumed.
    pub(crate) async fn look_at_pauses(self: &Arc<Self>) -> Result<(), StoreError> {
        let pauses = self.read(StoreCall::Other, self.store.pauses()).await?;
        let held = self.pauses.learn(pauses.into_iter().map(|pause| pause.scope).collect());
        if !held.is_empty() {
            let shared = Arc::clone(self);
            self.spawn_drive(async move { shared.answer_all(held).await });
        }
        Ok(())
    }

    async fn answer_all(self: Arc<Self>, bells: BTreeSet<Doorbell>) {
        for bell in bells {
            let permit = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                permit = Arc::clone(&self.drives).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            self.answer(bell.gid, vec![bell.participant], permit);
        }
    }

    /// Says that this process lives, and what it does.
    pub(crate) async fn announce(&self) -> Result<(), StoreError> {
        let presence = Presence {
            process: self.process.clone(),
            actions: self.registry.actions_finished_here(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heard_at: Timestamp::default(),
        };
        self.read(StoreCall::Other, self.store.announce(&presence)).await
    }
}
