"""What Prometheus is told of the journal: its size, what waits in it, and what the receipt is compared by."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from slipway import __version__
from slipway.gateway.usage.journal import Journal


class JournalMetrics:
    """Reads the journal when scraped."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client's Collector."""
        journal, waiting = self._journal, self._journal.waiting()
        info = InfoMetricFamily(
            "slipway_gateway", "This gateway process; `instance` names it in usage records"
        )
        info.add_metric([], {"instance": journal.instance, "version": __version__})
        return (
            info,
            CounterMetricFamily(
                "slipway_usage_records", "Requests whose usage was written to the journal", journal.closed
            ),
            CounterMetricFamily(
                "slipway_usage_unrecorded", "Requests that no record could be written of", journal.unrecorded
            ),
            GaugeMetricFamily(
                "slipway_usage_journal_bytes", "Bytes on disk of the usage journal", waiting.bytes
            ),
            GaugeMetricFamily(
                "slipway_usage_journal_records", "Records that are not in the database yet", waiting.records
            ),
            GaugeMetricFamily(
                "slipway_usage_journal_age_seconds",
                "How long ago all records were in the database; 0 if they are",
                waiting.seconds,
            ),
        )

    def describe(self) -> Iterator[Metric]:
        """See prometheus_client's Collector."""
        return iter(())
