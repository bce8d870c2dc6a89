"""Saves and deletes definitions: in Redis first, then in the lake, then in every shard.

    1. check: it binds, its key is good, what depends on it still binds
    2. replace the catalogue in Redis                                     one version on, the definition unwritten
    3. append the lake row                                                nothing unwritten
    4. raise the projection in every shard, note where the logs stand     one version on, the projection active

Step 2 compares the catalogue's version, so of two savers one begins again from what the other has made. Only the first
writes to the lake's history, so every row of it has been in force, one version after the other.

A definition is acknowledged after the last step. If the process dies before it, the catalogue has the definition among
its unwritten ones, or names a projection that is not active, and the definitions that need it are warming. The next
save and the next rebuild finish the work (`write_down`, `activate`).
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

#: What a save requires of its key: that no definition has it, that one has it, or nothing.
MustBe: TypeAlias = Literal["new", "old", "any"]


class History(Protocol):
    """The part of the lake that saving needs."""

    def append_definition(self, stored: StoredDefinition) -> None:
        """Adds a row to the history of definitions. Raises when the lake is away."""

    def holds_events(self) -> bool:
        """Whether any event is in the lake."""


def title(kind: DefinitionKind) -> str:
    """The kind at the beginning of a sentence: Trait, Segment, Flag."""
    return kind.capitalize()


def field_of(kind: DefinitionKind) -> str:
    """The name of the expression on the wire."""
    return "expression" if kind == "trait" else "rule"


def check(catalogue: Catalogue, definition: Definition) -> Bound:
    """A definition, bound against the catalogue. Binds its dependents again, too. Raises `Invalid`."""
    kind, key, text = definition.kind, definition.key, definition.expression
    bound = bound_alone(catalogue, definition)
    try:
        catalogue.with_definition(StoredDefinition(kind=kind, key=key, expression=text)).bounds  # noqa: B018 - for its errors
    except ExpressionError as error:
        raise _refusal(error, field_of(kind), text) from error
    return bound


def bound_alone(catalogue: Catalogue, definition: Definition) -> Bound:
    """A definition, bound against the catalogue without its dependents.

    Raises `Invalid`, for its key before its expression.
    """
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
        raise _refusal(error, field_of(kind), text) from error


def _refusal(error: ExpressionError, field: str, text: str) -> Invalid:
    """The refusal for an error in an expression."""
    error.with_text(text)
    heading = "Expression syntax error" if error.code == "syntax_error" else "Expression error"
    return Invalid(
        f"{heading}: {error}",
        {"field": field, "value": text[:200], "error": error.code, "remedy": error.expected} | error.as_details(),
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
    """Creates or changes a definition; returns it as stored, and bound.

    `must_be`: "new" only creates, "old" only changes. `settings` makes the new settings from those before, which are
    empty for a new definition. `keeps_expression`: the expression before stays, whatever the definition says.
    `definitions_max`: the bound on definitions of all kinds together.

    A save that changes nothing makes no new version. Returns when every process that reads from now on answers with the
    definition. Raises `Invalid`, `Conflict`, `NotFound`,
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
        if before is None and definitions_max is not None and len(catalogue.definitions) >= definitions_max:
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
            created_ms=before.created_ms if before else now_ms,
            updated_ms=now_ms,
            author=author,
            settings=settings(dict(before.settings) if before else {}),
        )
        if before is not None and _says_the_same(before, stored):
            return catalogue, before
        following = catalogue.with_definition(stored)
        if kind == "flag":
            traits = {name for of_kind, name in following.definitions if of_kind == "trait"}
            flags.check_names(key, following.flags, traits)
        stored = msgspec.structs.replace(stored, projection=following.projection_version)
        return catalogue.with_definition(stored), stored

    stored, after = _commit(store, history, change)
    return stored, after.bounds[(kind, key)]


