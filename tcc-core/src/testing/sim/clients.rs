//! What the users of the simulated processes do: transfers of money in every way a transaction can be run.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;

use super::{
    bank::{AMOUNT_MAX, AMOUNT_MIN, Movement},
    executor::Process,
    oracle::Caller,
    participants::{Hold, arguments},
    plan::{ACCOUNTS, BANKS, Deployed, TIMEOUT},
    world::World,
};
use crate::{
    call::WireCall,
    error::{Abort, TransactionError, TryError},
    gid::Gid,
    join::try_join_all,
    outcome::Keyed,
    payload::Payload,
    runtime::Runtime,
    tx::Tx,
};

/// Business keys that all clients share, so that they meet.
const KEYS: u64 = 5;

/// What a closure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Join,
    JoinAll,
    /// Side by side, each registered by itself.
    Apart,
    OneByOne,
    /// A refused debit is handled: another account pays.
    Fallback,
    GivesUp,
    Panics,
    Overruns,
    /// An outcome nobody knows is ignored.
    Ignores,
    /// A call is dropped before it ends, and its try goes on.
    Abandons,
    /// Nothing is done about the error that keeps a sibling's value from the closure.
    Swallows,
}

/// How a transaction is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Run,
    Keyed,
    ByHand,
    /// The caller's future is dropped.
    Dropped,
}

#[derive(Clone)]
struct Leg {
    action: String,
    arguments: serde_json::Value,
}

/// One client's transaction.
pub(super) struct Client {
    world: Arc<World>,
    process: Process,
    runtime: Runtime,
    manner: Manner,
    style: Style,
    /// Debits, each followed by its credit.
    legs: Vec<Leg>,
    /// A debit that is surely refused, for those who can handle it.
    refused: Leg,
    timeout: Duration,
    wait_final: Option<Duration>,
    /// After which a caller drops its future.
    patience: Duration,
    gid: Begun,
}

/// The id of a client's transaction, once it runs.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Option<Gid>>>);

impl Begun {
    pub(super) fn get(&self) -> Option<Gid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, gid: &Gid) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(gid.clone());
    }
}

impl Client {
    pub(super) fn new(world: &Arc<World>, process: Process, runtime: &Runtime, deployed: &Deployed) -> Self {
        let mut dice = world.dice();
        let manner = *dice.pick(&[
            Manner::Run,
            Manner::Run,
            Manner::Run,
            Manner::Keyed,
            Manner::Keyed,
            Manner::ByHand,
            Manner::Dropped,
        ]);
        let style = match dice.chance(5_500) {
            true => *dice.pick(&[Style::Join, Style::JoinAll, Style::Apart, Style::OneByOne]),
            false => *dice.pick(&[
                Style::Fallback,
                Style::Fallback,
                Style::GivesUp,
                Style::Panics,
                Style::Overruns,
                Style::Ignores,
                Style::Abandons,
                Style::Swallows,
            ]),
        };
        let version = if deployed.old { 1 } else { 2 };
        let leg = |bank: &str, name: &str, account: usize, amount: i64| Leg {
            action: format!("{bank}.{name}@{version}"),
            arguments: arguments(deployed.old, Movement { account, amount }),
        };
        let mut legs = Vec::new();
        for _ in 0..dice.between(1, 2) {
            let amount = dice.between(AMOUNT_MIN, AMOUNT_MAX) as i64;
            // Only now and then from the account that has nothing.
            let from =
                if dice.chance(1_000) { ACCOUNTS - 1 } else { dice.below(ACCOUNTS as u64 - 1) as usize };
            let to = dice.below(ACCOUNTS as u64) as usize;
            let (debtor, creditor) = (*dice.pick(&deployed.banks), *dice.pick(&deployed.banks));
            legs.push(leg(debtor, "debit", from, -amount));
            legs.push(leg(creditor, "credit", to, amount));
        }
        let refused = leg(dice.pick::<&str>(&deployed.banks), "debit", ACCOUNTS - 1, -(AMOUNT_MAX as i64));
        let timeout = if dice.chance(1_500) {
            dice.millis(30, 900)
        } else {
            dice.millis(1_000, TIMEOUT.as_millis() as u64)
        };
        let patience = dice.magnitude(Duration::from_millis(1), TIMEOUT);
        let wait_final = dice.chance(3_000).then(|| dice.millis(100, 8_000));
        drop(dice);
        Self {
            world: Arc::clone(world),
            process,
            runtime: runtime.clone(),
            manner,
            style,
            legs,
            refused,
            timeout,
            wait_final,
            patience,
            gid: Begun::default(),
        }
    }

