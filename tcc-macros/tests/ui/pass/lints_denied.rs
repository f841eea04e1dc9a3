//! The expansion is quiet under every lint of the compiler that is of some use.
#![deny(
    warnings,
    future_incompatible,
    let_underscore,
    missing_docs,
    nonstandard_style,
    refining_impl_trait,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    unused,
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    impl_trait_redundant_captures,
    keyword_idents,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_abi,
    missing_copy_implementations,
    missing_debug_implementations,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_code,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]
#![allow(unused_crate_dependencies)]

use std::fmt::{Debug, Error};
use tcc::{CancelCx, ConfirmCx, Keyed, PhaseError, Runtime, Stored, TransactionError, TryCx, TryOutcome, Tx};

/// Stock.
#[derive(Debug)]
pub struct Inventory<R: Debug>(pub R, pub String);

#[tcc::participant(name = "inventory")]
impl<R: Debug + Send + Sync + 'static> Inventory<R> {
    /// Sets pieces aside.
    #[tcc(
        try,
        confirm = confirm,
        cancel = cancel,
        name = "reserve-2",
        version = 2,
        reads(1 = upgrade),
        timeout = "500ms",
        hard_limit = "1m",
        phase_timeout = "30s",
        ongoing_limit = "1h",
        concurrency = 8,
        retry(max = 5, base = "1s", cap = "1d"),
    )]
    pub async fn reserve(
        &self,
        _cx: &TryCx,
        mut qty: u32,
        #[tcc(skip)] _why: &'static str,
    ) -> Result<u32, Error> {
        qty += 1;
        Ok(qty)
    }

    async fn confirm(&self, _cx: &ConfirmCx, _qty: u32, _hold: u32) -> Result<(), PhaseError> {
        Ok(())
    }

    async fn cancel(&self, _cx: &CancelCx, _qty: u32, _hold: TryOutcome<u32>) -> Result<(), PhaseError> {
        Ok(())
    }
}

fn upgrade(stored: Stored) -> Result<Stored, Error> {
    Ok(stored)
}

/// Shop.
#[derive(Debug)]
pub struct Shop {
    runtime: Runtime,
    name: String,
}

impl Shop {
    fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// Buys.
    #[tcc::transaction(name = "buy", timeout = "30s", key = format!("{}-{order}", self.name))]
    pub async fn buy(&self, tx: &Tx, mut order: u32) -> Result<u32, TransactionError> {
        order += 1;
        Ok(InventoryTcc::<()>::new(tx).reserve(order, "sold").await.unwrap_or_default())
    }

    /// Sells.
    #[tcc::transaction(name = "sell")]
    pub async fn sell(self, _tx: &Tx) -> Result<String, TransactionError> {
        Ok(self.name)
    }
}

/// Repeats.
pub async fn repeats(shop: Shop) -> Result<bool, TransactionError> {
    Ok(matches!(shop.buy(2).await?, Keyed::Repeated(_)))
}

fn main() {}
