//! A service beside the one that places orders: confirms and cancels for its participants, as messages come.

use std::collections::BTreeMap;
use std::error::Error;

use crate::opening::Opening;
use crate::place::Place;
use crate::shop::{Role, Selection, Shop};
use crate::store::OpenStore;

/// Serves until `stop` comes; gives what was done, by participant.
pub(crate) async fn serve(
    place: &Place,
    store: &OpenStore,
    opening: &Opening,
    participants: Selection,
    stop: impl Future<Output = ()>,
) -> Result<BTreeMap<&'static str, usize>, Box<dyn Error>> {
    if !store.survives() {
        return Err(
            "a service shares its store with the process that places orders, and the in-memory store cannot \
                    be shared: set REDIS_URL, or install redis-server (or valkey-server)"
                .into(),
        );
    }
    let names = participants.iter().copied().collect::<Vec<_>>().join(", ");
    let role = Role { finishes: participants, places_orders: false, short_leases: false };
    let shop = Shop::open(place, store, opening, &role).await?;
    println!("Serving {names}; Ctrl-C ends it.");
    stop.await;
    Ok(shop.close().await.into_iter().filter(|(name, _)| role.finishes.contains(name)).collect())
}
