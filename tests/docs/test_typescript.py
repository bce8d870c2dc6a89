"""The page on the TypeScript client: its snippets compile, those of Node run, and its table has every option."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.running import RunningStack
from tests.sdk.typescript_package import SOURCE, package_in
from tests.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "typescript.md").read_text()

#: As an app has them that is as strict as the package itself. Node's types have what the snippets of Node need.
COMPILER = {
    "target": "es2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "lib": ["es2022", "dom"],
    "jsx": "react-jsx",
    "types": ["node"],
    "strict": True,
    "exactOptionalPropertyTypes": True,
    "skipLibCheck": False,
    "outDir": "out",
}


def snippets(language: str) -> str:
    """The snippets of a language, as one module: each stands after those before it."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.deep
@pytest.mark.xdist_group("stack")
@pytest.mark.timeout(400)
def test_the_snippets_compile_and_run(stack: RunningStack, tmp_path: Path) -> None:
    """Against the types that the package is built with, as strictly as it can be; those of Node run against a stack."""
    package = package_in(tmp_path / "sdk")
    package.build()
    app = package.app(tmp_path / "sdk" / "app")
    (app / "package.json").write_text(json.dumps({"type": "module"}))
    (app / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER, "files": ["node.ts", "shop.tsx"]}))
    (app / "node.ts").write_text(snippets("ts") + '\nconsole.log(JSON.stringify("all ran"));\nawait cdp.destroy();\n')
    (app / "shop.tsx").write_text(snippets("tsx"))
    stack.define("trait", "ts_page_orders", "events.ordered.count")
    stack.define("flag", "gift", "ts_page_orders >= 1")
    wait_until(lambda: not stack.traits("nobody")["warming"], "what the page reads is rebuilt")

    compiled = package.run("typescript/bin/tsc", "-p", str(app))
    assert (compiled.returncode, compiled.stdout) == (0, "")
    keys = {f"TINYCDP_{kind.upper()}_KEY": key for kind, key in stack.keys.items()}
    said = package.says(app / "out" / "node.js", **keys, TINYCDP_URL=stack.stack.api_url)

    assert snippets("ts").count("cdp.") > 5
    assert said == "all ran"


def test_the_table_has_every_option_with_its_default() -> None:
    """One row each, in the order of the code's list, and the default as it would be typed."""
    table = PAGE.partition("## Options")[2]
    defaults = re.search(r"DEFAULTS = \{(.*?)\}", (SOURCE / "src" / "options.ts").read_text(), re.DOTALL)
    assert defaults is not None
    pairs = re.findall(r"(\w+): ([\w.]+),", defaults[1])

    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", table, re.MULTILINE))

    assert rows == {name: value.replace("_", "") for name, value in pairs}
    named = set(
        re.findall(
            r"^  (\w+)\??: ",
            (SOURCE / "src" / "options.ts")
            .read_text()
            .partition("export interface TinyCDPOptions")[2]
            .partition("\n}")[0],
            re.MULTILINE,
        )
    )
    assert named - set(re.findall(r"`(\w+)`", table)) == set()
