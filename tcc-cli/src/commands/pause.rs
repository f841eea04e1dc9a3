//! `tccctl pause`, `resume` and `paused`: holding back confirms and cancels.

use serde::Serialize;
use tcc_core::{Scope, store::Store};
use tcc_redis::RedisStore;

use crate::{
    args::{Form, PauseArgs},
    connect,
    exit::{Code, Outcome},
    hint::Hint,
    operator::Operator,
    output::{
        Screen,
        paint::Tone,
        table::{Kind, Table},
        text::between,
    },
    situation::World,
};

/// What was done, or stood already.
#[derive(Serialize)]
struct PauseChange {
    kind: &'static str,
    change: &'static str,
    scope: String,
    by: String,
    changed: bool,
}

/// A pause that stands.
#[derive(Serialize)]
struct Standing {
    kind: &'static str,
    scope: String,
    by: String,
    why: String,
    since: String,
    #[serde(skip)]
    age: String,
}

pub(crate) async fn pause(store: &RedisStore, screen: &mut Screen, args: &PauseArgs) -> Outcome {
    let Operator { by, why } = Operator::of(&args.why)?;
    warn_if_unknown(store, screen, &args.scope).await?;
    let changed = store.pause(&args.scope, &by, &why).await?;
    tell(screen, "paused", &args.scope, &by, changed)?;
    if !changed {
        screen.say(
            Tone::Warning,
            format!("{} is paused already; that pause stands, with its reason", args.scope),
        );
    }
    let scope = args.scope.to_string();
    let hint = Hint::changing("", &["resume", &scope]).command;
    screen.say(Tone::Faint, format!("its confirms and cancels wait for: {hint}; handlers that run go on"));
    Ok(Code::Done)
}

pub(crate) async fn resume(store: &RedisStore, screen: &mut Screen, args: &PauseArgs) -> Outcome {
    let Operator { by, why } = Operator::of(&args.why)?;
    let changed = store.resume(&args.scope, &by, &why).await?;
    tell(screen, "resumed", &args.scope, &by, changed)?;
    if !changed {
        screen.say(Tone::Warning, format!("{} was not paused", args.scope));
        let others = store.pauses().await?;
        for pause in others.iter().filter(|pause| overlaps(&pause.scope, &args.scope)) {
            screen.say(Tone::Warning, format!("but {} is", pause.scope));
        }
    }
    warn_if_unknown(store, screen, &args.scope).await?;
    Ok(Code::Done)
}

pub(crate) async fn paused(store: &RedisStore, screen: &mut Screen) -> Outcome {
    let now = connect::now(store).await?;
    let standing = |pause: tcc_core::Pause| Standing {
        kind: "pause",
        scope: pause.scope.to_string(),
        by: pause.by.to_string(),
        why: pause.why.to_string(),
        since: pause.since.to_string(),
        age: between(pause.since, now),
    };
    let pauses: Vec<Standing> = store.pauses().await?.into_iter().map(standing).collect();
    screen.list("pauses", &pauses, None, |pauses| {
        let mut table = Table::new(&[
            ("PAUSED", Kind::Left),
            ("FOR", Kind::Right),
            ("BY", Kind::Left),
            ("WHY", Kind::Elastic),
        ]);
        for pause in pauses {
            table.row([
                pause.scope.as_str().into(),
                pause.age.as_str().into(),
                pause.by.as_str().into(),
                pause.why.as_str().into(),
            ]);
        }
        table
    })?;
    if pauses.is_empty() && screen.form == Form::Table {
        screen.say(Tone::Faint, "nothing is paused");
    }
    Ok(Code::Done)
}

fn tell(
    screen: &mut Screen,
    change: &'static str,
    scope: &Scope,
    by: &tcc_core::Name,
    changed: bool,
) -> Outcome<()> {
    if screen.form == Form::Table {
        let so_before = if changed { "" } else { " before" };
        screen.line(format!("{change}{so_before}: {scope}"))?;
        return screen.flush();
    }
    let (scope, by) = (scope.to_string(), by.to_string());
    screen.document(&PauseChange { kind: "pause_change", change, scope, by, changed })
}

fn overlaps(one: &Scope, other: &Scope) -> bool {
    match (one, other) {
        (Scope::Action(action), scope) | (scope, Scope::Action(action)) => scope.covers(action),
        _ => one == other,
    }
}

/// A pause of what nobody hosts may be a mistyped name.
async fn warn_if_unknown(store: &RedisStore, screen: &Screen, scope: &Scope) -> Outcome<()> {
    let world: World = connect::world(store).await?;
    if !world.live().any(|process| process.actions.iter().any(|action| scope.covers(action))) {
        screen.say(Tone::Warning, format!("warning: no live process hosts {scope}; see `tccctl nodes`"));
    }
    Ok(())
}
