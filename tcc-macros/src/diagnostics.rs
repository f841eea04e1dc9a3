//! Every message of the two macros, each a constructor that also knows which of the user's tokens it belongs to.
//!
//! `tests/ui.rs` finds the constructors of this file by their signatures and asks that each message is shown by some
//! compile-fail case, so a message is the string literal of its constructor and nothing else here is a function
//! returning [`Error`].

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Error, Ident};

/// The mistakes of one expansion, all reported together.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn append(&mut self, others: Errors) {
        if let Some(others) = others.0 {
            self.push(others);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl ToTokens for Errors {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        if let Some(error) = &self.0 {
            tokens.extend(error.to_compile_error());
        }
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

pub(crate) fn not_an_impl(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "`participant` goes on an inherent `impl` block, beside which it can see try, confirm and cancel",
    )
}

pub(crate) fn trait_impl(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "a participant is an inherent `impl`, not a trait's: move the actions to `impl Type { … }` and let the trait's \
         methods call them",
    )
}

pub(crate) fn unnamed_self_type(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "a participant is a named type, such as `Inventory` or `Inventory<PgRepo>`")
}

pub(crate) fn borrowing_participant(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "a participant lives as long as its runtime and cannot borrow: hold an `Arc` or an owned value instead of a lifetime",
    )
}

pub(crate) fn missing_participant_name(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "this participant has no stable name: write `#[tcc::participant(name = \"…\")]`, the name it keeps in the store \
         when the type is renamed",
    )
}

pub(crate) fn no_actions(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "this participant has no action: mark a try method with `#[tcc(try, confirm = …, cancel = …)]`",
    )
}

pub(crate) fn unknown_key(key: &Ident, known: &[&str], nearest: Option<&str>) -> Error {
    Error::new(key.span(), format!("unknown key `{key}`{}; known here: {}", hint(nearest), quoted(known)))
}

pub(crate) fn duplicate_key(key: &Ident) -> Error {
    Error::new(key.span(), format!("key `{key}` is given twice"))
}

pub(crate) fn expected_key(at: Span, known: &[&str]) -> Error {
    Error::new(at, format!("expected one of the keys {}", quoted(known)))
}

pub(crate) fn expected_comma(at: Span, key: &Ident) -> Error {
    Error::new(at, format!("expected a comma after `{key}`"))
}

pub(crate) fn missing_value(key: &Ident, example: &str) -> Error {
    Error::new(key.span(), format!("`{key}` needs a value: `{key} = {example}`"))
}

pub(crate) fn unexpected_value(key: &Ident, at: Span) -> Error {
    Error::new(at, format!("`{key}` stands alone and takes no value"))
}

pub(crate) fn missing_list(key: &Ident, example: &str) -> Error {
    Error::new(key.span(), format!("`{key}` needs a list: `{key}({example})`"))
}

pub(crate) fn empty_list(key: &Ident, example: &str) -> Error {
    Error::new(key.span(), format!("the list of `{key}` is empty: `{key}({example})`"))
}

pub(crate) fn bad_duration(at: Span, found: &str) -> Error {
    Error::new(
        at,
        format!(
            "not a duration: {found}; write a whole number above zero and a unit, at most a year: \"500ms\", \"2s\", \"5m\", \"1h\", \"7d\""
        ),
    )
}

pub(crate) fn bad_participant_name(at: Span, found: &str) -> Error {
    Error::new(at, format!("not a name: {found}; names are 1 to 128 of the characters A–Z a–z 0–9 . _ -"))
}

pub(crate) fn bad_action_name(at: Span, found: &str) -> Error {
    Error::new(
        at,
        format!(
            "not an action's name: {found}; it is 1 to 128 of the characters A–Z a–z 0–9 _ - and has no dot"
        ),
    )
}

pub(crate) fn method_name_is_no_action_name(method: &Ident) -> Error {
    Error::new(
        method.span(),
        format!(
            "`{method}` cannot be the action's wire name, which is ASCII: give it one with `name = \"…\"`"
        ),
    )
}

