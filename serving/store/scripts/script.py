"""Lua scripts: their text, their SHA1, and the names of their KEYS and ARGV.

Scripts run by EVALSHA. A server that does not know one (restarted, promoted, flushed) answers NOSCRIPT for that command
alone, also in the middle of a pipeline. The command is then sent again with the text, which the server remembers. So a
script must not rely on commands that stand before it in the same pipeline.

When memory is full (`maxmemory`) only ingest stops. All other scripts may use the reserve above the bound
(`serving.store.reserve`): they free memory, or are few and small, or their caller looks how much is left. Redis
refuses a script's first write alone, and only one that may need memory. So they begin with one that needs none.

Every script has a module: its signature, its text, `command` or `…_command` that makes a command of it, and, where the
reply says something, a `read` for it. Lua that several share is in the modules `lua_…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_type_hints

from serving.store import keys, layout
from serving.store.requests import Argument, Command

Signature = TypeVar("Signature", bound=tuple[Any, ...])

#: A field of a script's signature that is one of its KEYS.
Key: TypeAlias = Annotated[str, "KEYS"]

#: The argument `run_id` of a signature: the connection puts the run_id of its server in its place.
RUN_ID = ""


@dataclass(frozen=True)
class Script(Generic[Signature]):
    """A Lua script. Runs alone and whole: all its writes happen, or (refused before the first) none.

    `signature` is a named tuple: first the KEYS, whose type is `Key`, then the ARGV. Lua has each of them as a local of
    the same name; one whose type is `int` is a number (see `script`).
    """

    signature: type[Signature]
    text: str
    sha: str = field(init=False)
    keys: int = field(init=False)
    run_id_at: int | None = field(init=False)

    def __post_init__(self) -> None:
        key_names, arguments = _named(self.signature)
        object.__setattr__(self, "sha", sha1(self.text.encode()).hexdigest())
        object.__setattr__(self, "keys", len(key_names))
        object.__setattr__(self, "run_id_at", list(arguments).index("run_id") if "run_id" in arguments else None)

    def __call__(
        self, given: Signature, more_keys: Iterable[str] = (), more_arguments: Iterable[Argument] = ()
    ) -> Command:
        """The command that runs it. Arguments at the end that are None are left out."""
        names = (*given[: self.keys], *more_keys)
        arguments = given[self.keys :]
        while arguments and arguments[-1] is None:
            arguments = arguments[:-1]
        run_id_at = 0 if self.run_id_at is None else 3 + len(names) + self.run_id_at
        return Command(("EVALSHA", self.sha, len(names), *names, *arguments, *more_arguments), self.text, run_id_at)


#: A write that needs no memory and changes nothing: a key of the same slot as the first key, which is never there.
_USE_RESERVE = """local slot_of = FIRST_KEY
redis.call('DEL', (string.find(slot_of, '{', 1, true) and slot_of or '{' .. slot_of .. '}') .. ':reserve')
"""


def script(signature: type[Signature], *lua: str, uses_reserve: bool = True) -> Script[Signature]:
    """The script of this signature. `lua` is Lua that it shares with others, then its own.

    Its own begins with its KEYS and ARGV as locals: `local log, shard = KEYS[1], KEYS[2]`. More keys or arguments may
    follow: NAMED_KEYS and NAMED_ARGUMENTS say how many have a name, and a cursor begins behind them.
    """
    *libraries, own = lua
    key_names, arguments = _named(signature)
    named = "".join(
        f"local {', '.join(values)} = {', '.join(values.values())}\n" for values in (key_names, arguments) if values
    )
    own = with_constants(own, NAMED_KEYS=len(key_names), NAMED_ARGUMENTS=len(arguments))
    reserve = _USE_RESERVE.replace("FIRST_KEY", next(iter(key_names.values()), "KEYS[1]")) if uses_reserve else ""
    return Script(signature, "".join(libraries) + "\n" + reserve + named + own)


def with_constants(lua: str, **values: int) -> str:
    """The Lua text with literals in the place of names: of constants of `keys` and `layout`, and of these values.

    They are no locals of Lua, since each one that a function uses would cost every call as much as a line of the
    script. Raises `NameError` for a name in capitals that is none of them.
    """
    constants = vars(keys) | vars(layout) | values

    def literal(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None or name in ("KEYS", "ARGV"):
            return match[0]
        if name not in constants:
            raise NameError(f"Lua names {name}, which neither serving.store.keys nor serving.store.layout has")
        value = constants[name]
        return str(value) if isinstance(value, int) else f"'{value.decode() if isinstance(value, bytes) else value}'"

    return re.sub(r"--.*|'[^']*'|\b(?P<name>[A-Z][A-Z_]+)\b", literal, lua)


def _named(signature: type[tuple[Any, ...]]) -> tuple[dict[str, str], dict[str, str]]:
    """The Lua that reads each key and each argument, by its name."""
    key_names: dict[str, str] = {}
    arguments: dict[str, str] = {}
    for name, hint in get_type_hints(signature, include_extras=True).items():
        if hint == Key:
            key_names[name] = f"KEYS[{len(key_names) + 1}]"
        else:
            text = f"ARGV[{len(arguments) + 1}]"
            arguments[name] = f"tonumber({text})" if int in (hint, *get_args(hint)) else text
    return key_names, arguments
