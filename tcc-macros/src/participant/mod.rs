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

#[cfg(test)]
mod tests {
    use super::expand;
    use quote::quote;

    #[test]
    fn the_framework_is_reached_by_the_given_path_alone() {
        let item = quote! {
            impl<R: Repo> Inventory<R> {
                #[tcc(try, confirm = confirm, cancel = cancel, timeout = "2s", retry(max = 2, base = "1s", cap = "2s"))]
                pub async fn reserve(&self, cx: &TryCx, qty: u32, #[tcc(skip)] why: u8) -> Result<u32, Error> {}
                #[tcc(try, confirm = confirm, cancel = cancel, version = 2, reads(1 = upgrade))]
                pub async fn take(&self, cx: &TryCx, #[tcc(redact)] qty: u32) -> Result<u32, Error> {}
                async fn confirm(&self, cx: &ConfirmCx, qty: u32, held: u32) -> Result<(), PhaseError> {}
                async fn cancel(&self, cx: &CancelCx, qty: u32, held: TryOutcome<u32>) -> Result<(), PhaseError> {}
            }
        };
        let attribute = quote!(name = "inventory", crate = elsewhere::renamed);
        let expansion = expand(attribute, item.clone()).to_string();
        assert!(expansion.contains("elsewhere :: renamed :: __private"), "{expansion}");
        for other in [":: tcc", ":: std", ":: core", "compile_error", "unwrap", "panic"] {
            assert!(!expansion.contains(other), "`{other}` in {expansion}");
        }
        let by_default = expand(quote!(name = "inventory"), item).to_string();
        assert_eq!(by_default, expansion.replace("elsewhere :: renamed", ":: tcc"));
    }

    #[test]
    fn the_impl_comes_first_and_unchanged_but_for_helper_attributes() {
        let expansion = |helpers: bool| {
            let (action, mark) = if helpers {
                (quote!(#[tcc(try, confirm = confirm, cancel = cancel)]), quote!(#[tcc(redact)]))
            } else {
                (quote!(), quote!())
            };
            quote! {
                #[doc = "Kept."]
                impl Inventory<Pg> where Pg: Repo {
                    const SHELVES: usize = 3;
                    #[inline]
                    #action
                    pub(crate) async fn reserve(&self, cx: &TryCx, #mark mut qty: u32) -> Result<u32, Error> { body!() }
                    async fn confirm(&self, _: &ConfirmCx, (): (), qty: u32) -> Result<(), PhaseError> { Ok(()) }
                    fn other<T>(self: Box<Self>, (a, b): (T, T)) -> impl Sized { #[tcc(untouched)] inner }
                }
            }
        };
        let expanded = expand(quote!(name = "inventory"), expansion(true)).to_string();
        assert!(expanded.starts_with(&expansion(false).to_string()), "{expanded}");
    }
}
