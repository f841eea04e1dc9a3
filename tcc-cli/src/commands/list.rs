//! `tccctl list`: transactions, one a line.

use std::time::Duration;

use tcc_redis::RedisStore;

use crate::{
    args::{Form, ListArgs},
    exit::{Code, Failure, Outcome},
    find::{Bounds, find},
    output::{
        Screen,
        paint::Tone,
        table::{Cell, Kind, Table},
        text::duration,
    },
    view::Summary,
};

/// Entries of the index looked at for one answer.
const LOOKED_MAX: usize = 20_000;

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen, args: &ListArgs) -> Outcome {
    let after = args.after.as_deref().map(str::parse).transpose();
    let after = after
        .map_err(|_| Failure::said(Code::Usage, "--after takes what the answer before named as `next`"))?;
    let bounds = Bounds { found_max: args.limit as usize, looked_max: LOOKED_MAX };
    let found = find(store, &args.filter, after, bounds).await?;
    let next = found.next.as_ref().map(ToString::to_string);
    screen.list("transactions", &found.summaries, next.as_deref(), table)?;
    if found.summaries.is_empty() && screen.form == Form::Table {
        let such = if args.filter.is_set() { "no such transaction" } else { "no open transaction" };
        screen.say(Tone::Faint, such);
    }
    if let Some(next) = next {
        screen.say(Tone::Faint, format!("there may be more: add --after {next}"));
    }
    Ok(Code::Done)
}

pub(crate) fn table(summaries: &[Summary]) -> Table {
    let mut table = Table::new(&[
        ("GID", Kind::Left),
        ("NAME", Kind::Optional),
        ("KEY", Kind::Optional),
        ("STATE", Kind::Left),
        ("AGE", Kind::Right),
        ("OPEN", Kind::Optional),
        ("WHAT", Kind::Elastic),
    ]);
    for summary in summaries {
        let age = summary.age_ms.map(|millis| duration(Duration::from_millis(millis))).unwrap_or_default();
        table.row([
            summary.gid.as_str().into(),
            summary.name.as_deref().unwrap_or_default().into(),
            summary.key.as_deref().unwrap_or_default().into(),
            Cell::new(summary.tone(), &summary.state),
            age.into(),
            format!("{}/{}", summary.branches_open, summary.branches_total).into(),
            Cell::new(summary.tone(), &summary.what),
        ]);
    }
    table
}