pub(crate) fn bad_number(at: Span, found: &str, most: u64) -> Error {
    Error::new(at, format!("expected a whole number from 1 to {most}, found {found}"))
}

pub(crate) fn expected_method_name(key: &Ident, at: Span) -> Error {
    Error::new(
        at,
        format!(
            "`{key}` is the bare name of a method of this `impl`, without quotes or path: `{key} = method`"
        ),
    )
}

pub(crate) fn base_above_cap(at: Span) -> Error {
    Error::new(at, "`base` is the first pause between attempts and cannot be longer than `cap`, the longest")
}

pub(crate) fn timeout_above_hard_limit(at: Span) -> Error {
    Error::new(at, "`timeout` detaches the try and must come before `hard_limit`, which ends it")
}

pub(crate) fn reads_not_older(at: Span, version: u32) -> Error {
    Error::new(at, format!("`reads` names older versions, and this one is {version}"))
}

pub(crate) fn reads_twice(at: Span) -> Error {
    Error::new(at, "this version is already read by an earlier entry of `reads`")
}

pub(crate) fn helper_without_try(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "only a try method carries this attribute, with the key `try`: `#[tcc(try, confirm = …, cancel = …)]`",
    )
}

pub(crate) fn helper_not_on_method(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "`#[tcc(…)]` goes on a try method or on one of its arguments")
}

pub(crate) fn helper_in_cfg_attr(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "`tcc` cannot hide in `cfg_attr`: put `#[cfg(…)]` on the method itself")
}

pub(crate) fn helper_twice(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "a method has one `#[tcc(…)]`: move these keys into the first")
}

pub(crate) fn missing_link(try_key: &Ident, key: &str) -> Error {
    Error::new(try_key.span(), format!("this try has no {key}: add `{key} = method`"))
}

pub(crate) fn missing_method(link: &Ident, nearest: Option<&str>) -> Error {
    Error::new(link.span(), format!("no method `{link}` in this `impl`{}", hint(nearest)))
}

pub(crate) fn method_under_other_cfg(link: &Ident, method: &Ident) -> Error {
    Error::new(
        link.span(),
        format!(
            "`{link}` stands under a `#[cfg]` that `{method}` is not under: it would be missing where the try is not"
        ),
    )
}

pub(crate) fn link_to_itself(link: &Ident, key: &str) -> Error {
    Error::new(link.span(), format!("a try cannot be its own {key}"))
}

pub(crate) fn one_method_for_both(link: &Ident) -> Error {
    Error::new(
        link.span(),
        format!("`{link}` is already the confirm: what undoes a try is another method than what keeps it"),
    )
}

pub(crate) fn duplicate_action(at: Span, wire: &str) -> Error {
    Error::new(at, format!("there are two actions `{wire}`: change the `name` or the `version` of one"))
}

pub(crate) fn reserved_client_method(method: &Ident) -> Error {
    Error::new(
        method.span(),
        format!(
            "the client's constructor is called `{method}`: name the method otherwise and keep the action's name with `name = \"{method}\"`"
        ),
    )
}

pub(crate) fn not_async(method: &Ident, at: Span) -> Error {
    Error::new(at, format!("`{method}` must be async: `async fn {method}`"))
}

pub(crate) fn unsafe_method(method: &Ident, at: impl ToTokens) -> Error {
    Error::new_spanned(at, format!("`{method}` is called by the runtime and cannot be unsafe to call"))
}

pub(crate) fn receiver_not_shared(method: &Ident, at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        format!(
            "`{method}` must take `&self`, as its branches run concurrently: keep what changes behind a lock or in the store"
        ),
    )
}

pub(crate) fn missing_receiver(method: &Ident) -> Error {
    Error::new(method.span(), format!("`{method}` must be a method: let it take `&self` first"))
}

pub(crate) fn missing_context(method: &Ident, context: &str) -> Error {
    Error::new(method.span(), format!("`{method}` must take its context after `&self`: `cx: &{context}`"))
}

