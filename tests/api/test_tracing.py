"""OpenTelemetry: off by default; when on, one span for each upscale, in the client's trace, without ids of results."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests import pictures
from tests.conftest import Running

FILES = {"image": pictures.png(pictures.gray())}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "get_tracer", lambda *args, **kwargs: provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def test_an_upscale_has_one_span(serve: Running, spans: InMemorySpanExporter) -> None:
    async with serve(tracing=True) as client:
        made = await client.post("/upscale", files=FILES, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
        await client.get(made.headers["content-location"])
        await client.get("/healthz")
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes is not None
    assert {"lapsrn.stage.decode.ms", "lapsrn.stage.infer.ms", "lapsrn.stage.encode.ms"} <= set(span.attributes)
    assert made.headers["x-upscale-id"] not in str(dict(span.attributes))


async def test_there_are_no_spans_by_default(serve: Running, spans: InMemorySpanExporter) -> None:
    async with serve() as client:
        await client.post("/upscale", files=FILES)
    assert spans.get_finished_spans() == ()
