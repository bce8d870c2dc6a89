"""The files of deploy/ are what their programs take, and say of TinyCDP what is so.

No container engine, Kubernetes, Prometheus or nginx need be there: each file is checked by what its own project
publishes, a schema, a grammar or a list of directives.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compose_spec
import crossplane
import kubernetes_validate
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cli.stack_parts import prefect_environment
from dashboard.console import LOOPBACK
from serving.settings import unknown_settings
from tests.running import RunningStack
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "tinycdp.yaml").read_text()))
PARTS = {"api", "drain", "worker", "console"}
#: What `deploy/.env` must set, and no file may.
SECRETS = {"REDIS_PASSWORD", "TINYCDP_WRITE_KEY", "TINYCDP_READ_KEY", "TINYCDP_ADMIN_KEY"}


def interpolated(text: str, environment: dict[str, str]) -> str:
    """A Compose file with its variables in place. A variable without a default must be set."""

    def value(found: re.Match[str]) -> str:
        name, _, default = found[1].partition(":-")
        name, _, complaint = name.partition(":?")
        return environment[name] if complaint else environment.get(name, default)

    return re.sub(r"(?<!\$)\$\{([^}]*)\}", value, text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of deploy/compose.yaml, as the specification reads them with an environment of random keys."""
    made = subprocess.run(["sh", DEPLOY / "new-env.sh"], capture_output=True, text=True, check=True).stdout
    environment = dict(line.split("=", 1) for line in made.splitlines())
    assert environment.keys() == SECRETS
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in environment.values())
    text = interpolated((DEPLOY / "compose.yaml").read_text(), environment)
    compose = compose_spec.PyOptions(apply_merge=True).from_yaml(text)
    compose.validate()
    merged: dict[str, Any] = yaml.safe_load(text)["services"]
    assert set(compose.service_names()) == set(merged)
    return merged


def test_a_wrong_compose_file_is_seen() -> None:
    """The check is one: a service with a setting that the specification does not have is refused."""
    text = interpolated((DEPLOY / "compose.yaml").read_text(), dict.fromkeys(SECRETS, "secret"))
    wrong = text.replace("stop_grace_period: 60s", "stop_grace_period: soon", 1)

    with pytest.raises(ValueError, match="duration"):
        compose_spec.PyOptions(apply_merge=True).from_yaml(wrong)


def test_compose_has_every_part_once_and_stops_the_drain_after_what_sends_to_it(services: dict[str, Any]) -> None:
    """Nothing is reached from another machine, and no part has a setting that is none."""
    assert services.keys() == PARTS | {"redis", "prefect", "s3"}
    assert {name: services[name]["command"] for name in PARTS} == {name: [name] for name in PARTS}
    assert {name for name in PARTS if "drain" in services[name].get("depends_on", {})} == {"api", "worker"}
    assert list(services["drain"]["depends_on"]) == ["redis"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 5 and all(port.startswith("127.0.0.1:") for port in ports)
    for name in PARTS:
        assert unknown_settings(services[name].get("environment", {})) == []
    console, api = (services[name]["environment"] for name in ("console", "api"))
    assert not any(name.endswith(("KEY", "PASSWORD", "REDIS_URL")) for name in console)
    assert console["TINYCDP_PUBLIC_URL"] == api["TINYCDP_PUBLIC_URL"], "it tells people where to send events"


def test_a_part_of_compose_has_what_it_needs_and_no_more() -> None:
    """The console may not read the lake. Prefect writes its pages where it may, since its image is read-only.

    Rows of a large lake wait on a disk, and not in memory. A part of the lake's has no variable that is empty: an empty
    address would be taken for the store's.
    """
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services["console"]["volumes"] == []
    assert services["prefect"]["volumes"] == ["prefect:/data"]
    assert services["prefect"]["environment"]["PREFECT_UI_STATIC_DIRECTORY"].startswith("/tmp/")
    for name in PARTS - {"console"}:
        environment = services[name]["environment"]
        assert (services[name]["tmpfs"], environment["TMPDIR"]) == (["/tmp"], "/data")
        assert [variable for variable, value in environment.items() if value in ("", f"${{{variable}:-}}")] == []
        assert "AWS_ENDPOINT_URL" in environment  # it is there where .env sets it


def test_prefect_is_set_up_as_under_up(services: dict[str, Any]) -> None:
    """What bounds its records and turns its reports off is what `tinycdp up` gives it."""
    under_up = prefect_environment(Path("/data"), "http://prefect")
    ours = services["prefect"]["environment"]

    bounds = [name for name in under_up if name.startswith(("PREFECT_SERVER", "DO_NOT"))]
    assert {name: ours[name] for name in bounds} == {name: under_up[name] for name in bounds}


@pytest.mark.parametrize("document", KUBERNETES, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_a_manifest_fits_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    """Strictly: no field that the schema does not have. Nobody is root, and no pod may write its image.

    No pod has the variables of services: TINYCDP_CONSOLE_PORT would be an address, and a setting that cannot work.
    """
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    pod = document.get("spec", {}).get("template", {}).get("spec")
    if pod is not None:
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        assert pod["enableServiceLinks"] is False
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] and container["resources"]["limits"]["memory"]


def test_kubernetes_has_every_part_and_the_same_redis() -> None:
    """Services find the pods that they name, and settings are settings."""
    pods = {
        document["spec"]["template"]["metadata"]["labels"]["part"]: document["spec"]["template"]["spec"]["containers"]
        for document in KUBERNETES
        if document["kind"] in ("Deployment", "StatefulSet")
    }
    assert pods.keys() == PARTS | {"redis"}
    assert {part: pods[part][0]["args"] for part in PARTS} == {part: [part] for part in PARTS}
    (host,) = pods["console"][0]["readinessProbe"]["httpGet"]["httpHeaders"]
    assert host["name"] == "Host" and host["value"] in LOOPBACK  # by another name it answers nobody
    selected = {document["spec"]["selector"]["part"] for document in KUBERNETES if document["kind"] == "Service"}
    assert selected == {"api", "console", "redis"}
    settings, redis = (document["data"] for document in KUBERNETES if document["kind"] == "ConfigMap")
    assert "TINYCDP_PUBLIC_URL" in [one["name"] for one in pods["console"][0]["env"]]
    assert redis["redis.conf"] == (DEPLOY / "redis.conf").read_text()
    of_compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]["command"][-1]
    of_compose = of_compose.replace("$$", "$").replace("$TINYCDP_REDIS_MEMORY_MAX", "4gb")
    assert pods["redis"][0]["command"] == ["sh", "-c", of_compose]
    assert unknown_settings(settings) == []
    assert not any(document["kind"] == "Secret" for document in KUBERNETES)


