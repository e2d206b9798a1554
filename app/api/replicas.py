"""What replicas know of each other: their sockets, and the metrics of all."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from app.service.service import Service

_SECONDS = 2.0
"""Timeout for one replica's response: less than Prometheus's own timeout."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """The Unix sockets in `folder` on which `count` replicas answer health checks and scrapes."""

    folder: Path
    count: int

    def socket(self, index: int) -> Path:
        """The socket's path of replica `index`."""
        return self.folder / f"{index}.sock"


class ScrapeOfAll:
    """The metrics of every replica, each with its number as the label `replica`.

    They are not summed here: a replica that is replaced starts its counters at zero, and Prometheus would treat the
    drop of a sum as a reset of all of them, and count the others a second time.
    """

    def __init__(self, replicas: Replicas, own: int, service: Service) -> None:
        """This process is replica `own` and runs `service`."""
        self._replicas = replicas
        self._own = own
        self._service = service

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """See Scrape; `lapsrn_replica_up` is 0 for replicas that did not answer."""
        texts = await asyncio.gather(*map(self._text, range(self._replicas.count)))
        return await asyncio.to_thread(merged, texts, accept)

    async def _text(self, index: int) -> str | None:
        if index == self._own:
            self._service.measure()
            return self._service.metrics.expose("")[0].decode()
        transport = httpx.AsyncHTTPTransport(uds=str(self._replicas.socket(index)))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=_SECONDS) as client:
                response = await client.get("/metrics")
        except httpx.HTTPError:
            return None
        return response.text if response.status_code == 200 else None


class _Families(Collector):
    """A collector of metrics that were collected elsewhere."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yields these metrics."""
        yield from self._families


def merged(texts: Iterable[str | None], accept: str) -> tuple[bytes, str]:
    """The expositions of all replicas as one, and its content type; None stands for one that did not answer."""
    up = GaugeMetricFamily("lapsrn_replica_up", "1 for every replica that answers", labels=["replica"])
    families: dict[str, Metric] = {up.name: up}
    for index, text in enumerate(texts):
        up.add_metric([str(index)], float(text is not None))
        for family in text_string_to_metric_families(text or ""):
            into = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            into.samples += [_labelled(sample, str(index)) for sample in family.samples]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families.values()))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _labelled(sample: Sample, replica: str) -> Sample:
    return sample._replace(labels={**sample.labels, "replica": replica})
