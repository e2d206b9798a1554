"""Rules and their cases, by Prometheus' own promtool."""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from app.api.problems import INTERNAL, KINDS
from app.metrics import Metrics

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def rules(name: str) -> list[dict[str, Any]]:
    """Those of one file."""
    groups = yaml.safe_load((PROMETHEUS / "rules" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts.yml")


def promtool(*arguments: str | Path) -> str:
    """promtool's output; the test is skipped where promtool is not installed."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_valid() -> None:
    out = promtool("check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml")))
    assert re.findall(r"SUCCESS: (\d+) rules found", out) == [str(len(ALERTS)), str(len(rules("recording.yml")))]


def test_configuration_is_valid(tmp_path: Path) -> None:
    config = (PROMETHEUS / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(config.replace("/etc/prometheus/rules", str(PROMETHEUS / "rules")))
    out = promtool("check", "config", tmp_path / "prometheus.yml")
    assert "2 rule files found" in out


@pytest.mark.parametrize("cases", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_rules_pass_their_test_cases(cases: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", cases)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(alert: str) -> None:
    files = [yaml.safe_load(path.read_text()) for path in (PROMETHEUS / "tests").glob("*.yml")]
    fires = {
        bool(case["exp_alerts"])
        for group in chain.from_iterable(file["tests"] for file in files)
        for case in group.get("alert_rule_test", [])
        if case["alertname"] == alert
    }
    assert fires == {True, False}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert page == "docs/operations.md"
    assert anchor == str(rule["alert"]).lower()
    assert f"### {rule['alert']}\n" in OPERATIONS.read_text()


def test_limits_on_durations_are_bounds_of_buckets() -> None:
    """Within a bucket, a quantile is a guess: pictures of 11 s each had a p99 of 29.8 s."""
    limits = [float(limit) for rule in ALERTS for limit in re.findall(r"p99_5m > ([0-9.]+)", rule["expr"])]
    metrics = Metrics(CollectorRegistry())
    metrics.request("/upscale", "POST", 200, 1.0)
    labels = {"route": "/upscale", "method": "POST", "status": "2xx"}
    assert limits
    for limit in limits:
        bucket = metrics.registry.get_sample_value(
            "lapsrn_http_request_duration_seconds_bucket", labels | {"le": str(limit)}
        )
        assert bucket == 1.0, f"there is no bucket up to {limit} s"


def test_outcomes_of_pictures_that_rules_count_start_at_zero() -> None:
    """The first increase of a counter that appears with 1 is not seen."""
    registry = Metrics(CollectorRegistry()).registry
    failures = {kind.status for kind in (*KINDS.values(), INTERNAL) if kind.status >= 500}
    for status in {200, 202} | failures:
        labels = {"route": "/upscale", "method": "POST", "status": str(status)}
        assert registry.get_sample_value("lapsrn_http_requests_total", labels) == 0.0, status
