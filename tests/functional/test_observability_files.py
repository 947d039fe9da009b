"""Dashboard, alert rules and docs/observability.md speak of the metrics that there are."""

import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from daemon.api.metrics import Metrics
from tests.server import Server

FOLDER = pathlib.Path(__file__).parents[2] / "observability"
ALERTS, DASHBOARD = FOLDER / "alerts.yaml", FOLDER / "dashboard.json"
DOCUMENT = FOLDER.parent / "docs" / "observability.md"
NAME = re.compile(r"\b(?:cellblock|process)_[a-z_]+\b")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus"
)


@pytest.fixture(scope="module")
def kinds(cellblock: Server) -> dict[str, str]:
    """Of each metric, whether it is a counter, a gauge or a histogram."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", cellblock.request("GET", "/metrics").text, re.M))


@pytest.fixture(scope="module")
def series(kinds: dict[str, str]) -> set[str]:
    return {name + suffix for name, kind in kinds.items() for suffix in SUFFIXES[kind]}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    own = [variable["definition"] for variable in board["templating"]["list"] if "definition" in variable]
    return own + [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


def names(text: str) -> set[str]:
    return set(NAME.findall(re.sub(r'"[^"]*"', "", text)))


def test_every_query_of_the_dashboard_asks_for_what_there_is(series: set[str]) -> None:
    asked = [names(query) for query in queries()]
    assert len(asked) > 30 and all(asked)
    assert set().union(*asked) <= series


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_asks_for_what_there_is_and_has_its_reason_and_remedy(
    rule: dict[str, Any], series: set[str]
) -> None:
    assert names(rule["expr"]) <= series
    assert set(rule["annotations"]) == {"summary", "reason", "remedy"}
    assert all(text.strip().endswith(".") for text in rule["annotations"].values())
    assert rule["labels"]["severity"] in ("page", "ticket", "info")


def test_the_document_has_every_metric_and_no_other(kinds: dict[str, str]) -> None:
    listed = {
        name
        for row in re.findall(r"^\| (`(?:cellblock|process)_[^|]*)\|", DOCUMENT.read_text(), re.M)
        for name in NAME.findall(row)
    }
    assert listed == set(kinds)


def test_every_code_that_is_asked_for_is_counted_from_the_start_with_0() -> None:
    """Prometheus sees no increase in a series that begins with 1, so the first failure would be told to nobody."""
    asked = [rule["expr"] for rule in rules()] + queries()
    codes = {code for found in re.findall(r'\bcode=~?"([^"]+)"', " ".join(asked)) for code in found.split("|")}
    assert {"internal_error", "parser_unavailable", "queue_full"} <= codes
    refused = Metrics().registry
    assert {code: refused.get_sample_value("cellblock_refused_total", {"code": code}) for code in codes} == (
        dict.fromkeys(codes, 0)
    )


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then(tmp_path: pathlib.Path) -> None:
    """By Prometheus' own evaluation of made-up series. One single defect is told."""
    series = {
        'cellblock_keeper_up{instance="ill"}': "1x4 0x20",
        'cellblock_keeper_up{instance="well"}': "1x24",
        'cellblock_refused_total{instance="ill",code="internal_error"}': "0x4 1x20",
        'cellblock_refused_total{instance="well",code="unsupported_language"}': "0+9x24",
        'cellblock_pool_parked{instance="ill",pool="python/run"}': "0x24",
        'cellblock_pool_wanted{instance="ill",pool="python/run"}': "6x24",
        'cellblock_pool_parked{instance="well",pool="rust/other"}': "0x24",
        'cellblock_pool_wanted{instance="well",pool="rust/other"}': "0x24",
    }
    fired: dict[str, dict[str, str] | None] = {
        "CellblockKeeperAway": {"severity": "page", "instance": "ill"},
        "CellblockFailsByItself": {"severity": "page", "instance": "ill", "code": "internal_error"},
        "CellblockPoolEmpty": {"severity": "ticket", "instance": "ill", "pool": "python/run"},
        "CellblockTurnsAway": None,
    }
    checks = [
        {
            "eval_time": "3m" if name == "CellblockFailsByItself" else "6m",
            "alertname": name,
            "exp_alerts": [] if labels is None else [{"exp_labels": labels, **_annotations(name, labels)}],
        }
        for name, labels in fired.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": given, "alert_rule_test": checks}],
    }
    (tmp_path / "alerts_test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "alerts_test.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _annotations(alert: str, labels: dict[str, str]) -> dict[str, Any]:
    """As the rule has them, with the labels and the value in place."""
    (rule,) = (rule for rule in rules() if rule["alert"] == alert)
    texts = {}
    for name, text in rule["annotations"].items():
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        texts[name] = re.sub(r"\{\{ \$value [^}]*\}\}", "1", text)
    return {"exp_annotations": texts}
