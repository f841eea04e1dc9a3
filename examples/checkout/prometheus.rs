//! What the runtime measures, for a Prometheus to scrape. The recorder is installed before the runtime starts, which
//! takes its handles then.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tcc::metrics::{BUCKETS_SECONDS, METRICS, MetricKind};

/// Serves metrics from now on, and gives where: of port 0 any free one is made.
pub(crate) fn serve(at: SocketAddr) -> Result<SocketAddr, Box<dyn Error>> {
    let at = match at.port() {
        0 => TcpListener::bind(at)?.local_addr()?,
        _ => at,
    };
    let mut exporter = PrometheusBuilder::new().with_http_listener(at);
    for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), BUCKETS_SECONDS)?;
    }
    exporter.install()?;
    Ok(at)
}
