"""What the pages of docs tell people to type, typed; and every file that they name, there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tinycdp._settings import _DEFAULTS

from serving.settings import Settings
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]

#: Made by what the page itself says to run.
MADE = {"benchmarks/results.md", ".tinycdp/keys.json"}

SETTINGS = {f"TINYCDP_{name.upper()}": field.default for name, field in Settings.model_fields.items()}
#: The settings of the Python client.
OF_CLIENTS = {f"TINYCDP_{name.upper()}" for name in _DEFAULTS}
#: What the environment may have beside settings: a word of `tinycdp up` to its worker, and what asks more of tests.
BESIDE = {"DEEP", "PREFECT", "EXAMPLES", "PROTOCOL_RUNS", "REQUESTS", "LOAD_S"}


def curls(page: str, heading: str) -> list[str]:
    """The curl commands below a heading of a page."""
    part = (ROOT / "docs" / page).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        line.partition("  #")[0].rstrip()
        for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("curl")
    ]


def typed(stack: RunningStack, command: str) -> str:
    """What a shell prints of one command, with the two words of the README's first block defined."""
    keys = stack.settings.home / "keys.json"
    read = f"import json; print(json.load(open('{keys}'))['$1'])"
    words = f'api={stack.stack.api_url}; key() {{ python3 -c "{read}"; }}; '
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", words + command.replace("curl -s", "curl -sS --fail-with-body")],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_page_on_flags(stack: RunningStack) -> None:
    """A flag with variants as the page has them answers what the page shows."""
    variants = [{"name": "blue", "value": {"colour": "#00f"}}, {"name": "red", "weight": 0}]
    stack.define("flag", "checkout", "true", variants=variants)
    (command,) = curls("flags.md", "Asking")
    found = json.loads(typed(stack, command))

    assert (found["flag"], found["variant"], found["value"]) == ("checkout", "blue", {"colour": "#00f"})


def test_the_page_on_keys(stack: RunningStack) -> None:
    """A key is made, listed and revoked."""
    make, show, revoke = curls("admin.md", "Keys")
    made = json.loads(typed(stack, make))
    listed = json.loads(typed(stack, show))["keys"]
    typed(stack, revoke.replace("KEY_ID", made["id"]))

    assert made["id"] in [one["id"] for one in listed]
    assert stack.http.get(f"/v1/decide?userId=a&flag=b&apiKey={made['key']}").status_code == 401


def test_the_page_on_definitions(stack: RunningStack) -> None:
    """A definition that is not saved is tried, and one that was changed is brought back."""
    first = stack.define("trait", "paged", "events.purchase.count_30d")
    stack.call("PUT", "/v1/admin/traits/paged", json={"expression": "events.purchase.count_7d"})
    try_, back, analyse = (command.replace("orders_30d", "paged") for command in curls("admin.md", "Definitions"))

    assert json.loads(typed(stack, analyse))["analysis"] == "trend"
    assert json.loads(typed(stack, try_)).keys() >= {"count", "total", "sample", "asof"}
    brought = json.loads(typed(stack, back.replace('"version": 1', f'"version": {first["version"]}')))
    assert brought["trait"]["expression"] == "events.purchase.count_30d"


def test_the_page_on_people_and_activity(stack: RunningStack) -> None:
    """A timeline, events as they come in, and what the stack and its flags did: each answers with what is told."""
    stack.track("ada", "paged_seen")
    (timeline,) = curls("admin.md", "People")
    (newest,) = curls("admin.md", "Events as they come in")
    minutes, flags = curls("admin.md", "Activity")

    assert json.loads(typed(stack, timeline))["events"][0]["name"] == "paged_seen"
    assert json.loads(typed(stack, newest)).keys() == {"events", "cursor", "skipped"}
    assert json.loads(typed(stack, minutes))["step"] == 5
    assert json.loads(typed(stack, flags)).keys() == {"since", "staleAfterDays", "flags"}


def test_the_page_on_typing(stack: RunningStack) -> None:
    """A text is completed, and the tree that the page shows is that of its text."""
    (command,) = curls("admin.md", "Expressions while they are typed")
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "admin.md").read_text(), re.DOTALL)
    body = {"type": "segment", "expression": "events.purchase.amount.sum_30d >= 100", "parts": ["tree"]}

    assert "count" in [one["label"] for one in json.loads(typed(stack, command))["completions"]]
    assert stack.call("POST", "/v1/admin/validate", json=body).json()["tree"] == json.loads(shown)


def test_the_page_on_the_vocabulary(stack: RunningStack) -> None:
    """Names are told, and examples of a property's values."""
    names, values = curls("admin.md", "Vocabulary")

    assert {"events", "attributes", "functions"} <= json.loads(typed(stack, names)).keys()
    assert json.loads(typed(stack, values)).keys() == {"rows", "values"}


def test_the_page_on_identity(stack: RunningStack) -> None:
    """A person's ids are shown, one is unlinked, all is handed out, and the person is deleted."""
    stack.track("paged", "read", deviceId="paged-pad")
    shown, unlinked, data, deleted = curls("identity.md", "Asking and changing")

    def of(command: str, user: str) -> str:
        return typed(stack, command.replace("USER", user))

    assert [one["id"] for one in json.loads(of(shown, "paged"))["ids"]] == ["user:paged", "anon:paged-pad"]
    assert json.loads(of(unlinked, "anon:paged-pad"))["owner"] == "user:paged"
    assert wait_until(lambda: json.loads(of(data, "paged"))["total"] == 1, "the event is drained")
    assert json.loads(of(deleted, "paged"))["success"] is True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """What stands in backquotes and looks like the path of a file or of a folder of ours is one."""
    folders = "|".join(one.name for one in ROOT.iterdir() if one.is_dir() and not one.name.startswith("."))
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+|[\w-]+\.md|[A-Z][A-Z]+\.md)`", page.read_text()))

    assert sorted(name for name in named - MADE if not (ROOT / name).exists()) == []


def test_the_page_on_deployment_has_every_setting_with_its_default() -> None:
    """One row each, and the default as it would be typed."""

    def typed_as(default: object) -> str:
        match default:
            case None:
                return "none"
            case bool():
                return f"`{str(default).lower()}`"
            case float():
                return f"`{default:g}`"
            case _:
                return f"`{default}`"

    page = (ROOT / "docs" / "deployment.md").read_text()
    rows = re.findall(r"^\| `(TINYCDP_\w+)` \| (\S+) \|", page, re.MULTILINE)

    assert len(rows) == len(SETTINGS)
    assert dict(rows) == {name: typed_as(default) for name, default in SETTINGS.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_that_a_page_names_is_one(page: Path) -> None:
    """A setting, or one of the few others: whatever else is set does nothing."""
    named = set(re.findall(r"TINYCDP_[A-Z]\w*", page.read_text()))

    assert named - SETTINGS.keys() <= {f"TINYCDP_{name}" for name in BESIDE} | OF_CLIENTS
