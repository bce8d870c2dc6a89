"""A script's signature is what Python passes and what Lua reads: neither can drift from the other."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import getmembers
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import redis

from serving.store import keys, scripts
from serving.store.scripts import ingest
from serving.store.scripts.script import RUN_ID, Key, Script, script, with_constants

MODULES = [import_module(f"{scripts.__name__}.{path.stem}") for path in sorted(Path(scripts.__path__[0]).glob("*.py"))]
SCRIPTS = [
    (module, made) for module in MODULES for _, made in getmembers(module, lambda value: isinstance(value, Script))
]


class Given(NamedTuple):
    """What the scripts of these tests are given."""

    name: Key
    other: Key
    run_id: str
    number: int
    text: str
    last: int | None = None


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A real Redis."""
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def given(last: int | None = None) -> Given:
    """Some keys and arguments."""
    return Given("k1", "k2", RUN_ID, 41, "words", last)


def test_lua_has_what_it_is_given_by_name(client: redis.Redis) -> None:
    """Keys and arguments are locals; those whose type is a number are numbers; a cursor finds what has no name."""
    echo = script(
        Given, "return {name, other, run_id, number + 1, text, last, KEYS[NAMED_KEYS + 1], #ARGV - NAMED_ARGUMENTS}"
    )
    command = echo(given(7), ["k3"], ["more", "and more"])

    assert client.execute_command("EVAL", echo.text, *command.on("run")[2:]) == [
        b"k1", b"k2", b"run", 42, b"words", 7, b"k3", 2,
    ]  # fmt: skip


def test_arguments_at_the_end_that_are_none_are_not_sent(client: redis.Redis) -> None:
    """Lua reads them as nil."""
    count = script(Given, "return {#ARGV, last == nil and 1 or 0}")
    command = count(given())

    assert client.execute_command("EVAL", count.text, *command.on("run")[2:]) == [3, 1]


def test_lua_has_the_constants_that_it_names(client: redis.Redis) -> None:
    """A field's letter, a key's prefix or a width stands where its name was, but for comments and texts."""
    shared = with_constants("local function first() return OWNER end\n")
    own = "return {first(), RECORD_PREFIX, TAIL_FIELD_BYTES_MIN, 'OWNER'} -- not OWNER"
    letters = script(Given, shared, own, uses_reserve=False)  # there is no key here

    assert letters.text.endswith("-- not OWNER")
    assert client.eval(letters.text, 0) == [
        keys.OWNER, keys.RECORD_PREFIX.encode(), keys.TAIL_FIELD_BYTES_MIN, b"OWNER",
    ]  # fmt: skip


def test_a_name_that_nothing_has_is_refused() -> None:
    """When the script is made, not when Redis comes to it."""
    with pytest.raises(NameError, match="OWNERS"):
        script(Given, "return OWNERS")


def test_every_script_is_looked_at() -> None:
    """The two tests below see all of them, the one that takes events among them."""
    assert len(SCRIPTS) >= 18
    assert ingest.INGEST in [made for _, made in SCRIPTS]


@pytest.mark.parametrize(("module", "made"), SCRIPTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_header_names_what_its_script_is_given(module: object, made: Script[tuple[object, ...]]) -> None:
    """KEYS and ARGV of a module's docstring have the names of the signature, in its order."""
    header = re.search(r"^ *(KEYS .*)^ *reply", module.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert header is not None
    places = [re.search(rf"\b{name}\b", header[1]) for name in made.signature._fields]  # type: ignore[attr-defined]
    assert None not in places
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_script_spells_what_has_a_name(module: ModuleType) -> None:
    """No place in KEYS or ARGV, no letter of a field and no prefix of a key is in the Lua of a module."""
    lua = "".join(re.findall(r'"""\n(.*?)\n"""', inspect.getsource(module), re.DOTALL))
    constants = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, (str, bytes))}
    constants -= {keys.APART}  # which is also how XRANGE says "to the end"
    literals = {f"'{value.decode() if isinstance(value, bytes) else value}'" for value in constants}

    assert not re.search(r"(KEYS|ARGV)\[\d+\]", lua)
    assert not literals & set(re.findall(r"'[^'\n]*'", lua))
