"""What may come next in a text: completions at a position, as an editor shows them.

The grammar itself says what it wants: the text before the position is read by it, and where the text ends, the grammar
has just asked for something. So what is offered here is what is read there, and no second grammar can be behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..aggregates import AGGREGATES, Aggregate
from ..errors import ExpressionError, SyntaxRefused
from ..functions import FUNCTIONS, Function
from ..ops import Aggregation, Attribute, Expr, Property, Source, Span
from ..rules import dtypes
from ..rules.dtypes import ANY, BOOLEAN, NULL, NUMBER, Dtype
from .dialect import open_quote, tokens
from .mistakes import Tolerant
from .names import RESERVED, backticked, is_plain, path, quoted
from .parse import BINDS, CHARACTERS_MAX
from .typecheck import aggregate_dtype

#: The most completions that are given at once.
COMPLETIONS_MAX = 100
#: Windows that are offered; any other may be written.
WINDOWS = ("1h", "24h", "7d", "14d", "30d", "90d", "365d")

Kind: TypeAlias = Literal[
    "event", "property", "attribute", "trait", "segment", "function", "aggregate", "window", "operator", "keyword"
]
#: What the grammar wants at a place: a value, an operator, a name, a member of an event, or nothing that is known.
Wants: TypeAlias = Literal["value", "operator", "name", "member", "nothing"]


@dataclass(frozen=True)
class Seen:
    """The names that completions offer: those that were seen in events and profiles, and the definitions.

    `events`: event -> its properties (dotted) -> the kinds of value seen. `counts`: event -> how often it came.
    `attributes`: the key and the names inside its value -> the kinds seen.
    """

    events: Mapping[str, Mapping[str, Dtype]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    attributes: Mapping[tuple[str, ...], Dtype] = field(default_factory=dict)
    traits: Mapping[str, Dtype] = field(default_factory=dict)
    segments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """A text that may stand at `at`, in place of what is there. `label` is what a list shows."""

    label: str
    text: str
    at: Span
    kind: Kind
    dtype: Dtype = frozenset()
    signature: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Place:
    """What the grammar wants at a position.

    `names` are those read so far of the thing at hand (`["events", "purchase"]`), `event` the event of the `where` that
    the position is in, `beside` the operator and the part before a value, and `call` the function that it is in.
    """

    wants: Wants
    names: tuple[str, ...] = ()
    event: str | None = None
    beside: tuple[str, Expr] | None = None
    call: str | None = None

    @property
    def compared(self) -> dict[str, str] | None:
        """The attribute, or the event and its property, whose values a value here is compared with."""
        match self.beside:
            case (_, Attribute(key, ())):
                return {"attribute": key}
            case (_, Property(name)) if self.event is not None and name:
                return {"event": self.event, "property": name}
            case (_, Aggregation(aggregate, Source(str(event), _, str(name)))) if aggregate in _GIVE_VALUES:
                return {"event": event, "property": name}
        return None


#: Aggregates that give a value of their property.
_GIVE_VALUES = frozenset({"min", "max", "first", "last", "most_frequent"})


class _Reached(Exception):
    """The grammar reached the end of the text."""

    def __init__(self, place: Place) -> None:
        self.place = place


def place_at(text: str) -> Place:
    """What the grammar wants behind a text, whatever mistakes it has."""
    try:
        _Asking(text).whole()
    except _Reached as reached:
        return reached.place
    except ExpressionError:
        pass
    return Place("nothing")


class _Asking(Tolerant):
    """Reads a text up to its end, and raises `_Reached` there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.event: str | None = None
        self.calls: list[str] = []
        self.operand: Expr | None = None
        self.beside: tuple[int, str, Expr] | None = None

    def reached(self, wants: Wants) -> _Reached:
        beside = None
        if wants == "value" and self.beside is not None and self.beside[0] == self.at:
            beside = self.beside[1:]
        call = self.calls[-1] if self.calls else None
        return _Reached(Place(wants, tuple(self.names_read), self.event, beside, call))

    def unary(self) -> Expr:
        if self.token is None:
            raise self.reached("value")
        self.operand = super().unary()
        return self.operand

    def operator(self) -> str | None:
        if self.token is None:
            raise self.reached("operator")
        operator = super().operator()
        if operator is not None and self.operand is not None:
            self.beside = (self.at + (2 if operator == "not in" else 1), operator, self.operand)
        return operator

    def name(self, expected: str) -> str:
        if self.token is None:
            raise self.reached("name")
        return super().name(expected)

    def string(self, expected: str) -> str:
        if self.token is None:
            raise self.reached("name")
        return super().string(expected)

    def unexpected(self, expected: str) -> SyntaxRefused:
        if self.token is None:
            raise self.reached("member" if self.names_read[:1] == ["events"] else "nothing")
        return super().unexpected(expected)

    def condition(self, event: str) -> Expr:
        self.event = event
        condition = super().condition(event)
        self.event = None
        return condition

    def call(self, word: str, start: Span) -> Expr:
        self.calls.append(word)
        call = super().call(word, start)
        self.calls.pop()
        return call


