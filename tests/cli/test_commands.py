"""The commands that people and scripts give, against a running stack."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from lake.lake import Lake
from tests.running import RunningStack
from tests.waiting import wait_until

# Each command reads all definitions of the stack, which grow with each test: with this mark it is one of the first.
pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def imported(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> RunningStack:
    """A stack with a trait and a segment on imported events, one row of them bad."""
    file = tmp_path_factory.mktemp("files") / "history.csv"
    file.write_text(
        "who,what,when,price\n"
        "cli-1,order,1998-06-01T00:00:00Z,10\n"
        "cli-1,order,1998-06-01T00:00:00Z,10\n"
        "cli-2,order,1998-06-20T00:00:00Z,99.5\n"
        "cli-3,order,yesterday,1\n"
    )
    stack.define("trait", "order_total", "events.order.price.sum")
    stack.define("trait", "orders_20d", "events.order.count_20d")
    stack.define("segment", "spenders", "order_total >= 20")
    arguments = ("import", str(file), "--user", "who", "--event", "what", "--time", "when")
    rejects = file.with_name("rejects.jsonl")
    first = stack.tinycdp(*arguments, "--json", "--rejects", str(rejects), ok=False)
    assert first.returncode == 1, first.stderr
    said = json.loads(first.stdout)
    assert [said[name] for name in ("accepted", "rejected", "already")] == [3, 1, 0]
    assert [(one["rows"], one["samples"][0]["line"]) for one in said["refused"]] == [(1, 5)]
    written = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert written[0] == {
        "file": "history.csv",
        "mapping": {"user": "who", "event": "what", "time": "when", "quotes": True},
    }
    assert (written[1]["line"], written[1]["row"]["when"]) == (5, "yesterday")
    again = stack.json(*arguments, "--allow-rejects")
    assert [again[name] for name in ("accepted", "rejected", "already")] == [0, 1, 3]
    return stack


def test_users_are_counted_at_any_time(imported: RunningStack) -> None:
    """`users` evaluates on the fly as of a time; equal rows without an id are distinct events."""
    assert imported.json("users", "spenders") == {"users": ["cli-1", "cli-2"]}
    assert imported.json("users", "spenders", "--at", "1998-06-10T00:00:00Z") == {"users": ["cli-1"]}
    assert imported.tinycdp("users", "orders_20d", "--at", "1998-06-20T23:59:59Z", "--count").stdout.strip() == "2"
    assert imported.tinycdp("users", "orders_20d", "--at", "1998-06-21T00:00:00Z", "--count").stdout.strip() == "1"


def test_live_answers_know_imported_history(imported: RunningStack) -> None:
    """The import waits for its rebuild, so the next read counts it."""
    assert imported.traits("cli-1")["traits"]["order_total"] == 20


def test_a_bad_row_is_kept_with_its_line(imported: RunningStack) -> None:
    """The line of the file and the reason are in `rejected`."""
    rows = Lake(imported.stack.lake_uri).rejected().collect().to_dicts()
    assert [(row["line"], "yesterday" in row["reason"]) for row in rows if row["source"] == "history.csv"] == [
        (5, True)
    ]


def test_explain_shows_every_part(imported: RunningStack) -> None:
    """The tree has the text and value of each part, for people and as JSON."""
    tree = imported.json("explain", "cli-2", "spenders")["explanation"]

    assert (tree["text"], tree["value"], tree["threshold"]) == ("order_total >= 20", True, 20)
    assert tree["parts"][0]["definition"]["value"] == 99.5
    assert "99.5" in imported.tinycdp("explain", "cli-2", "spenders").stdout


def test_explain_of_nobody_says_so(imported: RunningStack) -> None:
    """The answer is that of a user of whom nothing was sent, as a decision's is, and the heading says that."""
    imported.define("flag", "cli_everybody", "true")

    assert imported.json("explain", "cli-2", "spenders")["known"]
    unknown = imported.json("explain", "cli-nobody", "cli_everybody")
    assert (unknown["known"], unknown["decision"]["allow"]) == (False, True)
    assert "(nobody is known by this id)" in imported.tinycdp("explain", "cli-nobody", "cli_everybody").stdout
    assert "nobody is known" not in imported.tinycdp("explain", "cli-2", "spenders").stdout


def test_users_says_of_whom_it_tells(imported: RunningStack) -> None:
    """Nobody is a sentence and no empty line; of a flag, that its rule alone is asked; of an id, that it is no key."""
    imported.define("segment", "cli_none", "order_total >= 1e6")
    imported.define("flag", "cli_rule", 'segment("spenders")', enabled=False)
    nobody, flag = imported.tinycdp("users", "cli_none"), imported.tinycdp("users", "cli_rule")
    user = imported.tinycdp("users", "cli-2", ok=False)

    assert (nobody.stdout, nobody.stderr) == ("", "segment cli_none holds for nobody\n")
    assert imported.json("users", "cli_none") == {"users": []}
    assert flag.stdout.split() == ["cli-1", "cli-2"]
    assert "the rule alone is asked" in flag.stderr
    assert (user.returncode, "tinycdp explain USER KEY" in user.stderr) == (1, True)


