"""Saving and deleting definitions: Redis first, then the lake, then every shard.

    check (binds, keys, who uses it)  →  catalogue, one version on  →  lake row  →  raise the projection in every shard
                                                                                 →  activations, one version on

The catalogue is replaced by compare-and-set on its version, so of two savers one begins again from what the other has
made. Only who was first writes to the lake's history, so all of that has been in force, one version after the other. A
definition is acknowledged after the last step. If the process dies before it, the catalogue has it among its unwritten
ones, or names a projection that is not active: then what needs it is warming. The next save and the next rebuild finish
the work (`write_down`, `activate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from expressions.definitions import KEY_CHARACTERS_MAX, KEY_PATTERN, Bound, Definition, DefinitionKind
from expressions.errors import ExpressionError
from expressions.text.bind import bind_one
from serving.definitions import flags
from serving.definitions.catalogue import Catalogue, StoredDefinition, decode, encode
from serving.refusals import Conflict, Invalid, NotFound, Unavailable, value_for_message
from serving.store.store import Store

RETRIES = 20

#: What a save expects to find of its definition: nothing, an older version, or either.
MustBe: TypeAlias = Literal["new", "old", "any"]


class History(Protocol):
    """What saving needs of the lake."""

    def append_definition(self, stored: StoredDefinition) -> None:
        """Adds a row to the history of definitions. Raises when the lake is away."""

    def holds_events(self) -> bool:
        """Whether any event is in the lake."""


def title(kind: DefinitionKind) -> str:
    """Trait, Segment, Flag."""
    return kind.capitalize()


def field_of(kind: DefinitionKind) -> str:
    """What the expression is called on the wire."""
    return "expression" if kind == "trait" else "rule"


def check(catalogue: Catalogue, definition: Definition) -> Bound:
    """A definition, bound against the catalogue; what uses it is bound again too. Raises `Invalid`."""
    kind, key, text = definition.kind, definition.key, definition.expression
    bound = bound_alone(catalogue, definition)
    try:
        catalogue.with_definition(StoredDefinition(kind=kind, key=key, expression=text)).bounds  # noqa: B018 - for its errors
    except ExpressionError as error:
        raise refused(error, field_of(kind), text) from error
    return bound


def bound_alone(catalogue: Catalogue, definition: Definition) -> Bound:
    """A definition by itself, whatever uses it. Raises `Invalid`: for its key, then for its expression."""
    kind, key, text = definition.kind, definition.key, definition.expression
    if not isinstance(key, str) or not key.strip():
        raise Invalid(f"{title(kind)} key is required and cannot be empty", _details("key", key, "name it"))
    if not isinstance(text, str) or not text.strip():
        raise Invalid(
            f"{title(kind)} {field_of(kind)} is required and cannot be empty",
            _details(field_of(kind), text, "write an expression"),
        )
    if not KEY_PATTERN.fullmatch(key):
        raise Invalid(
            f"{title(kind)} key must start with a letter or underscore"
            " and contain only letters, numbers, and underscores",
            _details("key", key, "use letters, numbers and underscores"),
        )
    if len(key) > KEY_CHARACTERS_MAX:
        remedy = f"use at most {KEY_CHARACTERS_MAX} characters"
        raise Invalid(f"{title(kind)} key has {len(key)} characters; {remedy}", _details("key", key, remedy))
    try:
        return bind_one(definition, catalogue.bounds)
    except ExpressionError as error:
        raise refused(error, field_of(kind), text) from error


def refused(error: ExpressionError, field: str, text: str) -> Invalid:
    """An expression's error as an answer."""
    error.with_text(text)
    heading = "Expression syntax error" if error.code == "syntax_error" else "Expression error"
    return Invalid(
        f"{heading}: {error}",
        {"field": field, "value": text[:200], "error": error.code, "remedy": error.expected} | error.as_details(),
    )


def _details(field: str, value: object, remedy: str) -> dict[str, Any]:
    return {"field": field, "value": value_for_message(value), "remedy": remedy}


def current(store: Store) -> Catalogue:
    """The catalogue as it stands. Raises `Unavailable` while Redis is being restored."""
    text = store.catalogue()
    if text is None:
        raise Unavailable("definitions are being restored", {"remedy": "try again"}, retry_after_s=1)
    return decode(text)


