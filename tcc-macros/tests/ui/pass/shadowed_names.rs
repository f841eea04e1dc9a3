//! A user's crate may call its own things like anything the expansion needs.
#![deny(warnings)]
#![allow(dead_code, non_camel_case_types)]

pub struct Result;
pub struct Option;
pub struct Vec;
pub struct String;
pub struct Box;
pub struct Arc;
pub struct Duration;
pub struct PhantomData;
pub struct Action;
pub struct Call;
pub struct Payload;
pub struct ActionPolicy;
pub struct RetryPolicy;
pub struct Runtime;
pub struct u64;
pub trait Send {}
pub trait Sync {}
pub trait Clone {}
pub trait Into {}
pub trait From {}
pub trait Fn {}
pub trait FnOnce {}
pub trait Future {}
pub trait Participant {}
pub trait Debug {}
pub trait Drop {}
pub mod core {}
pub mod std {}
pub mod alloc {}
pub mod tcc {}
pub mod __private {}

#[allow(non_snake_case)]
pub fn Ok() {}
#[allow(non_snake_case)]
pub fn Err() {}
#[allow(non_snake_case)]
pub fn Some() {}
#[allow(non_upper_case_globals)]
pub const None: () = ();

macro_rules! shadow {
    ($($name:ident)*) => { $(#[allow(unused_macros)] macro_rules! $name { () => { compile_error!("shadowed") } })* };
}
shadow!(vec panic format unreachable write matches);

use ::tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome, Tx};

pub struct Inventory<R>(R);

#[::tcc::participant(name = "inventory")]
impl<R: ::core::marker::Send + ::core::marker::Sync + 'static> Inventory<R> {
    #[tcc(
        try,
        confirm = confirm_reserve,
        cancel = cancel_reserve,
        timeout = "2s",
        concurrency = 3,
        retry(max = 2, base = "1s", cap = "2s"),
    )]
    pub async fn reserve(
        &self,
        _cx: &TryCx,
        this: ::std::string::String,
        #[tcc(skip)] context: &'static str,
        #[tcc(redact)] payload: bool,
        arguments: ::std::vec::Vec<u32>,
    ) -> ::core::result::Result<u32, ::core::fmt::Error> {
        let _ = (this, context, payload, arguments);
        ::core::result::Result::Ok(1)
    }

    async fn confirm_reserve(
        &self,
        _cx: &ConfirmCx,
        _this: ::std::string::String,
        _payload: bool,
        _arguments: ::std::vec::Vec<u32>,
        _hold: u32,
    ) -> ::core::result::Result<(), PhaseError> {
        ::core::result::Result::Ok(())
    }

    async fn cancel_reserve(
        &self,
        _cx: &CancelCx,
        _this: ::std::string::String,
        _payload: bool,
        _arguments: ::std::vec::Vec<u32>,
        _hold: TryOutcome<u32>,
    ) -> ::core::result::Result<(), PhaseError> {
        ::core::result::Result::Ok(())
    }
}

pub struct Shop(::tcc::Runtime);

impl Shop {
    fn runtime(&self) -> &::tcc::Runtime {
        &self.0
    }

    #[::tcc::transaction(name = "checkout", timeout = "2s", key = order)]
    pub async fn checkout(
        &self,
        tx: &Tx,
        order: ::std::string::String,
    ) -> ::core::result::Result<u32, ::tcc::TransactionError> {
        let client = InventoryTcc::<()>::new(tx);
        let _ = client.reserve(order, "unstored", true, ::std::vec::Vec::new()).await;
        ::core::result::Result::Ok(1)
    }
}

fn main() {}
