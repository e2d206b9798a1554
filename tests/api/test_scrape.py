"""The metrics of several replicas in one answer."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from app.api.replicas import merged
from app.assembly import build_metrics


def exposed(pixels: int) -> str:
    metrics = build_metrics()
    metrics.pixels(pixels, 16 * pixels)
    metrics.stage("decode", 0.5)
    return metrics.expose("")[0].decode()


@pytest.mark.parametrize(
    ("accept", "parse"), [("", parse_text), ("application/openmetrics-text; version=1.0.0", parse_openmetrics)]
)
def test_every_sample_says_whose_it_is(accept: str, parse: object) -> None:
    body, content_type = merged([exposed(3), None, exposed(5)], accept)
    assert ("openmetrics" in content_type) is bool(accept)
    families = {family.name: family for family in parse(body.decode())}  # type: ignore[operator]
    up = {sample.labels["replica"]: sample.value for sample in families["lapsrn_replica_up"].samples}
    assert up == {"0": 1.0, "1": 0.0, "2": 1.0}
    pixels = {
        (sample.labels["replica"], sample.labels["direction"]): sample.value
        for sample in families["lapsrn_pixels"].samples
    }
    assert pixels == {("0", "in"): 3.0, ("0", "out"): 48.0, ("2", "in"): 5.0, ("2", "out"): 80.0}
    stages = families["lapsrn_stage_duration_seconds"]
    assert (stages.type, {sample.labels["replica"] for sample in stages.samples}) == ("histogram", {"0", "2"})
