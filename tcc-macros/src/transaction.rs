//! `#[transaction]`: the function callers see, around the body that is given the transaction.

use crate::attributes::{duration, module_path, read_tokens, value, wire_name};
use crate::diagnostics::{self as diag, Errors};
use crate::given::Given;
use crate::respan::{at, shown_at};
use crate::types::{is_reference_to, last_segment, place_of, referent};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use std::time::Duration;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{
    AttrStyle, Attribute, Expr, FnArg, ImplItemFn, PatType, Path, ReturnType, Signature, Type, TypeImplTrait,
};

const KEYS: &[&str] = &["name", "timeout", "runtime", "key", "crate"];

/// `#[tcc::transaction(…)]`.
struct Arguments {
    name: Given<String>,
    timeout: Option<Duration>,
    runtime: Given<Expr>,
    key: Option<Expr>,
    framework: Option<Path>,
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let Ok(function) = syn::parse2::<ImplItemFn>(item.clone()) else {
        let keyword = item.clone().into_iter().find(|token| matches!(token, TokenTree::Ident(_)));
        errors.push(diag::not_a_function(keyword));
        return quote!(#item #errors);
    };
    let arguments = read(attribute, &mut errors);
    let parts = check(&function, &arguments, &mut errors);
    let body = match &parts {
        Some(parts) if errors.is_empty() => parts.run(&arguments, &function),
        _ => outline(&function, parts.as_ref()),
    };
    let framework = arguments.framework();
    let (outer, inner): (Vec<&Attribute>, Vec<&Attribute>) =
        function.attrs.iter().partition(|attribute| matches!(attribute.style, AttrStyle::Outer));
    let signature = seen_by_callers(&function.sig, parts.as_ref(), arguments.key.is_some(), &framework);
    let quiet = (!errors.is_empty()).then(|| quote!(#[allow(unreachable_code, unused_variables)]));
    let ImplItemFn { vis, modifiers, .. } = &function;
    let defaultness = modifiers.defaultness;
    quote! {
        #(#outer)*
        #quiet
        #vis #defaultness #signature {
            #(#inner)*
            #body
        }
        #errors
    }
}

fn read(attribute: TokenStream, errors: &mut Errors) -> Arguments {
    let mut read =
        Arguments { name: Given::Absent, timeout: None, runtime: Given::Absent, key: None, framework: None };
    read_tokens(attribute, KEYS, errors, |key, input, _| {
        match key.to_string().as_str() {
            "name" => read.name.read(wire_name(key, input, "\"checkout\""))?,
            "timeout" => read.timeout = Some(duration(key, input)?.0),
            "runtime" => read.runtime.read(value(key, input, "&self.tcc"))?,
            "key" => read.key = Some(value(key, input, "order.id")?),
            _ => read.framework = Some(module_path(key, input, "renamed_tcc")?),
        }
        Ok(())
    });
    read
}

impl Arguments {
    fn framework(&self) -> TokenStream {
        self.framework.as_ref().map_or_else(|| quote!(::tcc), ToTokens::to_token_stream)
    }
}

/// The pieces of a function that can be a transaction.
struct Parts<'a> {
    tx: &'a PatType,
    output: Option<&'a Type>,
}

fn check<'a>(function: &'a ImplItemFn, arguments: &Arguments, errors: &mut Errors) -> Option<Parts<'a>> {
    let signature = &function.sig;
    let name = &signature.ident;
    if arguments.name.is_absent() {
        errors.push(diag::missing_transaction_name(name));
    }
    if arguments.runtime.is_absent() && signature.receiver().is_none() {
        errors.push(diag::missing_runtime(name));
    }
    if signature.asyncness.is_none() {
        errors.push(diag::not_async(name, signature.fn_token.span));
    }
    let output = match &signature.output {
        ReturnType::Type(_, output) => {
            Opaque(errors).visit_type(output);
            Some(&**output)
        }
        ReturnType::Default => {
            errors.push(diag::missing_transaction_result(name));
            None
        }
    };
    let first = signature.inputs.iter().find_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    let tx = first.filter(|first| last_segment(referent(&first.ty)).is_some_and(|name| name == "Tx"));
    match tx {
        None => errors.push(diag::missing_tx(name)),
        Some(tx) if !is_reference_to(&tx.ty, "Tx") => errors.push(diag::wrong_tx(&tx.ty)),
        Some(_) => {}
    }
    Some(Parts { tx: tx?, output })
}

