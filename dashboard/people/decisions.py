"""What every flag says for a person now; one of them explained."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import Decisions

from dashboard import page
from dashboard.answers import remembered
from dashboard.flags.asking import why
from dashboard.flags.explaining import decision
from dashboard.navigation import link
from dashboard.tables import ROWS_ABOVE_MORE, table
from dashboard.values import value_text


@remembered(5)
def decided(admin: Admin, user: str) -> Decisions:
    """All flags for a person. It makes no flag look used."""
    return admin.decisions(user)


@remembered(5)
def explained(admin: Admin, user: str, flag: str) -> dict[str, Any]:
    """One flag for a person, explained."""
    return why(admin, user, flag)


def decisions(user: str) -> None:
    """All flags as a table. A click on one shows why; the URL keeps which."""
    flags: list[dict[str, Any]] = [dict(one) for one in decided(user)["decisions"]]
    if not flags:
        page.empty("No flags yet", "Make one under *Flags*.")
        return
    table(
        [{**one, "shown": value_text(one["value"]), "is": "allow" if one["allow"] else "refuse"} for one in flags],
        {
            "flag": st.column_config.TextColumn("Flag"),
            "is": st.column_config.TextColumn("Decision", width="small"),
            "variant": st.column_config.TextColumn("Variant"),
            "shown": st.column_config.TextColumn("Value"),
            "reason": st.column_config.TextColumn("Reason"),
        },
        key="decisions of a person",
        id_of="flag",
        rows_shown=ROWS_ABOVE_MORE,
        on_pick=lambda picked: st.query_params.update(flag=picked),
    )
    found = next((one for one in flags if one["flag"] == st.query_params.get("flag")), None)
    if found is None:
        st.caption("Click on a flag to see why.")
        return
    link("flags", f"Flag {found['flag']}", icon=":material/flag:", key=found["flag"])
    decision(explained(user, found["flag"]))
