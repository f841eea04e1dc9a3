//! Keys and values of the attributes, read entry by entry so that a bad one hides no other.

use crate::diagnostics::{self as diag, Errors};
use crate::nearest::nearest;
use proc_macro2::{Span, TokenStream, TokenTree};
use std::time::Duration;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Ident, Lit, Path, Token, token};

const NAME_BYTES_MAX: usize = 128;
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Hands each `key …` of `tokens` to `read`, which consumes what follows the key.
///
/// Keys may be keywords (`try`, `crate`), which `syn::Meta` refuses.
pub(crate) fn read_tokens(
    tokens: TokenStream,
    known: &[&str],
    errors: &mut Errors,
    read: impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    let parser = |input: ParseStream<'_>| {
        read_entries(input, known, errors, read);
        Ok(())
    };
    // Every token is consumed and every error collected above.
    let _ = parser.parse2(tokens);
}

pub(crate) fn read_entries(
    input: ParseStream<'_>,
    known: &[&str],
    errors: &mut Errors,
    mut read: impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    let mut seen = Vec::new();
    while !input.is_empty() {
        if let Err(error) = read_entry(input, known, &mut seen, errors, &mut read) {
            errors.push(error);
            skip_to_comma(input);
        }
        if input.peek(Token![,]) {
            let _ = input.parse::<Token![,]>();
        }
    }
}

fn read_entry(
    input: ParseStream<'_>,
    known: &[&str],
    seen: &mut Vec<String>,
    errors: &mut Errors,
    read: &mut impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) -> syn::Result<()> {
    let Ok(key) = input.call(Ident::parse_any) else {
        return Err(diag::expected_key(input.span(), known));
    };
    let name = key.to_string();
    if !known.contains(&name.as_str()) {
        return Err(diag::unknown_key(&key, known, nearest(&name, known.iter().copied())));
    }
    if seen.contains(&name) {
        return Err(diag::duplicate_key(&key));
    }
    seen.push(name);
    read(&key, input, errors)?;
    if input.is_empty() || input.peek(Token![,]) {
        Ok(())
    } else {
        Err(diag::expected_comma(input.span(), &key))
    }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        let _ = input.parse::<TokenTree>();
    }
}

/// A key that takes no value, such as `try`.
pub(crate) fn flag(key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![=]) || input.peek(token::Paren) {
        return Err(diag::unexpected_value(key, input.span()));
    }
    Ok(())
}

