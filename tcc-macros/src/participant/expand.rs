//! Writes the client beside the `impl`, and the dispatcher out of sight.
//!
//! Whatever the compiler may find wrong with the user's types is asked for once and at the user's own tokens; the rest
//! of the expansion compiles either way.

use super::client::{self, self_path, shown};
use super::model::{Action, Argument, Mark, Participant, Phase, Policy};
use crate::respan::{at, hidden_at, shown_at};
use crate::types::place_of;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use std::time::Duration;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{GenericParam, Ident, Type};

/// The expansion of a participant without mistakes.
pub(crate) fn wiring(participant: &Participant) -> TokenStream {
    let definition = client::definition(participant);
    let client = client::implementation(participant, |index, action| call(participant, index, action));
    let functions = each(participant, functions);
    let entries = each(participant, entry);
    let private = participant.private();
    let implementation = implementation(
        participant,
        &quote! {
            let mut actions = #private::Vec::new();
            #(#entries)*
            actions
        },
    );
    quote! {
        #definition
        #[allow(deprecated, clippy::fn_params_excessive_bools, clippy::too_many_arguments, clippy::type_complexity)]
        const _: () = {
            #(#functions)*
            #client
            #implementation
        };
    }
}

/// The names and signatures of a participant with mistakes, so that its users have none on that account.
pub(crate) fn outline(participant: &Participant) -> TokenStream {
    let definition = client::definition(participant);
    let client = client::implementation(participant, |_, _| quote!(loop {}));
    let borrows =
        participant.generics.params.iter().any(|parameter| matches!(parameter, GenericParam::Lifetime(_)));
    let implementation = (!borrows).then(|| implementation(participant, &quote!(loop {})));
    quote! {
        #definition
        #[allow(unused_variables)]
        const _: () = {
            #client
            #implementation
        };
    }
}

fn each(
    participant: &Participant,
    write: impl Fn(&Participant, usize, &Action) -> TokenStream,
) -> impl Iterator<Item = TokenStream> {
    participant.actions.iter().enumerate().map(move |(index, action)| write(participant, index, action))
}

fn implementation(participant: &Participant, actions: &TokenStream) -> TokenStream {
    let Participant { framework, self_type, name, .. } = participant;
    let private = participant.private();
    let (generics, _, conditions) = participant.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #generics #framework::Participant for #self_type #conditions {
            const NAME: &'static str = #name;

            fn actions(this: &#private::Arc<Self>) -> #private::Vec<#framework::Action> {
                #actions
            }
        }
    }
}

/// The names of an action's functions within the `const`.
struct Names {
    policy: Ident,
    codecs: Ident,
    arguments: Ident,
    attempt: Ident,
    tried: Ident,
}

impl Names {
    fn of(index: usize) -> Self {
        Self {
            policy: format_ident!("__TCC_POLICY_{index}"),
            codecs: format_ident!("__tcc_codecs_{index}"),
            arguments: format_ident!("__tcc_arguments_{index}"),
            attempt: format_ident!("__tcc_try_{index}"),
            tried: format_ident!("__tcc_tried_{index}"),
        }
    }
}

