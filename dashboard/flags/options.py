"""The options of a flag in its form: variants, rollout, schedule, prerequisites, named users, buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from dashboard.definitions.kinds import definitions
from dashboard.flags.switch import answer_text
from dashboard.markdown import plain
from dashboard.times import instant, zone
from dashboard.values import read_json, value_text

ALLOW, REFUSE = "allow", "refuse"
DEFAULTS: dict[str, Any] = {
    **{"variants": [], "rollout": 100.0, "default": False, "starts_at": None, "ends_at": None},
    **{"prerequisites": [], "users": {}, "bucket_by": "userId", "salt": "", "cache_seconds": 0},
}


def flag_options(saved: dict[str, Any], key: str, disabled: bool) -> dict[str, Any]:
    """The options as they stand in the form. A part of the form that is wrong keeps what was saved, and says so."""
    flag = {**DEFAULTS, **saved}
    left, right = st.columns(2)
    with left:
        variants = _variants(flag, key, disabled)
    with right:
        users = _users(flag, key, disabled, [one["name"] for one in variants])
    names = [one["name"] for one in variants]
    left, middle, right = st.columns(3)
    rollout = left.number_input(
        "Rollout, % of those whom the rule allows",
        0.0,
        100.0,
        float(flag["rollout"]),
        step=5.0,
        format="%.6g",
        key=f"{key} rollout",
        disabled=disabled,
    )
    answers = list(dict.fromkeys([REFUSE, ALLOW, *names, answer_text(flag["default"])]))
    default = middle.selectbox(
        "Default, where nothing allows",
        answers,
        index=answers.index(answer_text(flag["default"])),
        key=f"{key} default",
        disabled=disabled,
    )
    traits = [f"trait:{trait['key']}" for trait in definitions("trait")]
    buckets = list(dict.fromkeys(["userId", "deviceId", *traits, flag["bucket_by"]]))
    bucket_by = right.selectbox(
        "Who moves together",
        buckets,
        index=buckets.index(flag["bucket_by"]),
        key=f"{key} bucket_by",
        help="The person, the device, or all with the same value of a trait.",
        disabled=disabled,
    )
    left, right = st.columns(2)
    starts_at = _moment(left, "On from", flag["starts_at"], f"{key} starts", disabled)
    ends_at = _moment(right, "Off from", flag["ends_at"], f"{key} ends", disabled)
    prerequisites = _prerequisites(flag, key, disabled)
    left, right = st.columns(2)
    salt = left.text_input(
        "Salt",
        flag["salt"],
        key=f"{key} salt",
        help="Another one deals everybody out anew. Left empty it is the flag's key.",
        disabled=disabled,
    )
    if not salt and flag["salt"]:  # an empty one would be that of every other flag whose salt is empty
        salt = str(flag.get("key", ""))
    cache_seconds = right.number_input(
        "Clients may keep an answer, s", 0, 60, int(flag["cache_seconds"]), key=f"{key} cache", disabled=disabled
    )
    return {
        **{"variants": variants, "users": users, "rollout": rollout, "default": _answer(default)},
        **{"bucket_by": bucket_by, "starts_at": starts_at, "ends_at": ends_at, "prerequisites": prerequisites},
        **{"salt": salt or "", "cache_seconds": int(cache_seconds)},
    }


def _variants(flag: dict[str, Any], key: str, disabled: bool) -> list[dict[str, Any]]:
    """Variants with their weights; a value is JSON, or text as it stands, and the name where it is empty."""
    st.markdown("**Variants**", help="Weights are relative to each other. A value is any JSON but null.")
    rows = [
        {**one, "value": "" if one["value"] == one["name"] else value_text(one["value"])} for one in flag["variants"]
    ]
    edited = st.data_editor(
        rows or [{"name": "", "weight": None, "value": ""}],
        column_config={
            "name": st.column_config.TextColumn("Name"),
            "weight": st.column_config.NumberColumn("Weight", min_value=0, default=1),
            "value": st.column_config.TextColumn("Value"),
        },
        num_rows="dynamic",
        hide_index=True,
        key=f"{key} variants",
        disabled=disabled,
    )
    say_what_is_left_out(edited, "name", "variant", "a name")
    saved = {one["name"]: one["value"] for one in flag["variants"]}
    variants = []
    for row in edited:
        name = (row.get("name") or "").strip()
        if name:
            text = (row.get("value") or "").strip()
            is_kept = name in saved and _shown({"name": name, "value": saved[name]}) == text
            value = saved[name] if is_kept else _value(text, name)
            variants.append(
                {"name": name, "weight": 1.0 if row.get("weight") is None else row["weight"], "value": value}
            )
    return variants


def _shown(variant: dict[str, Any]) -> str:
    return "" if variant["value"] == variant["name"] else value_text(variant["value"])


def _value(text: str, name: str) -> Any:
    if not text:
        return name
    try:
        return read_json(text)
    except ValueError:
        return text


def _users(flag: dict[str, Any], key: str, disabled: bool, names: list[str]) -> dict[str, bool | str]:
    """Named users, whose answer no rule changes."""
    st.markdown("**Named users**", help="They get this answer whatever rule and rollout say.")
    rows = [{"id": id, "answer": answer_text(answer)} for id, answer in flag["users"].items()]
    edited = st.data_editor(
        rows or [{"id": "", "answer": None}],
        column_config={
            "id": st.column_config.TextColumn("Id"),
            "answer": st.column_config.SelectboxColumn("Answer", options=[ALLOW, REFUSE, *names]),
        },
        num_rows="dynamic",
        hide_index=True,
        key=f"{key} users",
        disabled=disabled,
    )
    say_what_is_left_out(edited, "id", "named user", "an id")
    try:
        return users_in(edited)
    except ValueError as error:
        st.error(plain(error), icon=":material/error:")
        return dict(flag["users"])


def users_in(rows: Iterable[Mapping[str, Any]]) -> dict[str, bool | str]:
    """The answers of named users, by id; rows without an id are none.

    Raises `ValueError` for a user who is named twice: one of the answers would be lost.
    """
    users: dict[str, bool | str] = {}
    for row in rows:
        id = (row.get("id") or "").strip()
        if id in users:
            raise ValueError(f"{id} is named twice: name each user once. Until then the named users stay as they were.")
        if id:
            users[id] = _answer(row.get("answer") or ALLOW)
    return users


def _prerequisites(flag: dict[str, Any], key: str, disabled: bool) -> list[dict[str, Any]]:
    """Other flags that must allow first."""
    st.markdown("**Prerequisites**", help="Other flags that must allow, with this variant if one is named.")
    others = [one["key"] for one in definitions("flag") if one["key"] != flag.get("key")]
    edited = st.data_editor(
        [dict(one) for one in flag["prerequisites"]] or [{"flag": None, "variant": None}],
        column_config={
            "flag": st.column_config.SelectboxColumn("Flag", options=others),
            "variant": st.column_config.TextColumn("Variant"),
        },
        num_rows="dynamic",
        hide_index=True,
        key=f"{key} prerequisites",
        disabled=disabled,
    )
    say_what_is_left_out(edited, "flag", "prerequisite", "a flag")
    return [{"flag": row["flag"], "variant": row.get("variant") or None} for row in edited if row.get("flag")]


def left_out(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    """How many rows say something, and lack the field that names them."""

    def is_blank(value: Any) -> bool:
        return value is None or (isinstance(value, str) and not value.strip())

    return sum(is_blank(row.get(name)) and not all(map(is_blank, row.values())) for row in rows)


def say_what_is_left_out(rows: Iterable[Mapping[str, Any]], name: str, thing: str, lacks: str) -> None:
    """A warning, where rows that somebody filled in name nothing."""
    if count := left_out(rows, name):
        rows_are = "1 row has" if count == 1 else f"{count} rows have"
        st.warning(f"{rows_are} no {name}, and will not be saved. A {thing} needs {lacks}.", icon=":material/warning:")


def _moment(place: Any, label: str, saved: str | None, key: str, disabled: bool) -> str | None:
    """An instant in the workspace's zone, as RFC 3339; None for none. What nobody changed is as it was saved."""
    at = instant(saved)
    shown = None if at is None else at.replace(tzinfo=None, second=0, microsecond=0)
    chosen = place.datetime_input(f"{label} ({zone()})", shown, key=key, disabled=disabled, step=60)
    if chosen == shown:
        return saved
    return None if chosen is None else chosen.replace(tzinfo=zone()).isoformat()


def _answer(text: str) -> bool | str:
    return {ALLOW: True, REFUSE: False}.get(text, text)
