//! Links try, confirm and cancel, and holds them against one another.

use super::client;
use super::model::{Action, Argument, Mark, Participant, Phase};
use super::parse::{Method, ParticipantAttribute, TryAttribute};
use super::signature::{
    self, CANCEL_CX, CONFIRM_CX, Inputs, Position, TRY_CX, check_concrete, check_owned, refuse_mark,
    without_self,
};
use crate::attributes::is_action_name;
use crate::diagnostics::{self as diag, Errors};
use crate::given::Given;
use crate::nearest::nearest;
use crate::types::{bare, place_of, referent};
use quote::{ToTokens, format_ident, quote};
use std::collections::HashSet;
use syn::ext::IdentExt;
use syn::{Attribute, GenericParam, Ident, ItemImpl, Type, Visibility};

pub(crate) fn participant(
    attribute: &ParticipantAttribute,
    item: &ItemImpl,
    methods: &[Method],
    errors: &mut Errors,
) -> Option<Participant> {
    if let Some((path, _)) = &item.trait_ {
        errors.push(diag::trait_impl(path));
        return None;
    }
    let Some(type_name) = type_name(&item.self_ty) else {
        errors.push(diag::unnamed_self_type(&item.self_ty));
        return None;
    };
    for parameter in &item.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            errors.push(diag::borrowing_participant(lifetime));
        }
    }
    if attribute.name.is_absent() {
        errors.push(diag::missing_participant_name(type_name));
    }

    let mut checker = Checker { item, methods, checked: HashSet::new(), errors };
    let actions: Vec<_> = methods
        .iter()
        .filter_map(|method| Some(checker.action(method, method.try_attribute.as_ref()?)))
        .collect();
    check_duplicates(attribute, &actions, methods, errors);
    if actions.is_empty() && errors.is_empty() {
        errors.push(diag::no_actions(type_name));
    }

    let client = attribute.client.clone().unwrap_or_else(|| {
        format_ident!("{}Tcc", type_name.unraw(), span = crate::respan::shown_at(type_name.span()))
    });
    let widest = actions.iter().map(|action| &action.vis).max_by_key(|vis| reach(vis));
    Some(Participant {
        framework: attribute.framework.as_ref().map_or_else(|| quote!(::tcc), ToTokens::to_token_stream),
        name: attribute.name.value().cloned().unwrap_or_default(),
        self_type: (*item.self_ty).clone(),
        generics: item.generics.clone(),
        client_vis: attribute.vis.as_ref().or(widest).cloned().unwrap_or(Visibility::Inherited),
        client,
        actions,
    })
}

