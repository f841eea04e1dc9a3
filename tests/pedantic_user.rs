//! A user's crate that denies every warning there is, clippy's pedantic and nursery groups included.
//!
//! It is clippy over all targets that checks this file; the test is there so that what it holds is used.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic, clippy::nursery, clippy::cargo)]
#![deny(
    clippy::absolute_paths,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::clone_on_ref_ptr,
    clippy::default_numeric_fallback,
    clippy::else_if_without_else,
    clippy::empty_structs_with_brackets,
    clippy::exhaustive_enums,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::let_underscore_untyped,
    clippy::missing_docs_in_private_items,
    clippy::mod_module_files,
    clippy::multiple_inherent_impl,
    clippy::panic,
    clippy::partial_pub_fields,
    clippy::pattern_type_mismatch,
    clippy::same_name_method,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::single_char_lifetime_names,
    clippy::std_instead_of_core,
    clippy::str_to_string,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::used_underscore_binding,
    clippy::wildcard_enum_match_arm
)]
#![allow(
    clippy::cargo_common_metadata,
    clippy::multiple_crate_versions,
    reason = "they speak of the workspace"
)]

use core::error::Error;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use tcc::{
    CancelCx, ConfirmCx, Keyed, MemoryStore, PhaseError, Runtime, Stored, TransactionError, TryCx, TryError,
    TryOutcome, Tx,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
use tokio::time::timeout;

/// Stock of one kind.
#[derive(Debug)]
struct Inventory<Kind> {
    /// What kind.
    kind: Kind,
    /// Hears of confirms and cancels.
    done: UnboundedSender<String>,
}

/// Pieces set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    /// How many.
    pieces: u32,
}

/// There are not enough.
#[derive(Debug, thiserror::Error)]
#[error("out of stock")]
struct OutOfStock;

#[tcc::participant(name = "inventory", vis = pub(crate))]
impl<Kind: fmt::Debug + Send + Sync + 'static> Inventory<Kind> {
    /// Sets pieces aside.
    ///
    /// # Errors
    ///
    /// When there are not enough.
    #[tcc(
        try,
        confirm = confirm_reserve,
        cancel = cancel_reserve,
        version = 2,
        reads(1 = unchanged),
        timeout = "2s",
        hard_limit = "60s",
        phase_timeout = "30s",
        ongoing_limit = "1h",
        concurrency = 64,
        retry(max = 20, base = "100ms", cap = "60s"),
    )]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "so has the client")]
    async fn reserve(
        &self,
        cx: &TryCx,
        aisle: String,
        mut pieces: u32,
        #[tcc(skip)] label: &'static str,
        #[tcc(redact)] customer: Option<String>,
        flag_one: bool,
        flag_two: bool,
        flag_three: bool,
        flag_four: bool,
    ) -> Result<Hold, OutOfStock> {
        yield_now().await;
        let all =
            format!("{cx:?} {aisle} {label} {customer:?} {flag_one} {flag_two} {flag_three} {flag_four}");
        pieces = if all.is_empty() { 0 } else { pieces };
        if pieces > 9 { Err(OutOfStock) } else { Ok(Hold { pieces }) }
    }

    /// Takes them out.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "as the try")]
    async fn confirm_reserve(
        &self,
        cx: &ConfirmCx,
        _aisle: String,
        pieces: u32,
        _customer: Option<String>,
        _flag_one: bool,
        _flag_two: bool,
        _flag_three: bool,
        _flag_four: bool,
        hold: Hold,
    ) -> Result<(), PhaseError> {
        yield_now().await;
        let sent = self.done.send(format!("{:?} {pieces} {} {}", self.kind, hold.pieces, cx.attempt()));
        sent.map_err(PhaseError::park)
    }

    /// Puts them back.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "as the try")]
    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _aisle: String,
        pieces: u32,
        _customer: Option<String>,
        _flag_one: bool,
        _flag_two: bool,
        _flag_three: bool,
        _flag_four: bool,
        hold: TryOutcome<Hold>,
    ) -> Result<(), PhaseError> {
        yield_now().await;
        let pieces_held = hold.succeeded().map_or(0, |held| held.pieces);
        self.done.send(format!("cancel {pieces} {pieces_held}")).map_err(PhaseError::park)
    }
}

/// Both versions store the same.
#[allow(clippy::unnecessary_wraps, reason = "as `reads` wants it")]
const fn unchanged(stored: Stored) -> Result<Stored, OutOfStock> {
    Ok(stored)
}

/// Why nothing was sold.
#[derive(Debug, thiserror::Error)]
enum SaleError {
    /// The reservation failed.
    #[error("not reserved")]
    Reserve(#[from] TryError<OutOfStock>),
    /// The transaction failed.
    #[error("not sold")]
    Transaction(#[from] TransactionError),
}

/// Sells.
#[derive(Debug)]
struct Shop {
    /// Where transactions run.
    runtime: Runtime,
}

impl Shop {
    /// Where transactions run.
    const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Sells some pieces.
    #[tcc::transaction(name = "sell", timeout = "30s")]
    async fn sell(&self, tx: &Tx, pieces: u32) -> Result<Hold, SaleError> {
        let stock = InventoryTcc::<u8>::new(tx);
        let reserved = stock.reserve(String::new(), pieces, "sold", None, true, true, true, true).await?;
        Ok(reserved)
    }

    /// Sells an order once.
    #[tcc::transaction(name = "sell-once", key = format!("order-{order}"))]
    async fn sell_once(&self, tx: &Tx, order: u32) -> Result<u32, SaleError> {
        yield_now().await;
        drop(tx.clone());
        Ok(order)
    }
}

/// Counts without a shop.
#[tcc::transaction(name = "count", runtime = runtime.clone())]
async fn count(_tx: &Tx, runtime: &Runtime) -> Result<bool, SaleError> {
    Ok(runtime.health().await.ready)
}

/// The next line of the journal.
async fn next(lines: &mut UnboundedReceiver<String>) -> Option<String> {
    timeout(Duration::from_secs(5), lines.recv()).await.ok().flatten()
}

#[tokio::test]
async fn a_strict_crate_uses_all_of_it() -> Result<(), Box<dyn Error>> {
    let (done, mut lines) = unbounded_channel();
    let inventory = Inventory { kind: 7_u8, done };
    let runtime = Runtime::builder().store(MemoryStore::new()).participant(inventory).start().await?;
    let shop = Shop { runtime: runtime.clone() };

    assert_eq!(shop.sell(3).await?, Hold { pieces: 3 });
    assert_eq!(next(&mut lines).await.as_deref(), Some("7 3 3 1"));
    assert!(matches!(shop.sell(10).await, Err(SaleError::Reserve(TryError::Rejected(OutOfStock)))));
    assert_eq!(next(&mut lines).await.as_deref(), Some("cancel 10 0"));
    assert_eq!(shop.sell_once(1).await?, Keyed::First(1));
    assert!(shop.sell_once(1).await?.first().is_none());
    assert!(count(&runtime).await?);
    Ok(())
}
