//! Sequences that random ones seldom contain, for both stores.

use std::time::Duration;

use tcc_core::{
    Gid, Ordinal, Payload,
    machine::{
        ClaimWork, Close, CloseDrive, Create, Decide, How, NewBranch, Op, Redrive, Register, Report,
        TryReport,
    },
    record::{Direction, Known, ParkCause, Reason, Seen, Token},
    testing::sequences::{RETENTION_MS, START, Step},
};

use super::story::{HOUR_MS, STOCK, gid, name};

const PAUSE_MS: u64 = 100;

/// One branch is registered, its arguments of so many bytes, where so many are allowed.
pub(crate) fn registering(bytes: usize, payload_bytes_max: u64) -> (Gid, Vec<Step>) {
    let create = Create {
        gid: gid(1),
        name: name("checkout"),
        key: None,
        initiator: name("shop-1"),
        deadline_at: START + Duration::from_millis(HOUR_MS),
        lease_ms: HOUR_MS,
        retention_ms: RETENTION_MS,
    };
    let branch = NewBranch {
        call: tcc_core::CallId::top(1),
        runner: None,
        trace: None,
        action: STOCK.parse().expect("an action"),
        arguments: Payload::from_json(format!("\"{}\"", "x".repeat(bytes - 2))),
    };
    let register =
        Register { create: Some(create), branches: vec![branch], branches_max: 10, payload_bytes_max };
    (gid(1), vec![Step::Apply(gid(1), register.into())])
}

/// What is known of one branch whose try has not ended when its transaction is cancelled.
#[derive(Clone)]
pub(crate) struct Late {
    pub(crate) gid: Gid,
    pub(crate) steps: Vec<Step>,
    /// Of the claim made last.
    pub(crate) epochs: u64,
}

impl Late {
    pub(crate) fn cancelled() -> Self {
        let (gid, steps) = registering(14, 1_024);
        let mut story = Self { gid, steps, epochs: 0 };
        story.apply(Decide {
            direction: Direction::Cancel,
            reason: Reason::Aborted,
            by: name("shop-1"),
            create: None,
            heard: Vec::new(),
            inline: None,
        });
        story
    }

    pub(crate) fn apply(&mut self, op: impl Into<Op>) {
        self.steps.push(Step::Apply(self.gid.clone(), op.into()));
    }

    pub(crate) fn pause(&mut self) {
        self.steps.push(Step::Clock(PAUSE_MS as i64));
    }

    pub(crate) fn claim(&mut self) {
        self.epochs += 1;
        let token = Token(self.epochs);
        self.apply(ClaimWork {
            participants: vec![name("stock")],
            token,
            lease_ms: HOUR_MS,
            except: Vec::new(),
            own: None,
        });
    }

    /// The try tells its outcome, late.
    pub(crate) fn succeed(&mut self) {
        let known = Known::Succeeded(Payload::from_json("{\"hold\":17}"));
        self.apply(Report { tries: vec![TryReport { ordinal: Ordinal::from_index(0), known }] });
    }

    /// Closes these epochs in one call.
    pub(crate) fn close(&mut self, drives: &[(u64, How)]) {
        let drives = drives.iter().map(|(epoch, how)| CloseDrive {
            ordinal: Ordinal::from_index(0),
            epoch: *epoch,
            direction: Direction::Cancel,
            how: how.clone(),
        });
        self.apply(Close { drives: drives.collect() });
    }

    pub(crate) fn redrive(&mut self) {
        self.apply(Redrive { branches: Vec::new() });
    }
}

/// A handler that has not finished: still working, or not to be found.
pub(crate) fn unfinished() -> [How; 2] {
    [How::Ongoing { after_ms: PAUSE_MS }, How::Release { after_ms: PAUSE_MS, unhandled: true }]
}

pub(crate) fn done(seen: Seen) -> How {
    How::Done { seen }
}

pub(crate) fn failed() -> How {
    How::Failed { after_ms: PAUSE_MS, error: "no answer".into() }
}

pub(crate) fn parked() -> How {
    How::Park { cause: ParkCause::Handler, error: "the warehouse is closed".into() }
}
