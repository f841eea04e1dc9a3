//! Reads the attributes of the `impl`, its methods and their arguments, and takes the helper attributes off.

use super::model::{Mark, OlderVersion, Policy, Retry};
use crate::attributes::{
    action_name, duration, flag, list, method_name, module_path, number, number_of, read_entries,
    read_tokens, value, wire_name,
};
use crate::diagnostics::{self as diag, Errors};
use crate::given::Given;
use proc_macro2::{Span, TokenStream, TokenTree};
use std::time::Duration;
use syn::parse::ParseStream;
use syn::{Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Lit, Meta, Path, Token, Visibility};

const PARTICIPANT_KEYS: &[&str] = &["name", "client", "vis", "crate"];
const TRY_KEYS: &[&str] = &[
    "try",
    "confirm",
    "cancel",
    "name",
    "version",
    "timeout",
    "phase_timeout",
    "hard_limit",
    "ongoing_limit",
    "concurrency",
    "retry",
    "reads",
];
const RETRY_KEYS: &[&str] = &["max", "base", "cap"];
const MARK_KEYS: &[&str] = &["skip", "redact"];
const RETRY_EXAMPLE: &str = "max = 20, base = \"100ms\", cap = \"60s\"";

/// `#[tcc::participant(…)]`.
pub(crate) struct ParticipantAttribute {
    pub(crate) name: Given<String>,
    pub(crate) client: Option<Ident>,
    pub(crate) vis: Option<Visibility>,
    pub(crate) framework: Option<Path>,
}

/// `#[tcc(try, …)]`.
pub(crate) struct TryAttribute {
    pub(crate) try_key: Ident,
    pub(crate) confirm: Given<Ident>,
    pub(crate) cancel: Given<Ident>,
    pub(crate) name: Given<(String, Span)>,
    pub(crate) version: Option<(u32, Span)>,
    pub(crate) policy: Policy,
    pub(crate) reads: Vec<OlderVersion>,
}

/// A method without its helper attributes, and what they said.
pub(crate) struct Method {
    pub(crate) item: ImplItemFn,
    pub(crate) try_attribute: Option<TryAttribute>,
    /// One for each input, the receiver included, with the attribute it came from.
    pub(crate) marks: Vec<Option<(Mark, Attribute)>>,
}

impl Method {
    pub(crate) fn name(&self) -> &Ident {
        &self.item.sig.ident
    }
}

pub(crate) fn participant_attribute(tokens: TokenStream, errors: &mut Errors) -> ParticipantAttribute {
    let mut read = ParticipantAttribute { name: Given::Absent, client: None, vis: None, framework: None };
    read_tokens(tokens, PARTICIPANT_KEYS, errors, |key, input, _| {
        match key.to_string().as_str() {
            "name" => read.name.read(wire_name(key, input, "\"inventory\""))?,
            "client" => read.client = Some(value(key, input, "InventoryClient")?),
            "vis" => read.vis = Some(value(key, input, "pub(crate)")?),
            _ => read.framework = Some(module_path(key, input, "renamed_tcc")?),
        }
        Ok(())
    });
    read
}

/// Takes the helper attributes off `item` and gives its methods with what they said.
pub(crate) fn methods(item: &mut ItemImpl, errors: &mut Errors) -> Vec<Method> {
    let mut methods = Vec::new();
    for item in &mut item.items {
        match item {
            ImplItem::Fn(method) => methods.push(read_method(method, errors)),
            ImplItem::Const(constant) => refuse_helpers(&mut constant.attrs, errors),
            ImplItem::Type(ty) => refuse_helpers(&mut ty.attrs, errors),
            ImplItem::Macro(call) => refuse_helpers(&mut call.attrs, errors),
            _ => {}
        }
    }
    methods
}

fn refuse_helpers(attributes: &mut Vec<Attribute>, errors: &mut Errors) {
    for attribute in take_helpers(attributes, errors) {
        errors.push(diag::helper_not_on_method(attribute));
    }
}

fn take_helpers(attributes: &mut Vec<Attribute>, errors: &mut Errors) -> Vec<Attribute> {
    let mut helpers = Vec::new();
    attributes.retain(|attribute| {
        if attribute.path().is_ident("tcc") {
            helpers.push(attribute.clone());
            return false;
        }
        let hidden = hides_helper(attribute);
        if hidden {
            errors.push(diag::helper_in_cfg_attr(attribute));
        }
        !hidden
    });
    helpers
}

fn hides_helper(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let mut after_comma = false;
    list.path.is_ident("cfg_attr")
        && list.tokens.clone().into_iter().any(|token| {
            let found = after_comma && matches!(&token, TokenTree::Ident(name) if name == "tcc");
            after_comma = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ',');
            found
        })
}

fn read_method(method: &mut ImplItemFn, errors: &mut Errors) -> Method {
    let mut helpers = take_helpers(&mut method.attrs, errors).into_iter();
    let mut try_attribute = helpers.next().and_then(|attribute| read_try(&attribute, errors));
    for surplus in helpers {
        errors.push(diag::helper_twice(surplus));
        // What is missing in the first may well stand in this one.
        if let Some(first) = &mut try_attribute {
            first.confirm.excuse();
            first.cancel.excuse();
        }
    }
    let marks = method.sig.inputs.iter_mut().map(|input| read_mark(input, errors)).collect();
    Method { item: method.clone(), try_attribute, marks }
}

