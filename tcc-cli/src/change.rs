//! Changing transactions, one or many: what is changed is fixed before the first change, at a limited rate, and what
//! fails is listed.

use std::time::Duration;

use serde::Serialize;
use tcc_core::{
    Gid,
    machine::{Answer, Change, Operate, Operated, Refusal, Sweep},
    record::{Record, TransactionState},
    store::{Store, StoreErrorKind},
};
use tcc_redis::RedisStore;

use crate::{
    args::{Form, Selection},
    commands::list,
    connect,
    exit::{Code, Failure, Outcome},
    find::{Bounds, find},
    lookup,
    operator::Operator,
    output::{Screen, paint::Tone},
    situation::World,
    view::Summary,
};

/// Open transactions looked through for those that a filter selects.
const LOOKED_MAX: usize = 1_000_000;

/// What came of a change.
#[derive(Serialize)]
struct Done {
    kind: &'static str,
    gid: String,
    change: &'static str,
    /// Whether it changed anything; not if it stood so before.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    branches: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<TransactionState>,
}

/// A change that was not made.
#[derive(Serialize)]
struct Failed {
    kind: &'static str,
    gid: String,
    error: String,
    code: u8,
}

/// Changes of one command.
pub(crate) struct Changes<'a> {
    pub(crate) store: &'a RedisStore,
    pub(crate) screen: &'a mut Screen,
    pub(crate) operator: Operator,
}

