//! A subscriber that keeps everything it is told.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    metadata: &'static Metadata<'static>,
    pub(crate) parent: Option<u64>,
    pub(crate) follows: Vec<u64>,
    fields: BTreeMap<&'static str, String>,
}

impl Seen {
    /// As it was recorded last; empty if it was not.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Capture {
    spans: Arc<Mutex<Vec<Seen>>>,
    events: Arc<Mutex<Vec<String>>>,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Capture {
    /// The spans of the framework.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.spans.lock().unwrap().clone()
    }

    pub(crate) fn current_name(&self) -> Option<String> {
        let current = ENTERED.with_borrow(|entered| entered.last().copied())?;
        self.spans().into_iter().find(|span| span.id == current).map(|span| span.name.to_owned())
    }

    /// All that was told of spans and events, as text.
    pub(crate) fn everything(&self) -> String {
        format!("{:?} {:?}", self.spans.lock().unwrap(), self.events.lock().unwrap())
    }

    fn with(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
        if let Some(span) = self.spans.lock().unwrap().iter_mut().find(|span| span.id == id.into_u64()) {
            change(span);
        }
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let current = ENTERED.with_borrow(|entered| entered.last().copied());
        let parent = if span.is_contextual() { current } else { span.parent().map(Id::into_u64) };
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        let mut spans = self.spans.lock().unwrap();
        let id = spans.len() as u64 + 1;
        spans.push(Seen {
            id,
            name: span.metadata().name(),
            metadata: span.metadata(),
            parent,
            follows: Vec::new(),
            fields,
        });
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |span| values.record(&mut Fields(&mut span.fields)));
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        self.with(id, |span| span.follows.push(follows.into_u64()));
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.events.lock().unwrap().push(format!("{fields:?}"));
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(place) = entered.iter().rposition(|entered| *entered == id.into_u64()) {
                entered.remove(place);
            }
        });
    }

    fn current_span(&self) -> Current {
        let current = ENTERED.with_borrow(|entered| entered.last().copied());
        let found = self.spans().into_iter().find(|span| Some(span.id) == current);
        found.map_or_else(Current::none, |span| Current::new(Id::from_u64(span.id), span.metadata))
    }
}