fn arguments_of(attribute: &Attribute) -> TokenStream {
    match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        Meta::Path(_) | Meta::NameValue(_) => TokenStream::new(),
    }
}

fn read_try(attribute: &Attribute, errors: &mut Errors) -> Option<TryAttribute> {
    let mut try_key = None;
    let mut read = TryAttribute {
        try_key: Ident::new("unset", Span::call_site()),
        confirm: Given::Absent,
        cancel: Given::Absent,
        name: Given::Absent,
        version: None,
        policy: Policy::default(),
        reads: Vec::new(),
    };
    let mut spans = TimeSpans::default();
    let mut found = Errors::default();
    read_tokens(arguments_of(attribute), TRY_KEYS, &mut found, |key, input, errors| {
        match key.to_string().as_str() {
            "try" => {
                try_key = Some(key.clone());
                flag(key, input)?;
            }
            "confirm" => read.confirm.read(method_name(key, input))?,
            "cancel" => read.cancel.read(method_name(key, input))?,
            "name" => read.name.read(action_name(key, input))?,
            "version" => read.version = Some(number(key, input, u32::MAX)?),
            "concurrency" => read.policy.concurrency = Some(number(key, input, u32::MAX)?.0),
            "retry" => read.policy.retry = Some(read_retry(key, input, errors)?),
            "reads" => read.reads = read_reads(key, input, errors)?,
            time => *spans.of(time) = Some(duration(key, input)?),
        }
        Ok(())
    });
    spans.check(&mut found);
    read.policy.timeout = spans.timeout.map(|(duration, _)| duration);
    read.policy.phase_timeout = spans.phase_timeout.map(|(duration, _)| duration);
    read.policy.hard_limit = spans.hard_limit.map(|(duration, _)| duration);
    read.policy.ongoing_limit = spans.ongoing_limit.map(|(duration, _)| duration);
    let Some(key) = try_key else {
        errors.push(diag::helper_without_try(attribute));
        return None;
    };
    errors.append(found);
    read.try_key = key;
    Some(read)
}

#[derive(Default)]
struct TimeSpans {
    timeout: Option<(Duration, Span)>,
    phase_timeout: Option<(Duration, Span)>,
    hard_limit: Option<(Duration, Span)>,
    ongoing_limit: Option<(Duration, Span)>,
}

impl TimeSpans {
    fn of(&mut self, key: &str) -> &mut Option<(Duration, Span)> {
        match key {
            "timeout" => &mut self.timeout,
            "phase_timeout" => &mut self.phase_timeout,
            "hard_limit" => &mut self.hard_limit,
            _ => &mut self.ongoing_limit,
        }
    }

    fn check(&self, errors: &mut Errors) {
        if let (Some((timeout, at)), Some((limit, _))) = (self.timeout, self.hard_limit)
            && timeout > limit
        {
            errors.push(diag::timeout_above_hard_limit(at));
        }
    }
}

fn read_retry(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Retry> {
    let mut retry = Retry::default();
    let mut base_at = None;
    list(key, input, RETRY_EXAMPLE, |content| {
        read_entries(content, RETRY_KEYS, errors, |key, input, _| {
            match key.to_string().as_str() {
                "max" => retry.max = Some(number(key, input, u32::MAX)?.0),
                "base" => {
                    let (base, at) = duration(key, input)?;
                    retry.base = Some(base);
                    base_at = Some(at);
                }
                _ => retry.cap = Some(duration(key, input)?.0),
            }
            Ok(())
        });
    })?;
    if let (Some(base), Some(cap), Some(at)) = (retry.base, retry.cap, base_at)
        && base > cap
    {
        errors.push(diag::base_above_cap(at));
    }
    Ok(retry)
}

/// `reads(1 = crate::upgrade_1, …)`.
fn read_reads(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Vec<OlderVersion>> {
    let mut reads: Vec<OlderVersion> = Vec::new();
    list(key, input, "1 = upgrade", |content| -> syn::Result<()> {
        while !content.is_empty() {
            let literal: Lit = content.parse()?;
            let version = number_of(&literal, u32::MAX)?;
            content.parse::<Token![=]>()?;
            let upgrade = content.call(Path::parse_mod_style)?;
            if reads.iter().any(|earlier| earlier.version == version) {
                errors.push(diag::reads_twice(literal.span()));
            }
            reads.push(OlderVersion { version, at: literal.span(), upgrade });
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        Ok(())
    })??;
    Ok(reads)
}

fn read_mark(input: &mut FnArg, errors: &mut Errors) -> Option<(Mark, Attribute)> {
    let attributes = match input {
        FnArg::Receiver(receiver) => &mut receiver.attrs,
        FnArg::Typed(argument) => &mut argument.attrs,
    };
    let mut read = None;
    for attribute in take_helpers(attributes, errors) {
        let mut mark = Mark::None;
        let mut refused = false;
        read_tokens(arguments_of(&attribute), MARK_KEYS, errors, |key, input, errors| {
            flag(key, input).inspect_err(|_| refused = true)?;
            let next = if key == "skip" { Mark::Skip } else { Mark::Redact };
            if mark != Mark::None {
                errors.push(diag::skip_and_redact(key));
            }
            mark = if mark == Mark::Skip { mark } else { next };
            Ok(())
        });
        if mark == Mark::None && !refused && arguments_of(&attribute).is_empty() {
            errors.push(diag::mark_without_keys(&attribute));
        }
        read = Some((mark, attribute));
    }
    read
}
