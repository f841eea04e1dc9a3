//! Handles of the `metrics` facade; nothing at all without the feature.

use super::Metric;

macro_rules! instrument {
    ($(#[$doc:meta])* $name:ident, $register:ident, $method:ident($value:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $name {
            #[cfg(feature = "metrics")]
            handle: ::metrics::$name,
        }

        impl $name {
            /// Registers a series with the recorder that is installed now. The labels are the metric's, in its order.
            #[allow(unused_variables, reason = "without the feature there is nothing to register with")]
            pub(super) fn new(metric: &Metric, labels: &[&str]) -> Self {
                Self {
                    #[cfg(feature = "metrics")]
                    handle: ::metrics::with_recorder(|recorder| {
                        recorder.$register(&facade::key(metric, labels), &facade::METADATA)
                    }),
                }
            }

            #[allow(unused_variables, reason = "without the feature there is nobody to tell")]
            pub(super) fn $method(&self, value: impl FnOnce() -> $value) {
                #[cfg(feature = "metrics")]
                self.handle.$method(value());
            }
        }
    };
}

instrument!(
    /// Counts up.
    Counter, register_counter, increment(u64)
);
instrument!(
    /// Stands at a value.
    Gauge, register_gauge, set(f64)
);
instrument!(
    /// A distribution.
    Histogram, register_histogram, record(f64)
);

/// Tells the recorder what the metrics mean.
pub(super) fn describe() {
    #[cfg(feature = "metrics")]
    facade::describe();
}

#[cfg(feature = "metrics")]
mod facade {
    use metrics::{Key, Label, Level, Metadata, Unit};

    use crate::metrics::{METRICS, Metric, MetricKind, MetricUnit};

    pub(super) const METADATA: Metadata<'static> = Metadata::new("tcc", Level::INFO, Some(module_path!()));

    pub(super) fn key(metric: &Metric, labels: &[&str]) -> Key {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let labels = metric.labels.iter().zip(labels);
        let labels: Vec<Label> = labels.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
        Key::from_parts(metric.name, labels)
    }

    pub(super) fn describe() {
        ::metrics::with_recorder(|recorder| {
            for metric in METRICS {
                let unit = match metric.unit {
                    MetricUnit::Count => Unit::Count,
                    MetricUnit::Seconds => Unit::Seconds,
                };
                let (name, meaning) = (metric.name.into(), metric.meaning.into());
                match metric.kind {
                    MetricKind::Counter => recorder.describe_counter(name, Some(unit), meaning),
                    MetricKind::Gauge => recorder.describe_gauge(name, Some(unit), meaning),
                    MetricKind::Histogram => recorder.describe_histogram(name, Some(unit), meaning),
                }
            }
        });
    }
}