def completions(text: str, position: int, seen: Seen) -> tuple[Place, list[Completion]]:
    """What the grammar wants at a position of a text, and what may stand there, best first, `COMPLETIONS_MAX` at most.

    What is being written there is replaced: the word around the position, or the quoted name before it.
    """
    if len(text) > CHARACTERS_MAX:
        return Place("nothing"), []
    at = _At(text, position)
    word, first, others = at.word.casefold(), list[Completion](), list[Completion]()
    for one in _offered(at, seen):
        label = one.label.casefold()
        if label.startswith(word):
            first.append(one)
            if len(first) == COMPLETIONS_MAX:
                break
        elif word in label and len(others) < COMPLETIONS_MAX:
            others.append(one)
    return at.place, [*first, *others][:COMPLETIONS_MAX]


class _At:
    """A position in a text: what is being written there, and what the grammar wants."""

    def __init__(self, text: str, position: int) -> None:
        position = max(0, min(position, len(text)))
        before, self.quote = text[:position], ""
        try:
            tokens(before)
        except SyntaxRefused:
            start = open_quote(before)
            self.quote, self.word = before[start], before[start + 1 :]
            end = position
            closing = text.find(self.quote, position)
            if closing >= 0 and "\n" not in text[position:closing] and is_word(text[position:closing]):
                end = closing + 1
        else:
            self.word = _WORD_BEFORE.search(before)[0]  # type: ignore[index]
            start = position - len(self.word)
            end = position + len(_WORD_BEHIND.match(text, position)[0])  # type: ignore[index]
        self.prefix = text[:start].rstrip()
        self.span = Span(start, end)
        self.text = text
        self.place = place_at(text[:start])

    @property
    def has_dot(self) -> bool:
        """Whether a dot stands before what is being written."""
        return self.prefix.endswith(".")

    @property
    def has_bracket(self) -> bool:
        """Whether a bracket stands before it, in which a name is quoted."""
        return self.prefix.endswith("[")

    def named(self, name: str) -> tuple[str, Span]:
        """The text of a name at this place, and what it replaces."""
        end = self.span.end
        if self.has_bracket:
            bracket = "" if self.text[end : end + 1] == "]" else "]"
            return quoted(name) + bracket, self.span
        if self.quote == "`":
            return backticked(name), self.span
        if is_plain(name):
            return name, self.span
        return path([name]), Span(len(self.prefix) - 1, end) if self.has_dot else self.span


_WORD_BEFORE = re.compile(r"\w*$")
_WORD_BEHIND = re.compile(r"\w*")


def is_word(text: str) -> bool:
    """Whether a text is letters, digits and _ alone, or nothing."""
    return _WORD_BEHIND.fullmatch(text) is not None


# ── what is offered ──────────────────────────────────────────────────────────────────────────────────────────────


def _offered(at: _At, seen: Seen) -> Iterator[Completion]:
    place = at.place
    match place:
        case Place("value") if at.quote in ("", "`"):
            yield from _values(at, seen)
        case Place("operator") if not at.quote:
            yield from _operators(at)
        case Place("member") if not at.quote:
            yield from _members(at, seen, place.names[1:], dot="." if not at.has_dot else "")
        case Place("name", names=("events",)):
            yield from _named(at, "event", {name: ANY for name in seen.events}, seen.counts)
        case Place("name", names=("events", *names)):
            yield from _members(at, seen, tuple(names))
        case Place("name", names=("profile", *names)):
            yield from _named(at, "attribute", _following(seen.attributes, tuple(names)))
        case Place("name", names=("trait",)):
            yield from _keys(at, "trait", seen.traits)
        case Place("name", names=("segment",)):
            yield from _keys(at, "segment", dict.fromkeys(seen.segments, BOOLEAN))
        case Place("name", names=names, event=str(event)):
            yield from _properties(at, seen, event, names)


def _named(
    at: _At, kind: Kind, names: Mapping[str, Dtype], counts: Mapping[str, int] | None = None
) -> Iterator[Completion]:
    for name, dtype in names.items():
        text, span = at.named(name)
        detail = f"came {counts[name]:,} times" if counts and name in counts else ""
        yield Completion(name, text, span, kind, dtype if kind != "event" else frozenset(), detail=detail)


def _keys(at: _At, kind: Kind, names: Mapping[str, Dtype]) -> Iterator[Completion]:
    closing = "" if at.text[at.span.end : at.span.end + 1] == ")" else ")"
    for name, dtype in names.items():
        yield Completion(name, quoted(name) + closing, at.span, kind, dtype)


