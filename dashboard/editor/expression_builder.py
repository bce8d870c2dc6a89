"""The builder of the common shapes: native widgets that show the form of an expression, and give its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.editor.forms import (
    ALONE,
    LEVELS_MAX,
    PARTS_MAX,
    Comparison,
    Condition,
    Form,
    Group,
    NoForm,
    Scalar,
    Subject,
    SubjectKind,
    Unfinished,
    Value,
    changed,
    form_of,
    size,
    tree_of,
)
from dashboard.editor.labels import ALL_TIME, COMPARISONS, JOINS, OF_TYPE, SUBJECTS, VALUE_TYPES, WINDOWS
from dashboard.editor.typed_words import type_of, value_of, word_of
from dashboard.editor.words import ANY, Types, Words
from dashboard.markdown import plain

DefinitionKind = Literal["trait", "segment", "flag"]


@dataclass
class _Shown:
    """What the builder shows, in the session: the text given last, as it stands, as returned last; and its form.

    `reason` says why there is no form; `problem` why the form has no text. `is_whole_run`: the page runs, and not the
    builder alone.
    """

    given: str
    text: str
    returned: str
    form: Form | None = None
    reason: str = ""
    problem: str = ""
    is_whole_run: bool = False


def expression_builder(kind: DefinitionKind, text: str, words: Words, *, key: str, rerun: bool = True) -> str:
    """The text as the builder made it: `text` until somebody changes something there.

    It reads `text` back where that has one of the common shapes. Of another text it says so, and leaves it alone. It
    takes a `text` over as `expression_editor` does. The widgets are a fragment: the whole page runs again only once
    there is a new text, and not even then without `rerun`, as a dialog needs it: it would close.
    """
    state = f"{key}.shown"
    shown: _Shown | None = st.session_state.get(state)
    if shown is None or text not in (shown.given, shown.returned, shown.text):
        shown = _read(kind, text)
        st.session_state[state] = shown
    shown.given, shown.is_whole_run = text, True
    _draw(kind, words, key, rerun)
    shown.returned, shown.is_whole_run = shown.text, False
    return shown.text


def _read(kind: DefinitionKind, text: str) -> _Shown:
    """What to show of a text."""
    is_value = kind == "trait"
    if not text.strip():
        empty = Subject("event")
        return _Shown(text, text, text, Value(empty) if is_value else Group("all", (Condition(empty),)))
    answer = signed_in().admin.validate(kind, text, parts=["tree"])
    tree = answer.get("tree")
    if tree is None:
        return _Shown(text, text, text, reason="The text has a mistake, so the builder cannot read it.")
    try:
        return _Shown(text, text, text, form_of(tree, is_value=is_value))
    except NoForm as beyond:
        return _Shown(text, text, text, reason=f"The builder cannot show {beyond}.")


@st.fragment
def _draw(kind: DefinitionKind, words: Words, key: str, rerun: bool) -> None:
    shown: _Shown = st.session_state[f"{key}.shown"]
    if shown.form is None:
        st.info(f"{plain(shown.reason)} The text stays as it is; edit it as text.")
        return
    widgets = _Widgets(words, key)
    with st.container(key=f"{key}.form"):
        form = widgets.form(shown.form, kind)
    if repr(form) == repr(shown.form) and not shown.problem:  # to Python true and 1 are equal
        return
    shown.form, before = form, shown.text
    shown.problem = "The API did not answer."  # it is asked again by the next run
    with page.refusals():
        shown.problem = widgets.lacks or _write(kind, shown)
    if shown.problem:
        st.warning(f"{plain(shown.problem)} Until then the expression stays as it is.")
    # A page that runs gets the text at once; to run it again would lose the click that made it run.
    if shown.text != before and rerun and not shown.is_whole_run:
        st.rerun()


def _write(kind: DefinitionKind, shown: _Shown) -> str:
    """Makes the text of the form as it stands; the reason why it has none, or nothing."""
    assert shown.form is not None
    try:
        tree = tree_of(shown.form)
    except Unfinished as lacking:
        return str(lacking)
    if tree is None:
        shown.text = ""
        return ""
    answer = signed_in().admin.validate(kind, tree=tree, parts=["text"])
    if answer.get("text") is None:
        return f"{answer.get('error')}."
    shown.text = str(answer["text"])  # the page tells what may be wrong with it
    return ""


class _Widgets:
    """Draws the parts of a form, and gives each as its widgets now say."""

    def __init__(self, words: Words, key: str, event: str = "") -> None:
        """`event` is that whose filter is drawn. `lacks` says afterwards what an aggregate lacks."""
        self.words, self.key, self.event = words, key, event
        self.lacks = ""

    @property
    def properties(self) -> Mapping[str, Types]:
        """Those of the event whose filter is drawn."""
        return self.words.events.get(self.event, {})

    # ── groups ───────────────────────────────────────────────────────────────────────────────────────────────────

    def form(self, form: Form, kind: DefinitionKind) -> Form:
        if kind == "trait":
            form = self._value_or_condition(form)
        if isinstance(form, Value):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                subject = self._subject(form.subject, form.id, tuple(SUBJECTS))
                is_filtered = self._filters(subject, form.id)
            subject = self._filtered(subject, is_filtered, 1)
            return replace(form, subject=subject)
        return self._group(form, 1, tuple(SUBJECTS), room=PARTS_MAX - size(form))

    def _value_or_condition(self, form: Form) -> Form:
        """A trait is a value, or whether conditions hold; what is there is taken along."""
        choices = ("a value", "whether conditions hold")
        chosen = st.segmented_control(
            "The trait is",
            choices,
            default=choices[isinstance(form, Group)],
            required=True,
            key=f"{self.key}.shape",
        )
        if chosen == choices[0] and isinstance(form, Group):
            first = next((part for part in form.parts if isinstance(part, Condition)), None)
            return Value(Subject("event") if first is None else first.subject)
        if chosen == choices[1] and isinstance(form, Value):
            return Group("all", (Condition(form.subject),))
        return form

    def _group(
        self, group: Group, level: int, kinds: Sequence[SubjectKind], room: int, outer: Group | None = None
    ) -> Group:
        """`room`: so many more parts may be added. `outer` is the group that it may be removed from."""
        with st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                join = st.selectbox(
                    "Which parts must hold",
                    list(JOINS),
                    index=list(JOINS).index(group.join),
                    format_func=JOINS.__getitem__,
                    key=f"{group.id}.join",
                    label_visibility="collapsed",
                    width=160,
                )
                if outer is not None:
                    self._remove("Remove this group", group, outer)
            parts = tuple(self._part(part, group, level, kinds, room) for part in group.parts)
            with st.container(horizontal=True):
                blank = Condition(Subject(kinds[0]), "==" if kinds[0] == "property" else ">=")
                self._button("Add condition", group, blank, room < 1)
                if level < LEVELS_MAX:
                    self._button("Add group", group, Group("any", (blank,)), room < 2)
        return replace(group, join=join, parts=parts)

    def _button(self, label: str, group: Group, part: Condition | Group, is_full: bool) -> None:
        st.button(
            label,
            key=f"{group.id}.{label}",
            on_click=self._change,
            args=(group.id, lambda group: replace(group, parts=(*group.parts, part))),
            disabled=is_full,
            help=f"The builder shows {PARTS_MAX} conditions at most." if is_full else None,
            type="tertiary",
        )

    def _part(
        self, part: Condition | Group, group: Group, level: int, kinds: Sequence[SubjectKind], room: int
    ) -> Condition | Group:
        if isinstance(part, Group):
            return self._group(part, level + 1, kinds, room, outer=group)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            subject = self._subject(part.subject, part.id, kinds)
            if replace(subject, where=None) != replace(part.subject, where=None):
                part = self._fitting(part, subject)
            comparison = self._comparison(part, subject)
            value = None if comparison in ALONE else self._value(part, subject, comparison)
            is_filtered = self._filters(subject, part.id)
            self._remove("Remove this condition", part, group)
        subject = self._filtered(subject, is_filtered, level)
        return replace(part, subject=subject, comparison=comparison, value=value)

    def _remove(self, help: str, part: Condition | Group, group: Group) -> None:
        st.button(
            "Remove",
            key=f"{part.id}.remove",
            help=help,
            on_click=self._change,
            args=(group.id, lambda group: replace(group, parts=tuple(one for one in group.parts if one.id != part.id))),
            type="tertiary",
        )

    def _change(self, id: str, change: Callable[[Group], Group]) -> None:
        """Changes a group by its id, before the fragment runs again."""
        shown: _Shown = st.session_state[f"{self.key}.shown"]
        assert shown.form is not None
        shown.form = changed(shown.form, id, change)
        shown.problem = " "  # so that the text is made anew

    # ── subjects ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _subject(self, subject: Subject, id: str, kinds: Sequence[SubjectKind]) -> Subject:
        kind = subject.kind
        if len(kinds) > 1:
            kind = st.selectbox(
                "Look at",
                kinds,
                index=kinds.index(subject.kind),
                format_func=SUBJECTS.__getitem__,
                key=f"{id}.kind",
                label_visibility="collapsed",
                width=120,
            )
        if kind != subject.kind:
            subject = Subject(kind)
        names = self._names(subject)
        if kind != "any event":
            name = self._choice(f"Name of the {kind}", names, subject.name, f"{id}.{kind}", placeholder=f"{kind} …")
            if name != subject.name:
                subject = replace(subject, name=name, property=None)
        return self._aggregate(subject, id) if kind in ("event", "any event") else subject

    def _names(self, subject: Subject) -> Sequence[str]:
        words = self.words
        match subject.kind:
            case "event":
                return list(words.events)
            case "attribute":
                return list(words.attributes)
            case "trait":
                return list(words.traits)
            case "segment":
                return words.segments
            case "property":
                return list(self.properties)
            case _:
                return ()

    def _aggregate(self, subject: Subject, id: str) -> Subject:
        known = self.words.aggregates
        is_root = subject.kind == "any event"
        names = [name for name, aggregate in known.items() if not is_root or not aggregate.needs_property]
        aggregate = self._choice("Aggregate", names, subject.aggregate, f"{id}.aggregate", is_new=False, width=130)
        property_ = None
        if not is_root and aggregate in known and known[aggregate].needs_property:
            property_ = self._choice(
                "Property",
                list(self.words.events.get(subject.name, ())),
                subject.property or "",
                f"{id}.property.{subject.name}",
                placeholder="of property …",
            )
            if not property_:
                self.lacks = f"Choose the property that {aggregate} is of."
        elif not is_root and subject.property is not None:
            property_ = subject.property  # `count` of a property: kept, though it is not offered
        windows = [ALL_TIME, *(one for one in WINDOWS if one.endswith("d") or not self._dates(aggregate))]
        window = self._choice("Within", windows, subject.window or ALL_TIME, f"{id}.window", width=100)
        return replace(
            subject,
            aggregate=aggregate,
            property=property_ or None,
            window=None if window == ALL_TIME else window,
        )

    def _dates(self, aggregate: str) -> bool:
        known = self.words.aggregates.get(aggregate)
        return known is not None and known.dates

    def _filters(self, subject: Subject, id: str) -> bool:
        """Whether only some of the events count."""
        if subject.kind != "event":
            return False
        return st.toggle("only where …", value=subject.where is not None, key=f"{id}.where")

    def _filtered(self, subject: Subject, is_filtered: bool, level: int) -> Subject:
        """The subject with the conditions on the properties of its events, which are drawn below it."""
        if not is_filtered:
            return subject if subject.where is None else replace(subject, where=None)
        where = subject.where or Group("all", (Condition(Subject("property"), "=="),))
        inside = _Widgets(self.words, self.key, subject.name)
        where = inside._group(where, max(level, LEVELS_MAX - 1), ("property",), room=PARTS_MAX - size(where))
        return replace(subject, where=where)

    # ── comparisons ──────────────────────────────────────────────────────────────────────────────────────────────

    def _types(self, subject: Subject) -> Types:
        """The types that the subject's value may have; empty where they are not known."""
        words = self.words
        match subject.kind:
            case "attribute":
                return words.attributes.get(subject.name, ANY)
            case "trait":
                return words.traits.get(subject.name, ANY)
            case "segment":
                return frozenset({"boolean"})
            case "property":
                return self.properties.get(subject.name, ANY)
        known = words.aggregates.get(subject.aggregate)
        if known is None:
            return ANY
        seen = words.events.get(subject.name, {}).get(subject.property or "", ANY)
        is_open = len(known.types - {"null"}) > 1  # as of `first`, whose value is one of the property
        return known.types & seen if is_open and seen else known.types

    def _comparisons(self, subject: Subject) -> list[Comparison]:
        if subject.kind == "segment":
            return ["holds", "does not hold"]
        types = self._types(subject) - {"null"}
        if not types:
            return list(COMPARISONS)
        offered = {comparison for type_ in types for comparison in OF_TYPE.get(type_, ())}
        first = OF_TYPE.get(min(types), ()) if len(types) == 1 else ()
        return [*first, *(one for one in COMPARISONS if one in offered and one not in first)]

    def _fitting(self, part: Condition, subject: Subject) -> Condition:
        """The condition with a comparison that another subject has, and with no value of another type."""
        offered, types = self._comparisons(subject), self._types(subject)
        first = part.value[0] if isinstance(part.value, tuple) and part.value else part.value
        fits = not types or type_of(first) in types
        return replace(
            part,
            comparison=part.comparison if part.comparison in offered else offered[0],
            value=part.value if fits else None,
        )

    def _comparison(self, part: Condition, subject: Subject) -> Comparison:
        offered = self._comparisons(subject)
        if part.comparison not in offered:
            offered = [*offered, part.comparison]
        labels = {**COMPARISONS, "holds": "is in it", "does not hold": "is not in it"}
        return st.selectbox(
            "Comparison",
            offered,
            index=offered.index(part.comparison),
            format_func=(labels if subject.kind == "segment" else COMPARISONS).__getitem__,
            key=f"{part.id}.comparison",
            label_visibility="collapsed",
            width=120,
        )

    def _value(self, part: Condition, subject: Subject, comparison: Comparison) -> Scalar | tuple[Scalar, ...]:
        types = sorted(self._types(subject) & VALUE_TYPES.keys())
        present = part.value[0] if isinstance(part.value, tuple) and part.value else part.value
        now = type_of(present) if not isinstance(present, tuple) else None
        if now is not None and now not in types:
            types.append(now)
        if len(types) != 1:
            options = types or list(VALUE_TYPES)
            type_ = st.selectbox(
                "Type of the value",
                options,
                index=options.index(now) if now in options else 0,
                format_func=VALUE_TYPES.__getitem__,
                key=f"{part.id}.type",
                label_visibility="collapsed",
                width=130,
            )
        else:
            type_ = types[0]
        examples = self._examples(part.id, subject, type_)
        draw = self._items if comparison in ("in", "not in") else self._scalar
        return draw(part, type_, examples)

    def _examples(self, id: str, subject: Subject, type_: str) -> Sequence[Scalar]:
        """Values that were seen, once somebody has asked for them: they are personal, so nothing asks by itself."""
        event = self.event if subject.kind == "property" else subject.name if subject.kind == "event" else ""
        property_ = subject.name if subject.kind == "property" else subject.property
        if type_ == "boolean" or not (subject.kind == "attribute" or (event and property_)):
            return ()
        about = f"{id}.examples"
        named = (subject.kind, event, property_, subject.name)
        known = st.session_state.get(about)
        if known is None or known[0] != named:
            st.button("Examples", key=f"{about}.{named}", on_click=_ask, args=(about, named), type="tertiary")
            return ()
        return [value for value in known[1] if type_of(value) == type_]

    def _scalar(self, part: Condition, type_: str, examples: Sequence[Scalar]) -> Scalar:
        value = part.value if not isinstance(part.value, tuple) and type_of(part.value) == type_ else None
        shared: dict[str, Any] = {"key": f"{part.id}.{type_}", "label_visibility": "collapsed", "width": 130}
        if type_ == "boolean":
            return st.selectbox("Value", [True, False], index=int(value is False), format_func=word_of, **shared)
        if examples:
            shared["key"] += ".examples"
            words = [word_of(example) for example in examples]
            present = None if value is None else word_of(value)
            words += [] if present is None or present in words else [present]
            index = None if present is None else words.index(present)
            chosen = st.selectbox(
                "Value", words, index=index, accept_new_options=True, placeholder=VALUE_TYPES[type_], **shared
            )
            return None if chosen is None else value_of(chosen, type_)
        if type_ == "number":
            number = None if value is None else float(value)
            return st.number_input("Value", value=number, format="%g", placeholder="number", **shared)
        # An empty text is a value, too: the widget gives None only while nobody has typed.
        return st.text_input("Value", value=value, placeholder="text", **shared)

    def _items(self, part: Condition, type_: str, examples: Sequence[Scalar]) -> tuple[Scalar, ...]:
        items = part.value if isinstance(part.value, tuple) else () if part.value is None else (part.value,)
        words = [*dict.fromkeys(word_of(item) for item in items if type_of(item) == type_)]
        offered = ["true", "false"] if type_ == "boolean" else map(word_of, examples)
        chosen = st.multiselect(
            "Values",
            [*dict.fromkeys([*words, *offered])],
            default=words,
            key=f"{part.id}.{type_}.items",
            accept_new_options=True,
            placeholder="type values",
            label_visibility="collapsed",
            width=260,
        )
        read = (value_of(word, type_) for word in chosen)
        return tuple(item for item in read if item is not None)

    def _choice(
        self,
        label: str,
        options: Sequence[str],
        chosen: str,
        key: str,
        *,
        placeholder: str | None = None,
        is_new: bool = True,
        width: int = 170,
    ) -> str:
        """One of the options, or a name that was never seen yet."""
        offered = [*options] if chosen in options or not chosen else [*options, chosen]
        found = st.selectbox(
            label,
            offered,
            index=offered.index(chosen) if chosen else None,
            key=key,
            label_visibility="collapsed",
            accept_new_options=is_new,
            placeholder=placeholder,
            width=width,
        )
        return found or ""


def _ask(about: str, named: tuple[str, str, str | None, str]) -> None:
    """Reads examples of the values of an event's property or of an attribute, and keeps them in this tab."""
    kind, event, property_, name = named
    asked = {"attribute": name} if kind == "attribute" else {"event": event, "property": property_}
    with page.refusals():
        found = signed_in().patient.values(**asked)["values"]
        st.session_state[about] = (named, [example["value"] for example in found])
