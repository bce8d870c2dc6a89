"""The TypeScript SDK: its own tests, types and size; and what is built of it, in Node against a running stack."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from pathlib import Path

import pytest

from tests.protocols.node_clients import installed_from
from tests.running import RunningStack
from tests.sdk.typescript_package import LOCKED_NODE, ROOT, SOURCE, TypeScriptPackage, package_in
from tests.waiting import wait_until

PAGE = (ROOT / "docs" / "typescript.md").read_text()

#: The first test of a process may install the tools.
pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]

#: Bytes of each entry after gzip, at most: what a page loads, then for React, then for a change stream; and Node's.
BUDGETS = {"browser.js": 8_000, "react.js": 3_000, "stream.js": 3_000, "index.js": 8_500}


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> TypeScriptPackage:
    """The package, built once for each test process."""
    package = package_in(tmp_path_factory.mktemp("typescript") / "sdk")
    package.build()
    return package


def test_its_own_tests_pass(package: TypeScriptPackage, tmp_path: Path) -> None:
    """Client, React and the vectors of `tests/conformance/clients`, run by vitest."""
    report = tmp_path / "report.json"
    done = package.run("vitest/vitest.mjs", "run", "--reporter=default", "--reporter=json", f"--outputFile={report}")

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert json.loads(report.read_text())["numPassedTests"] > 100


@pytest.mark.deep
def test_react_18_does_as_react_19(package: TypeScriptPackage) -> None:
    """The tests of React's entry pass with the oldest React that the package is for as well."""
    _, modules = installed_from(SOURCE / "tests" / "react-18")

    done = package.run("vitest/vitest.mjs", "run", "tests/react.test.tsx", TINYCDP_REACT=str(modules))

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.deep
def test_its_types_hold_in_the_strictest_setting(package: TypeScriptPackage) -> None:
    """The source, its tests and what configures its tools, with every check that the compiler has."""
    source, tests = (package.run("typescript/bin/tsc", "-p", folder) for folder in (".", "tests"))

    assert (source.returncode, source.stdout) == (0, "")
    assert (tests.returncode, tests.stdout) == (0, "")


@pytest.mark.parametrize("entry", BUDGETS)
def test_an_entry_is_no_larger_than_its_budget(package: TypeScriptPackage, entry: str) -> None:
    """After gzip, as the page says it. An entry loads nothing but itself, the package's other entries and React."""
    built = (package.folder / "dist" / entry).read_bytes()

    size = len(gzip.compress(built, 9))

    assert size <= BUDGETS[entry]
    assert f"{size / 1000:.1f} kB" in re.findall(rf"^\| `{entry}` \|.*", PAGE, re.MULTILINE)[0]
    assert set(re.findall(rb'from"([^"]+)"', built)) <= {b"@tinycdp/sdk", b"react"}


@pytest.mark.parametrize("file", ["index.js", "index.cjs", "react.js", "react.cjs", "testing.js", "testing.cjs"])
def test_an_error_that_nobody_catches_shows_a_line_and_not_the_whole_client(
    package: TypeScriptPackage, file: str
) -> None:
    """Node prints the line in which it was thrown before it says why the process ends: no entry is one line."""
    lines = (package.folder / "dist" / file).read_text().splitlines()

    assert max(map(len, lines)) < 1_000


#: The ways to load a package that it suits: all that attw knows, but that of Node 10, which knows no `exports`.
RESOLUTIONS = ("node16-cjs", "node16-esm", "bundler")


