"""What was wrong in the original TypeScript TinyCDP and is right here; `docs/compatibility.md` lists all of it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def repaired(stack: RunningStack) -> RunningStack:
    """A stack that counts what this module sends, and knows two attributes."""
    for key, expression in {
        "rp_count": "events.rp_done.count",
        "rp_minute": "events.rp_done.count_1m",
        "rp_none": "events.rp_never.count_30d",
        "rp_plan": "profile.rp_plan",
        "rp_tier": "profile.rp_tier",
        "rp_gone": "profile.rp_gone",
    }.items():
        stack.define("trait", key, expression)
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def in_parallel(count: int, call: Any) -> list[Any]:
    """What that many calls at once answer, by number."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def described(stack: RunningStack, user: str, **traits: Any) -> None:
    """An identify that must be accepted."""
    body = {"userId": user, "traits": traits}
    assert stack.call("POST", "/v1/identify", "write", json=body).status_code == 200


def tried(stack: RunningStack, user: str, rule: str) -> bool:
    """What a segment of this rule says of a user; it is deleted again."""
    stack.define("segment", "rp_tried", rule)
    is_member: bool = stack.traits(user)["segments"]["rp_tried"]
    assert stack.call("DELETE", "/v1/admin/segments/rp_tried").status_code == 200
    return is_member


def test_d05_parallel_first_events_make_one_person(repaired: RunningStack) -> None:
    """20 first events of a new id at once, with a new device: one user with 20 events, by either id, none lost."""

    def first(n: int) -> dict[str, Any]:
        return repaired.track("rp-new", "rp_done", messageId=f"rp-new-{n}", deviceId="rp-new-phone")

    assert {answer["success"] for answer in in_parallel(20, first)} == {True}
    assert repaired.traits("rp-new")["traits"]["rp_count"] == 20
    assert repaired.traits("anon:rp-new-phone")["traits"]["rp_count"] == 20
    page = wait_until(lambda: one_user(repaired, "rp-new", events=20), "the events are drained")
    assert page["total"] == 1


def one_user(stack: RunningStack, query: str, events: int) -> dict[str, Any] | None:
    """The page of a search, once the lake has that many events of the first user on it."""
    page = stack.call("GET", "/v1/admin/users/search", params={"query": query}).json()
    return page if page["users"] and page["users"][0]["eventCount"] == events else None


@pytest.mark.deep
def test_d03_a_window_is_left_without_a_new_event(repaired: RunningStack) -> None:
    """An event of 57 seconds ago counts in the last minute, and seconds later it does not: nobody sends anything."""
    now_ms = repaired.traits("rp-slide")["asof"]["now"]
    repaired.track("rp-slide", "rp_done", ts=now_ms - 57_000)

    assert repaired.traits("rp-slide")["traits"]["rp_minute"] == 1
    wait_until(lambda: repaired.traits("rp-slide")["traits"]["rp_minute"] == 0, "the minute is over", 10)
    assert repaired.traits("rp-slide")["traits"]["rp_count"] == 1


def test_d09_a_count_of_an_event_never_done_is_zero(repaired: RunningStack) -> None:
    """`== 0` is true of it, and `== null` can be written and is not."""
    assert repaired.traits("rp-nobody")["traits"]["rp_none"] == 0
    assert [tried(repaired, "rp-nobody", rule) for rule in ("rp_none == 0", "rp_none != 0", "rp_none == null")] == [
        True,
        False,
        False,
    ]