impl Changes<'_> {
    /// Makes a change to what was selected: by ids at once, by filters only with `--yes`.
    pub(crate) async fn run(&mut self, selection: &Selection, verb: &str, change: &Change) -> Outcome {
        let limit = selection.limit as usize;
        if selection.gids.is_empty() && !selection.filter.is_set() {
            let words = "which? Name ids, or filters such as --parked --participant NAME; see `tccctl list`";
            return Err(Failure::said(Code::Usage, words));
        }
        if !selection.gids.is_empty() {
            if selection.filter.is_set() {
                return Err(Failure::said(Code::Usage, "ids and filters exclude each other"));
            }
            let gids = lookup::gids(self.store, &selection.gids, limit).await?;
            return self.all(&gids, selection.rate, change).await;
        }
        let bounds = Bounds { found_max: limit + 1, looked_max: LOOKED_MAX };
        let found = find(self.store, &selection.filter, None, bounds).await?;
        let mut summaries = found.summaries;
        summaries.retain(|summary| is_candidate(summary, change));
        if summaries.len() > limit || found.next.is_some() {
            let words =
                format!("more than {limit} transactions are selected; narrow the filter, or raise --limit");
            return Err(Failure::said(Code::Refused, words));
        }
        if !selection.yes {
            self.screen.list("plan", &summaries, None, list::table)?;
            let words = format!("dry run: {} would be {verb}; add --yes to do it", counted(summaries.len()));
            self.screen.say(Tone::Warning, words);
            return Ok(Code::Done);
        }
        let gids: Vec<Gid> = summaries.iter().filter_map(|summary| summary.gid.parse().ok()).collect();
        self.all(&gids, selection.rate, change).await
    }

    async fn all(&mut self, gids: &[Gid], rate: u32, change: &Change) -> Outcome {
        let world = connect::world(self.store).await?;
        let pause = Duration::from_secs(1) / rate.max(1);
        let (mut done, mut failed): (Vec<Done>, Vec<Failed>) = (Vec::new(), Vec::new());
        for (place, gid) in gids.iter().enumerate() {
            if place > 0 {
                tokio::time::sleep(pause).await;
            }
            match self.one(gid, change, &world).await {
                Ok(one) => {
                    let told = self.tell(&one);
                    done.push(one);
                    if let Err(Failure::Closed) = told {
                        let words =
                            format!("nobody reads any more: stopped after {} of {}", place + 1, gids.len());
                        self.screen.say(Tone::Bad, words);
                        return Ok(if place + 1 == gids.len() { Code::Done } else { Code::Findings });
                    }
                    told?;
                }
                Err(failure) if gids.len() == 1 => return Err(failure),
                // Whatever comes now would fail alike.
                Err(failure @ (Failure::Closed | Failure::Output(_))) => return Err(failure),
                Err(failure) if matches!(failure.code(), Code::Unreachable | Code::Misfit) => {
                    let words = format!(
                        "stopped at {gid}, whose change may have been made: {} of {} were tried. The same command goes on",
                        place + 1,
                        gids.len()
                    );
                    self.screen.say(Tone::Bad, words);
                    return Err(failure);
                }
                Err(failure) => {
                    self.screen.say(Tone::Bad, format!("failed: {failure}"));
                    let (error, code) = (failure.to_string(), failure.code() as u8);
                    failed.push(Failed { kind: "failure", gid: gid.to_string(), error, code });
                }
            }
        }
        self.sum_up(gids.len(), &done, &failed)
    }

    /// One line for each as it is done, so that a command that is stopped has told how far it came.
    fn tell(&mut self, done: &Done) -> Outcome<()> {
        match self.screen.form {
            Form::Table => {
                let Done { gid, change, changed, branches, .. } = done;
                let so_before = if *changed { "" } else { " before" };
                let branches = branches.map_or_else(String::new, |count| match count {
                    1 => ", 1 branch".to_owned(),
                    _ => format!(", {count} branches"),
                });
                self.screen.line(format!("{change}{so_before}: {gid}{branches}"))?;
                self.screen.flush()
            }
            Form::Jsonl => self.screen.document(done),
            Form::Json => Ok(()),
        }
    }

    fn sum_up(&mut self, all: usize, done: &[Done], failed: &[Failed]) -> Outcome {
        match self.screen.form {
            Form::Table => {}
            Form::Jsonl => {
                for failed in failed {
                    self.screen.document(failed)?;
                }
            }
            Form::Json => {
                let document = serde_json::json!({ "kind": "changes", "items": done, "failures": failed });
                self.screen.document(&document)?;
            }
        }
        if all != 1 {
            let words = format!("{} done, {} failed", done.len(), failed.len());
            self.screen.say(if failed.is_empty() { Tone::Faint } else { Tone::Bad }, words);
        }
        Ok(if failed.is_empty() { Code::Done } else { Code::Findings })
    }

    async fn one(&self, gid: &Gid, change: &Change, world: &World) -> Outcome<Done> {
        let Operator { by, why } = self.operator.clone();
        let operate = Operate { by: by.clone(), why, change: change.clone() };
        let applied = match self.store.apply(gid, &operate.into()).await {
            Ok(applied) => applied,
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                let words = format!(
                    "{gid} cannot be read: {error}. Mend the field, as docs/src/inspect-with-redis-cli.md tells, then: tccctl retry {gid} \
                     --reason ..."
                );
                return Err(Failure::said(Code::Unreadable, words));
            }
            Err(error) => return Err(error.into()),
        };
        let operated = match applied.result {
            Ok(Answer::Operated(operated)) => operated,
            Ok(_) => {
                return Err(Failure::said(Code::Other, format!("{gid}: the store answered something else")));
            }
            Err(refusal) if is_retry(change) && self.is_listed_unreadable(gid).await? => {
                return self.look_again(gid, refusal).await;
            }
            Err(Refusal::NotFound) => return Err(lookup::unknown(self.store, gid)),
            Err(refusal) => return Err(Failure::Refused { gid: gid.clone(), refusal }),
        };
        self.warn_of_hostless(gid, world).await?;
        let done = |change, changed, branches, state| Done {
            kind: "change",
            gid: gid.to_string(),
            change,
            changed,
            branches,
            state,
        };
        Ok(match operated {
            Operated::Cancelled { changed, .. } => done("cancelled", changed, None, None),
            Operated::Redriven(count) => done("retried", true, Some(count), None),
            Operated::Resolved { state, changed } => done("resolved", changed, None, Some(state)),
            _ => done("changed", true, None, None),
        })
    }

    async fn is_listed_unreadable(&self, gid: &Gid) -> Outcome<bool> {
        Ok(self.store.inspect().unreadable(gid.shard()).await?.contains_key(gid.as_str()))
    }

    /// A record that was mended is taken from the list of unreadable ones, and goes on.
    async fn look_again(&self, gid: &Gid, refusal: Refusal) -> Outcome<Done> {
        if refusal == Refusal::NotFound {
            return Err(lookup::unknown(self.store, gid));
        }
        let swept = self.store.apply(gid, &Sweep { by: self.operator.by.clone() }.into()).await?;
        swept.result.map_err(|refusal| Failure::Refused { gid: gid.clone(), refusal })?;
        let state = self.store.load(gid).await?.map(|record| record.state);
        Ok(Done {
            kind: "change",
            gid: gid.to_string(),
            change: "read again",
            changed: true,
            branches: None,
            state,
        })
    }

    /// What is set going and hosted by nobody stays where it is.
    async fn warn_of_hostless(&self, gid: &Gid, world: &World) -> Outcome<()> {
        let record: Option<Record> = self.store.load(gid).await.unwrap_or_default();
        let mut actions: Vec<String> = Vec::new();
        for branch in record.iter().flat_map(|record| &record.branches) {
            let action = branch.action.to_string();
            if branch.is_drivable() && !world.hosts(&branch.action) && !actions.contains(&action) {
                actions.push(action);
            }
        }
        if !actions.is_empty() {
            let words = format!(
                "warning: no live process hosts {}: {gid} waits for one; see `tccctl nodes`",
                actions.join(", ")
            );
            self.screen.say(Tone::Warning, words);
        }
        Ok(())
    }
}

fn is_retry(change: &Change) -> bool {
    matches!(change, Change::Redrive { .. })
}

/// Whether a change selected by a filter is for this one at all.
fn is_candidate(summary: &Summary, change: &Change) -> bool {
    match change {
        Change::Cancel => summary.decision.is_none() && summary.state == "trying",
        Change::Redrive { .. } => summary.branches_parked > 0,
        Change::Resolve { .. } => false,
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 transaction".into() } else { format!("{count} transactions") }
}