fn type_name(ty: &Type) -> Option<&Ident> {
    match bare(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// Orders visibilities; of two that cannot be compared, either may do.
fn reach(vis: &Visibility) -> u8 {
    match vis {
        Visibility::Public(_) => 4,
        Visibility::Restricted(scope) if scope.path.is_ident("crate") => 3,
        Visibility::Restricted(scope) if scope.path.is_ident("self") => 0,
        Visibility::Restricted(scope) if scope.path.is_ident("super") => 1,
        Visibility::Restricted(_) => 2,
        Visibility::Inherited => 0,
    }
}

struct Checker<'a> {
    item: &'a ItemImpl,
    methods: &'a [Method],
    /// Confirms and cancels whose own signature was looked at; two actions may share one.
    checked: HashSet<&'a Ident>,
    errors: &'a mut Errors,
}

impl<'a> Checker<'a> {
    fn action(&mut self, method: &'a Method, attribute: &'a TryAttribute) -> Action {
        let name = method.name();
        let inputs = signature::inputs(method, TRY_CX, self.errors);
        let arguments = self.try_arguments(&inputs);
        let output = self.try_output(method);
        if client::CONSTRUCTORS.iter().any(|taken| name == taken) {
            self.errors.push(diag::reserved_client_method(name));
        }
        let wire_name = name.unraw().to_string();
        if attribute.name.is_absent() && !is_action_name(&wire_name) {
            self.errors.push(diag::method_name_is_no_action_name(name));
        }
        let version = attribute.version.map_or(1, |(version, _)| version);
        for read in &attribute.reads {
            if read.version >= version {
                self.errors.push(diag::reads_not_older(read.at, version));
            }
        }
        let action = Action {
            method: name.clone(),
            name: attribute.name.value().map_or(wire_name, |(name, _)| name.clone()),
            version,
            vis: method.item.vis.clone(),
            generics: method.item.sig.generics.clone(),
            docs: copied(&method.item.attrs, &["doc", "deprecated"]),
            cfgs: copied(&method.item.attrs, &["cfg"]),
            policy: attribute.policy.clone(),
            reads: attribute.reads.clone(),
            context: inputs.context.map(|context| referent(&context.ty).clone()),
            arguments,
            output: output.map(|output| without_self(output, &self.item.self_ty)),
            output_place: output.map_or_else(|| name.span(), place_of),
            confirm: None,
            cancel: None,
        };
        let confirm = self.link(method, attribute, "confirm", &attribute.confirm);
        let cancel = self.link(method, attribute, "cancel", &attribute.cancel);
        if let (Some(confirm), Some(cancel), Given::Value(link)) = (confirm, cancel, &attribute.cancel)
            && std::ptr::eq(confirm, cancel)
        {
            self.errors.push(diag::one_method_for_both(link));
            return action;
        }
        let confirm = confirm.and_then(|method| self.phase(method, CONFIRM_CX, &action));
        let cancel = cancel.and_then(|method| self.phase(method, CANCEL_CX, &action));
        Action { confirm, cancel, ..action }
    }

    fn try_output(&mut self, method: &'a Method) -> Option<&'a Type> {
        let Some(output) = signature::output(method) else {
            self.errors.push(diag::missing_try_result(method.name()));
            return None;
        };
        check_concrete(output, &self.item.generics, self.errors);
        check_owned(output, Position::Result, self.errors).then_some(output)
    }

    fn try_arguments(&mut self, inputs: &Inputs<'a>) -> Vec<Argument> {
        let mut arguments = Vec::new();
        for (index, input) in inputs.rest.iter().enumerate() {
            let mark = input.mark.map_or(Mark::None, |(mark, _)| *mark);
            let position = if mark == Mark::Skip { Position::Skipped } else { Position::Recorded };
            check_owned(&input.typed.ty, position, self.errors);
            check_concrete(&input.typed.ty, &self.item.generics, self.errors);
            let name = input.name().cloned();
            if name.is_none() {
                self.errors.push(diag::pattern_argument(&input.typed.pat));
            }
            arguments.push(Argument {
                name: name.unwrap_or_else(|| format_ident!("argument_{index}")),
                ty: without_self(&input.typed.ty, &self.item.self_ty),
                mark,
            });
        }
        arguments
    }

    /// The method that `confirm = …` or `cancel = …` names.
    fn link(
        &mut self,
        method: &'a Method,
        attribute: &'a TryAttribute,
        key: &str,
        link: &Given<Ident>,
    ) -> Option<&'a Method> {
        let link = match link {
            Given::Value(link) => link,
            Given::Refused => return None,
            Given::Absent => {
                self.errors.push(diag::missing_link(&attribute.try_key, key));
                return None;
            }
        };
        if link == method.name() {
            self.errors.push(diag::link_to_itself(link, key));
            return None;
        }
        let mut named = self.methods.iter().filter(|candidate| candidate.name() == link).peekable();
        if named.peek().is_none() {
            let names: Vec<_> = self.methods.iter().map(|method| method.name().to_string()).collect();
            let others = names.iter().map(String::as_str).filter(|name| method.name() != name);
            self.errors.push(diag::missing_method(link, nearest(&link.to_string(), others)));
            return None;
        }
        let found = named.find(|candidate| is_under(&method.item.attrs, &candidate.item.attrs));
        if found.is_none() {
            self.errors.push(diag::method_under_other_cfg(link, method.name()));
        }
        found
    }

    fn phase(&mut self, method: &'a Method, context: &str, action: &Action) -> Option<Phase> {
        let mut unheard = Errors::default();
        let first_time = self.checked.insert(method.name());
        let errors = if first_time { &mut *self.errors } else { &mut unheard };

        let inputs = signature::inputs(method, context, errors);
        for input in &inputs.rest {
            check_owned(&input.typed.ty, Position::Recorded, errors);
            refuse_mark(input.mark, errors);
        }
        let output = signature::output(method);
        if output.is_none() {
            errors.push(diag::missing_phase_result(method.name()));
        }
        let context = referent(&inputs.context?.ty).clone();
        if !self.same_arguments(method, &inputs, action) {
            return None;
        }
        let mut types: Vec<Type> = inputs.rest.iter().map(|input| (*input.typed.ty).clone()).collect();
        let given = types.pop()?;
        Some(Phase {
            method: method.name().clone(),
            context,
            arguments: types,
            given,
            output: output?.clone(),
        })
    }

    /// Whether number and names agree with the try's; of the types, the compiler is the judge.
    fn same_arguments(&mut self, method: &Method, inputs: &Inputs<'_>, action: &Action) -> bool {
        let expected: Vec<&Ident> = action.recorded().map(|argument| &argument.name).collect();
        let listed = || {
            let names = expected.iter().map(|name| format!("`{name}`, "));
            format!("{}and last what came of the try", names.collect::<String>())
        };
        let names: Vec<_> = inputs.rest.iter().map(|input| input.name()).collect();
        let known = |name: &Ident| expected.iter().any(|expected| same_name(expected, name));

        if names.len() > expected.len() + 1 {
            let before_last = &names[..names.len() - 1];
            let stranger = before_last.iter().position(|name| name.is_some_and(|name| !known(name)));
            let surplus = &inputs.rest[stranger.unwrap_or(expected.len())];
            self.errors.push(diag::too_many_arguments(surplus.typed, method.name(), &listed()));
            return false;
        }
        if names.len() < expected.len() + 1 {
            self.errors.push(diag::too_few_arguments(&method.item.sig.inputs, method.name(), &listed()));
            return false;
        }
        for (index, (name, place)) in names.iter().zip(&expected).enumerate() {
            if let Some(name) = name
                && !same_name(name, place)
                && known(name)
            {
                let pattern = &inputs.rest[index].typed.pat;
                self.errors.push(diag::argument_order(pattern, &name.to_string(), &listed()));
                return false;
            }
        }
        true
    }
}

/// Whether two arguments are meant to be one; an unused one may begin with an underscore.
fn same_name(one: &Ident, other: &Ident) -> bool {
    let (one, other) = (one.unraw().to_string(), other.unraw().to_string());
    one.trim_start_matches('_') == other.trim_start_matches('_')
}

fn copied(attributes: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    attributes
        .iter()
        .filter(|attribute| names.iter().any(|name| attribute.path().is_ident(name)))
        .cloned()
        .collect()
}

fn conditions(attributes: &[Attribute]) -> HashSet<String> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .map(|attribute| attribute.meta.to_token_stream().to_string())
        .collect()
}

