//! Looking at types as they are written.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Ident, Type};

/// The type without the invisible groups and parentheses a macro may have put around it.
pub(crate) fn bare(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(parens) => &parens.elem,
            _ => return ty,
        };
    }
}

/// What a reference refers to, or the type itself.
pub(crate) fn referent(ty: &Type) -> &Type {
    match bare(ty) {
        Type::Reference(reference) => bare(&reference.elem),
        other => other,
    }
}

pub(crate) fn last_segment(ty: &Type) -> Option<&Ident> {
    match bare(ty) {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// Whether this is `&Name`, by the last segment of its path; which type that is, the compiler knows.
pub(crate) fn is_reference_to(ty: &Type, name: &str) -> bool {
    match bare(ty) {
        Type::Reference(reference) => {
            reference.mutability.is_none()
                && last_segment(&reference.elem).is_some_and(|segment| segment == name)
        }
        _ => false,
    }
}

/// Where the type stands; of one of several tokens, where it begins.
pub(crate) fn place_of(ty: &Type) -> Span {
    bare(ty).span()
}