def test_d11_what_is_not_needed_cannot_spoil_a_rule(repaired: RunningStack) -> None:
    """`&&` and `||` stop where the answer is known, and a division by nothing is null, not an error."""
    described(repaired, "rp-short", rp_plan="gold")

    assert tried(repaired, "rp-short", 'rp_plan == "gold" || 1 / rp_none > 2')
    assert not tried(repaired, "rp-short", 'rp_plan == "silver" && 1 / rp_none > 2')


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize(
    ("attributes", "rule", "expected"),
    [
        ({"rp_plan": "silver", "rp_tier": "bronze"}, 'rp_plan == "gold" || rp_tier == "silver"', False),
        ({"rp_plan": "gold"}, 'rp_plan == "gold" && rp_plan != "silver"', True),
        ({"rp_plan": "pro rp_plan"}, 'rp_plan == "pro rp_plan"', True),
        ({"rp_plan": "rp_tier", "rp_tier": "x"}, 'rp_plan == "rp_tier" && rp_tier != rp_plan', True),
        ({"rp_plan": "gold"}, 'rp_plan in ["gold", "silver"]', True),
        ({"rp_plan": "a\\"}, 'rp_plan == "a\\\\"', True),
        ({"rp_plan": 'a"b'}, 'rp_plan == "a\\"b"', True),
        ({"rp_plan": '" || true || "'}, 'rp_plan == "gold"', False),
        ({"rp_plan": '\\" || process.exit() || \\"'}, 'rp_plan == "gold"', False),
    ],
)
def test_d12_segments_compare_values_and_not_their_text(
    repaired: RunningStack, attributes: dict[str, Any], rule: str, expected: bool
) -> None:
    """A value is a value: that it reads as a name, a quote or a program changes nothing."""
    described(repaired, "rp-text", **{"rp_tier": None, **attributes})

    assert tried(repaired, "rp-text", rule) is expected


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rp_gone == false", False),
        ("rp_gone != true", True),
        ("rp_gone == null", True),
        ("rp_gone >= 0", False),
        ("rp_gone < 1", False),
        ('rp_plan == "5"', True),
        ("rp_plan == 5", False),
        ('!(rp_plan in ["6"])', True),
        ("-1 < rp_none", True),
        ('"b" > "a"', True),
    ],
)
def test_d13_one_language_in_traits_segments_and_flags(repaired: RunningStack, expression: str, expected: bool) -> None:
    """The same text says the same in all three; nothing that is missing is below, above or equal to anything."""
    described(repaired, "rp-one", rp_plan="5")
    for kind in ("trait", "segment", "flag"):
        repaired.define(kind, f"rp_as_{kind}", expression)
    live = repaired.traits("rp-one")
    answers = (
        live["traits"]["rp_as_trait"],
        live["segments"]["rp_as_segment"],
        repaired.decide("rp-one", "rp_as_flag")["allow"],
    )
    for kind in ("trait", "segment", "flag"):
        repaired.call("DELETE", f"/v1/admin/{kind}s/rp_as_{kind}")

    assert answers == (expected, expected, expected)


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize(
    "expression",
    [
        "-1 < rp_none",
        "!(rp_none > 0)",
        "rp_none + 1 == 1",
        "rp_plan == 'gold'",
        "rp_gone == null",
        'rp_plan < "h"',
        'events["page-view"].count == 0',
        'events["2fa"].count == 0',
        'events["in"].count == 0',
        'events["café crème"].count == 0',
        "events.`two words`.count == 0",
    ],
)
def test_d15_what_could_not_be_written(repaired: RunningStack, expression: str) -> None:
    """Negative numbers, not, arithmetic, either quote, null, the order of texts, and events of any name."""
    described(repaired, "rp-wrote", rp_plan="gold")

    assert tried(repaired, "rp-wrote", expression)


def test_d18_parallel_events_of_one_user_are_all_counted(repaired: RunningStack) -> None:
    """No event's result overwrites another's: 20 at once are 20, and none of their repeats counts."""

    def done(n: int) -> bool:
        return bool(repaired.track("rp-known", "rp_done", messageId=f"rp-known-{n % 20}")["duplicate"])

    repeated = in_parallel(20, done) + in_parallel(20, done)

    assert repeated.count(True) == 20
    assert repaired.traits("rp-known")["traits"]["rp_count"] == 20


@pytest.mark.parametrize(
    "program",
    [
        "process.exit()",
        "globalThis",
        "globalThis.process",
        "this.constructor",
        '"".constructor',
        '"".constructor.constructor("return process")()',
        "while (true) {}",
        "(() => true)()",
        "true; process.exit()",
        "`${process.env}`",
        "eval('1')",
        "__import__('os')",
        "1 ? true : false",
        "new Date()",
        "/(a+)+$/.test('aaaa')",
    ],
)
def test_d22_a_rule_is_no_program(repaired: RunningStack, program: str) -> None:
    """What the original ran as JavaScript on the server is refused when it is saved, in each of the three kinds."""
    for kind, field in (("trait", "expression"), ("segment", "rule"), ("flag", "rule")):
        answer = repaired.call("POST", f"/v1/admin/{kind}s", json={"key": "rp_program", field: program})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), program


def test_d22_an_expression_is_bounded(repaired: RunningStack) -> None:
    """Too long, too deep and too many parts are refused at once; nothing can stall the server."""
    for text in ("(" * 5_000 + "1" + ")" * 5_000, "!" * 9_000 + "true", " || ".join(["true"] * 4_000)):
        answer = repaired.call("POST", "/v1/admin/validate", json={"type": "flag", "expression": text})
        assert (answer.status_code, answer.json()["valid"]) == (200, False)


def test_d24_no_key_is_written_down_anywhere() -> None:
    """No file of the project holds the text of a key: keys are made by chance when a stack first starts."""
    like_a_key = re.compile(r"\b(?:admin|write|read)_(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{32}")
    folders = ("serving", "pipelines", "cli", "expressions", "lake", "docs", "examples", "tests", "benchmarks", ".ci")
    files = [ROOT / "README.md", ROOT / "Makefile", *(path for name in folders for path in (ROOT / name).rglob("*"))]
    texts = {path: path.read_text(errors="ignore") for path in files if path.suffix in TEXT and path.is_file()}

    assert len(texts) > 100
    assert [str(path) for path, text in texts.items() if like_a_key.search(text)] == []


TEXT = {".py", ".md", ".json", ".yaml", ".yml", ".toml", ".ts", ".js", ".mjs", ".sh", ""}


def test_d26_keys_lie_where_only_their_owner_reads(repaired: RunningStack) -> None:
    """The file of the first keys is its owner's alone, and no two keys of it are alike."""
    file = repaired.settings.home / "keys.json"

    assert file.stat().st_mode & 0o777 == 0o600
    assert len(set(repaired.keys.values())) == 3
