//! Finding the transaction that is meant, by its id or how it begins.

use std::io::{BufRead, Read};

use tcc_core::{Gid, store::Store};
use tcc_redis::RedisStore;

use crate::exit::{Code, Failure, Outcome};

/// Ids named when several begin alike.
const NAMED_MAX: usize = 10;
/// Of standard input, for each id, on average.
const LINE_BYTES_MAX: u64 = 1_024;

/// The id that is meant: a whole one as it is, a beginning if one open transaction has it.
pub(crate) async fn gid(store: &RedisStore, text: &str) -> Outcome<Gid> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    let plausible =
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if text.is_empty() || text.len() >= 25 || !plausible {
        let words = format!(
            "`{}` is no id of a transaction: 22 letters and digits, `-`, and two digits",
            text.escape_debug()
        );
        return Err(Failure::said(Code::Usage, words));
    }
    let found = store.inspect().by_prefix(text, NAMED_MAX + 1).await?;
    match found.as_slice() {
        [] => Err(Failure::said(
            Code::NotFound,
            format!(
                "no open transaction's id begins with {text}; one that is over is found by its whole id, or by \
                 `tccctl list --name NAME --key KEY`"
            ),
        )),
        [gid] => Ok(gid.clone()),
        several => {
            let mut words = format!("{text} is ambiguous; it may be");
            several.iter().take(NAMED_MAX).for_each(|gid| words.push_str(&format!("\n  {gid}")));
            if several.len() > NAMED_MAX {
                words.push_str("\n  and more");
            }
            Err(Failure::said(Code::Ambiguous, words))
        }
    }
}

/// The ids that are meant, each once, in the order given; `-` stands for the lines of standard input.
pub(crate) async fn gids(store: &RedisStore, texts: &[String], max: usize) -> Outcome<Vec<Gid>> {
    let mut wanted: Vec<String> = Vec::new();
    for text in texts {
        if text == "-" {
            let input = std::io::stdin().lock().take((max as u64 + 1) * LINE_BYTES_MAX);
            for line in input.lines().take(max + 1) {
                let line =
                    line.map_err(|error| Failure::said(Code::Other, format!("standard input: {error}")))?;
                wanted.extend(line.split_whitespace().next().map(str::to_owned));
            }
        } else {
            wanted.push(text.clone());
        }
    }
    if wanted.len() > max {
        return Err(Failure::said(
            Code::Refused,
            format!("more than {max} ids; raise --limit or split them"),
        ));
    }
    let mut gids: Vec<Gid> = Vec::with_capacity(wanted.len());
    for text in wanted {
        let gid = gid(store, &text).await?;
        if !gids.contains(&gid) {
            gids.push(gid);
        }
    }
    Ok(gids)
}

/// What is said where there is no record.
pub(crate) fn unknown(store: &RedisStore, gid: &Gid) -> Failure {
    let elsewhere = if gid.shard() >= store.shards() { "; its shard is not of this namespace" } else { "" };
    Failure::said(
        Code::NotFound,
        format!("{gid} is not known: it never began here, or its retention is over{elsewhere}"),
    )
}
