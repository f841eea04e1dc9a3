//! What a handler is told about the call it serves.

use std::time::Duration;

use crate::{
    config::FenceRetention,
    gid::Gid,
    name::{ActionName, Ordinal},
    record::{Direction, Reason},
    time::Timestamp,
    trace_parent::TraceParent,
};

macro_rules! context {
    ($(#[$doc:meta])* $name:ident, $phase:literal, { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            pub(crate) gid: Gid,
            pub(crate) branch: Ordinal,
            pub(crate) action: ActionName,
            pub(crate) trace: Option<TraceParent>,
            $(pub(crate) $field: $type,)*
        }

        impl $name {
            /// The transaction.
            #[must_use]
            pub fn gid(&self) -> &Gid {
                &self.gid
            }

            /// Place of the branch in its transaction.
            #[must_use]
            pub fn branch(&self) -> Ordinal {
                self.branch
            }

            /// Wire name of the action, as the branch was registered.
            #[must_use]
            pub fn action(&self) -> &ActionName {
                &self.action
            }

            /// The W3C trace context the branch was registered with: that of its try, in every phase and process.
            #[must_use]
            pub fn trace_parent(&self) -> Option<&TraceParent> {
                self.trace.as_ref()
            }

            /// What identifies the branch in the participant's own store, for holds and fences:
            /// `gid/branch`.
            #[must_use]
            pub fn branch_key(&self) -> String {
                format!("{}/{}", self.gid, self.branch)
            }

            /// A key to hand to external services: the same whenever this phase of this branch runs
            /// again, and different for every other phase and branch.
            #[must_use]
            pub fn idempotency_key(&self) -> String {
                format!("{}/{}/{}", self.gid, self.branch, $phase)
            }

            $($(#[$field_doc])*
            #[must_use]
            pub fn $field(&self) -> $type {
                self.$field
            })*
        }
    };
}

context! {
    /// What a try is told.
    TryCx, "try", {
        /// When the transaction is cancelled if it is not decided, in server time.
        deadline: Timestamp,
        /// How long its caller waits for it, from its start.
        time_left: Duration,
    }
}

context! {
    /// What a confirm is told.
    ConfirmCx, "confirm", {
        /// Number of this attempt, from 1.
        attempt: u32,
        /// Number of the claim this attempt runs under; never goes back.
        epoch: u64,
        /// For how long a fence must remember this branch after its end.
        fence_retention: FenceRetention,
    }
}

context! {
    /// What a cancel is told.
    CancelCx, "cancel", {
        /// Number of this attempt, from 1.
        attempt: u32,
        /// Number of the claim this attempt runs under; never goes back.
        epoch: u64,
        /// For how long a fence must remember this branch after its end.
        fence_retention: FenceRetention,
        /// The transaction's decision. A branch whose try was refused is cancelled even if the rest is
        /// confirmed.
        decided: Direction,
        /// Why it was decided so.
        reason: Reason,
    }
}