/// What the client and the dispatcher share of one action.
fn functions(participant: &Participant, index: usize, action: &Action) -> TokenStream {
    let Participant { framework, .. } = participant;
    let private = participant.private();
    let Names { policy, codecs, arguments, attempt, tried } = Names::of(index);
    let cfgs = &action.cfgs;
    let policy_value = policy_value(participant, &action.policy);

    let types: Vec<_> = action.recorded().map(|argument| &argument.ty).collect();
    let codec_values = action.recorded().map(|Argument { ty, mark, .. }| {
        let constructor = if *mark == Mark::Redact { quote!(redacted) } else { quote!(plain) };
        let place = shown_at(ty.span());
        let constructor = at(constructor, place);
        let private = participant.private_at(place);
        quote_spanned!(place=> #private::Codec::<#ty>::#constructor())
    });
    let fields = field_names(action);
    let places = action.recorded().enumerate().map(|(place, _)| syn::Index::from(place));

    let (generics, _, conditions) = participant.generics.split_for_impl();
    let self_type = &participant.self_type;
    let output = &action.output;
    let names: Vec<_> = action.arguments.iter().map(|argument| shown(&argument.name)).collect();
    let all_types = action.arguments.iter().map(|argument| &argument.ty);
    let [this, context] = ["this", "context"].map(|name| Ident::new(name, hidden_at(action.method.span())));
    let context_type = quote!(#framework::TryCx);
    let borrowed =
        action.context.as_ref().map(|ty| borrowed_context(participant, ty, &context_type, &context));
    let path = self_path(participant, &action.method);
    let method = shown(&action.method);
    let place = shown_at(action.output_place);
    let (private_here, self_here) = (participant.private_at(place), at(self_type, place));
    let split = quote_spanned!(place=> <#output as #private_here::ReturnsResult>);
    let tried_parts = quote_spanned!(place=> <#self_here, #output, #split::Ok, #split::Error>);
    let tried_type = quote_spanned!(place=> #private_here::TryWiring #tried_parts);
    let tried_value = quote_spanned!(place=> #private_here::TryWiring::#tried_parts::new(#private_here::ReturnsResult::into_result));
    let place = shown_at(action.method.span());
    let private_here = participant.private_at(place);
    let future = quote_spanned!(place=> impl #private_here::Future<Output = #output> + #private_here::Send);
    let body = quote_spanned!(place=> async move { #path::#method(&#this, #borrowed, #(#names),*).await });
    quote! {
        #(#cfgs)*
        const #policy: #framework::ActionPolicy = #policy_value;

        #(#cfgs)*
        fn #codecs() -> (#(#private::Codec<#types>,)*) {
            (#(#codec_values,)*)
        }

        #(#cfgs)*
        fn #arguments(payload: &#private::Payload) -> #private::Result<(#(#types,)*), #private::DecodeError> {
            let codecs = #codecs();
            let mut reader = #private::ArgumentsReader::parse(payload)?;
            #private::Result::Ok((#(codecs.#places.read(&mut reader, #fields)?,)*))
        }

        #(#cfgs)*
        fn #attempt #generics (
            #this: #private::Arc<#self_type>,
            #context: #context_type,
            #(#names: #all_types),*
        ) -> #future #conditions {
            #body
        }

        #(#cfgs)*
        fn #tried #generics () -> #tried_type #conditions {
            #tried_value
        }
    }
}

/// The context as the method takes it, which the compiler holds against the one there is.
fn borrowed_context(
    participant: &Participant,
    declared: &Type,
    given: &TokenStream,
    context: &Ident,
) -> TokenStream {
    let place = shown_at(place_of(declared));
    let private = participant.private_at(place);
    let given = at(given, place);
    quote_spanned!(place=> <#declared as #private::SameContext<#given>>::borrow(&#context))
}

fn field_names(action: &Action) -> Vec<String> {
    action.recorded().map(|argument| argument.name.unraw().to_string()).collect()
}

/// The value that knows the try's types; should they be no `Result`, that too shows at the return type.
fn tried_call(participant: &Participant, action: &Action, tried: &Ident) -> TokenStream {
    let parameters = participant.turbofish();
    at(quote!(#tried #parameters()), shown_at(action.output_place))
}

/// The body of a client method.
fn call(participant: &Participant, index: usize, action: &Action) -> TokenStream {
    let place = shown_at(action.method.span());
    let private = participant.private_at(place);
    let Names { policy, codecs, attempt, tried, .. } = Names::of(index);
    let tried = tried_call(participant, action, &tried);
    let Action { name, version, .. } = action;
    let recorded = action.recorded().map(|argument| shown(&argument.name));
    let places = action.recorded().enumerate().map(|(place, _)| syn::Index::from(place));
    let fields = field_names(action);
    let names = action.arguments.iter().map(|argument| shown(&argument.name));
    let [codec, written, this, context] = ["codecs", "written", "this", "context"]
        .map(|name| Ident::new(name, hidden_at(action.method.span())));
    quote_spanned! {place=>
        let #codec = #codecs();
        let #written = #private::ArgumentsWriter::new();
        #(let #written = #codec.#places.write(#written, #fields, &#recorded);)*
        #tried.call(
            &self.tx,
            &self.participant,
            (#name, #version),
            #policy,
            #written,
            move |#this, #context| #attempt(#this, #context, #(#names),*),
        )
    }
}

/// The statement that adds an action to the dispatcher.
fn entry(participant: &Participant, index: usize, action: &Action) -> TokenStream {
    let private = participant.private();
    let Names { policy, arguments, attempt, tried, .. } = Names::of(index);
    let Action { name, version, cfgs, .. } = action;
    let values: Vec<_> =
        (0..action.recorded().count()).map(|place| format_ident!("argument_{place}")).collect();
    let tried = tried_call(participant, action, &tried);
    let attempt = if action.is_callable_by_name() {
        quote! {
            #private::Option::Some(#private::hosted_try(this, |this, context, payload| {
                let (#(#values,)*) = #arguments(&payload)?;
                #private::Result::Ok(#tried.attempt(#attempt(this, context, #(#values),*)))
            }))
        }
    } else {
        quote!(#private::Option::None)
    };
    let confirm = action.confirm.as_ref().map(|phase| {
        let result = quote!(#tried.decode_result(&given)?);
        let types = (quote!(ConfirmCx), quote!(ConfirmGiven));
        phase_function(participant, action, phase, &types, &arguments, &result)
    });
    let cancel = action.cancel.as_ref().map(|phase| {
        let outcome = quote!(#tried.decode_outcome(given)?);
        let types = (quote!(CancelCx), quote!(CancelGiven));
        phase_function(participant, action, phase, &types, &arguments, &outcome)
    });
    let reads = action.reads.iter().map(|older| {
        let (version, upgrade) = (older.version, &older.upgrade);
        quote!(.reads(#version, #upgrade))
    });
    quote! {
        #(#cfgs)*
        actions.push(#private::action(#name, #version, #policy, #attempt, #confirm, #cancel)#(#reads)*);
    }
}

fn phase_function(
    participant: &Participant,
    action: &Action,
    phase: &Phase,
    (context_type, given_trait): &(TokenStream, TokenStream),
    arguments: &Ident,
    given: &TokenStream,
) -> TokenStream {
    let framework = &participant.framework;
    let private = participant.private();
    let values: Vec<_> = (0..phase.arguments.len()).map(|place| format_ident!("argument_{place}")).collect();
    let passed = action.recorded().zip(&phase.arguments).zip(&values).map(|((tried, declared), value)| {
        let try_type = &tried.ty;
        let place = shown_at(place_of(declared));
        let private = participant.private_at(place);
        quote_spanned!(place=> <#declared as #private::SameArgument<#try_type>>::from_try(#value))
    });
    let given_type = &phase.given;
    let place = shown_at(action.output_place);
    let (private_here, tried) = (participant.private_at(place), at(&action.output, place));
    let reserved = quote_spanned!(place=> <#tried as #private_here::ReturnsResult>::Ok);
    let place = shown_at(place_of(given_type));
    let (private_here, given_trait) = (participant.private_at(place), at(given_trait, place));
    let given_value = quote_spanned! {place=>
        <#given_type as #private_here::#given_trait<#reserved>>::from_try(given)
    };
    let context_type = quote!(#framework::#context_type);
    let context = Ident::new("context", Span::call_site());
    let borrowed = borrowed_context(participant, &phase.context, &context_type, &context);
    let method = shown(&phase.method);
    let output = &phase.output;
    let place = shown_at(place_of(output));
    let private_here = participant.private_at(place);
    let ended = quote_spanned!(place=> <#output as #private_here::PhaseReturn>::into_result);
    let place = shown_at(phase.method.span());
    let private_here = participant.private_at(place);
    let future = quote_spanned! {place=>
        #private_here::Box::pin(async move {
            #ended(Self::#method(&this, #borrowed, #(#passed,)* #given_value).await)
        })
    };
    quote! {
        #private::hosted_phase(this, |this, #context: #context_type, payload, given| {
            let (#(#values,)*) = #arguments(&payload)?;
            let given = #given;
            #private::Result::Ok(#future)
        })
    }
}

fn policy_value(participant: &Participant, policy: &Policy) -> TokenStream {
    let Participant { framework, .. } = participant;
    let private = participant.private();
    let time = |duration: Duration| {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        quote!(#private::Duration::from_millis(#ms))
    };
    let times = [
        ("timeout", policy.timeout),
        ("phase_timeout", policy.phase_timeout),
        ("hard_limit", policy.hard_limit),
        ("ongoing_limit", policy.ongoing_limit),
    ]
    .into_iter()
    .filter_map(|(setter, duration)| {
        let (setter, duration) = (format_ident!("{setter}"), time(duration?));
        Some(quote!(.#setter(#duration)))
    });
    let concurrency = policy.concurrency.map(|concurrency| {
        let concurrency = syn::LitInt::new(&concurrency.to_string(), Span::call_site());
        quote!(.concurrency(#concurrency))
    });
    let retry = policy.retry.as_ref().map(|retry| {
        let max = retry.max.map(|max| quote!(.max(#max)));
        let base = retry.base.map(|base| {
            let base = time(base);
            quote!(.base(#base))
        });
        let cap = retry.cap.map(|cap| {
            let cap = time(cap);
            quote!(.cap(#cap))
        });
        quote!(.retry(#framework::RetryPolicy::new() #max #base #cap))
    });
    quote!(#framework::ActionPolicy::new() #(#times)* #concurrency #retry)
}