    /// A client that moves fixed amounts from one bank to the other.
    pub(super) fn scripted(
        world: &Arc<World>,
        process: Process,
        runtime: &Runtime,
        manner: Manner,
        style: Style,
        pairs: usize,
    ) -> Self {
        let leg = |bank: &str, name: &str, account: usize, amount: i64| Leg {
            action: format!("{bank}.{name}@2"),
            arguments: arguments(false, Movement { account, amount }),
        };
        let amount = AMOUNT_MIN as i64;
        let pair = |_| [leg(BANKS[1], "debit", 0, -amount), leg(BANKS[0], "credit", 1, amount)];
        Self {
            world: Arc::clone(world),
            process,
            runtime: runtime.clone(),
            manner,
            style,
            legs: (0..pairs).flat_map(pair).collect(),
            refused: leg(BANKS[0], "debit", ACCOUNTS - 1, -(AMOUNT_MAX as i64)),
            timeout: TIMEOUT,
            wait_final: None,
            patience: Duration::from_millis(25),
            gid: Begun::default(),
        }
    }

    /// The same with another timeout.
    pub(super) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, waiting for the transaction's end.
    pub(super) fn waits(mut self, limit: Duration) -> Self {
        self.wait_final = Some(limit);
        self
    }

    /// Where the transaction's id will be.
    pub(super) fn gid(&self) -> Begun {
        self.gid.clone()
    }