/// Whether what stands under `inner` exists wherever what stands under `outer` does.
fn is_under(outer: &[Attribute], inner: &[Attribute]) -> bool {
    conditions(inner).is_subset(&conditions(outer))
}

/// Two actions of one name may be alternatives under different conditions, of which the compiler picks one.
fn are_alternatives(one: &[Attribute], other: &[Attribute]) -> bool {
    let (one, other) = (conditions(one), conditions(other));
    !one.is_empty() && !other.is_empty() && one != other
}

fn check_duplicates(
    attribute: &ParticipantAttribute,
    actions: &[Action],
    methods: &[Method],
    errors: &mut Errors,
) {
    let tries: Vec<_> = methods.iter().filter_map(|method| method.try_attribute.as_ref()).collect();
    for (index, (action, declared)) in actions.iter().zip(&tries).enumerate() {
        let repeats = actions[..index].iter().any(|earlier| {
            earlier.name == action.name
                && earlier.version == action.version
                && !are_alternatives(&earlier.cfgs, &action.cfgs)
        });
        if repeats {
            let at = match (&declared.version, &declared.name) {
                (_, Given::Value((_, at))) => *at,
                (Some((_, at)), _) => *at,
                _ => action.method.span(),
            };
            let participant = attribute.name.value().map(|name| format!("{name}.")).unwrap_or_default();
            errors.push(diag::duplicate_action(
                at,
                &format!("{participant}{}@{}", action.name, action.version),
            ));
        }
    }
}
