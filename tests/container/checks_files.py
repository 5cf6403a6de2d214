"""The files that start the program somewhere: compose.yaml, render.yaml, the systemd unit, the wheel.

Run by `python -m tests.container`. Its name keeps it out of the suite.
"""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pulse.settings import Settings, environment_name
from tests.container.image import ROOT, run
from tests.support.process import Pulse

SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's, which has a reader of YAML: Compose needs it."""
TO_JSON = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
EXPOSURE_MAX = 15
"""In tenths of systemd's measure from 0 to 10, whose words for up to 2 are its best."""

# Fields of a Blueprint that Render documents, of the kinds of services that ours has.
SERVICE_FIELDS = {"type", "name", "plan", "region", "envVars"}
WEB_FIELDS = SERVICE_FIELDS | {"runtime", "healthCheckPath", "maxShutdownDelaySeconds", "autoDeployTrigger"}
KEY_VALUE_FIELDS = SERVICE_FIELDS - {"envVars"} | {"maxmemoryPolicy", "ipAllowList"}
REGIONS = {"oregon", "ohio", "virginia", "frankfurt", "singapore"}


def read_yaml(text: str) -> Any:
    """Return the content of a YAML text."""
    done = subprocess.run([SYSTEM_PYTHON, "-c", TO_JSON], input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# --- compose.yaml


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services of compose.yaml, with those of the profile, as Compose reads it."""
    text = run("docker-compose", "-f", ROOT / "compose.yaml", "--profile", "monitoring", "config")
    found: dict[str, Any] = read_yaml(text)["services"]
    return found


def test_compose_starts_the_parts_and_keeps_them_up(services: dict[str, Any]) -> None:
    """Each restarts by itself and has a health check, and what may be reached from outside is on this machine alone."""
    assert set(services) == {"pulse", "valkey", "postgres", "prometheus", "grafana"}
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}
    assert [name for name, service in services.items() if name != "pulse" and "healthcheck" not in service] == []
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))
    assert {name for name, service in services.items() if service.get("profiles")} == {"prometheus", "grafana"}
    assert services["pulse"]["read_only"]


def test_composes_settings_are_settings(services: dict[str, Any]) -> None:
    """The program accepts the environment as it is without any variable set."""
    environment = services["pulse"]["environment"]
    settings = Settings.from_environment({name: value or "" for name, value in environment.items()})

    names = {environment_name(spec.name) for spec in fields(Settings)}
    assert names - environment.keys() == {"PULSE_HOST", "PORT", "RENDER_EXTERNAL_HOSTNAME"} | {
        f"PULSE_{name}_PATH" for name in ("SQLITE", "SPOOL", "STATE")
    }, "a setting that compose.yaml does not pass on is ignored without a word"
    assert settings.redis_url
    assert settings.database_url
    assert settings.hosts == ("pulse",)
    scraped = read_yaml((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert settings.operator_bind is not None
    assert scraped[0]["static_configs"] == [{"targets": [f"pulse:{settings.operator_bind[1]}"]}]


def test_what_compose_mounts_of_this_repository_exists(services: dict[str, Any]) -> None:
    """The configuration of Prometheus and Grafana is where compose.yaml takes it from."""
    mounted = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    own = {Path(name) for name in mounted if name.startswith("/")}

    assert len(own) == 3
    assert [path for path in own if not any(path.iterdir())] == []


# --- render.yaml


def test_the_blueprint_has_renders_fields_and_our_settings() -> None:
    """Each field is one of Render's, each value one that the program accepts, and both services are in one region."""
    blueprint = read_yaml((ROOT / "render.yaml").read_text())
    web, key_value = blueprint["services"]
    variables = {variable.pop("key"): variable for variable in web["envVars"]}

    assert set(blueprint) == {"services"}
    assert (web["type"], web["runtime"], key_value["type"]) == ("web", "docker", "keyvalue")
    assert set(web) == WEB_FIELDS
    assert set(key_value) == KEY_VALUE_FIELDS
    assert web["region"] == key_value["region"]
    assert web["region"] in REGIONS
    assert web["healthCheckPath"] == "/healthz"
    assert variables.pop("DATABASE_URL") == {"sync": False}
    assert variables.pop("PULSE_OPERATOR_TOKEN") == {"generateValue": True}
    assert variables.pop("REDIS_URL") == {
        "fromService": {"type": "keyvalue", "name": key_value["name"], "property": "connectionString"}
    }
    assert Settings.from_environment({name: variable["value"] for name, variable in variables.items()})


# --- the systemd unit


def test_the_unit_is_right_and_confined(tmp_path: Path) -> None:
    """Systemd finds no fault in it, and its measure of what a service is exposed to is low."""
    text = (ROOT / "deploy" / "pulse.service").read_text()
    unit = tmp_path / "pulse.service"
    unit.write_text(text.replace("/opt/pulse/bin/python", SYSTEM_PYTHON))

    assert "ExecStart=/opt/pulse/bin/python -m pulse\n" in text
    run("systemd-analyze", "verify", "--man=no", unit)
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)


# --- the wheel


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install the wheel and the locked packages in a new environment; return its program."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = [str(tmp_path / "venv/bin/pip"), "install", "-q"]
    run(*pip, "--require-hashes", "-r", ROOT / "requirements.lock")
    run(*pip, "--no-deps", "--no-index", *tmp_path.glob("*.whl"))
    return tmp_path / "venv/bin/pulse"


async def test_the_wheel_runs_the_demo_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    """With the locked packages and nothing else: the page is served, and the SQL fills a database of its own."""
    folder = tmp_path / "run"
    folder.mkdir()

    async with InstalledPulse(installed, folder) as pulse:
        await pulse.until_live()
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000"), lambda rows: len(rows) > 900
        )
        page = await pulse.text("/")
        code = await pulse.stop()

    assert rows[0]["symbol"] == "BTCUSDT"
    assert "<title>" in page
    assert code == 0


class InstalledPulse(Pulse):
    """The demo of an installed wheel, which finds nothing of this checkout."""

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__(folder, PYTHONPATH="", PATH=os.defpath)
        self._program = program

    def command(self) -> list[str]:
        """Return the command line."""
        return [str(self._program), "--demo"]