    /// Runs the transaction and tells the oracle what came of it.
    pub(super) async fn go(self) {
        let _busy = self.world.busy();
        self.world.note(
            self.process,
            format_args!(
                "client: {:?} {:?}, {} branches, {:?}",
                self.manner,
                self.style,
                self.legs.len(),
                self.timeout
            ),
        );
        let work = async {
            match self.manner {
                Manner::Run => self.plain().await,
                Manner::Keyed => self.keyed().await,
                Manner::ByHand => self.by_hand().await,
                Manner::Dropped => {
                    tokio::select! {
                        biased;
                        () = self.plain() => {}
                        () = self.world.sleep(self.patience) => {
                            self.world.note(self.process, format_args!("client: drops its future"));
                        }
                    }
                }
            }
        };
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            self.world.note(self.process, format_args!("client: panicked"));
            if self.style != Style::Panics {
                self.world.oracle().violate("a client panicked that does not".into());
            }
        }
    }

    fn tell(&self, caller: &Caller<'_>) {
        let now = self.world.server_now();
        let what = match caller {
            Caller::Confirmed { gid, .. } => format!("{gid} is confirmed"),
            Caller::Cancelled { gid } => format!("{gid} is cancelled"),
            Caller::Repeated(outcome) => format!("{} holds the key, {}", outcome.gid, outcome.state),
            Caller::Failed(error) => format!("{error} ({:?})", error.kind()),
        };
        self.world.note(self.process, format_args!("client: heard {what}"));
        self.world.oracle().told(caller, now);
    }

    fn tell_result(&self, result: Result<(), TransactionError>) {
        match result {
            Ok(()) => {
                if let Some(gid) = self.gid.get() {
                    self.tell(&Caller::Confirmed { gid: &gid, waited: self.wait_final.is_some() });
                }
            }
            Err(error) => self.tell(&Caller::Failed(&error)),
        }
    }

    async fn plain(&self) {
        let mut transaction = self.runtime.transaction("transfer").timeout(self.timeout);
        if let Some(limit) = self.wait_final {
            transaction = transaction.wait_final(limit);
        }
        let result = transaction.run(async |tx| self.work(tx).await).await;
        self.tell_result(result);
    }

    async fn keyed(&self) {
        let number = if self.world.script.is_some() { 1 } else { self.world.dice().below(KEYS) };
        let (key, again) = (format!("order-{number}"), number == 0);
        let mut transaction =
            self.runtime.transaction("order").key(&key).timeout(self.timeout).again_after_cancel(again);
        if let Some(limit) = self.wait_final {
            transaction = transaction.wait_final(limit);
        }
        let closure = async |tx: &Tx| {
            let now = self.world.server_now();
            self.world.note(self.process, format_args!("client: {} runs under {key}", tx.gid()));
            self.world.oracle().keyed(&key, tx.gid(), again, now);
            self.work(tx).await
        };
        match transaction.run(closure).await {
            Ok(Keyed::First(())) => self.tell_result(Ok(())),
            Ok(Keyed::Repeated(outcome)) => self.tell(&Caller::Repeated(&outcome)),
            Err(error) => self.tell_result(Err(error)),
        }
    }

    async fn by_hand(&self) {
        let open = match self.runtime.transaction("by-hand").timeout(self.timeout).begin().await {
            Ok(open) => open,
            Err(error) => return self.tell(&Caller::Failed(&error)),
        };
        let gid = open.gid().clone();
        match self.work(&open).await {
            Ok(()) => match open.commit().await {
                Ok(_) => self.tell(&Caller::Confirmed { gid: &gid, waited: false }),
                Err(error) => self.tell(&Caller::Failed(&error)),
            },
            Err(_) if self.world.dice().chance(5_000) => match open.cancel().await {
                Ok(_) => self.tell(&Caller::Cancelled { gid: &gid }),
                Err(error) => self.tell(&Caller::Failed(&error)),
            },
            Err(_) => drop(open),
        }
    }

    fn call(&self, tx: &Tx, leg: &Leg) -> WireCall {
        tx.call(&leg.action, &leg.arguments)
    }

    fn hear(&self, tx: &Tx, value: &Payload) {
        if let Ok(hold) = value.decode::<Hold>() {
            self.world.oracle().hear(tx.gid(), hold.branch);
        }
    }

    async fn heard_call(&self, tx: &Tx, leg: &Leg) -> Result<(), Abort> {
        let value = self.call(tx, leg).await?;
        self.hear(tx, &value);
        Ok(())
    }

    async fn work(&self, tx: &Tx) -> Result<(), Abort> {
        self.gid.set(tx.gid());
        self.perhaps_cancel_as_operator(tx);
        let legs = &self.legs;
        match self.style {
            Style::Join => {
                let values: Vec<Payload> = match legs.len() {
                    2 => crate::try_join!(self.call(tx, &legs[0]), self.call(tx, &legs[1]))
                        .map(|(a, b)| vec![a, b])?,
                    _ => crate::try_join!(
                        self.call(tx, &legs[0]),
                        self.call(tx, &legs[1]),
                        self.call(tx, &legs[2]),
                        self.call(tx, &legs[3])
                    )
                    .map(|(a, b, c, d)| vec![a, b, c, d])?,
                };
                values.iter().for_each(|value| self.hear(tx, value));
            }
            Style::JoinAll => {
                let values = try_join_all(legs.iter().map(|leg| self.call(tx, leg))).await?;
                values.iter().for_each(|value| self.hear(tx, value));
            }
            Style::Apart => {
                let (debit, credit) =
                    futures_util::join!(self.heard_call(tx, &legs[0]), self.heard_call(tx, &legs[1]));
                debit.and(credit)?;
                for leg in &legs[2..] {
                    self.heard_call(tx, leg).await?;
                }
            }
            Style::OneByOne => {
                for leg in legs {
                    self.heard_call(tx, leg).await?;
                    self.world.sleep_millis(0, 400).await;
                }
            }
            Style::Fallback => {
                match self.call(tx, &self.refused).await {
                    Err(TryError::Rejected(_)) => {}
                    Err(error) => return Err(error.into()),
                    Ok(_) => return Err(Abort::msg("the poor account paid")),
                }
                for leg in legs {
                    self.heard_call(tx, leg).await?;
                }
            }
            Style::GivesUp => {
                self.heard_call(tx, &legs[0]).await?;
                return Err(Abort::msg("the client changed its mind"));
            }
            Style::Panics => {
                self.heard_call(tx, &legs[0]).await?;
                resume_unwind(Box::new("the client panics"));
            }
            Style::Overruns => {
                self.heard_call(tx, &legs[0]).await?;
                self.world.sleep(self.timeout).await;
                self.heard_call(tx, &legs[1]).await?;
            }
            Style::Ignores => {
                for leg in legs {
                    match self.call(tx, leg).await {
                        Ok(value) => self.hear(tx, &value),
                        Err(TryError::Unknown(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Style::Abandons => {
                let patience =
                    self.world.dice().magnitude(Duration::from_micros(100), Duration::from_millis(80));
                tokio::select! {
                    biased;
                    value = self.call(tx, &legs[0]) => self.hear(tx, &value?),
                    () = self.world.sleep(patience) => {
                        self.world.sleep_millis(0, 60).await;
                        return Ok(());
                    }
                }
                for leg in &legs[1..] {
                    self.heard_call(tx, leg).await?;
                }
            }
            Style::Swallows => {
                let joined = crate::try_join!(self.call(tx, &legs[0]), self.call(tx, &self.refused));
                if joined.is_ok() {
                    return Err(Abort::msg("the poor account paid"));
                }
            }
        }
        Ok(())
    }

    /// Now and then an operator cancels what is under way.
    fn perhaps_cancel_as_operator(&self, tx: &Tx) {
        if self.world.script.is_some() || !self.world.dice().chance(400) {
            return;
        }
        let (world, process, runtime, gid) =
            (Arc::clone(&self.world), self.process, self.runtime.clone(), tx.gid().clone());
        let cancel = async move {
            world.sleep_millis(0, 60).await;
            match runtime.cancel(&gid).await {
                Ok(decision) => {
                    world.note(process, format_args!("operator: {gid} {}", decision.direction));
                    world.oracle().told_decision(&gid, decision.direction);
                }
                Err(error) => world.note(process, format_args!("operator: {error}")),
            }
        };
        self.world.executor.spawn(self.process, Box::pin(cancel));
    }
}