# ── what watches ─────────────────────────────────────────────────────────────────────────────────────────────────


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    (group,) = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def expressions() -> Iterator[str]:
    """Every expression of the alerts and the dashboard."""
    yield from (rule["expr"] for rule in alerts().values())
    for panel in json.loads((DEPLOY / "monitoring" / "grafana-dashboard.json").read_text())["panels"]:
        yield from (target["expr"].replace("$__rate_interval", "1m") for target in panel["targets"])


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_is_one_of_prometheus(expression: str) -> None:
    """By Prometheus' grammar."""
    assert promql_parser.parse(expression) is not None


@pytest.mark.deep
@pytest.mark.xdist_group("stack")
def test_every_metric_that_is_watched_is_there(stack: RunningStack) -> None:
    """On a stack that has rebuilt, and whose answers were compared."""
    watched = {name for expression in expressions() for name in re.findall(r"\btinycdp_\w+", expression)}
    stack.decide("deploy", "no_such_flag")
    stack.json("doctor", ok=False)

    def shown() -> set[str]:
        families = text_string_to_metric_families(stack.call("GET", "/metrics").text)
        return {sample.name for family in families for sample in family.samples}

    assert len(watched) > 20
    wait_until(lambda: "tinycdp_last_rebuild_seconds" in shown(), "the worker has rebuilt")
    assert watched - shown() == set()


def test_the_alerts_are_those_of_the_page() -> None:
    """docs/operations.md says what each means; the file has the same expressions and the same times."""
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page.partition("### Alerts to set")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`( or no scrape)?(?: for (\d+) min)? \|", table, re.M)
    of_page = [
        (f'{expression} or up{{job="tinycdp"}} == 0' if scrape else expression, f"{minutes}m" if minutes else None)
        for expression, scrape, minutes in rows
    ]

    assert [(rule["expr"], rule.get("for")) for rule in alerts().values()] == of_page
    scraped = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yaml").read_text())["scrape_configs"]
    assert [job["job_name"] for job in scraped] == ["tinycdp"]


# ── what starts and what stands before it ────────────────────────────────────────────────────────────────────────


def test_nginx_takes_the_file(tmp_path: Path) -> None:
    """Every directive is known, stands where it may, and has the arguments that it takes."""
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"events {{}}\nhttp {{\n{(DEPLOY / 'proxy' / 'nginx.conf').read_text()}}}\n")

    # The values of a `map` look like directives to it.
    read = crossplane.parse(str(whole), strict=True, ignore=("default", ""))

    assert (read["status"], read["errors"]) == ("ok", [])
    (http,) = (one for one in read["config"][0]["parsed"] if one["directive"] == "http")
    servers = [one["block"] for one in http["block"] if one["directive"] == "server"]
    for server in servers:  # nginx' own log has queries, and keys may stand in them
        assert [one["args"][-1] for one in server if one["directive"] == "access_log"] in (["tinycdp"], ["off"])
    assert [[one["args"][-1] for one in server if one["directive"] == "error_log"] for server in servers] == [
        ["crit"],
        ["crit"],
        [],
    ]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """By systemd's own check where the machine has it. The settings of its example are settings."""
    unit = DEPLOY / "systemd" / "tinycdp@.service"
    assert "\nKillMode=mixed\n" in unit.read_text()  # else the processes beside the API end in the middle of a question
    example = (DEPLOY / "systemd" / "environment.example").read_text()
    assert unknown_settings(re.findall(r"^(\w+)=", example, re.M)) == []
    assert re.findall(r"^TINYCDP_\w*(?:KEY|REDIS_URL)=(.*)$", example, re.M) == [""] * 4

    if (analyze := shutil.which("systemd-analyze")) is not None:
        program = tmp_path / "tinycdp"
        program.touch(mode=0o755)
        tried = tmp_path / unit.name
        tried.write_text(unit.read_text().replace("/opt/tinycdp/bin/tinycdp", str(program)))
        done = subprocess.run([analyze, "verify", tried], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
