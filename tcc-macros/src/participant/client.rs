//! The typed client: a struct beside the `impl`, with one method by value for each action.

use super::model::{Action, Argument, Participant};
use crate::respan::{at, shown_at};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::Ident;

/// The names the client has for itself.
pub(crate) const CONSTRUCTORS: [&str; 2] = ["new", "named"];

/// The only item that the user's code sees.
pub(crate) fn definition(participant: &Participant) -> TokenStream {
    let Participant { framework, client, client_vis, self_type, name, .. } = participant;
    let private = participant.private();
    let (generics, _, conditions) = participant.generics.split_for_impl();
    let doc = format!(
        " Calls the participant `{name}` from within a transaction.\n\n Each method is one branch: awaiting it registers \
         the branch and runs its try."
    );
    // A client without parameters needs none, and then shows none in the user's documentation.
    let marker = participant
        .is_generic()
        .then(|| quote!(participant_type: #private::PhantomData<fn() -> #self_type>,));
    quote! {
        #[doc = #doc]
        #[allow(private_bounds)]
        #client_vis struct #client #generics #conditions {
            tx: #framework::Tx,
            participant: #private::String,
            #marker
        }
    }
}

/// The client's methods, each with the body that `body` gives it.
pub(crate) fn implementation(
    participant: &Participant,
    body: impl Fn(usize, &Action) -> TokenStream,
) -> TokenStream {
    let Participant { framework, client, client_vis, name, .. } = participant;
    let private = participant.private();
    let (generics, arguments, conditions) = participant.generics.split_for_impl();
    let marker = participant.is_generic().then(|| quote!(participant_type: #private::PhantomData,));
    let named_otherwise =
        |(_, action): &(usize, &Action)| !CONSTRUCTORS.iter().any(|taken| action.method == taken);
    let methods = participant.actions.iter().enumerate().filter(named_otherwise).map(|(index, action)| {
        let body = body(index, action);
        method(participant, action, &body)
    });
    let shown_name = client.to_string();
    quote! {
        #[allow(dead_code, deprecated, private_interfaces)]
        impl #generics #client #arguments #conditions {
            /// Calls the participant under its own name.
            #[must_use]
            #client_vis fn new(tx: &#framework::Tx) -> Self {
                Self::named(tx, #name)
            }

            /// Calls the participant that is registered as `name`.
            #[must_use]
            #client_vis fn named(tx: &#framework::Tx, name: impl #private::Into<#private::String>) -> Self {
                Self { tx: #private::Clone::clone(tx), participant: #private::Into::into(name), #marker }
            }

            #(#methods)*
        }

        #[automatically_derived]
        impl #generics #private::Clone for #client #arguments #conditions {
            fn clone(&self) -> Self {
                Self {
                    tx: #private::Clone::clone(&self.tx),
                    participant: #private::Clone::clone(&self.participant),
                    #marker
                }
            }
        }

        #[automatically_derived]
        impl #generics #private::fmt::Debug for #client #arguments #conditions {
            fn fmt(&self, formatter: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                formatter.debug_struct(#shown_name).field("participant", &self.participant).finish_non_exhaustive()
            }
        }
    }
}

fn method(participant: &Participant, action: &Action, body: &TokenStream) -> TokenStream {
    let Action { method, vis, docs, cfgs, arguments, .. } = action;
    let (generics, _, conditions) = action.generics.split_for_impl();
    let framework = &participant.framework;
    let private = participant.private();
    let name = shown(method);
    let names = arguments.iter().map(|argument| shown(&argument.name));
    let types = arguments.iter().map(|Argument { ty, .. }| ty);
    let output = match &action.output {
        Some(output) => {
            let place = shown_at(action.output_place);
            let private = participant.private_at(place);
            quote_spanned!(place=> #private::CallOf<#output>)
        }
        None => quote!(#framework::Call<(), #private::Infallible>),
    };
    let doc = (!docs.iter().any(|attribute| attribute.path().is_ident("doc"))).then(|| {
        let doc = format!(" Tries `{}.{}@{}`.", participant.name, action.name, action.version);
        quote!(#[doc = #doc])
    });
    quote! {
        #(#cfgs)*
        #(#docs)*
        #doc
        #[allow(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]
        #vis fn #name #generics (self, #(#names: #types),*) -> #output #conditions {
            #body
        }
    }
}

/// A user's name where the expansion declares it again: found at the same place, but not the user's to be linted.
pub(crate) fn shown(name: &Ident) -> Ident {
    let mut name = name.clone();
    name.set_span(shown_at(name.span()));
    name
}

/// The participant's type as an expression's path begins with it, its mistakes shown at `name`.
pub(crate) fn self_path(participant: &Participant, name: &Ident) -> TokenStream {
    let ty = at(participant.self_type.to_token_stream(), shown_at(name.span()));
    quote_spanned!(shown_at(name.span())=> <#ty>)
}
