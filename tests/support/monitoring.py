"""A real Prometheus on loopback, with the project's own alert rules at a shorter scale of time."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.support.programs import prometheus_programs
from tests.support.services import Server

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "pulse.rules.yml"
RULE_TESTS = RULES.with_name("pulse.rules.test.yml")
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "pulse.json"
MINUTE_S = 2
"""How long a minute of the rules lasts: `for: 5m` becomes 10 s, a range of 10 minutes 20 s."""
SCRAPE_MS = 500
ASK_TIMEOUT_S = 10


def shortened(rules: str) -> str:
    """Return rules in which each duration and range of whole minutes lasts MINUTE_S seconds a minute."""
    return re.sub(r"((?:for: |\[))(\d+)m\b", lambda match: f"{match[1]}{int(match[2]) * MINUTE_S}s", rules)


class PrometheusServer(Server):
    """A Prometheus that scrapes these targets and evaluates the shortened rules, both every SCRAPE_MS."""

    def __init__(self, *targets: str) -> None:
        super().__init__("prometheus")
        self._targets = targets

    def _prepare(self) -> None:
        super()._prepare()
        (self.folder / "pulse.rules.yml").write_text(shortened(RULES.read_text()))
        every = f"{SCRAPE_MS}ms"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": ["pulse.rules.yml"],
            "scrape_configs": [{"job_name": "pulse", "static_configs": [{"targets": list(self._targets)}]}],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    def _server_command(self) -> tuple[list[str | Path], str]:
        return [
            prometheus_programs() / "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--query.lookback-delta=5s",
        ], "plain"

    def _answers(self) -> bool:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=ASK_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
        return False

    def _ask(self, path: str, **params: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(params)}"
        with urlopen(url, timeout=ASK_TIMEOUT_S) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now."""
        rows: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return rows

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {row["labels"]["alertname"] for row in self._ask("alerts")["alerts"] if row["state"] == "firing"}