@pytest.mark.deep
def test_what_is_published_suits_the_ways_apps_load_it(package: TypeScriptPackage) -> None:
    """Each export is there for import and require, with types that fit, as publint and attw see it (posthog-js#908)."""
    archive = str(package.packed())

    lint = package.run("publint/src/cli.js", "run", archive, "--strict")
    types = package.run("@arethetypeswrong/cli/dist/index.js", archive, "--profile", "node16", "--format", "json")

    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "All good!" in lint.stdout
    assert types.returncode == 0, types.stdout + types.stderr
    seen = json.loads(types.stdout)["analysis"]
    assert [problem for problem in seen["problems"] if problem.get("resolutionKind") != "node10"] == []
    found = {
        (entry, way): resolution.get("resolution", {}).get("fileName", "")
        for entry, of_entry in seen["entrypoints"].items()
        for way, resolution in of_entry["resolutions"].items()
        if way in RESOLUTIONS
    }
    assert set(found) == {
        (entry, way) for entry in json.loads((SOURCE / "package.json").read_text())["exports"] for way in RESOLUTIONS
    }
    assert [place for place, path in found.items() if not path.endswith((".d.ts", ".d.cts", "/package.json"))] == []


def test_an_app_that_installs_it_as_the_page_says_has_one_react(package: TypeScriptPackage) -> None:
    """The archive has what was built, and nothing of the tools: their React would stand beside the app's.

    The licence is the project's, and the page that people see of the package has snippets that run in a test.
    """
    archive = package.packed()
    with tarfile.open(archive) as packed:
        names = {name.split("/")[1] for name in packed.getnames()}

    assert names == {"dist", "package.json", "README.md", "LICENSE"}
    assert (SOURCE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    snippets = re.findall(r"```tsx?\n.*?```", (SOURCE / "README.md").read_text(), re.DOTALL)
    assert len(snippets) == 2 and all(snippet in PAGE for snippet in snippets)
    assert re.findall(r"^npm install (.*)$", PAGE, re.MULTILINE) == [f"./{archive.name}"]


@pytest.mark.parametrize("entry", ["index", "react", "stream", "testing"])
def test_what_apps_see_is_what_is_written_down(package: TypeScriptPackage, entry: str) -> None:
    """The declarations of an entry are those in `api`. Whoever changes them changes these too, by `npm run api`."""
    written = package.run_own("api.mjs")

    assert written.returncode == 0, written.stderr
    assert (package.folder / "api" / f"{entry}.d.ts").read_text() == (SOURCE / "api" / f"{entry}.d.ts").read_text()


def test_it_brings_nothing_and_its_lock_names_no_registry() -> None:
    """No package is needed at run time but React, by who uses that entry; versions of tools are exact."""
    package = json.loads((SOURCE / "package.json").read_text())
    lock = (SOURCE / "package-lock.json").read_text()

    assert "dependencies" not in package
    assert list(package["peerDependencies"]) == ["react"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["devDependencies"].values())
    assert "resolved" not in lock
    assert all(one.get("dev") or one.get("peer") for name, one in json.loads(lock)["packages"].items() if name)


def test_every_file_that_the_package_exports_is_built(package: TypeScriptPackage) -> None:
    """For import and require, with the types of each; for pages the first entry has files of its own."""
    exports = json.loads((SOURCE / "package.json").read_text())["exports"]
    named = set(re.findall(r"\./dist/[\w.]+", json.dumps(exports)))

    assert len(named) == 18
    assert [path for path in named if not (package.folder / path).exists()] == []


#: What an app does, after it has loaded the package as `sdk`.
APP = """
async function main() {
  const { TINYCDP_URL: endpoint, TINYCDP_WRITE_KEY: writeKey, TINYCDP_READ_KEY: readKey, USER: userId } = process.env;
  const failures = [];
  const cdp = sdk.initTinyCDP({ endpoint, writeKey, readKey, onError: (failure) => failures.push(failure.state) });
  await cdp.identify({ userId, traits: { ts_plan: "pro" } });
  for (const amount of [1, 2]) cdp.track({ userId, event: "ts_bought", properties: { amount } });
  const bought = cdp.track({ userId, event: "ts_bought", properties: { amount: 3 }, messageId: `${userId}-3` });
  cdp.track({ userId, event: "ts_bought", properties: { amount: 3 }, messageId: `${userId}-3` }); // counts once
  const seen = await cdp.decide({ userId, flag: "ts_buyer", default: false, after: bought, timeout: 10000 });
  const bad = cdp.track({ userId, event: "x", timestamp: "yesterday" });
  const all = await cdp.decideAll({ userId, timeout: 10000 });
  const unknown = await cdp.decide({ userId, flag: "no_such_flag", default: "red", timeout: 10000 });
  const stats = await cdp.destroy();
  console.log(JSON.stringify({ seen, all: all.ts_buyer, bad: bad.state, unknown, stats, failures }));
}
main();
"""
LOADED = {"app.mjs": 'import * as sdk from "@tinycdp/sdk";', "app.cjs": 'const sdk = require("@tinycdp/sdk");'}


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack that counts what the apps send, and a flag for whoever bought."""
    stack.define("trait", "ts_bought_count", "events.ts_bought.count")
    stack.define("trait", "ts_spent", "events.ts_bought.amount.sum")
    stack.define("trait", "ts_plan", "profile.ts_plan")
    stack.define("flag", "ts_buyer", "ts_bought_count >= 3")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def environment_of(stack: RunningStack, **more: str) -> dict[str, str]:
    """The address and the keys of a stack, as an app of the tests reads them."""
    keys = {f"TINYCDP_{kind.upper()}_KEY": stack.keys[kind] for kind in ("write", "read")}  # type: ignore[index]
    return {"TINYCDP_URL": stack.stack.api_url, **keys, **more}


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("node", ["the machine's Node", "the lock's Node"])
@pytest.mark.parametrize("name", LOADED)
def test_an_app_sends_and_decides(
    package: TypeScriptPackage, defined: RunningStack, tmp_path: Path, name: str, node: str
) -> None:
    """Imported or required: events count once, the decision sees the event that it comes after, refusals are told."""
    user = f"ts-{name}-{node}"
    script = package.app(tmp_path) / name
    script.write_text(LOADED[name] + APP)

    chosen = LOCKED_NODE if node == "the lock's Node" else package.node
    said = package.says(script, node=chosen, **environment_of(defined, USER=user))

    assert (said["seen"]["allow"], said["seen"]["afterMet"], said["seen"]["reason"]) == (True, True, "TARGETING_MATCH")
    assert said["all"]["allow"] is True
    assert (said["unknown"]["value"], said["unknown"]["errorCode"]) == ("red", "FLAG_NOT_FOUND")
    assert (said["bad"], said["failures"]) == ("refused", ["refused"])
    assert (said["stats"]["sent"], said["stats"]["queued"]) == (5, 0)
    traits = defined.traits(user)["traits"]
    assert {key: traits[key] for key in ("ts_bought_count", "ts_spent", "ts_plan")} == {
        "ts_bought_count": 3,
        "ts_spent": 6,
        "ts_plan": "pro",
    }


#: A process that does nothing but track, and ends by itself.
TRACKS = """
import { initTinyCDP } from "@tinycdp/sdk";
const { TINYCDP_URL: endpoint, TINYCDP_WRITE_KEY: writeKey, USER: userId } = process.env;
initTinyCDP({ endpoint, writeKey, flushIntervalMs: 3_600_000 }).track({ userId, event: "ts_left" });
console.log(JSON.stringify("tracked"));
"""


@pytest.mark.deep
def test_a_process_that_ends_by_itself_sends_first_and_is_not_kept(
    package: TypeScriptPackage, stack: RunningStack, tmp_path: Path
) -> None:
    """Without `destroy`: what is queued is sent at the end; with no server there the process ends all the same.

    It does not wait for the hour after which the batch would go: a timer keeps no Lambda alive (analytics-node#102).
    """
    script = package.app(tmp_path) / "tracks.mjs"
    script.write_text(TRACKS)
    stack.define("trait", "ts_left_count", "events.ts_left.count")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")

    package.says(script, **environment_of(stack, USER="ts-left"))
    process = package.start(script, **environment_of(stack, USER="ts-left") | {"TINYCDP_URL": "http://127.0.0.1:9"})
    _, complaints = process.communicate(timeout=30)

    assert stack.traits("ts-left")["traits"]["ts_left_count"] == 1
    assert process.returncode == 0
    assert "1 events were not sent before the process ended" in complaints
