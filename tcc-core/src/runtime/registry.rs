//! The participants this process hosts.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::Semaphore;

use super::{StartError, pace::Pace};
use crate::{
    action::{Action, ActionPolicy},
    error::NotRun,
    name::{ActionName, Name},
    participant::Participant,
};

/// Participants by name, actions by wire name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    participants: BTreeMap<Name, Option<Arc<dyn Any + Send + Sync>>>,
    actions: BTreeMap<ActionName, Arc<Hosted>>,
    /// Participants whose phase two is left to other processes.
    tries_only: BTreeSet<Name>,
}

/// An action hosted here.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) action: Action,
    /// Bounds its confirms and cancels in this process.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) try_pace: Pace,
    pub(crate) phase_pace: Pace,
}

impl Hosted {
    pub(crate) fn policy(&self) -> &ActionPolicy {
        &self.action.policy
    }
}

/// A participant as it was handed to the builder.
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) value: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) actions: Vec<Action>,
}

impl Registry {
    pub(crate) fn of(offers: Vec<Offer>, tries_only: &[String]) -> Result<Self, StartError> {
        let mut registry = Self::default();
        for offer in offers {
            let participant = Name::new(&offer.name).map_err(StartError::Name)?;
            if registry.participants.insert(participant.clone(), offer.value).is_some() {
                return Err(StartError::ParticipantTwice(participant));
            }
            for action in offer.actions {
                registry.add(&participant, action)?;
            }
        }
        for name in tries_only {
            let name = Name::new(name).map_err(StartError::Name)?;
            if !registry.participants.contains_key(&name) {
                return Err(StartError::TriesOnlyUnknown(name));
            }
            registry.tries_only.insert(name);
        }
        Ok(registry)
    }

    fn add(&mut self, participant: &Name, action: Action) -> Result<(), StartError> {
        let versions =
            std::iter::once(action.version).chain(action.reads.iter().map(|(version, _)| *version));
        let names = versions
            .map(|version| ActionName::from_parts(participant, &action.name, version))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Name)?;
        let permits = Arc::new(Semaphore::new(action.policy.concurrency.min(Semaphore::MAX_PERMITS)));
        let hosted =
            Arc::new(Hosted { action, permits, try_pace: Pace::default(), phase_pace: Pace::default() });
        for name in names {
            if self.actions.insert(name.clone(), Arc::clone(&hosted)).is_some() {
                return Err(StartError::ActionTwice(name));
            }
        }
        Ok(())
    }

    pub(crate) fn action_names(&self) -> impl Iterator<Item = &ActionName> {
        self.actions.keys()
    }

    pub(crate) fn participants(&self) -> Vec<Name> {
        self.participants.keys().cloned().collect()
    }

    /// Participants whose confirms and cancels run here.
    pub(crate) fn finished_here(&self) -> Vec<Name> {
        self.participants.keys().filter(|name| !self.tries_only.contains(*name)).cloned().collect()
    }

    /// Actions whose confirms and cancels run here.
    pub(crate) fn actions_finished_here(&self) -> Vec<ActionName> {
        self.actions.keys().filter(|action| self.finishes(action.participant())).cloned().collect()
    }

    /// Whether this participant's confirms and cancels run here.
    pub(crate) fn finishes(&self, participant: &str) -> bool {
        self.hosts(participant) && !self.tries_only.contains(participant)
    }

    pub(crate) fn hosts(&self, participant: &str) -> bool {
        self.participants.contains_key(participant)
    }

    pub(crate) fn action(&self, name: &ActionName) -> Option<&Arc<Hosted>> {
        self.actions.get(name)
    }

    /// The action a caller names, hosted under exactly that version.
    pub(crate) fn called(
        &self,
        participant: &str,
        action: &str,
        version: u32,
    ) -> Result<(ActionName, &Arc<Hosted>), NotRun> {
        let Some(name) = self.participants.get_key_value(participant).map(|(name, _)| name) else {
            return Err(self.no_participant(participant));
        };
        let wire = ActionName::from_parts(name, action, version)?;
        match self.actions.get(&wire).filter(|hosted| hosted.action.version == version) {
            Some(hosted) => Ok((wire, hosted)),
            None => Err(NotRun::NoAction { participant: participant.to_owned(), action: wire.to_string() }),
        }
    }

    /// The value a typed client calls.
    pub(crate) fn value<P: Participant>(
        &self,
        participant: &str,
        action: &ActionName,
    ) -> Result<Arc<P>, NotRun> {
        let value = self.participants.get(participant).cloned().flatten();
        value.and_then(|value| value.downcast::<P>().ok()).ok_or_else(|| NotRun::NoAction {
            participant: participant.to_owned(),
            action: action.to_string(),
        })
    }

    /// The longest any try may run.
    pub(crate) fn hard_limit(&self) -> std::time::Duration {
        self.actions.values().map(|hosted| hosted.policy().hard_limit).max().unwrap_or_default()
    }

    fn no_participant(&self, participant: &str) -> NotRun {
        let known: Vec<&str> = self.participants.keys().map(Name::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        NotRun::NoParticipant { participant: participant.to_owned(), known }
    }
}