pub(crate) fn wrong_context(method: &Ident, context: &str, at: impl ToTokens) -> Error {
    Error::new_spanned(at, format!("the context of `{method}` is `&{context}`"))
}

pub(crate) fn generic_method(method: &Ident, at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        format!(
            "`{method}` cannot be generic, as its arguments are read back from the store: name the types, or move the parameter to the `impl`"
        ),
    )
}

pub(crate) fn impl_trait(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "`impl Trait` cannot be read back from the store: name the type")
}

pub(crate) fn borrowed_argument(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "arguments are recorded and outlive the call, so they are owned: take `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`",
    )
}

pub(crate) fn borrowed_result(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "what a try returns is recorded and outlives the call, so it is owned")
}

pub(crate) fn pattern_argument(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "an argument is recorded by its name, so it has one and no pattern: destructure it in the body",
    )
}

pub(crate) fn conditional_argument(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "an argument cannot be conditional, as other builds read what this one records: put `#[cfg(…)]` on the method",
    )
}

pub(crate) fn generic_argument(at: impl ToTokens, parameter: &str) -> Error {
    Error::new_spanned(
        at,
        format!(
            "`{parameter}` depends on the parameters of the `impl`, and what is recorded must not: name a concrete type here"
        ),
    )
}

pub(crate) fn skip_and_redact(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "a skipped argument is never stored, so there is nothing to redact: keep `skip` alone",
    )
}

pub(crate) fn mark_without_keys(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "an argument is marked `#[tcc(skip)]` or `#[tcc(redact)]`")
}

pub(crate) fn mark_off_try(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "`skip` and `redact` are said once, at an argument of the try method after its context",
    )
}

pub(crate) fn too_few_arguments(at: impl ToTokens, method: &Ident, expected: &str) -> Error {
    Error::new_spanned(
        at,
        format!("`{method}` takes too few arguments; after its context they are: {expected}"),
    )
}

pub(crate) fn too_many_arguments(at: impl ToTokens, method: &Ident, expected: &str) -> Error {
    Error::new_spanned(
        at,
        format!("`{method}` has no use for this argument; after its context they are: {expected}"),
    )
}

pub(crate) fn argument_order(at: impl ToTokens, name: &str, expected: &str) -> Error {
    Error::new_spanned(
        at,
        format!(
            "`{name}` stands in another place in the try, and arguments are passed by place; their order is: {expected}"
        ),
    )
}

pub(crate) fn missing_try_result(method: &Ident) -> Error {
    Error::new(
        method.span(),
        format!("`{method}` must return `Result<T, E>`: what was reserved, or why it was refused"),
    )
}

pub(crate) fn missing_phase_result(method: &Ident) -> Error {
    Error::new(method.span(), format!("`{method}` must return `Result<(), PhaseError>`"))
}

pub(crate) fn not_a_function(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "`transaction` goes on an async function or method with a body")
}

pub(crate) fn missing_transaction_name(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "this transaction has no stable name: write `#[tcc::transaction(name = \"…\")]`, the name it keeps in the store when \
         the function is renamed",
    )
}

pub(crate) fn missing_runtime(at: impl ToTokens) -> Error {
    Error::new_spanned(
        at,
        "a function without `self` has no `self.runtime()`: say where its runtime is with `runtime = expression`",
    )
}

pub(crate) fn missing_tx(function: &Ident) -> Error {
    Error::new(
        function.span(),
        format!(
            "`{function}` must take the transaction as its first argument, which callers do not see: `tx: &Tx`"
        ),
    )
}

pub(crate) fn wrong_tx(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "the first argument of a transaction is `&Tx`, which callers do not see")
}

pub(crate) fn opaque_transaction_result(at: impl ToTokens) -> Error {
    Error::new_spanned(at, "a transaction's result is named in its expansion and cannot be `impl Trait`")
}

pub(crate) fn missing_transaction_result(function: &Ident) -> Error {
    Error::new(
        function.span(),
        format!("`{function}` must return `Result<T, E>`: `Ok` decides confirm, `Err` decides cancel"),
    )
}
