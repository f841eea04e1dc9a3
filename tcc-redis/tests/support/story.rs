//! Transactions brought to a state by hand, for tests of single behaviours.

use tcc_core::{
    Gid, Name, Ordinal, Payload, Timestamp,
    machine::{
        Answer, Begin, ClaimWork, Close, CloseDrive, Create, Decide, Drive, Heard, How, InlineClaim,
        NewBranch, Op, Register, Report, Sweep, TryReport,
    },
    record::{Direction, Known, ParkCause, Reason, Record, Seen, Token, TransactionState},
    store::{Applied, Store, StoreError},
};

pub(crate) const NAME: &str = "checkout";
pub(crate) const STOCK: &str = "stock.reserve@1";
pub(crate) const PAY: &str = "pay.authorize@1";
pub(crate) const MAIL: &str = "mail.book@1";
pub(crate) const HOUR_MS: u64 = 3_600_000;

pub(crate) fn gid(number: u64) -> Gid {
    Gid::new(Timestamp::from_millis(1_795_000_000_000), number, 0)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn payload(json: &str) -> Payload {
    Payload::from_json(json)
}

/// Drives one transaction of a store.
pub(crate) struct Story<'a, S: ?Sized> {
    pub(crate) store: &'a S,
    pub(crate) gid: Gid,
    pub(crate) key: Option<String>,
    pub(crate) lease_ms: u64,
}

impl<'a, S: Store + ?Sized> Story<'a, S> {
    pub(crate) fn new(store: &'a S, number: u64) -> Self {
        Self { store, gid: gid(number), key: None, lease_ms: HOUR_MS }
    }

    pub(crate) async fn try_apply(&self, op: impl Into<Op>) -> Result<Applied, StoreError> {
        self.store.apply(&self.gid, &op.into()).await
    }

    /// Applies an operation that must be answered.
    pub(crate) async fn apply(&self, op: impl Into<Op>) -> Answer {
        let op = op.into();
        let applied = self.try_apply(op.clone()).await.unwrap_or_else(|error| panic!("{op:?}: {error}"));
        applied.result.unwrap_or_else(|refusal| panic!("{op:?}: {refusal}"))
    }

    pub(crate) async fn create(&self) -> Create {
        let now = self.store.now(0).await.expect("the time");
        Create {
            gid: self.gid.clone(),
            name: name(NAME),
            key: self.key.as_ref().map(|key| key.parse().expect("a key")),
            initiator: name("shop-1"),
            deadline_at: Timestamp::from_millis(now.as_millis() + HOUR_MS),
            lease_ms: self.lease_ms,
            retention_ms: HOUR_MS,
        }
    }

    pub(crate) async fn begin(&self) {
        let create = self.create().await;
        self.apply(Begin { create, again_after_cancel: false }).await;
    }

    pub(crate) async fn register(&self, actions: &[&str]) {
        let create = Some(self.create().await);
        self.apply(register(create, actions)).await;
    }

    pub(crate) async fn report(&self, outcomes: &[(usize, Known)]) {
        let tries = outcomes
            .iter()
            .map(|(place, known)| TryReport { ordinal: ordinal(*place), known: known.clone() });
        self.apply(Report { tries: tries.collect() }).await;
    }

    pub(crate) async fn decide(
        &self,
        direction: Direction,
        heard: &[(usize, Option<Known>)],
        inline: &[usize],
    ) -> Vec<Drive> {
        let heard =
            heard.iter().map(|(place, known)| Heard { ordinal: ordinal(*place), known: known.clone() });
        let reason = if direction == Direction::Confirm { Reason::Committed } else { Reason::Aborted };
        let inline = InlineClaim {
            token: Token(7),
            lease_ms: HOUR_MS,
            branches: inline.iter().map(|place| ordinal(*place)).collect(),
            actions: Vec::new(),
        };
        let inline = (!inline.branches.is_empty()).then_some(inline);
        let by = name("shop-1");
        let decide = Decide { direction, reason, by, create: None, heard: heard.collect(), inline };
        match self.apply(decide).await {
            Answer::Decided(decided) => decided.drives,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn claim(&self, participant: &str, token: u64) -> Vec<Drive> {
        match self
            .apply(ClaimWork {
                participants: vec![name(participant)],
                token: Token(token),
                lease_ms: HOUR_MS,
                except: vec![],
                own: None,
            })
            .await
        {
            Answer::Claimed(drives) => drives,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn close(&self, drive: &Drive, how: How) {
        let Drive { ordinal, epoch, direction, .. } = drive.clone();
        self.apply(Close { drives: vec![CloseDrive { ordinal, epoch, direction, how }] }).await;
    }

    pub(crate) async fn finish(&self, drives: &[Drive]) {
        for drive in drives {
            let seen = match drive.outcome {
                tcc_core::TryOutcome::Succeeded(_) => Seen::Succeeded,
                tcc_core::TryOutcome::Refused => Seen::Refused,
                tcc_core::TryOutcome::Unknown => Seen::Unknown,
            };
            self.close(drive, How::Done { seen }).await;
        }
    }

    pub(crate) async fn sweep(&self) -> Result<Applied, StoreError> {
        self.try_apply(Sweep { by: name("sweeper") }).await
    }

    pub(crate) async fn record(&self) -> Record {
        self.store.load(&self.gid).await.expect("a readable record").expect("a record")
    }

    /// From begin to confirmed: two branches, both driven inline.
    pub(crate) async fn confirm_all(&self) {
        self.register(&[STOCK, PAY]).await;
        let heard = [(1, Some(succeeded())), (2, Some(succeeded()))];
        let drives = self.decide(Direction::Confirm, &heard, &[1, 2]).await;
        self.finish(&drives).await;
        assert_eq!(self.record().await.state, TransactionState::Confirmed);
    }

    /// Undecided: 01 tried, 02 refused, 03 not heard of.
    pub(crate) async fn trying(&self) {
        self.register(&[STOCK, PAY, MAIL]).await;
        self.report(&[(1, succeeded()), (2, Known::Refused)]).await;
    }

    /// To be confirmed: 01 parked, 02 leased, 03 refused and rung for.
    pub(crate) async fn confirming(&self) {
        self.register(&[STOCK, PAY, MAIL]).await;
        let heard = [(1, Some(succeeded())), (2, Some(succeeded())), (3, Some(Known::Refused))];
        let drives = self.decide(Direction::Confirm, &heard, &[1, 2]).await;
        let how = How::Park { cause: ParkCause::Handler, error: "the warehouse is closed".into() };
        self.close(&drives[0], how).await;
    }

    /// Final, its first branch reopened and cancelled again; it keeps the arguments of 02.
    pub(crate) async fn cancelled(&self) {
        self.register(&[STOCK, PAY]).await;
        let drives = self.decide(Direction::Cancel, &[(1, None), (2, None)], &[1, 2]).await;
        self.finish(&drives).await;
    }
}

pub(crate) fn register(create: Option<Create>, actions: &[&str]) -> Register {
    let branches = actions.iter().enumerate().map(|(place, action)| NewBranch {
        call: tcc_core::CallId::top(place as u32 + 1),
        runner: None,
        trace: None,
        action: action.parse().expect("an action"),
        arguments: payload(&format!("{{\"sku\":\"tea\",\"qty\":{}}}", place + 1)),
    });
    Register { create, branches: branches.collect(), branches_max: 1_000, payload_bytes_max: 4_194_304 }
}

pub(crate) fn succeeded() -> Known {
    Known::Succeeded(payload("{\"hold\":17}"))
}

pub(crate) fn ordinal(place: usize) -> Ordinal {
    Ordinal::from_index(place - 1)
}
