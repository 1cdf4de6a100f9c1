//! What operators watch: counters without user or order numbers in their labels.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
    core::Collector,
    proto::{Metric, MetricFamily},
};

/// All metrics of one process. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub orders_created: IntCounterVec,
    pub settled: IntCounterVec,
    pub notices: IntCounterVec,
    pub notices_dropped: IntCounter,
    pub notice_seconds: Histogram,
    pub gateway_calls: IntCounterVec,
    pub alerts: IntCounterVec,
    pub rate_limited: IntCounterVec,
    pub log_in_failures: IntCounterVec,
    pub pending_queries: IntGauge,
    pub open_work_items: IntGauge,
    pub open_work_items_by_kind: IntGaugeVec,
    pub open_refunds: IntGauge,
    pub unknown_prepays: IntGauge,
    pub unknown_refunds: IntGauge,
    pub writer_queue_percent: IntGauge,
    pub books_clean: IntGauge,
    pub last_audit_at: IntGauge,
    pub last_notice_at: IntGauge,
    pub log_bytes: IntGauge,
}

impl Metrics {
    /// # Errors
    /// Two metrics of one name: a defect of this file.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let open_work_items_by_kind =
            IntGaugeVec::new(Opts::new("open_work_items_by_kind", "Those of one kind"), &["kind"])?;
        registry.register(Box::new(open_work_items_by_kind.clone()))?;
        let notices_dropped =
            IntCounter::new("notify_dropped_total", "Rejected callbacks of a flood, not written down")?;
        registry.register(Box::new(notices_dropped.clone()))?;
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];
        let notice_seconds = Histogram::with_opts(
            HistogramOpts::new("notify_seconds", "From a callback's last byte to its answer")
                .buckets(buckets),
        )?;
        registry.register(Box::new(notice_seconds.clone()))?;
        Ok(Metrics {
            orders_created: counter("orders_created_total", "Orders made", &["channel"])?,
            settled: counter("settle_total", "Verified payments by what they did", &["source", "result"])?,
            notices: counter("notify_total", "Callbacks by verdict", &["provider", "verdict"])?,
            notices_dropped,
            notice_seconds,
            gateway_calls: counter("gateway_calls_total", "Calls to gateways", &["call", "outcome"])?,
            alerts: counter("alerts_total", "Events somebody must look at", &["name"])?,
            rate_limited: counter("rate_limited_total", "Requests turned away", &["limit"])?,
            log_in_failures: counter("login_failures_total", "Wrong names or passwords", &[])?,
            pending_queries: gauge("pending_queries", "Attempts the sweep still asks about")?,
            open_work_items: gauge("open_work_items", "Work items nobody has closed")?,
            open_work_items_by_kind,
            open_refunds: gauge("open_refunds", "Refunds that have not ended")?,
            unknown_prepays: gauge(
                "unknown_prepays",
                "Open attempts asked for 15 minutes ago or longer without a prepay_id",
            )?,
            unknown_refunds: gauge("unknown_refunds", "Refunds sent out that have not ended after 24 hours")?,
            writer_queue_percent: gauge("db_writer_queue_percent", "Share of the write queue in use")?,
            books_clean: gauge("ledger_audit_ok", "1 when the last audit of the books found nothing")?,
            last_audit_at: gauge(
                "last_ledger_audit_seconds",
                "Unix time of the last audit of the books that came to its end",
            )?,
            last_notice_at: gauge(
                "last_authentic_notice_seconds",
                "Unix time of the newest authentic message",
            )?,
            log_bytes: gauge("db_log_bytes", "The write-ahead log beside the file of the books")?,
            registry,
        })
    }

    /// How often each call was made since the start, by its outcome.
    pub fn gateway_calls(&self) -> Vec<(String, String, u64)> {
        let read = |family: MetricFamily| {
            let of = |metric: &Metric, name: &str| {
                let label = metric.get_label().iter().find(|label| label.name() == name);
                label.map(|label| label.value().to_owned()).unwrap_or_default()
            };
            let counted = |metric: &Metric| {
                let (call, outcome) = (of(metric, "call"), of(metric, "outcome"));
                let count = self.gateway_calls.with_label_values(&[call.as_str(), outcome.as_str()]).get();
                (call, outcome, count)
            };
            family.get_metric().iter().map(counted).collect::<Vec<_>>()
        };
        let mut calls: Vec<_> = self.gateway_calls.collect().into_iter().flat_map(read).collect();
        calls.sort_unstable();
        calls
    }

    /// Prometheus text.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(error) => format!("# {error}\n"),
        }
    }
}
