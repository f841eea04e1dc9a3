//! `#[participant]`: read the `impl`, check it, write the client and the dispatcher.

mod check;
mod client;
mod expand;
mod model;
mod parse;
mod signature;

use crate::diagnostics::{self as diag, Errors};
use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::ItemImpl;

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let Ok(mut item) = syn::parse2::<ItemImpl>(item.clone()) else {
        let keyword = item.clone().into_iter().find(|token| matches!(token, TokenTree::Ident(_)));
        errors.push(diag::not_an_impl(keyword));
        return quote!(#item #errors);
    };
    let attribute = parse::participant_attribute(attribute, &mut errors);
    let methods = parse::methods(&mut item, &mut errors);
    let participant = check::participant(&attribute, &item, &methods, &mut errors);
    let wiring = participant.map(|participant| {
        if errors.is_empty() { expand::wiring(&participant) } else { expand::outline(&participant) }
    });
    quote!(#item #errors #wiring)
}
