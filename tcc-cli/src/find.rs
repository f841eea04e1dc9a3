//! Finding transactions by a filter: pages through an index, bounded.

use tcc_core::{Gid, Timestamp, store::Store};
use tcc_redis::RedisStore;
use tcc_redis::{Cursor, Index};

use crate::{
    args::Filter,
    connect,
    exit::{Code, Failure, Outcome},
    view::Summary,
};

/// Entries of an index looked at in one call.
const PAGE: usize = 500;

/// What a filter found.
pub(crate) struct Found {
    pub(crate) summaries: Vec<Summary>,
    /// Where to go on; absent at the end of the index.
    pub(crate) next: Option<Cursor>,
}

/// How much is wanted and looked at, at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) found_max: usize,
    pub(crate) looked_max: usize,
}

/// The transactions that pass, oldest first, those that are parked in the order of their waiting.
pub(crate) async fn find(
    store: &RedisStore,
    filter: &Filter,
    mut after: Option<Cursor>,
    bounds: Bounds,
) -> Outcome<Found> {
    let now = connect::now(store).await?;
    let world = connect::world(store).await?;
    if let (Some(name), Some(key)) = (&filter.name, &filter.key) {
        let mut summaries = Vec::new();
        if let Some(gid) = store.find(name, key).await? {
            summaries.extend(one(store, &gid, &world, now).await?);
        }
        return Ok(Found { summaries, next: None });
    }
    if let Some(state) = filter.state.iter().find(|state| state.is_final()) {
        let words = format!(
            "what is {state} has no index; ask by its key, `tccctl list --name NAME --key KEY`, or by its whole id, \
             `tccctl show GID`"
        );
        return Err(Failure::said(Code::Usage, words));
    }
    let index = if filter.parked { Index::Parked } else { Index::Open };
    let wanted = of_store(filter, now);
    let (mut summaries, mut looked) = (Vec::new(), 0);
    // Where little passes, pages grow; one that holds more than is wanted is read anew in a smaller one, so that
    // nothing is passed over.
    let mut room = bounds.found_max.min(PAGE);
    loop {
        let left: usize = bounds.found_max - summaries.len();
        let page = store.inspect().list(index, &wanted, after.as_ref(), room).await?;
        looked += page.looked.max(1);
        let rows = page.rows.iter().map(|row| match &row.record {
            Ok(record) => Summary::of(record, &world, now),
            Err(why) => Summary::unreadable(row.gid.as_str(), why),
        });
        let found: Vec<Summary> = rows.filter(|summary| !filter.stuck || summary.stuck).collect();
        if found.len() > left {
            room = left;
            continue;
        }
        room = if 2 * found.len() < room { (2 * room).min(PAGE) } else { room };
        summaries.extend(found);
        after = page.next;
        if after.is_none() || summaries.len() >= bounds.found_max || looked >= bounds.looked_max {
            return Ok(Found { summaries, next: after });
        }
    }
}

async fn one(
    store: &RedisStore,
    gid: &Gid,
    world: &crate::situation::World,
    now: Timestamp,
) -> Outcome<Option<Summary>> {
    match store.load(gid).await {
        Ok(record) => Ok(record.map(|record| Summary::of(&record, world, now))),
        Err(error) if error.kind() == tcc_core::store::StoreErrorKind::Corrupt => {
            Ok(Some(Summary::unreadable(gid.as_str(), &error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}

fn of_store(filter: &Filter, now: Timestamp) -> tcc_redis::Filter {
    let mut wanted = tcc_redis::Filter::default();
    wanted.states.clone_from(&filter.state);
    wanted.name.clone_from(&filter.name);
    wanted.participant.clone_from(&filter.participant);
    wanted.begun_before = filter.older_than.map(|age| now - age);
    wanted.begun_after = filter.younger_than.map(|age| now - age);
    wanted
}