struct Opaque<'a>(&'a mut Errors);

impl<'ast> Visit<'ast> for Opaque<'_> {
    fn visit_type_impl_trait(&mut self, opaque: &'ast TypeImplTrait) {
        self.0.push(diag::opaque_transaction_result(opaque));
    }
}

fn seen_by_callers(
    signature: &Signature,
    parts: Option<&Parts<'_>>,
    keyed: bool,
    framework: &TokenStream,
) -> TokenStream {
    let mut seen = signature.clone();
    seen.asyncness = Some(signature.asyncness.unwrap_or_default());
    let Some(Parts { tx, output }) = parts else { return seen.into_token_stream() };
    seen.inputs = signature.inputs.iter().filter(|input| !is_same(input, tx)).cloned().collect();
    let Some(output) = output.filter(|_| keyed) else { return seen.into_token_stream() };
    let place = shown_at(place_of(output));
    let private = at(quote!(#framework::__private), place);
    let keyed = quote_spanned!(place=> <#output as #private::TransactionReturn>::Keyed);
    seen.output = ReturnType::Type(syn::Token![->](place), Box::new(Type::Verbatim(keyed)));
    seen.into_token_stream()
}

fn is_same(input: &FnArg, tx: &PatType) -> bool {
    matches!(input, FnArg::Typed(typed) if std::ptr::eq(typed, tx))
}

impl Parts<'_> {
    fn run(&self, arguments: &Arguments, function: &ImplItemFn) -> TokenStream {
        let Some(output) = self.output else { return TokenStream::new() };
        let framework = arguments.framework();
        let private = quote!(#framework::__private);
        let (tx, block) = (self.tx, &function.block);
        let begin = begin(arguments, &function.sig, &private);
        let place = shown_at(place_of(output));
        let private_here = at(&private, place);
        let run = if arguments.key.is_some() { quote!(run_keyed) } else { quote!(run) };
        let run = at(run, place);
        let returned = at(output, place);
        quote_spanned! {place=>
            #private_here::#run::<#returned, _>(#begin, async move |#tx| -> #output #block).await
        }
    }
}

/// The transaction before it begins; the key is worked out here, before the body takes the arguments.
fn begin(arguments: &Arguments, signature: &Signature, private: &TokenStream) -> TokenStream {
    let name = arguments.name.value();
    let (runtime, place) = match (arguments.runtime.value(), signature.receiver()) {
        (Some(runtime), _) => (quote!((#runtime)), shown_at(runtime.span())),
        (None, Some(receiver)) => {
            let token = receiver.self_token;
            let place = shown_at(token.span);
            (quote_spanned!(place=> #token.runtime()), place)
        }
        (None, None) => (TokenStream::new(), Span::call_site()),
    };
    let key = arguments.key.as_ref().map(|key| quote_spanned!(shown_at(key.span())=> .key(&(#key))));
    let timeout = arguments.timeout.map(|timeout| {
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        quote!(.timeout(#private::Duration::from_millis(#ms)))
    });
    quote_spanned!(place=> #runtime.transaction(#name) #key #timeout)
}

/// The body of a function with mistakes: its own code is still checked, and nothing is said about the rest.
fn outline(function: &ImplItemFn, parts: Option<&Parts<'_>>) -> TokenStream {
    let ImplItemFn { sig, block, .. } = function;
    let tx = parts.map(|parts| parts.tx);
    match &sig.output {
        // It cannot be named in a closure.
        ReturnType::Type(_, output) if is_opaque(output) => {
            let tx = tx.map(|tx| quote!(let #tx = loop {};));
            quote!(#tx #block)
        }
        output => quote! {
            let body = async move |#tx| #output #block;
            loop {}
        },
    }
}

fn is_opaque(ty: &Type) -> bool {
    let mut errors = Errors::default();
    Opaque(&mut errors).visit_type(ty);
    !errors.is_empty()
}
