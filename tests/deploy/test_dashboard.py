"""Every query of the dashboard and of the rules asks for metrics and labels that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from app.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "lapsrn.json").read_text())
RULES = [
    rule
    for file in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
TARGETS = {"job", "instance"}
"""Labels that Prometheus itself adds."""


def served() -> dict[str, set[str]]:
    """Sample name -> labels, of everything that the service exposes."""
    registry = CollectorRegistry()
    Metrics(registry)
    ProcessCollector(registry=registry)
    names: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "alertstate"}, "lapsrn_replica_up": {"replica"}}
    for collector in registry._collector_to_names:
        labels = set(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
            for suffix in suffixes:
                names[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return names


def dashboard_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["expr"]


QUERIES = sorted({*dashboard_queries(), *(rule["expr"] for rule in RULES)})
METRIC = re.compile(r"\bprocess_[a-z_]+|\b(?:[a-z_]+:)?lapsrn_[a-z0-9_]+(?::[a-z0-9_]+)?|\bup\b|\bALERTS\b")


@pytest.mark.parametrize("query", QUERIES)
def test_queries_use_existing_metrics_only(query: str) -> None:
    used = set(METRIC.findall(re.sub(r'"[^"]*"', '""', query)))
    assert used
    assert used <= served().keys() | RECORDED


@pytest.mark.parametrize("query", QUERIES)
def test_queries_select_by_existing_labels_only(query: str) -> None:
    for name, selector in re.findall(r"([a-zA-Z_:0-9]+)\{([^}]*)\}", re.sub(r'"[^"]*"', '""', query)):
        labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector))
        known = served().get(name, {"route", "status", "stage"})
        assert labels <= known | TARGETS, f"{name} has no label {labels - known - TARGETS}"


def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served() if name.startswith("lapsrn_")}
    text = " ".join(QUERIES)
    assert {name for name in families if name not in text} == set()


def test_dashboard_queries_parse(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for number, query in enumerate(dashboard_queries())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_workers_of_replicas_that_do_not_answer_are_counted_as_down(tmp_path: Path) -> None:
    """Their series end: what is left must not look like all there is, nor the last value like the present one."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    (panel,) = (panel for panel in DASHBOARD["panels"] if panel["title"] == "Workers up")
    up, of = (target["expr"].replace("$instance", ".*") for target in panel["targets"])
    series = {0: "1x5 stale _x50", 1: "1x15 stale _x40"}
    moments = [(up, "4m", 2), (of, "4m", 2), (up, "12m", 1), (of, "12m", 2), (up, "24m", 0), (of, "24m", 1)]
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'lapsrn_worker_up{{instance="a",replica="{replica}"}}', "values": values}
            for replica, values in series.items()
        ],
        "promql_expr_test": [
            {"expr": expr, "eval_time": moment, "exp_samples": [{"labels": "{}", "value": value}]}
            for expr, moment, value in moments
        ],
    }
    (tmp_path / "cases.yml").write_text(yaml.safe_dump({"tests": [case]}))
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "cases.yml"], capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_series_of_replicas_have_distinct_names() -> None:
    """Queries that keep the label `instance` keep `replica`, too, unless they sum over replicas."""
    named = {
        target["expr"]: target["legendFormat"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
        if "{{instance}}" in target["legendFormat"]
    }
    alike = {query for query, name in named.items() if "{{replica}}" not in name}
    assert {query for query in alike if not re.search(r"by \(instance\)|^instance:", query)} == set()
    assert len(named) > len(alike) > 0


def test_panels_do_not_overlap_and_have_descriptions() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        assert panel["type"] == "row" or panel["description"].endswith(".")
        taken |= cells


def test_panels_use_the_provisioned_data_source() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    assert used == {source["uid"] for source in provisioned["datasources"]}
