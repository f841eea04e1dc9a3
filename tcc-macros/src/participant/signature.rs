//! What the signatures of try, confirm and cancel must look like on their own.

use super::model::Mark;
use super::parse::Method;
use crate::diagnostics::{self as diag, Errors};
use crate::types::{is_reference_to, last_segment, referent};
use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{
    FnArg, GenericParam, Generics, Lifetime, Pat, PatType, Path, Receiver, ReceiverKind, ReturnType, Safety,
    Type, TypeImplTrait, TypeReference,
};

pub(crate) const TRY_CX: &str = "TryCx";
pub(crate) const CONFIRM_CX: &str = "ConfirmCx";
pub(crate) const CANCEL_CX: &str = "CancelCx";
const CONTEXTS: [&str; 3] = [TRY_CX, CONFIRM_CX, CANCEL_CX];

/// An argument after the context.
pub(crate) struct Input<'a> {
    pub(crate) typed: &'a PatType,
    pub(crate) mark: Option<&'a (Mark, syn::Attribute)>,
}

impl Input<'_> {
    /// The name it is known by, if it is a plain one.
    pub(crate) fn name(&self) -> Option<&Ident> {
        match &*self.typed.pat {
            Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
            _ => None,
        }
    }
}

/// What a method takes: its context, if it is there, and the rest.
pub(crate) struct Inputs<'a> {
    pub(crate) context: Option<&'a PatType>,
    pub(crate) rest: Vec<Input<'a>>,
}

/// Checks everything but the arguments, which differ between try and phase two.
pub(crate) fn inputs<'a>(method: &'a Method, context: &str, errors: &mut Errors) -> Inputs<'a> {
    let name = method.name();
    let signature = &method.item.sig;
    if signature.asyncness.is_none() {
        errors.push(diag::not_async(name, signature.fn_token.span));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.push(diag::unsafe_method(name, token));
    }
    if let Some(parameter) = signature.generics.params.first() {
        errors.push(diag::generic_method(name, parameter));
    }

    let mut inputs = signature.inputs.iter().zip(&method.marks).peekable();
    match inputs.next_if(|(input, _)| matches!(input, FnArg::Receiver(_))) {
        Some((FnArg::Receiver(receiver), mark)) => {
            if !is_shared(receiver) {
                errors.push(diag::receiver_not_shared(name, receiver));
            }
            refuse_mark(mark.as_ref(), errors);
        }
        _ => errors.push(diag::missing_receiver(name)),
    }

    let mut rest = inputs.filter_map(|(input, mark)| match input {
        FnArg::Typed(typed) => Some(Input { typed, mark: mark.as_ref() }),
        FnArg::Receiver(_) => None,
    });
    let mut rest: Vec<_> = rest.by_ref().collect();
    let mut found = None;
    if rest.first().is_some_and(|first| looks_like_context(&first.typed.ty)) {
        let first = rest.remove(0);
        if !is_reference_to(&first.typed.ty, context) {
            errors.push(diag::wrong_context(name, context, &first.typed.ty));
        }
        refuse_mark(first.mark, errors);
        found = Some(first.typed);
    } else {
        errors.push(diag::missing_context(name, context));
    }
    for input in &rest {
        if let Some(condition) = input.typed.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            errors.push(diag::conditional_argument(condition));
        }
    }
    Inputs { context: found, rest }
}

pub(crate) fn refuse_mark(mark: Option<&(Mark, syn::Attribute)>, errors: &mut Errors) {
    if let Some((_, attribute)) = mark {
        errors.push(diag::mark_off_try(attribute));
    }
}

fn is_shared(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(_, _, None))
}

fn looks_like_context(ty: &Type) -> bool {
    last_segment(referent(ty))
        .is_some_and(|name| CONTEXTS.iter().any(|context| name == context) || name == "Tx")
}

/// Where a type is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Recorded,
    Skipped,
    Result,
}

/// Reports what can be neither stored nor read back: borrows and `impl Trait`. Gives whether there was none.
pub(crate) fn check_owned(ty: &Type, position: Position, errors: &mut Errors) -> bool {
    let mut borrows = Borrows { position, errors, found: false };
    borrows.visit_type(ty);
    !borrows.found
}

struct Borrows<'a> {
    position: Position,
    errors: &'a mut Errors,
    found: bool,
}

impl Borrows<'_> {
    fn refuse(&mut self, at: impl ToTokens) {
        self.found = true;
        self.errors.push(match self.position {
            Position::Recorded | Position::Skipped => diag::borrowed_argument(at),
            Position::Result => diag::borrowed_result(at),
        });
    }
}

impl<'ast> Visit<'ast> for Borrows<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let is_static = reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static");
        if is_static && self.position == Position::Skipped {
            visit::visit_type(self, &reference.elem);
        } else {
            self.refuse(reference);
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.refuse(lifetime);
        }
    }

    fn visit_type_impl_trait(&mut self, opaque: &'ast TypeImplTrait) {
        self.found = true;
        self.errors.push(diag::impl_trait(opaque));
    }

    // Their references and lifetimes are bound in them.
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast syn::ParenthesizedGenericArguments) {}
}

/// Reports what depends on the parameters of the `impl`.
pub(crate) fn check_concrete(ty: &Type, generics: &Generics, errors: &mut Errors) {
    let parameters: Vec<_> = generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(ty) => Some(&ty.ident),
            GenericParam::Const(constant) => Some(&constant.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    if !parameters.is_empty() {
        Parameters { parameters, errors }.visit_type(ty);
    }
}

struct Parameters<'a> {
    parameters: Vec<&'a Ident>,
    errors: &'a mut Errors,
}

impl<'ast> Visit<'ast> for Parameters<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
            && (first.ident == "Self" || self.parameters.contains(&&first.ident))
        {
            self.errors.push(diag::generic_argument(&first.ident, &first.ident.to_string()));
        }
        visit::visit_path(self, path);
    }
}

/// The declared return type, if there is one.
pub(crate) fn output(method: &Method) -> Option<&Type> {
    match &method.item.sig.output {
        ReturnType::Type(_, ty) => Some(ty),
        ReturnType::Default => None,
    }
}

/// The type as it reads outside the `impl`, where `Self` is something else.
pub(crate) fn without_self(ty: impl ToTokens, self_type: &Type) -> TokenStream {
    replace_self(ty.to_token_stream(), self_type)
}

fn replace_self(tokens: TokenStream, self_type: &Type) -> TokenStream {
    let mut replaced = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) if name == "Self" => {
                let begins_path =
                    matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
                let ty = crate::respan::at(self_type, name.span());
                replaced.extend(if begins_path { quote::quote_spanned!(name.span()=> <#ty>) } else { ty });
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), replace_self(group.stream(), self_type));
                inner.set_span(group.span());
                replaced.extend([TokenTree::Group(inner)]);
            }
            other => replaced.extend([other]),
        }
    }
    replaced
}
