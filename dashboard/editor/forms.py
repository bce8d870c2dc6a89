"""What the builder shows: an expression as groups of conditions, from the API's tree and back to it.

    Group      all or any of its parts, or none of them: conditions and groups
    Condition  a subject, how it is compared, and with what
    Subject    an aggregate of events within a window, an attribute, a trait or a segment; inside a filter a property

A tree with another shape has no form. The API writes the text of a tree, so nothing here knows how a text is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Literal, TypeAlias

Tree: TypeAlias = Mapping[str, Any]
Scalar: TypeAlias = None | bool | float | str
SubjectKind: TypeAlias = Literal["event", "any event", "attribute", "trait", "segment", "property"]
Join: TypeAlias = Literal["all", "any", "none"]
Comparison: TypeAlias = Literal[
    "==", "!=", ">=", ">", "<=", "<", "in", "not in", "holds", "does not hold", "is known", "is not known"
]

#: Comparisons without a value behind them.
ALONE: frozenset[Comparison] = frozenset({"holds", "does not hold", "is known", "is not known"})
#: Levels of groups that the builder shows; deeper ones fit on no screen.
LEVELS_MAX = 3
#: Conditions and groups that the builder shows: each takes several widgets.
PARTS_MAX = 30

_numbers = count()


def new_id() -> str:
    """A name of a part that no other part has, for the keys of its widgets."""
    return f"part{next(_numbers)}"


@dataclass(frozen=True)
class Subject:
    """What a condition looks at. `name` is that of the event, attribute, trait, segment or property.

    The rest is of an aggregate: `where` filters its events, `window` is a text such as 30d, or None for all time.
    """

    kind: SubjectKind
    name: str = ""
    aggregate: str = "count"
    property: str | None = None
    where: Group | None = None
    window: str | None = None


@dataclass(frozen=True)
class Condition:
    """A subject compared with a value; `value` is a tuple for `in` and `not in`."""

    subject: Subject
    comparison: Comparison = ">="
    value: Scalar | tuple[Scalar, ...] = None
    id: str = field(default_factory=new_id, compare=False)


@dataclass(frozen=True)
class Group:
    """Parts of which all, any or none must hold."""

    join: Join
    parts: tuple[Condition | Group, ...]
    id: str = field(default_factory=new_id, compare=False)


@dataclass(frozen=True)
class Value:
    """A trait that is what its subject gives, compared with nothing."""

    subject: Subject
    id: str = field(default_factory=new_id, compare=False)


Form: TypeAlias = Group | Value


class NoForm(Exception):
    """The tree has a part that the builder cannot show; the text says which kind of part."""


class Unfinished(Exception):
    """A part of a form lacks something; the text says what."""


# ── from a tree ──────────────────────────────────────────────────────────────────────────────────────────────────


def form_of(tree: Tree, *, is_value: bool) -> Form:
    """The form of a tree. `is_value`: it is a trait's, for which an aggregate alone is a value and no condition.

    Raises `NoForm`.
    """
    form: Form
    if is_value and tree["node"] in _SUBJECTS:
        form = Value(_subject(tree))
    else:
        part = _part(tree, 1)
        form = part if isinstance(part, Group) else Group("all", (part,))
        if size(form) > PARTS_MAX:
            raise NoForm(f"more than {PARTS_MAX} conditions")
    if _said(tree_of(form)) != _said(tree):
        raise NoForm("a group in a group")
    return form


def _said(tree: Any) -> Any:
    """What a tree says: without the places of its nodes in the text, and without what is not there."""
    if isinstance(tree, Mapping):
        said = {name: _said(value) for name, value in tree.items() if name not in ("start", "end")}
        return {name: value for name, value in said.items() if value is not None and value != []}
    return [_said(item) for item in tree] if isinstance(tree, list) else tree


def size(group: Group) -> int:
    """The conditions and groups in a group, those of filters included."""
    total = 0
    for part in group.parts:
        total += 1
        if isinstance(part, Group):
            total += size(part)
        elif part.subject.where is not None:
            total += size(part.subject.where)
    return total


def _part(tree: Tree, level: int) -> Condition | Group:
    match tree["node"]:
        case "and" | "or":
            return _group("all" if tree["node"] == "and" else "any", tree["parts"], level)
        case "not":
            return _negated(tree["part"], level)
        case "compare":
            return _compared(tree)
        case "in":
            return Condition(_subject(tree["item"]), "in", _items(tree["collection"]))
        case kind if kind in _SUBJECTS:
            return Condition(_subject(tree), "holds")
        case kind:
            raise NoForm(_NAMES.get(kind, kind))


def _group(join: Join, parts: list[Tree], level: int) -> Group:
    if level > LEVELS_MAX:
        raise NoForm(f"groups in more than {LEVELS_MAX} levels")
    return Group(join, tuple(_part(part, level + 1) for part in parts))


def _negated(tree: Tree, level: int) -> Condition | Group:
    match tree["node"]:
        case "in":
            return Condition(_subject(tree["item"]), "not in", _items(tree["collection"]))
        case "or":
            return _group("none", tree["parts"], level)
        case kind if kind in _SUBJECTS:
            return Condition(_subject(tree), "does not hold")
        case _:
            return Group("none", (_part(tree, level + 1),))


def _compared(tree: Tree) -> Condition:
    subject, op, value = _subject(tree["left"]), tree["op"], _scalar(tree["right"])
    if value is not None:
        return Condition(subject, op, value)
    if op not in ("==", "!="):
        raise NoForm("an order with null")
    return Condition(subject, "is not known" if op == "==" else "is known")


def _subject(tree: Tree) -> Subject:
    make = _SUBJECTS.get(tree["node"])
    if make is None:
        raise NoForm(_NAMES.get(tree["node"], tree["node"]))
    return make(tree)


def _aggregated(tree: Tree) -> Subject:
    if tree.get("event") is None:
        return Subject("any event", aggregate=tree["aggregate"], window=tree.get("window"))
    where = tree.get("where")
    part = None if where is None else _part(where, 2)
    return Subject(
        "event",
        tree["event"],
        tree["aggregate"],
        tree.get("property"),
        Group("all", (part,)) if isinstance(part, Condition) else part,
        tree.get("window"),
    )


def _attribute(tree: Tree) -> Subject:
    if tree.get("path"):
        raise NoForm("a name inside an attribute's value")
    return Subject("attribute", tree["key"])


def _scalar(tree: Tree) -> Scalar:
    if tree["node"] != "value":
        raise NoForm("a comparison with what is no constant")
    value: Scalar = tree.get("value")
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _items(tree: Tree) -> tuple[Scalar, ...]:
    if tree["node"] != "list":
        raise NoForm("a list that is computed")
    return tuple(_scalar(item) for item in tree["items"])


_SUBJECTS = {
    "aggregate": _aggregated,
    "attribute": _attribute,
    "trait": lambda tree: Subject("trait", tree["key"]),
    "segment": lambda tree: Subject("segment", tree["key"]),
    "property": lambda tree: Subject("property", tree["name"]),
}
_NAMES = {
    "arithmetic": "arithmetic",
    "negate": "arithmetic",
    "call": "a function",
    "value": "a constant alone",
    "list": "a list alone",
}


# ── to a tree ────────────────────────────────────────────────────────────────────────────────────────────────────


def tree_of(form: Form) -> Tree | None:
    """The tree of a form; None while it is empty. Raises `Unfinished`."""
    if isinstance(form, Value):
        return _subject_tree(form.subject)
    return _group_tree(form)


def _group_tree(group: Group) -> Tree | None:
    parts = [tree for part in group.parts if (tree := _part_tree(part)) is not None]
    if not parts:
        return None
    if group.join == "none":
        return {"node": "not", "part": parts[0] if len(parts) == 1 else {"node": "or", "parts": parts}}
    return parts[0] if len(parts) == 1 else {"node": "and" if group.join == "all" else "or", "parts": parts}


def _part_tree(part: Condition | Group) -> Tree | None:
    if isinstance(part, Group):
        return _group_tree(part)
    subject = _subject_tree(part.subject)
    match part.comparison:
        case "holds":
            return subject
        case "does not hold":
            return {"node": "not", "part": subject}
        case "is known" | "is not known":
            return _compare_tree("!=" if part.comparison == "is known" else "==", subject, None)
        case "in" | "not in":
            if not isinstance(part.value, tuple) or not part.value:
                raise Unfinished("Give at least one value of the list.")
            items = [{"node": "value", "value": value} for value in part.value]
            tree = {"node": "in", "item": subject, "collection": {"node": "list", "items": items}}
            return tree if part.comparison == "in" else {"node": "not", "part": tree}
    if part.value is None or isinstance(part.value, tuple):
        raise Unfinished("Give a value to compare with.")
    return _compare_tree(part.comparison, subject, part.value)


def _compare_tree(op: str, left: Tree, value: Scalar) -> Tree:
    return {"node": "compare", "op": op, "left": left, "right": {"node": "value", "value": value}}


def _subject_tree(subject: Subject) -> Tree:
    if subject.kind != "any event" and not subject.name:
        raise Unfinished(f"Choose the {subject.kind}.")
    match subject.kind:
        case "attribute":
            return {"node": "attribute", "key": subject.name, "path": []}
        case "trait" | "segment":
            return {"node": subject.kind, "key": subject.name}
        case "property":
            return {"node": "property", "name": subject.name}
    is_root = subject.kind == "any event"
    return {
        "node": "aggregate",
        "aggregate": subject.aggregate,
        "event": None if is_root else subject.name,
        "property": None if is_root else subject.property,
        "where": None if is_root or subject.where is None else _group_tree(subject.where),
        "window": subject.window,
    }


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def changed(form: Form, id: str, change: Callable[[Group], Group]) -> Form:
    """The form with the group of this id changed, wherever it stands; filters are groups too."""
    if isinstance(form, Value):
        return replace(form, subject=_changed_subject(form.subject, id, change))
    return _changed_group(form, id, change)


def _changed_group(group: Group, id: str, change: Callable[[Group], Group]) -> Group:
    if group.id == id:
        return change(group)
    parts = tuple(
        _changed_group(part, id, change)
        if isinstance(part, Group)
        else replace(part, subject=_changed_subject(part.subject, id, change))
        for part in group.parts
    )
    return replace(group, parts=parts)


def _changed_subject(subject: Subject, id: str, change: Callable[[Group], Group]) -> Subject:
    return subject if subject.where is None else replace(subject, where=_changed_group(subject.where, id, change))
