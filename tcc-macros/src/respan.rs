//! Moving generated code to the user's tokens, so that the compiler's own errors point there.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::ToTokens;

/// Names resolve where the macro is used, errors show at `place`, and lints know the code as generated.
pub(crate) fn shown_at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The same for names of the expansion's own, which the user's code cannot see.
pub(crate) fn hidden_at(place: Span) -> Span {
    Span::mixed_site().located_at(place)
}

/// `tokens`, each as if it stood at `span`.
///
/// `quote_spanned!` leaves what is interpolated where it came from.
pub(crate) fn at(tokens: impl ToTokens, span: Span) -> TokenStream {
    tokens
        .to_token_stream()
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) => {
                let mut moved = Group::new(group.delimiter(), at(group.stream(), span));
                moved.set_span(span);
                TokenTree::Group(moved)
            }
            mut other => {
                other.set_span(span);
                other
            }
        })
        .collect()
}
