//! A process of the shop: the participants it hosts, and the runtime around them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tcc::store::Store;
use tcc::{BusinessKey, Name, Runtime};

use crate::books::Books;
use crate::checkout;
use crate::inventory::{self, Inventory};
use crate::loyalty::{self, Loyalty};
use crate::opening::Opening;
use crate::payment::{self, Payment};
use crate::place::Place;
use crate::store::OpenStore;
use crate::tally::Tally;

pub(crate) const PARTICIPANTS: [&str; 3] = [inventory::BOOKS, payment::BOOKS, loyalty::BOOKS];

/// Participants of this process, by name.
pub(crate) type Selection = BTreeSet<&'static str>;

/// What a process is for.
pub(crate) struct Role {
    /// Participants whose confirms and cancels run here.
    pub(crate) finishes: Selection,
    /// Whether orders are placed here, so that every participant is tried here.
    pub(crate) places_orders: bool,
    /// Whether a death of this process is noticed within two seconds, for a person who watches.
    pub(crate) short_leases: bool,
}

pub(crate) struct Shop {
    pub(crate) runtime: Runtime,
    pub(crate) tally: Arc<Tally>,
    books: Vec<Books>,
}

impl Shop {
    pub(crate) async fn open(
        place: &Place,
        store: &OpenStore,
        opening: &Opening,
        role: &Role,
    ) -> Result<Self, Box<dyn Error>> {
        let directory = place.path();
        let tally = Arc::new(Tally::default());
        let mut books = Vec::new();
        // Gauges of a run that takes seconds must not wait for the next quarter of a minute.
        let mut builder = store.builder().survey_interval(Duration::from_secs(1));
        if role.short_leases {
            builder = builder
                .lease(Duration::from_millis(1_500))
                .drive_lease(Duration::from_secs(2))
                .sweep_interval(Duration::from_millis(100));
        }
        {
            // Two processes that lay out the same books at the same time would lock each other out.
            let _alone = place.alone()?;
            let here = |name| role.places_orders || role.finishes.contains(name);
            if here(inventory::BOOKS) {
                let inventory = Inventory::open(directory, &opening.stock, Arc::clone(&tally)).await?;
                books.push(inventory.books().clone());
                builder = builder.participant(inventory);
            }
            if here(payment::BOOKS) {
                let payment = Payment::open(directory, &opening.cards, Arc::clone(&tally)).await?;
                books.push(payment.books().clone());
                builder = builder.participant(payment);
            }
            if here(loyalty::BOOKS) {
                let loyalty = Loyalty::open(directory, Arc::clone(&tally)).await?;
                books.push(loyalty.books().clone());
                builder = builder.participant(loyalty);
            }
        }
        for name in PARTICIPANTS {
            tally.expect(name);
            if role.places_orders && !role.finishes.contains(name) {
                builder = builder.tries_only(name);
            }
        }
        if role.places_orders {
            refuse_forgotten(&*store.store(), &books, place).await?;
        }
        Ok(Self { runtime: builder.start().await?, tally, books })
    }

    /// Hands over what is in flight and closes the books; gives what was done of phase two.
    pub(crate) async fn close(self) -> BTreeMap<&'static str, usize> {
        self.runtime.shutdown().await;
        for books in self.books {
            books.close().await;
        }
        self.tally.attempts()
    }
}

/// An order that the books hold and the store does not know would be charged again: the store is another one than
/// that of the books, or has forgotten it since.
async fn refuse_forgotten(store: &dyn Store, books: &[Books], place: &Place) -> Result<(), Box<dyn Error>> {
    let name = Name::new(checkout::NAME)?;
    let mut orders = BTreeSet::new();
    for books in books {
        orders.extend(books.orders().await?);
    }
    for order in orders {
        if store.find(&name, &BusinessKey::new(&order)?).await?.is_none() {
            return Err(format!(
                "{} holds books already, and this store does not know their order {order}: it would be charged again. \
                 Choose another --data, or the store of the earlier run, while it still remembers",
                place.path().display()
            )
            .into());
        }
    }
    Ok(())
}