def test_sql_is_given_for_each_warehouse(imported: RunningStack) -> None:
    """`tinycdp sql` writes one definition as text of each dialect; an unknown dialect is an error."""
    for dialect in ("duckdb", "bigquery", "snowflake"):
        assert "SELECT" in imported.tinycdp("sql", "spenders", "--dialect", dialect).stdout
    document = imported.json("sql", "spenders", "--dialect", "snowflake", "--table", "cdp.raw.events")
    assert (document["table"], "FROM cdp.raw.events" in document["sql"]) == ("cdp.raw.events", True)
    refused = imported.tinycdp("sql", "spenders", "--table", "", ok=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert (document["kind"], document["key"], document["dialect"]) == ("segment", "spenders", "snowflake")
    assert "SELECT" in document["sql"]
    refused = imported.tinycdp("sql", "spenders", "--dialect", "cobol", ok=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), "one sentence, no trace"


def test_a_rebuild_as_of_a_time_never_replaces_the_latest(imported: RunningStack) -> None:
    """`rebuild --at` writes rows with their as_of beside the latest ones, and changes no live answer."""
    run = imported.json("rebuild", "--at", "1998-06-10T00:00:00Z")

    assert (run["kind"], run["published"]) == ("as_of", 0)
    assert imported.traits("cli-2")["traits"]["order_total"] == 99.5


def test_doctor_finds_live_and_lake_equal(imported: RunningStack) -> None:
    """`doctor` says that all is well, compares some answers, and finds none of them different."""
    imported.track("cli-4", "order", properties={"price": 0.1})

    def parity() -> bool:
        report = imported.json("doctor")
        return bool(report["well"] and report["parity"]["compared"] > 0 and not report["parity"]["differing"])

    assert wait_until(parity, "all is well")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("users", "no_such_key"), 1),
        (("users", "spenders", "--at", "noon"), 2),
        (("import", "absent.csv", "--user", "a", "--event", "b", "--time", "c"), 2),
        (("nonsense",), 2),
        (("doctor", "--sample", "-1"), 2),
        (("--version",), 0),
    ],
)
def test_exit_codes_mean_something(imported: RunningStack, arguments: tuple[str, ...], code: int) -> None:
    """The exit code is 1 for a key that nothing has, and 2 for a command that was called wrongly, without a trace."""
    done = imported.tinycdp(*arguments, ok=False)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    if arguments == ("--version",):
        assert re.fullmatch(r"tinycdp \d+\.\d+\.\d+\S*\n", done.stdout)


def test_without_a_stack_a_command_says_so(stack: RunningStack, tmp_path: Path) -> None:
    """Where no stack runs, a command ends with exit code 3 and names the remedy."""
    without_stack = RunningStack.__new__(RunningStack)
    without_stack.settings = stack.settings.model_copy(update={"home": tmp_path})
    done = without_stack.tinycdp("users", "x", ok=False)

    assert done.returncode == 3
    assert "tinycdp up" in done.stderr


def test_explain_of_a_flag_is_what_the_flag_decides(imported: RunningStack) -> None:
    """The answer, its reason and all steps are those of /v1/decide: a rule that says yes is one step of several."""
    imported.define("flag", "cli_off", 'segment("spenders")', enabled=False)
    imported.define("flag", "cli_later", 'segment("spenders")', rollout=0)
    imported.define(
        "flag", "cli_on", 'segment("spenders")', variants=[{"name": "[blue]", "weight": 100_000, "value": 1}]
    )
    for flag, allow, reason in (
        ("cli_off", False, "DISABLED"),
        ("cli_later", False, "SPLIT"),
        ("cli_on", True, "TARGETING_MATCH"),
    ):
        explained = imported.json("explain", "cli-2", flag)
        decision = imported.decide("cli-2", flag, explain="true")

        assert (explained["decision"]["allow"], explained["decision"]["reason"]) == (allow, reason)
        for name in ("allow", "variant", "value", "reason", "reasons"):
            assert explained["decision"][name] == decision[name]
        assert explained["explanation"]["steps"] == decision["explanation"]["steps"]
        text = imported.tinycdp("explain", "cli-2", flag).stdout
        assert f"{'yes' if allow else 'no'}, {reason}" in text
        assert all(reason in text for reason in decision["reasons"])


def test_a_part_that_is_being_restored_is_away(stack: RunningStack, tmp_path: Path, redis_url: str) -> None:
    """A command ends with exit code 3 on a Redis whose definitions were not recovered yet."""
    without_stack = RunningStack.__new__(RunningStack)
    without_stack.settings = stack.settings.model_copy(update={"home": tmp_path})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYCDP_REDIS_URL", redis_url)
        done = without_stack.tinycdp("users", "x", ok=False)

    assert (done.returncode, done.stderr.strip()) == (3, "definitions are being restored")


def test_the_demo_leaves_a_stack_in_use_alone(imported: RunningStack) -> None:
    """The demo ends with exit code 1 and the remedy, and adds neither a definition nor a purchase."""

    def imported_rows() -> int:
        return Lake(imported.stack.lake_uri).events().filter(pl.col("seq").is_null()).collect().height

    before = imported_rows()

    refused = imported.tinycdp("demo", ok=False)

    assert (refused.returncode, "set TINYCDP_HOME" in " ".join(refused.stderr.split())) == (1, True)
    assert imported.call("GET", "/v1/admin/traits/win_back_offer").status_code == 404
    assert imported_rows() == before
