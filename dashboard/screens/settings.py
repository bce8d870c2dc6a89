"""Settings: keys, how every part is, and what runs in which version."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin import KeyKind
from tinycdp.admin_types import Key

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import section
from dashboard.answers import forget, remembered
from dashboard.console import console
from dashboard.markdown import code, plain
from dashboard.system import health, metrics
from dashboard.tables import table
from dashboard.times import time_text
from dashboard.values import bytes_text, value_text
from dashboard.workspace import may_change, workspace

TITLE = "Settings"
ICON = ":material/settings:"

KINDS: dict[KeyKind, str] = {
    "write": "sends events",
    "read": "asks for decisions",
    "profile": "also reads a user's traits",
    "viewer": "sees what admins see, changes nothing",
    "admin": "does everything",
}


@remembered(10)
def keys(admin: Admin) -> list[Key]:
    """All keys, without their texts."""
    return admin.list_keys()


def show() -> None:
    """One of three parts."""
    page.header("Settings", "Keys of apps and people, and how every part of the system is.")
    match section(["Keys", "Health", "Versions"]):
        case "Health":
            _health()
        case "Versions":
            _versions()
        case _:
            _keys()


def _keys() -> None:
    if may_change() and st.button("New key", type="primary", icon=":material/add:"):
        _ask_for_key()
    found = sorted(keys(), key=lambda key: (key["revoked_at"] is not None, key["created_at"] or ""))
    picked = table(
        [
            {
                "id": key["id"],
                "label": key["label"] or "–",
                "kind": key["kind"],
                "author": key["author"],
                "made": time_text(key["created_at"]),
                "used": time_text(key["last_used_at"]),
                "state": f"revoked {time_text(key['revoked_at'])}" if key["revoked_at"] else "in use",
            }
            for key in found
        ],
        {
            "label": st.column_config.TextColumn("Label", width="medium"),
            "kind": st.column_config.TextColumn("Kind", width="small"),
            "author": st.column_config.TextColumn("Made by", width=105),
            "made": st.column_config.TextColumn("Made"),
            "used": st.column_config.TextColumn("Last used"),
            "state": st.column_config.TextColumn("State", width=170),
            "id": st.column_config.TextColumn("Id"),
        },
        key="keys",
        id_of="id",
    )
    key = next((key for key in found if key["id"] == picked), None)
    if key is None:
        if may_change():
            st.caption("Click on a key to revoke it.")
    elif key["revoked_at"]:
        st.caption(f"{code(key['label'])} is revoked.")
    elif key["created_at"] is None:
        st.caption(f"{code(key['label'])} comes from the configuration: change it there (`docs/deployment.md`).")
    elif may_change() and st.button(f"Revoke {plain(key['label'] or key['id'])} …", icon=":material/key_off:"):
        _ask_to_revoke(key)


@page.dialog("New key")
def _ask_for_key() -> None:
    place = st.empty()
    with place.container():
        made = _made_key()
    if made is not None:
        with place.container():  # instead of the form: another click there would make another key
            st.markdown("**This is shown once.** Copy it to where it is used; here it cannot be read again.")
            st.code(made, language=None)
            st.caption("Close this when you have it.")


def _made_key() -> str | None:
    """The form of a new key, and its text once it is made."""
    kind = st.selectbox("Kind", list(KINDS), format_func=lambda kind: f"{kind}: {KINDS[kind]}")
    label = st.text_input("Label", placeholder="Which app or person it is for", max_chars=100)
    if st.button("Make it", type="primary"):
        with page.refusals():
            made = signed_in().admin.create_key(kind, label or "")
            forget()
            return made["key"]
    return None


@page.dialog("Revoke a key")
def _ask_to_revoke(key: Key) -> None:
    st.markdown(f"The {key['kind']} key {code(key['label'] or key['id'])} stops to work for good, within a second.")
    st.caption(f"Last used {time_text(key['last_used_at'])}.")
    if st.button("Revoke", type="primary", icon=":material/key_off:"):
        with page.refusals():
            signed_in().admin.revoke_key(key["id"])
            forget()
            page.say(f"Revoked: {plain(key['label'] or key['id'])}")
            st.rerun()


def _health() -> None:
    found = health()
    is_well = found["status"] == "ok"
    st.markdown(":green-badge[:material/check: well]" if is_well else ":red-badge[:material/error: not well]")
    for name, check in found["checks"].items():
        facts: dict[str, Any] = dict(check)
        mark = ":green[:material/check:]" if facts.pop("status") == "ok" else ":red[:material/error:]"
        error = facts.pop("error", None)
        brief = ", ".join(filter(None, (_fact(key, value) for key, value in facts.items())))
        with st.expander(f"{mark} **{name}** {plain((error or brief)[:200])}", expanded=bool(error)):
            st.json({**facts, **({"error": error} if error else {})})
    st.caption(f"As of {time_text(found['timestamp'])}. `tinycdp doctor` also compares live answers with the lake's.")
    lake = metrics()["database"]
    st.markdown(f"**How much there is** · the lake has {bytes_text(lake['size'])}")
    table(
        [dict(one) for one in lake["tables"]],
        {
            "name": st.column_config.TextColumn("Of"),
            "rowCount": st.column_config.NumberColumn("Rows", format="localized"),
        },
        key="how much there is",
    )


def _fact(key: str, value: Any) -> str:
    """A fact of a part in a line; none where it has more in it, or nothing. Instants come as UTC ms."""
    if isinstance(value, dict) or value in (None, [], ""):
        return ""
    if key.endswith("_at") and isinstance(value, int):
        return f"{key} {time_text(datetime.fromtimestamp(value / 1000, UTC).isoformat())}"
    if key.endswith("_bytes"):
        return f"{key.removesuffix('_bytes')} {bytes_text(value)}"
    return f"{key} {value_text(value)}"


def _versions() -> None:
    here = workspace()
    table(
        [
            {"what": "TinyCDP", "is": here["release"]},
            {"what": "Console", "is": version("tinycdp")},
            {"what": "Streamlit", "is": version("streamlit")},
            {"what": "Python of the console", "is": sys.version.split()[0]},
            {"what": "API", "is": console().api_url},
            {"what": "Time zone", "is": here["time_zone"]},
            {"what": "Your key", "is": f"{here['key']['kind']}, {here['key']['label'] or here['key']['id']}"},
        ],
        {"what": st.column_config.TextColumn("What"), "is": st.column_config.TextColumn("Is")},
        key="versions",
    )