def save(
    store: Store,
    history: History,
    definition: Definition,
    now_ms: int,
    *,
    settings: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    author: str = "",
    must_be: MustBe = "any",
    keeps_expression: bool = False,
    definitions_max: int | None = None,
) -> tuple[StoredDefinition, Bound]:
    """Creates (`must_be` "new"), changes ("old") or either ("any") a definition; gives it as stored.

    `settings` makes the new settings of those held so far, which are empty for a new definition. `keeps_expression`:
    the one held stays, whatever the definition says. `definitions_max`: so many there may be, of all kinds together.

    Returns when every process that reads from now on answers with it. Raises `Invalid`, `Conflict`, `NotFound`,
    `Unavailable`.
    """
    kind, key = definition.kind, definition.key

    def change(catalogue: Catalogue) -> tuple[Catalogue, StoredDefinition]:
        held = catalogue.definitions.get((kind, key))
        expression = held.expression if held is not None and keeps_expression else definition.expression
        if held is not None or not keeps_expression:
            bound_alone(catalogue, Definition(kind, key, expression))  # what is wrong in itself is said first
        if held is not None and must_be == "new":
            raise Conflict(f"{title(kind)} with key '{key}' already exists", {"field": "key", "value": key})
        if held is None and must_be == "old":
            raise NotFound(f"{title(kind)} not found", {"field": "key", "value": key})
        if held is None and definitions_max is not None and len(catalogue.definitions) >= definitions_max:
            raise Conflict(
                f"there are {len(catalogue.definitions)} traits, segments and flags, and may be {definitions_max}",
                {"field": "key", "value": key, "remedy": "delete some, or raise TINYCDP_DEFINITIONS_MAX"},
            )
        check(catalogue, Definition(kind, key, expression))
        stored = StoredDefinition(
            kind=kind,
            key=key,
            expression=expression,
            version=catalogue.version + 1,
            created_ms=held.created_ms if held else now_ms,
            updated_ms=now_ms,
            author=author,
            settings=settings(dict(held.settings) if held else {}),
        )
        following = catalogue.with_definition(stored)
        if kind == "flag":
            flags.check_names(key, following.flags, {one for named, one in following.definitions if named == "trait"})
        stored = msgspec.structs.replace(stored, projection=following.projection_version)
        return catalogue.with_definition(stored), stored

    stored, after = _commit(store, history, change)
    return stored, after.bounds[(kind, key)]


def delete(store: Store, history: History, kind: DefinitionKind, key: str, now_ms: int, author: str = "") -> None:
    """Takes a definition out. Raises `NotFound`, and `Conflict` naming the definitions that use it."""

    def change(catalogue: Catalogue) -> tuple[Catalogue, StoredDefinition]:
        held = catalogue.definitions.get((kind, key))
        if held is None:
            raise NotFound(f"{title(kind)} not found", {"field": "key", "value": key})
        used_by = dependents(catalogue, kind, key)
        if used_by:
            raise Conflict(
                f"{title(kind)} '{key}' is used by {', '.join(used_by)}",
                {"field": "key", "value": key, "used_by": used_by, "remedy": "change or delete those first"},
            )
        gone = msgspec.structs.replace(
            held, version=catalogue.version + 1, updated_ms=now_ms, author=author, deleted=True
        )
        following = catalogue.with_definition(gone)
        return following, msgspec.structs.replace(gone, projection=following.projection_version)

    _commit(store, history, change)


def dependents(catalogue: Catalogue, kind: DefinitionKind, key: str) -> list[str]:
    """What refers to a definition directly, as "segment 'buyers'"."""
    found = {one for one, bound in catalogue.bounds.items() if (kind, key) in bound.uses}
    found |= {("flag", one) for one in flags.dependent_flags(kind, key, catalogue.flags)}
    return sorted(f"{one[0]} '{one[1]}'" for one in found)


def _commit(
    store: Store, history: History, change: Callable[[Catalogue], tuple[Catalogue, StoredDefinition]]
) -> tuple[StoredDefinition, Catalogue]:
    for _ in range(RETRIES):
        before = current(store)
        after, stored = change(before)
        history.holds_events()  # a lake that is away says so before anything is done
        after = replace(after, unwritten=(*before.unwritten, stored))
        if store.replace_catalogue(encode(after), expected=before.version, version=after.version):
            if _needs_more(before, after):
                store.want_rebuild()  # also finishes what is cut off from here on
            write_down(store, history.append_definition)
            after = activate(store, history.holds_events) or after
            return stored, after
    raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, retry_after_s=1)


def _needs_more(before: Catalogue, after: Catalogue) -> bool:
    """Whether something is asked of history that no base holds yet: a field, a window of a heavy id, a longer reach."""
    return not set(after.plan.needs) <= set(before.plan.needs) or not set(after.plan.attributes) <= set(
        before.plan.attributes
    )


def write_down(store: Store, append: Callable[[StoredDefinition], None]) -> None:
    """Puts what is in force into the lake's history. One that dies here, or comes second, may write a version again."""
    catalogue = current(store)
    for row in catalogue.unwritten:
        append(row)
    if catalogue.unwritten:
        # As the same version, since it says the same; where there is a newer one, its saver does this.
        store.replace_catalogue(
            encode(replace(catalogue, unwritten=())), expected=catalogue.version, version=catalogue.version
        )


def activate(store: Store, holds_events: Callable[[], bool]) -> Catalogue | None:
    """Raises the newest projection in every shard and notes where their logs stood; None if it was done already."""
    for _ in range(RETRIES):
        catalogue = current(store)
        version = catalogue.projection_version
        if version == 0 or version in catalogue.activations:
            return None
        was_empty = not holds_events()
        sequences = store.raise_projection(version)
        after = catalogue.with_activation(version, sequences, was_empty)
        if store.replace_catalogue(encode(after), expected=catalogue.version, version=after.version):
            return after
    raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, retry_after_s=1)