def _properties(at: _At, seen: Seen, event: str, before: tuple[str, ...]) -> Iterator[Completion]:
    """The next names of properties behind those that are written."""
    named = {tuple(name.split(".")): dtype for name, dtype in seen.events.get(event, {}).items()}
    yield from _named(at, "property", _following(named, before))


def _following(names: Mapping[tuple[str, ...], Dtype], before: tuple[str, ...]) -> dict[str, Dtype]:
    """The names that stand right behind some names, each with the kinds of its own values."""
    following: dict[str, Dtype] = {}
    for name, dtype in names.items():
        if len(name) > len(before) and name[: len(before)] == before:
            one = name[len(before)]
            following[one] = following.get(one, frozenset()) | (dtype if len(name) == len(before) + 1 else frozenset())
    return following


def _members(at: _At, seen: Seen, names: tuple[str, ...], dot: str = "") -> Iterator[Completion]:
    """What may stand behind an event: its properties, `where(`, and aggregates."""
    event, *properties = names
    if not dot:
        yield from _properties(at, seen, event, tuple(properties))
    if at.has_bracket or at.quote:
        return
    if not properties:
        yield Completion("where", f"{dot}where(", at.span, "keyword", signature="where(condition)", detail=_WHERE)
    for aggregate in AGGREGATES.values():
        if properties or aggregate.takes == "optional":
            yield from _aggregate(at, aggregate, bool(properties), dot)


_WHERE = "Only the events whose properties meet a condition."


def _aggregate(at: _At, aggregate: Aggregate, has_property: bool, dot: str = "") -> Iterator[Completion]:
    dtype, name = aggregate_dtype(aggregate.name, has_property), aggregate.name
    signature = f"{name}, {name}_30d → {dtypes.name(dtype)}"
    yield Completion(name, dot + name, at.span, "aggregate", dtype, signature, aggregate.says)
    if at.word.startswith(f"{name}_"):
        for window in WINDOWS:
            if window.endswith("d") or not aggregate.dates:
                text = f"{name}_{window}"
                detail = f"{aggregate.says} Within {window}."
                yield Completion(text, dot + text, at.span, "window", dtype, signature, detail)


_KEYWORDS: dict[str, Dtype] = {"true": BOOLEAN, "false": BOOLEAN, "null": NULL}


def _values(at: _At, seen: Seen) -> Iterator[Completion]:
    """What a value may begin with. A number that is being written is no beginning of a name."""
    if at.word[:1].isdigit() and not at.quote:
        return
    event = at.place.event
    if event is not None:
        for one in _properties(at, seen, event, ()):
            text = one.label if is_plain(one.label) and one.label not in RESERVED else backticked(one.label)
            yield Completion(one.label, text, at.span, "property", one.dtype)
    if at.quote:
        return
    if event is None:
        yield Completion("events", "events", at.span, "keyword", signature="events.EVENT[.PROPERTY].AGGREGATE[_WINDOW]")
        yield Completion("profile", "profile", at.span, "keyword", signature="profile.ATTRIBUTE")
        for key, dtype in seen.traits.items():
            yield Completion(key, key, at.span, "trait", dtype)
        for key in seen.segments:
            yield Completion(f'segment("{key}")', f'segment("{key}")', at.span, "segment", BOOLEAN)
    for function in FUNCTIONS.values():
        if not function.internal and not (event is not None and function.name in ("days_since", "bucket")):
            signature = signature_of(function)
            dtype = function.returns or ANY
            yield Completion(function.name, f"{function.name}(", at.span, "function", dtype, signature, function.says)
    if event is None:
        for aggregate in AGGREGATES.values():
            if aggregate.takes == "optional":
                yield from _aggregate(at, aggregate, False)
    for word, dtype in _KEYWORDS.items():
        yield Completion(word, word, at.span, "keyword", dtype)
    yield Completion("not", "not ", at.span, "keyword", BOOLEAN)


def _operators(at: _At) -> Iterator[Completion]:
    for word in BINDS:
        mark = {"and": "&&", "or": "||"}.get(word, word)
        dtype = NUMBER if word in "+-*/%" else BOOLEAN
        yield Completion(word, mark, at.span, "operator", dtype)


def signature_of(function: Function) -> str:
    """A function with the kinds that it takes and gives, in a line: `round(number, number?) → number`."""
    least = len(function.takes) - function.optional
    taken = [dtypes.name(dtype) + ("?" if index >= least else "") for index, dtype in enumerate(function.takes)]
    more = ["…"] if function.variadic else []
    gives = "one of them" if function.returns is None else dtypes.name(function.returns)
    return f"{function.name}({', '.join([*taken, *more])}) → {gives}"
