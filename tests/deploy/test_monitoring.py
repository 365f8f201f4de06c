"""Alerts and dashboard speak of figures that exist, and every alert leads to its paragraph."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.store.engine import Store
from orchestrator.telemetry.exposition import render
from orchestrator.telemetry.queues import Waiting
from tests.contract.test_measuring import measurer
from tests.support.migrated import migrated

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
_NAMES = re.compile(r"\borchestrator_\w+")


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def dashboard() -> list[str]:
    """Every expression of the dashboard."""
    panels = json.loads((FOLDER / "grafana-dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """Metric -> name of each sample it may have, from a scrape of an empty database."""
    store = Store(migrated(tmp_path_factory.mktemp("figures") / "store.db"))
    text = render(measurer(store, Waiting({}, 0, 0, 0)).families()).decode()
    endings = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}
    yield {
        family.name: {family.name + ending for ending in endings[family.type]}
        for family in text_string_to_metric_families(text)
    }
    store.close()


def test_expressions_name_only_figures_that_exist(figures: dict[str, set[str]]) -> None:
    known = {name for names in figures.values() for name in names}
    for expression in [*(alert["expr"] for alert in alerts()), *dashboard()]:
        assert set(_NAMES.findall(expression)) <= known, expression


def test_the_dashboard_shows_every_figure(figures: dict[str, set[str]]) -> None:
    shown = {name for expression in dashboard() for name in _NAMES.findall(expression)}
    shown |= {name for alert in alerts() for name in _NAMES.findall(alert["expr"])}
    told_elsewhere = {
        "orchestrator_build_info",
        "orchestrator_batches_open",
        "orchestrator_batch_state",
        "orchestrator_in_flight_held_usd",
        "orchestrator_in_flight_oldest_seconds",
        "orchestrator_unknown_held_usd",
        "orchestrator_urls_unsaved",
        "orchestrator_urls_expired",
    }
    missing = {name for name, samples in figures.items() if not samples & shown}
    assert missing <= told_elsewhere


def test_the_documentation_lists_every_figure(figures: dict[str, set[str]]) -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    for name in figures:
        assert re.search(rf"`{name.removeprefix('orchestrator_')}(_total)?`", page), name


def anchors(page: Path) -> set[str]:
    """As they are made of headings: lower case, hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_leads_to_its_paragraph() -> None:
    known = anchors(ROOT / "docs" / "runbook.md")
    named = set()
    for alert in alerts():
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert page == "docs/runbook.md"
        assert anchor in known, alert["alert"]
        spelled = re.sub(r"(?<!^)([A-Z])", r"-\1", alert["alert"].removeprefix("Orchestrator"))
        assert anchor == spelled.lower()
        named.add(anchor)
    text = (ROOT / "docs" / "runbook.md").read_text()
    paragraphs = re.findall(r"^### (.+?)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    for heading, paragraph in paragraphs:
        if heading in {"Backup", "Restore"}:
            continue
        assert heading.lower().replace(" ", "-") in named, f"no alert leads to {heading}"
        for part in ("**Seen:**", "**Look:**", "**Mend:**", "**At risk:**"):
            assert part in paragraph, (heading, part)


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (the distribution's package prometheus has it)")
    done = subprocess.run(
        [program, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_configuration_and_rules() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_seen_to_fire() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fired = {
        label
        for test in tests
        for expression in test["promql_expr_test"]
        for sample in expression["exp_samples"]
        for label in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {alert["alert"] for alert in alerts()}


def test_promtool_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    expressions = [text.replace("$batch", "a@b") for text in dashboard()]
    rules = [{"record": f"x:{n}", "expr": text} for n, text in enumerate(expressions)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
