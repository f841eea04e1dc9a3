//! What a participant's `impl` says, once read: the only thing the expansion looks at.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use std::time::Duration;
use syn::{Attribute, Generics, Ident, Path, Type, Visibility};

pub(crate) struct Participant {
    /// The path by which the expansion reaches the framework.
    pub(crate) framework: TokenStream,
    pub(crate) name: String,
    pub(crate) self_type: Type,
    pub(crate) generics: Generics,
    pub(crate) client: Ident,
    pub(crate) client_vis: Visibility,
    pub(crate) actions: Vec<Action>,
}

impl Participant {
    /// The one path through which the expansion reaches what users have no name for.
    pub(crate) fn private(&self) -> TokenStream {
        let framework = &self.framework;
        quote!(#framework::__private)
    }

    /// The same for code whose mistakes show at `place`.
    pub(crate) fn private_at(&self, place: Span) -> TokenStream {
        crate::respan::at(self.private(), place)
    }

    /// `::<R>`, to call a function declared with the generics of the `impl`.
    pub(crate) fn turbofish(&self) -> TokenStream {
        self.generics.split_for_impl().1.as_turbofish().to_token_stream()
    }

    pub(crate) fn is_generic(&self) -> bool {
        !self.generics.params.is_empty()
    }
}

pub(crate) struct Action {
    /// The try method.
    pub(crate) method: Ident,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) vis: Visibility,
    /// None may be left when there was no error.
    pub(crate) generics: Generics,
    /// Documentation and deprecation, which the client repeats.
    pub(crate) docs: Vec<Attribute>,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) policy: Policy,
    pub(crate) reads: Vec<OlderVersion>,
    /// The type it borrows as its context; `None` when there was none.
    pub(crate) context: Option<Type>,
    pub(crate) arguments: Vec<Argument>,
    /// As the client may write it, without `Self`; `None` when it was refused.
    pub(crate) output: Option<TokenStream>,
    pub(crate) output_place: Span,
    pub(crate) confirm: Option<Phase>,
    pub(crate) cancel: Option<Phase>,
}

impl Action {
    pub(crate) fn recorded(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(|argument| argument.mark != Mark::Skip)
    }

    pub(crate) fn is_callable_by_name(&self) -> bool {
        self.arguments.iter().all(|argument| argument.mark != Mark::Skip)
    }
}

pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// As the client may write it, without `Self`.
    pub(crate) ty: TokenStream,
    pub(crate) mark: Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    /// Reaches the try only and is never stored.
    Skip,
    /// Stored, but kept out of logs and listings.
    Redact,
}

/// A confirm or a cancel.
pub(crate) struct Phase {
    pub(crate) method: Ident,
    /// The type it borrows as its context.
    pub(crate) context: Type,
    /// The try's arguments, as this method declares them.
    pub(crate) arguments: Vec<Type>,
    /// The last argument: what the try returned, or what is known of it.
    pub(crate) given: Type,
    pub(crate) output: Type,
}

/// An entry of `reads(…)`.
#[derive(Clone)]
pub(crate) struct OlderVersion {
    pub(crate) version: u32,
    pub(crate) at: Span,
    pub(crate) upgrade: Path,
}

#[derive(Clone, Default)]
pub(crate) struct Policy {
    pub(crate) timeout: Option<Duration>,
    pub(crate) phase_timeout: Option<Duration>,
    pub(crate) hard_limit: Option<Duration>,
    pub(crate) ongoing_limit: Option<Duration>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) retry: Option<Retry>,
}

#[derive(Clone, Default)]
pub(crate) struct Retry {
    pub(crate) max: Option<u32>,
    pub(crate) base: Option<Duration>,
    pub(crate) cap: Option<Duration>,
}
