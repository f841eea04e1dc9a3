//! Places in indexes, and pages of what comes after them: by rank and by name, never by looking through a whole one.

use tcc_core::{Timestamp, store::StoreError};

use crate::connect::Link;

/// How often a page is looked for among members of one score whose predecessor is gone.
const TIES_MAX: usize = 64;

/// A member of a sorted set, and its score.
pub(crate) type Member = (String, u64);

/// Where the next page of an index begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// At its beginning.
    #[default]
    Start,
    /// After this member, by score and then by name; in an index of names, by name alone.
    After(Member),
    /// There is none.
    End,
}

fn members(found: Vec<(String, f64)>) -> Vec<Member> {
    found.into_iter().map(|(member, score)| (member, score.max(0.0) as u64)).collect()
}

/// The time a score stands for.
pub(crate) fn moment_of((_, score): &Member) -> Timestamp {
    Timestamp::from_millis(*score)
}

async fn ranked(link: &Link, key: &str, from: usize, max: usize) -> Result<Vec<Member>, StoreError> {
    let mut range = redis::cmd("ZRANGE");
    range.arg(key).arg(from).arg(from.saturating_add(max).saturating_sub(1)).arg("WITHSCORES");
    link.read(&range).await.map(members)
}

/// A page of an index by score.
pub(crate) async fn by_score(
    link: &Link,
    key: &str,
    place: &Place,
    max: usize,
) -> Result<Vec<Member>, StoreError> {
    let after = match place {
        Place::End => return Ok(Vec::new()),
        _ if max == 0 => return Ok(Vec::new()),
        Place::Start => return ranked(link, key, 0, max).await,
        Place::After(after) => after,
    };
    let (member, score) = after;
    let mut look = redis::pipe();
    look.cmd("ZRANK").arg(key).arg(member);
    look.cmd("ZSCORE").arg(key).arg(member);
    look.cmd("ZCOUNT").arg(key).arg("-inf").arg(format!("({score}"));
    look.cmd("ZCOUNT").arg(key).arg("-inf").arg(*score);
    let (rank, found, below, through): (Option<usize>, Option<f64>, usize, usize) = link.query(&look).await?;
    if let Some(rank) = rank.filter(|_| found.is_some_and(|found| found as u64 == *score)) {
        return ranked(link, key, rank + 1, max).await;
    }
    // The member was moved or is gone: members of its score are looked through for those after it.
    let (mut from, mut later) = (below, Vec::new());
    for _ in 0..TIES_MAX {
        let page = ranked(link, key, from, max).await?;
        let count = page.len();
        from += count;
        later.extend(page.into_iter().filter(|(name, at)| (*at, name) > (*score, member)));
        if later.len() >= max || count < max {
            later.truncate(max);
            return Ok(later);
        }
    }
    ranked(link, key, through, max).await
}

/// A page of an index by name, between two bounds as Redis writes them.
pub(crate) async fn by_name(
    link: &Link,
    key: &str,
    place: &Place,
    (from, to): (&str, &str),
    max: usize,
) -> Result<Vec<Member>, StoreError> {
    let after = match place {
        Place::End => return Ok(Vec::new()),
        Place::Start => from.to_owned(),
        Place::After((member, _)) => format!("({member}"),
    };
    let mut range = redis::cmd("ZRANGE");
    range.arg(key).arg(after).arg(to).arg("BYLEX").arg("LIMIT").arg(0).arg(max);
    let names: Vec<String> = link.read(&range).await?;
    Ok(names.into_iter().map(|name| (name, 0)).collect())
}