/// The value of `key = value`.
pub(crate) fn value<T: Parse>(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<T> {
    equals(key, input, example)?;
    input.parse()
}

fn equals(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<()> {
    if !input.peek(Token![=]) || input.peek(Token![==]) {
        return Err(diag::missing_value(key, example));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) { Err(diag::missing_value(key, example)) } else { Ok(()) }
}

/// The content of `key(…)`.
pub(crate) fn list<T>(
    key: &Ident,
    input: ParseStream<'_>,
    example: &str,
    read: impl FnOnce(ParseStream<'_>) -> T,
) -> syn::Result<T> {
    if !input.peek(token::Paren) {
        return Err(diag::missing_list(key, example));
    }
    let content;
    syn::parenthesized!(content in input);
    if content.is_empty() {
        return Err(diag::empty_list(key, example));
    }
    Ok(read(&content))
}

/// A literal as `value`, or the token that stands where it should.
fn literal(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<Result<Lit, (Span, String)>> {
    equals(key, input, example)?;
    if input.peek(Lit) {
        return input.parse().map(Ok);
    }
    let token: TokenTree = input.parse()?;
    Ok(Err((token.span(), format!("`{token}`"))))
}

fn shown(literal: &Lit) -> String {
    match literal {
        Lit::Str(text) => format!("{:?}", text.value()),
        Lit::Int(number) => format!("`{number}`"),
        other => format!("`{}`", quote::ToTokens::to_token_stream(other)),
    }
}

pub(crate) fn duration(key: &Ident, input: ParseStream<'_>) -> syn::Result<(Duration, Span)> {
    match literal(key, input, "\"2s\"")? {
        Ok(Lit::Str(text)) => match parse_duration(&text.value()) {
            Some(duration) => Ok((duration, text.span())),
            None => Err(diag::bad_duration(text.span(), &format!("{:?}", text.value()))),
        },
        Ok(other) => Err(diag::bad_duration(other.span(), &shown(&other))),
        Err((at, found)) => Err(diag::bad_duration(at, &found)),
    }
}

/// A whole number and a unit; `None` for anything else, for zero, and for more than a year.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(unit_ms)?);
    (!duration.is_zero() && duration <= DURATION_MAX).then_some(duration)
}

/// The stable name of a participant or a transaction.
pub(crate) fn wire_name(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<String> {
    match literal(key, input, example)? {
        Ok(Lit::Str(text)) if is_name(&text.value()) => Ok(text.value()),
        Ok(other) => Err(diag::bad_participant_name(other.span(), &shown(&other))),
        Err((at, found)) => Err(diag::bad_participant_name(at, &found)),
    }
}

/// The name of an action within its participant.
pub(crate) fn action_name(key: &Ident, input: ParseStream<'_>) -> syn::Result<(String, Span)> {
    match literal(key, input, "\"reserve\"")? {
        Ok(Lit::Str(text)) if is_action_name(&text.value()) => Ok((text.value(), text.span())),
        Ok(other) => Err(diag::bad_action_name(other.span(), &shown(&other))),
        Err((at, found)) => Err(diag::bad_action_name(at, &found)),
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

pub(crate) fn is_action_name(name: &str) -> bool {
    is_name(name) && !name.contains('.')
}

pub(crate) fn number(key: &Ident, input: ParseStream<'_>, most: u32) -> syn::Result<(u32, Span)> {
    match literal(key, input, "1")? {
        Ok(literal) => number_of(&literal, most).map(|number| (number, literal.span())),
        Err((at, found)) => Err(diag::bad_number(at, &found, most.into())),
    }
}

pub(crate) fn number_of(literal: &Lit, most: u32) -> syn::Result<u32> {
    if let Lit::Int(digits) = literal
        && let Ok(number) = digits.base10_parse::<u32>()
        && digits.suffix().is_empty()
        && (1..=most).contains(&number)
    {
        return Ok(number);
    }
    Err(diag::bad_number(literal.span(), &shown(literal), most.into()))
}

/// The name of a method beside the try.
pub(crate) fn method_name(key: &Ident, input: ParseStream<'_>) -> syn::Result<Ident> {
    equals(key, input, "method")?;
    let bare = input.peek(Ident) && (input.peek2(Token![,]) || is_last(input));
    if bare { input.parse() } else { Err(diag::expected_method_name(key, input.span())) }
}

fn is_last(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    let _ = ahead.parse::<TokenTree>();
    ahead.is_empty()
}

/// A path without generic arguments, such as `crate::upgrade`.
pub(crate) fn module_path(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<Path> {
    equals(key, input, example)?;
    input.call(Path::parse_mod_style)
}

#[cfg(test)]
mod tests {
    use super::{is_action_name, is_name, parse_duration};
    use std::time::Duration;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3_600)));
        assert_eq!(parse_duration("366d"), Some(Duration::from_secs(366 * 86_400)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "2",
            "2 s",
            " 2s",
            "2s ",
            "-2s",
            "+2s",
            "1.5s",
            "2sec",
            "0s",
            "0ms",
            "367d",
            "٢s",
            "18446744073709551615s",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_keep_to_their_characters_and_length() {
        for name in ["a", "inventory", "Inventory-2", "eu.west_1", &"x".repeat(128)] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", "a b", "a@1", "a/b", "größe", "a\n", &"x".repeat(129)] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_action_name("reserve-all"));
        assert!(!is_action_name("stock.reserve"));
    }
}