def _says_the_same(before: StoredDefinition, after: StoredDefinition) -> bool:
    """Whether two versions of a definition differ in nothing that anybody reads of them."""
    return before.expression == after.expression and _said(before) == _said(after)


def _said(stored: StoredDefinition) -> dict[str, Any]:
    """The settings that say something: of a flag no defaults, of any definition no empty text and no empty list."""
    settings = flags.without_defaults(stored.key, stored.settings) if stored.kind == "flag" else stored.settings
    return {name: value for name, value in settings.items() if value not in ("", [])}


def delete(store: Store, history: History, kind: DefinitionKind, key: str, now_ms: int, author: str = "") -> None:
    """Takes a definition out. Raises `NotFound`, and `Conflict` with its dependents."""

    def change(catalogue: Catalogue) -> tuple[Catalogue, StoredDefinition]:
        before = catalogue.definitions.get((kind, key))
        if before is None:
            raise NotFound(f"{title(kind)} not found", {"field": "key", "value": key})
        used_by = dependents(catalogue, kind, key)
        if used_by:
            raise Conflict(
                f"{title(kind)} '{key}' is used by {', '.join(used_by)}",
                {"field": "key", "value": key, "used_by": used_by, "remedy": "change or delete those first"},
            )
        deleted = msgspec.structs.replace(
            before, version=catalogue.version + 1, updated_ms=now_ms, author=author, deleted=True
        )
        following = catalogue.with_definition(deleted)
        return following, msgspec.structs.replace(deleted, projection=following.projection_version)

    _commit(store, history, change)


def dependents(catalogue: Catalogue, kind: DefinitionKind, key: str) -> list[str]:
    """The definitions that refer to a definition directly, as texts such as "segment 'buyers'"."""
    keys = {user for user, bound in catalogue.bounds.items() if (kind, key) in bound.uses}
    keys |= {("flag", flag) for flag in flags.dependent_flags(kind, key, catalogue.flags)}
    return sorted(f"{user_kind} '{user_key}'" for user_kind, user_key in keys)


def _commit(
    store: Store, history: History, change: Callable[[Catalogue], tuple[Catalogue, StoredDefinition]]
) -> tuple[StoredDefinition, Catalogue]:
    for _ in range(RETRIES):
        before = current(store)
        after, stored = change(before)
        if after is before:  # nothing to save; but a save that was cut off is finished
            write_down(store, history.append_definition)
            return stored, activate(store, history.holds_events) or before
        history.holds_events()  # raises if the lake is away, before anything is done
        after = replace(after, unwritten=(*before.unwritten, stored))
        if store.replace_catalogue(encode(after), expected=before.version, version=after.version):
            if _needs_more(before, after):
                store.want_rebuild()  # it also finishes this save, should that be cut off from here on
            write_down(store, history.append_definition)
            after = activate(store, history.holds_events) or after
            return stored, after
    raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, retry_after_s=1)


def _needs_more(before: Catalogue, after: Catalogue) -> bool:
    """Whether definitions need something that no base holds yet: a field, a window of a heavy id, a longer reach."""
    return not set(after.plan.needs) <= set(before.plan.needs) or not set(after.plan.attributes) <= set(
        before.plan.attributes
    )


def write_down(store: Store, append: Callable[[StoredDefinition], None]) -> None:
    """Puts the catalogue's unwritten definitions into the lake's history.

    A process that dies here, or comes second, may write a version again; readers of the history take it once.
    """
    catalogue = current(store)
    for row in catalogue.unwritten:
        append(row)
    if catalogue.unwritten:
        # The same version, since it defines the same. Where there is a newer one, its saver does this.
        store.replace_catalogue(
            encode(replace(catalogue, unwritten=())), expected=catalogue.version, version=catalogue.version
        )


def activate(store: Store, holds_events: Callable[[], bool]) -> Catalogue | None:
    """The catalogue after its newest projection was raised in every shard, with where their logs stood then.

    None where that was done before.
    """
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
