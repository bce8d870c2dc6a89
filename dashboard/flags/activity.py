"""What a flag answered apps: by variant, by day, and when an app asked for it last."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import FlagActivity, FlagsActivity

from dashboard import charts, page
from dashboard.answers import remembered
from dashboard.times import time_text
from dashboard.values import share_text

#: The period of an answer, up to today.
DAYS = 30


@remembered(30)
def flags_activity(admin: Admin) -> FlagsActivity:
    """The last 30 days of all flags."""
    return admin.flag_activity()


def activity_of(key: str) -> FlagActivity | None:
    """What one flag answered; None where nothing is known of it."""
    return next((one for one in flags_activity()["flags"] if one["key"] == key), None)


def activity(key: str) -> None:
    """The last 30 days of a flag."""
    found, days = activity_of(key), flags_activity()["staleAfterDays"]
    if found is None or not found["days"]:
        page.empty(
            "No app has asked", "Questions with a read or a profile key count here; trials in the console do not."
        )
        return
    left, middle, right = st.columns(3)
    left.metric("Asked by name", f"{found['byName']:,}", border=True)
    middle.metric("Asked in bulk", f"{found['inBulk']:,}", border=True, help="Together with all other flags.")
    right.metric("Last asked by name", time_text(found["lastAsked"]), border=True)
    if found["stale"]:
        st.warning(stale_text(found, days), icon=":material/hourglass_empty:")
    st.markdown("**Share per variant**")
    charts.bars(variant_rows(found), name="variant", of="answers")
    st.markdown("**By day (UTC)**")
    charts.shares_by_day(
        [
            {"date": day["day"], "answers": count, "variant": variant}
            for day in found["days"]
            for variant, count in day["variants"].items()
        ],
        of="answers",
        by="variant",
        days=DAYS,
    )


def variant_rows(found: FlagActivity) -> list[dict[str, Any]]:
    """Each variant, with its share of all answers in its name, and how often it was the answer."""
    return [
        {"variant": f"{one['variant']} · {share_text(one['share'])}", "answers": one["byName"] + one["inBulk"]}
        for one in found["variants"]
    ]


def stale_text(found: FlagActivity, days: int) -> str:
    """What a flag that nobody names may be, with what is not known of those who ask for all flags."""
    if found["inBulk"]:
        return (
            f"No app has named it for {days} days. Pages ask for all flags in bulk, and did so within the last {DAYS}: "
            "look whether one uses it before you delete it."
        )
    return f"No app has named it for {days} days: it may be one to delete."
