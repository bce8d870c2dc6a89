"""The dashboard: how much there is, what goes on, and how the system is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import Activity, Health, PeopleOverTime, SystemMetrics

from dashboard import charts, page
from dashboard.answers import remembered
from dashboard.first_steps import first_steps
from dashboard.markdown import plain
from dashboard.navigation import link
from dashboard.system import health, metrics
from dashboard.theme import SERIES
from dashboard.times import ago, time_text
from dashboard.values import bytes_text

TITLE = "Dashboard"
ICON = ":material/monitoring:"

REFRESH_S = 15
SIZES_DAYS, SIZES_POINTS = 30, 200
#: Hours that the charts may show, and the minutes of a point for each.
PERIODS = {"1 h": (60, 1), "6 h": (360, 5), "24 h": (1_440, 15), "48 h": (2_880, 30)}


@remembered(10)
def activity(admin: Admin, since: str, step: int) -> Activity:
    """What went on since a time, by so many minutes."""
    return admin.activity(since=since, step=step)


@remembered(60)
def sizes(admin: Admin, since: str) -> PeopleOverTime:
    """How many people were in each segment, since a time."""
    return admin.segment_activity(since=since, points=SIZES_POINTS)


def show() -> None:
    """Numbers and charts, refreshed by one fragment."""
    page.header("Dashboard", "How much there is, and what goes on.")
    if metrics()["events"]["total"] == 0 and metrics()["users"]["total"] == 0:
        first_steps()
        return
    _live()


@st.fragment(run_every=REFRESH_S)
def _live() -> None:
    with st.container(key="live dashboard"), page.refusals():
        found, now = metrics(), health()
        _state(now)
        _numbers(found)
        _charts(now["timestamp"])
        _tops(found)
        _sizes(now["timestamp"])
        _storage(found)


def _state(found: Health) -> None:
    wrong = {name: check for name, check in found["checks"].items() if check["status"] != "ok"}
    for name, check in wrong.items():
        st.error(f"**{name}**: {plain(check.get('error') or 'not well')}", icon=":material/heart_broken:")
    checks: dict[str, Any] = dict(found["checks"])
    drain, build = checks.get("drain", {}), checks.get("worker", {}).get("last_build") or {}
    words = [":green-badge[:material/check: well]" if not wrong else ":red-badge[:material/error: not well]"]
    if "lag_events" in drain:
        words.append(f"drain {drain['lag_events']:,} events behind")
    if build:
        at = _instant(build["as_of"])
        words.append(
            f"last rebuild {ago(at, found['timestamp'])}, {build['users']:,} users in {build['seconds']:.1f} s"
        )
    st.markdown(" · ".join(words))


def _numbers(found: SystemMetrics) -> None:
    users, events = found["users"], found["events"]
    tiles = (
        ("Users", users["total"], f"{users['activeLastDay']:,} active in 24 h"),
        ("Active, 30 d", users["activeLastMonth"], f"{users['activeLastWeek']:,} in 7 d"),
        ("Events, 24 h", events["lastDay"], f"{events['total']:,} in all"),
        ("Traits", found["traits"]["definitionCount"], f"{found['traits']['computedCount']:,} values"),
        ("Segments", found["segments"]["definitionCount"], f"{found['segments']['computedCount']:,} members"),
        ("Flags", found["flags"]["definitionCount"], ""),
    )
    for place, (label, number, more) in zip(st.columns(len(tiles)), tiles, strict=True):
        place.metric(
            label, f"{number:,}", more or None, delta_color="off", delta_arrow="off", border=True, height="stretch"
        )


def _charts(now: str) -> None:
    chosen = st.segmented_control(
        "Period", list(PERIODS), default="1 h", required=True, key="period", label_visibility="collapsed"
    )
    minutes, step = PERIODS[chosen or "1 h"]
    found = activity(_before(now, minutes), step)
    rate, decided, latency = st.columns(3)
    with rate:
        st.markdown(f"**Events taken** · {found['total']['events']:,}")
        charts.per_minutes([{"at": one["at"], "n": one["events"]} for one in found["points"]], of="n", minutes=step)
    with decided:
        st.markdown(f"**Decisions** · {found['total']['decisions']:,}")
        charts.per_minutes([{"at": one["at"], "n": one["decisions"]} for one in found["points"]], of="n", minutes=step)
    with latency:
        p99 = found["total"]["decide"]["p99"]
        st.markdown("**Latency of decisions, ms**" + ("" if p99 is None else f" · p99 {p99:g}"))
        charts.over_time(
            [
                {"at": one["at"], "ms": one["decide"][name], "percentile": name}
                for one in found["points"]
                for name in ("p50", "p95", "p99")
            ],
            of="ms",
            by="percentile",
        )
    if found["since"] and found["since"] > _before(now, minutes):
        st.caption(f"There is a record since {time_text(found['since'])}.")


def _tops(found: SystemMetrics) -> None:
    left, right = st.columns(2)
    with left:
        events = found["events"]
        st.markdown(f"**Events by name**, last 30 d · {events['lastMonth']:,}, of them {events['lastWeek']:,} in 7 d")
        rows = [{"name": one["name"] or "–", "events": one["count"]} for one in events["topEventTypes"]]
        if rows:
            charts.bars(rows, name="name", of="events")
        else:
            st.caption("No events in the last 30 days.")
    with right:
        st.markdown("**Segments by size**, at the last full rebuild")
        rows = [{"segment": one["key"], "users": one["userCount"]} for one in found["segments"]["topSegments"]]
        if rows:
            charts.bars(rows, name="segment", of="users")
        else:
            st.caption("None yet: a full rebuild counts them.")


def _sizes(now: str) -> None:
    """The greatest segments over the last weeks, once there are two counts to join."""
    points = sizes(_before(now, SIZES_DAYS * 24 * 60)[:13] + ":00:00Z")["points"]
    if len(points) < 2:
        return
    last = points[-1]["segments"]
    greatest = sorted(last, key=lambda key: -last[key])[: len(SERIES)]
    st.markdown(f"**Segments over the last {SIZES_DAYS} days**, as full rebuilds counted them")
    charts.over_time(
        [
            {"at": point["at"], "users": point["segments"][key], "segment": key}
            for point in points
            for key in greatest
            if key in point["segments"]
        ],
        of="users",
        by="segment",
    )


def _storage(found: SystemMetrics) -> None:
    database = found["database"]
    as_of = f"people and events as of {time_text(found['asof'])}"
    st.caption(f"The lake has {bytes_text(database['size'])}; {as_of}. Refreshed each {REFRESH_S} s.")
    link("settings", "Health of every part", icon=":material/ecg_heart:")


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _before(now: str, minutes: int) -> str:
    """A whole minute, so that runs within one share an answer."""
    at = datetime.fromisoformat(now).replace(second=0, microsecond=0) - timedelta(minutes=minutes)
    return at.isoformat()
