"""The deploy files agree with the program and with each other.

What breaks them in practice is drift: a flag renamed, a metric dropped, a file moved. So flags are
looked up in the command's own help, and metrics in what servers and workers really expose. No
container engine is needed, so what only an engine can tell stays unproven here.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prometheus_client import CollectorRegistry

from perdure_host.metrics import ServerMetrics
from perdure_worker.metrics.metrics import WorkerMetrics

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted(DEPLOY.glob("grafana/dashboards/*.json"))
METRIC = re.compile(r"\bperdure_[a-z0-9_]+\b")
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}

Tree = dict[str, Any]


def read_yaml(name: str) -> Tree:
    return cast("Tree", yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))


def compose_services() -> dict[str, Tree]:
    return cast("dict[str, Tree]", read_yaml("compose.yaml")["services"])


def dockerfile_instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    return [(line[0], line[1]) for line in lines if len(line) > 1 and line[0].isupper()]


def unit_text() -> str:
    return (DEPLOY / "perdure.service").read_text(encoding="utf-8")


def unit_command() -> list[str]:
    options = re.search(r'^Environment="PERDURE_OPTIONS=(.*)"$', unit_text(), re.MULTILINE)
    assert options
    return ["server", *shlex.split(options[1])]


def image_command() -> list[str]:
    (command,) = [rest for kind, rest in dockerfile_instructions() if kind == "CMD"]
    return cast("list[str]", json.loads(command))


def exposed(registry: CollectorRegistry) -> set[str]:
    families = list(registry.collect())
    return {family.name + end for family in families for end in SUFFIXES.get(family.type, [""])}


@cache
def help_of(command: str) -> str:
    perdure = Path(sys.executable).parent / "perdure"
    wide = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [str(perdure), command, "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=wide,
    )
    return done.stdout


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda file: str(file.name))
def test_every_yaml_file_parses_to_a_mapping(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict)


def test_compose_runs_the_whole_system() -> None:
    assert set(compose_services()) == {"postgres", "server", "worker", "prometheus", "grafana"}


def test_compose_services_depend_on_services_that_exist_and_say_when_they_are_ready() -> None:
    services = compose_services()
    for service in services.values():
        for name, waits in service.get("depends_on", {}).items():
            built = "build" in services[name]  # the image brings a health check
            ready = waits["condition"] == "service_started" or "healthcheck" in services[name]
            assert ready or built, name


def test_compose_mounts_files_and_volumes_that_exist() -> None:
    volumes = read_yaml("compose.yaml")["volumes"]
    for service in compose_services().values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in volumes or (DEPLOY / source).exists(), mount


def test_compose_publishes_ports_on_loopback_only() -> None:
    ports = [port for service in compose_services().values() for port in service.get("ports", [])]
    assert ports != []
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_compose_worker_serves_an_example_that_exists() -> None:
    worker = compose_services()["worker"]
    mounts = [mount.split(":") for mount in worker["volumes"]]
    program = worker["command"][1]
    found = [
        (DEPLOY / source / program.removeprefix(f"{target}/")).is_file()
        for source, target, *_ in mounts
        if program.startswith(f"{target}/")
    ]
    assert found == [True]


def test_prometheus_scrapes_the_ports_that_the_services_serve() -> None:
    services = compose_services()
    for job in read_yaml("prometheus.yml")["scrape_configs"]:
        for target in job["static_configs"][0]["targets"]:
            service, port = target.split(":")
            command = services[service]["command"]
            assert [
                argument
                for argument in command
                if argument == port or argument.endswith(f":{port}")
            ] != []


@pytest.mark.parametrize(
    "command",
    [
        compose_services()["server"]["command"],
        compose_services()["worker"]["command"],
        image_command(),
        unit_command(),
    ],
    ids=["compose server", "compose worker", "image", "systemd unit"],
)
def test_commands_use_flags_that_the_program_knows(command: list[str]) -> None:
    known = set(re.findall(r"--[a-z][a-z-]*", help_of(command[0])))
    assert {argument for argument in command if argument.startswith("--")} - known == set()


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.stem))
def test_dashboards_ask_for_metrics_that_are_exposed(file: Path) -> None:
    known = exposed(ServerMetrics().registry) | exposed(WorkerMetrics().registry)
    assert set(METRIC.findall(file.read_text(encoding="utf-8"))) - known == set()


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.stem))
def test_dashboards_use_the_provisioned_datasource(file: Path) -> None:
    (source,) = read_yaml("grafana/provisioning/datasources/perdure.yaml")["datasources"]
    panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
    used = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert used == {source["uid"]}


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.stem))
def test_dashboard_panels_are_told_apart_and_do_not_overlap(file: Path) -> None:
    panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_grafana_finds_its_dashboards_where_compose_mounts_them() -> None:
    (provider,) = read_yaml("grafana/provisioning/dashboards/perdure.yaml")["providers"]
    grafana = compose_services()["grafana"]
    mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in grafana["volumes"]}
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert DEPLOY / mounts[provider["options"]["path"]] == DEPLOY / "grafana/dashboards"
    assert (DEPLOY / mounts[str(home.parent)] / home.name).is_file()


def test_the_image_copies_sources_that_exist() -> None:
    copies = [rest.split() for kind, rest in dockerfile_instructions() if kind == "COPY"]
    sources = [source for copy in copies if "--from" not in copy[0] for source in copy[:-1]]
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_image_copies_every_package_and_nothing_that_it_ignores() -> None:
    copies = [rest.split() for kind, rest in dockerfile_instructions() if kind == "COPY"]
    copied = {source.rstrip("/") for copy in copies for source in copy if "--from" not in copy[0]}
    roots = {file.parent.parent.name for file in ROOT.glob("*/perdure*/__init__.py")}
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert roots - copied == set()
    assert roots - {line.removeprefix("!") for line in ignored if line.startswith("!")} == set()


def test_the_image_does_not_run_as_root() -> None:
    (user,) = [rest for kind, rest in dockerfile_instructions() if kind == "USER"]
    assert int(user) > 0


def test_the_images_health_check_is_a_python_program_that_asks_healthz() -> None:
    (check,) = [rest for kind, rest in dockerfile_instructions() if kind == "HEALTHCHECK"]
    python, flag, code = json.loads(check[check.index("[") :])
    compile(code, "HEALTHCHECK", "exec")
    assert (python, flag) == ("python", "-c")
    assert "http://127.0.0.1:7601/healthz" in code


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "perdure.service"
    unit.write_text(unit_text().replace("/opt/perdure/bin/perdure", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_gives_the_server_no_rights_that_it_does_not_need() -> None:
    lines = unit_text().splitlines()
    expected = {"DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes"}
    assert expected - set(lines) == set()
    assert "CapabilityBoundingSet=" in lines
