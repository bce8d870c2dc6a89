"""Saves and deletes definitions: in Redis first, then in every shard; the lake's history follows.

    1. check: it binds, its key is good, what depends on it still binds
    2. replace the catalogue in Redis, and queue the version for the lake     one version on: it is in force
    3. raise the projection in every shard, note where the logs stand         one version on: the projection is active
    4. write what is queued into the lake's history and audit log             nothing waits (`write_down`)

Step 2 compares the catalogue's version, so of two savers one begins again from what the other has made. Only the first
is queued, so every row of the history has been in force, one version after the other.

A definition is acknowledged after step 3. If the process dies before that, the catalogue names a projection that is not
active, and the definitions that need it are warming until the next save or rebuild activates it. Step 4 may fail, or
come late: the queue is in Redis, and the drain writes it down. While the lake is away definitions change all the same,
until the queue is full; then a save is refused before it counts. The other order, the lake first, would let a recovery
bring back what was never in force.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import msgspec

from expressions.definitions import KEY_CHARACTERS, KEY_CHARACTERS_MAX, KEY_PATTERNS, Bound, Definition, DefinitionKind
from expressions.errors import ExpressionError
from expressions.text.bind import bind_one
from expressions.text.exact import require_exact
from serving.definitions import flags
from serving.definitions.catalogue import Catalogue, StoredDefinition, decode, encode
from serving.refusals import Conflict, Invalid, NotFound, Unavailable, value_for_message
from serving.store.errors import HistoryFull
from serving.store.operations.catalogue import UnwrittenEntry
from serving.store.store import Store

RETRIES = 20
#: After so long a save that found the queue full may find room: the drain tries each second.
FULL_RETRY_AFTER_S = 10

#: Who writes down waits so long for the saves that are under way: a commit takes longer than they do, and one is enough
#: for all.
GATHER_S = 0.25

#: One thread of a process writes down for all.
_writing = threading.Lock()


class _Turns:
    """The savers of one process take turns, so that they do not make each other begin again, nor compile anew."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition()
        self._savers = 0
        self.compiled = Catalogue()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for the turn of a saver, and is it."""
        self._count(1)
        try:
            with self._lock:
                yield
        finally:
            self._count(-1)

    def wait_for_savers(self, wait_s: float) -> None:
        """Returns when nobody saves or waits for a turn, or after `wait_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._savers == 0, wait_s)

    def _count(self, more: int) -> None:
        with self._changed:
            self._savers += more
            self._changed.notify_all()


_turns = _Turns()

#: What a save requires of its key: that no definition has it, that one has it, or nothing.
MustBe: TypeAlias = Literal["new", "old", "any"]
#: Whether a version of a definition is one that the caller knows, and so may be replaced.
Knows: TypeAlias = Callable[[int], bool]


#: Whether any event is in the lake. Raises `Unavailable` while it is away.
HoldsEvents: TypeAlias = Callable[[], bool]
#: Adds changes of definitions (`Change`, as plain JSON) to the lake's history and audit log, each once.
Append: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], None]


class Change(msgspec.Struct, frozen=True):
    """A version of a definition that came in force, and what its author did: create, save, rollback, delete …"""

    definition: StoredDefinition
    action: str


class Outdated(Exception):
    """The caller does not know the version that is in force, `current`; None where the definition is deleted."""

    def __init__(self, current: StoredDefinition | None, catalogue: Catalogue) -> None:
        super().__init__("deleted" if current is None else f"version {current.version}")
        self.current, self.catalogue = current, catalogue


_decode = msgspec.json.Decoder(Change).decode


def title(kind: DefinitionKind) -> str:
    """The kind at the beginning of a sentence: Trait, Segment, Flag."""
    return kind.capitalize()


def field_of(kind: DefinitionKind) -> str:
    """The name of the expression on the wire."""
    return "expression" if kind == "trait" else "rule"


def bound_alone(catalogue: Catalogue, definition: Definition) -> Bound:
    """A definition, bound against the catalogue without its dependents.

    An expression that the catalogue has already may compare with any number: it was saved before that was refused, and
    its flag can be switched off all the same. Raises `Invalid`, for its key before its expression.
    """
    kind, key, text = definition.kind, definition.key, definition.expression
    if not isinstance(key, str) or not key.strip():
        raise Invalid(f"{title(kind)} key is required and cannot be empty", _details("key", key, "name it"))
    if not isinstance(text, str) or not text.strip():
        raise Invalid(
            f"{title(kind)} {field_of(kind)} is required and cannot be empty",
            _details(field_of(kind), text, "write an expression"),
        )
    if not KEY_PATTERNS[kind].fullmatch(key):
        raise Invalid(
            f"{title(kind)} key must start with a letter or underscore and contain only {KEY_CHARACTERS[kind]}",
            _details("key", key, f"use {KEY_CHARACTERS[kind].replace(', and', ' and')}"),
        )
    if len(key) > KEY_CHARACTERS_MAX:
        remedy = f"use at most {KEY_CHARACTERS_MAX} characters"
        raise Invalid(f"{title(kind)} key has {len(key)} characters; {remedy}", _details("key", key, remedy))
    before = catalogue.definitions.get((kind, key))
    try:
        bound = bind_one(definition, catalogue.bounds)
        if before is None or before.expression != text:
            require_exact(bound.written)
        return bound
    except ExpressionError as error:
        raise _refusal(error, field_of(kind), text) from error


def _refusal(error: ExpressionError, field: str, text: str) -> Invalid:
    """The refusal for an error in an expression."""
    error.with_text(text)
    heading = "Expression syntax error" if error.code == "syntax_error" else "Expression error"
    return Invalid(
        f"{heading}: {error}",
        {"field": field, "value": text[:200], "error": error.code, "remedy": error.expected} | error.as_details(),
    )


def _dependent_refusal(error: ExpressionError, kind: DefinitionKind, key: str, text: str) -> Invalid:
    """The refusal of a change that a definition which uses it does not bear: names that definition, with its text."""
    excerpt = "" if error.excerpt else f"\n  {value_for_message(error.text)}"
    return Invalid(
        f"{title(kind)} '{key}' cannot be changed so, since {error.definition} uses it: {error}{excerpt}",
        {"field": field_of(kind), "value": text[:200], "error": error.code, "remedy": error.expected}
        | error.as_details()
        | {"text": error.text[:200]},
    )


def _details(field: str, value: object, remedy: str) -> dict[str, Any]:
    return {"field": field, "value": value_for_message(value), "remedy": remedy}


def current(store: Store) -> Catalogue:
    """The catalogue as it stands in Redis. Raises `Unavailable` while Redis is being restored."""
    text = store.catalogue()
    if text is None:
        raise Unavailable("definitions are being restored", {"remedy": "try again"}, retry_after_s=1)
    return decode(text)


def save(
    store: Store,
    holds_events: HoldsEvents,
    definition: Definition,
    now_ms: int,
    *,
    action: str = "save",
    settings: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    author: str = "",
    note: str = "",
    must_be: MustBe = "any",
    knows: Knows | None = None,
    keeps_expression: bool = False,
    definitions_max: int | None = None,
) -> tuple[StoredDefinition, Catalogue]:
    """Creates or changes a definition; returns it as stored, and the catalogue that has it.

    `must_be`: "new" only creates, "old" only changes. `knows`: replaces no version but those that it accepts, which is
    decided on the very catalogue that the save replaces: no other save is between the two. `settings` makes the new
    settings from those before, which are empty for a new definition. `keeps_expression`: the expression before stays,
    whatever the definition says. `definitions_max`: the bound on definitions of all kinds together. `action` is its
    name in the audit log, `note` why it is done.

    A save that changes nothing makes no new version. Returns when every process that reads from now on answers with the
    definition; the lake's history may lack it (`write_down`). Raises `Invalid`, `Conflict`, `NotFound`, `Outdated`,
    `Unavailable`.
    """
    kind, key = definition.kind, definition.key

    def change(catalogue: Catalogue) -> tuple[Catalogue, StoredDefinition]:
        before = catalogue.definitions.get((kind, key))
        expression = before.expression if before is not None and keeps_expression else definition.expression
        if before is not None or not keeps_expression:
            bound_alone(catalogue, Definition(kind, key, expression))  # its own mistakes are told first
        if before is not None and must_be == "new":
            raise Conflict(f"{title(kind)} with key '{key}' already exists", {"field": "key", "value": key})
        if before is None and must_be == "old":
            raise NotFound(f"{title(kind)} not found", {"field": "key", "value": key})
        _require_known(before, catalogue, knows)
        if before is None and definitions_max is not None and len(catalogue.definitions) >= definitions_max:
            raise Conflict(
                f"there are {len(catalogue.definitions)} traits, segments and flags, and may be {definitions_max}",
                {"field": "key", "value": key, "remedy": "delete some, or raise TINYCDP_DEFINITIONS_MAX"},
            )
        stored = StoredDefinition(
            kind=kind,
            key=key,
            expression=expression,
            version=catalogue.version + 1,
            created_ms=before.created_ms if before else now_ms,
            updated_ms=now_ms,
            author=author,
            note=note,
            settings=settings(dict(before.settings) if before else {}),
        )
        if before is not None and _says_the_same(before, stored):
            return catalogue, before
        following = with_saved(catalogue, stored)
        return following, following.definitions[kind, key]

    return _commit(store, holds_events, action, change)


def with_saved(catalogue: Catalogue, stored: StoredDefinition) -> Catalogue:
    """The catalogue after a definition is saved. Raises `Invalid` where it does not fit those that it is used with."""
    try:
        following = catalogue.with_definition(stored)
    except ExpressionError as error:
        raise _dependent_refusal(error, stored.kind, stored.key, stored.expression) from error
    if stored.kind == "flag":
        traits = {name for of_kind, name in following.definitions if of_kind == "trait"}
        flags.check_names(stored.key, following.flags, traits)
    return following


def require_unused(catalogue: Catalogue, kind: DefinitionKind, key: str) -> None:
    """Raises `Conflict` with its dependents for a definition that others use, which cannot be deleted."""
    used_by = [f"{user} '{name}'" for user, name in catalogue.dependents.get((kind, key), [])]
    if used_by:
        raise Conflict(
            f"{title(kind)} '{key}' is used by {', '.join(used_by)}",
            {"field": "key", "value": key, "used_by": used_by, "remedy": "change or delete those first"},
        )


def _says_the_same(before: StoredDefinition, after: StoredDefinition) -> bool:
    """Whether two versions of a definition differ in nothing that anybody reads of them."""
    return before.expression == after.expression and _said(before) == _said(after)


def _said(stored: StoredDefinition) -> dict[str, Any]:
    """The settings that say something: of a flag no defaults, of any definition no empty text and no empty list."""
    settings = flags.without_defaults(stored.key, stored.settings) if stored.kind == "flag" else stored.settings
    return {name: value for name, value in settings.items() if value not in ("", [])}


def _require_known(before: StoredDefinition | None, catalogue: Catalogue, knows: Knows | None) -> None:
    if knows is not None and (before is None or not knows(before.version)):
        raise Outdated(before, catalogue)


def delete(
    store: Store,
    holds_events: HoldsEvents,
    kind: DefinitionKind,
    key: str,
    now_ms: int,
    author: str = "",
    note: str = "",
    knows: Knows | None = None,
) -> None:
    """Takes a definition out; with `knows` only a version that it accepts, as in `save`.

    Raises `NotFound`, `Outdated`, `Unavailable`, and `Conflict` with its dependents.
    """

    def change(catalogue: Catalogue) -> tuple[Catalogue, StoredDefinition]:
        before = catalogue.definitions.get((kind, key))
        if before is None:
            raise NotFound(f"{title(kind)} not found", {"field": "key", "value": key})
        _require_known(before, catalogue, knows)
        require_unused(catalogue, kind, key)
        deleted = msgspec.structs.replace(
            before, version=catalogue.version + 1, updated_ms=now_ms, author=author, note=note, deleted=True
        )
        following = catalogue.with_definition(deleted)
        return following, msgspec.structs.replace(deleted, projection=following.projection_version)

    _commit(store, holds_events, "delete", change)


def _commit(
    store: Store,
    holds_events: HoldsEvents,
    action: str,
    change: Callable[[Catalogue], tuple[Catalogue, StoredDefinition]],
) -> tuple[StoredDefinition, Catalogue]:
    with _turns.taken():
        for _ in range(RETRIES):
            before = _turns.compiled = current(store).with_compiled(_turns.compiled)
            after, stored = change(before)
            if after is before:  # nothing to save; but a save that was cut off is finished
                activate(store, holds_events)
                return stored, before
            unwritten = msgspec.json.encode(Change(stored, action))
            try:
                is_replaced = store.replace_catalogue(
                    encode(after), expected=before.version, version=after.version, unwritten=unwritten
                )
            except HistoryFull as error:
                raise Unavailable(
                    f"{error}: the lake cannot be written",
                    {"remedy": "see /health, then try again"},
                    FULL_RETRY_AFTER_S,
                ) from error
            if is_replaced:
                _turns.compiled = after
                if _needs_more(before, after):
                    store.want_rebuild()  # it also finishes this save, should that be cut off from here on
                if _sums_more(before, after):
                    store.raise_checked(after.version)
                activate(store, holds_events)
                return stored, after
    raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, retry_after_s=1)


def _sums_more(before: Catalogue, after: Catalogue) -> bool:
    """Whether definitions sum a property that no definition summed: processes that do not know it must not take it."""
    return any(not properties <= before.summed.get(name, frozenset()) for name, properties in after.summed.items())


def _needs_more(before: Catalogue, after: Catalogue) -> bool:
    """Whether definitions need something that no base holds yet: a field, a window of a heavy id, a longer reach."""
    return not set(after.plan.needs) <= set(before.plan.needs) or not set(after.plan.attributes) <= set(
        before.plan.attributes
    )


def change_of(entry: UnwrittenEntry) -> Change:
    """The change that waits for the lake under an entry."""
    return _decode(entry.data)


def unwritten(store: Store) -> list[StoredDefinition]:
    """The versions of definitions that are in force and may not be in the lake's history yet, in their order."""
    return [change_of(entry).definition for entry in store.unwritten()]


def write_down(store: Store, append: Append, wait_s: float = -1) -> bool:
    """Puts all versions that wait into the lake's history, in one commit; returns whether none waits any more.

    False where another thread is still writing after `wait_s` seconds (negative: waits as long as that takes). Raises
    what `append` does. Any process may do this at any time: each version is written once.
    """
    if not _writing.acquire(timeout=wait_s):
        return False
    try:
        _turns.wait_for_savers(GATHER_S)
        entries = store.unwritten()
        if entries:
            append([msgspec.to_builtins(change_of(entry)) for entry in entries])
            store.trim_unwritten(entries[-1].version)
        return True
    finally:
        _writing.release()


def activate(store: Store, holds_events: HoldsEvents) -> None:
    """Raises the newest projection in every shard and notes where their logs stood then, unless that was done before.

    Where the lake cannot say that it holds no event, definitions wait for a rebuild.
    """
    for _ in range(RETRIES):
        catalogue = current(store)
        version = catalogue.projection_version
        if version == 0 or version in catalogue.activations:
            return
        sequences = store.raise_projection(version)
        is_empty = not all(sequences) and _is_empty(holds_events)  # only a shard without events is live at once
        after = catalogue.with_activation(version, sequences, is_empty)
        if store.replace_catalogue(encode(after), expected=catalogue.version, version=after.version):
            return
    raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, retry_after_s=1)


def _is_empty(holds_events: HoldsEvents) -> bool:
    try:
        return not holds_events()
    except Unavailable:
        return False
