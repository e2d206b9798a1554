"""Rules and their cases, by Prometheus' own promtool."""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

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
