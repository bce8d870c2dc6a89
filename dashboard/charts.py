"""Charts, from what the API answers. Streamlit's wheel draws them; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import altair as alt
import streamlit as st
from tinycdp.admin_types import Distribution

from dashboard.theme import SERIES
from dashboard.times import instant
from dashboard.values import value_text

HEIGHT_PX = 220
DOT_SIZE = 16
#: What lying texts below a chart take.
LABELS_PX = 80
#: Labels of axes: 500 and 1.5k beside each other, and a clock of 24 hours with the date at midnight.
SHORT = "format(datum.value, '~s')"
CLOCK = "utcFormat(datum.value, utchours(datum.value) + utcminutes(datum.value) == 0 ? '%b %d' : '%H:%M')"


def per_minutes(rows: Sequence[dict[str, Any]], *, of: str, minutes: int) -> None:
    """A bar for each of so many minutes, as wide as they are: what happened within one is no slope to the next.

    `rows` have `at`, the begin of the bar as ISO 8601, and a count in the field `of`.
    """
    length = timedelta(minutes=minutes)
    bars_of = [{**row, **_clock(row["at"]), "until": _clock(row["at"], length)["clock"]} for row in rows]
    chart = (
        alt.Chart(alt.Data(values=bars_of))
        .mark_rect(color=SERIES[0])
        .encode(
            x=_time_axis(),
            x2="until:T",
            y=_count_axis(of),
            y2=alt.Y2(datum=0),
            tooltip=[alt.Tooltip("time:N", title="from"), alt.Tooltip(f"{of}:Q", format=",")],
        )
    )
    _draw(chart)


def over_time(rows: Sequence[dict[str, Any]], *, of: str, by: str) -> None:
    """Lines over time, in the workspace's zone.

    `rows` have `at`, an instant as ISO 8601, a number in the field `of`, and the name of its line in the field `by`.
    A line has a gap where the number is None.
    """
    chart = (
        alt.Chart(alt.Data(values=[{**row, **_clock(row["at"])} for row in rows]))
        .mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=DOT_SIZE))  # of a single point there is no line
        .encode(
            x=_time_axis(),
            y=alt.Y(f"{of}:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=SHORT)),
            color=_colors(by),
            tooltip=[
                alt.Tooltip("time:N", title="at"),
                alt.Tooltip(f"{of}:Q", format=",.2~f"),
                alt.Tooltip(f"{by}:N", title=""),
            ],
        )
    )
    _draw(chart)


def _clock(at: str, after: timedelta = timedelta()) -> dict[str, str]:
    """An instant as a clock of the workspace's zone shows it. Charts know UTC and the browser's zone alone."""
    shown = instant(at)
    if shown is None:
        return {}
    # A bar's end is as far from its begin on the axis, whatever clocks do in between.
    return {"clock": f"{shown.replace(tzinfo=None) + after:%Y-%m-%dT%H:%M:%S}Z", "time": f"{shown:%Y-%m-%d %H:%M}"}


def by_day(rows: Sequence[dict[str, Any]], *, of: str) -> None:
    """An area over dates, which no zone moves. `rows` have `date`, as 2026-11-30, and a number."""
    chart = (
        alt.Chart(_dated(rows))
        .mark_area(line={"color": SERIES[0]}, color=SERIES[0], opacity=0.15)
        .encode(
            x=alt.X("clock:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(grid=False, format="%b %d")),
            y=_count_axis(of),
            tooltip=[alt.Tooltip("date:N", title=""), alt.Tooltip(f"{of}:Q", format=",")],
        )
    )
    _draw(chart)


def shares_by_day(rows: Sequence[dict[str, Any]], *, of: str, by: str, days: int) -> None:
    """Bars over so many dates up to the last one, which no zone moves, each of the parts in the field `by`.

    `rows` are those of `by_day`, at least one.
    """
    last = date.fromisoformat(max(row["date"] for row in rows))
    shown = [f"{day}T00:00:00Z" for day in (last - timedelta(days - 1), last + timedelta(1))]
    chart = (
        alt.Chart(_dated(rows))
        .mark_bar()
        .encode(
            x=alt.X(
                "utcyearmonthdate(clock):T",
                title=None,
                scale=alt.Scale(type="utc", domain=shown),
                axis=alt.Axis(grid=False, format="%b %d", tickCount=6),
            ),
            y=_count_axis(of),
            color=_colors(by),
            tooltip=[
                alt.Tooltip("date:N", title=""),
                alt.Tooltip(f"{by}:N", title=""),
                alt.Tooltip(f"{of}:Q", format=","),
            ],
        )
    )
    _draw(chart)


def _dated(rows: Sequence[dict[str, Any]]) -> alt.Data:
    return alt.Data(values=[{**row, "clock": f"{row['date']}T00:00:00Z"} for row in rows])


def _time_axis() -> alt.X:
    return alt.X(
        "clock:T",
        title=None,
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(grid=False, labelOverlap=True, labelExpr=CLOCK, tickCount=6),
    )


def _count_axis(of: str) -> alt.Y:
    return alt.Y(f"{of}:Q", title=None, axis=alt.Axis(tickCount=4, tickMinStep=1, labelExpr=SHORT))


def _colors(by: str) -> alt.Color:
    return alt.Color(f"{by}:N", title=None, scale=alt.Scale(range=list(SERIES)))


def bars(rows: Sequence[dict[str, Any]], *, name: str, of: str) -> None:
    """Lying bars, the longest first. `rows` have a name and a number."""
    height = 28 * len(rows) + 45
    chart = (
        alt.Chart(alt.Data(values=list(rows)))
        .mark_bar(color=SERIES[0], cornerRadiusEnd=3, height={"band": 0.65})
        .encode(
            x=alt.X(f"{of}:Q", title=None, axis=alt.Axis(tickCount=4, tickMinStep=1, labelExpr=SHORT)),
            y=alt.Y(f"{name}:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)),
            tooltip=[alt.Tooltip(f"{name}:N", title=""), alt.Tooltip(f"{of}:Q", format=",")],
        )
    )
    _draw(chart, height)


def distribution(spread: Distribution, total: int) -> None:
    """How the values of a trait are spread: a histogram of numbers, and the most frequent others."""
    if spread["histogram"]:
        bins = [
            {"place": place, "range": f"{one['low']:,.4g} to {one['high']:,.4g}", "people": one["count"]}
            for place, one in enumerate(spread["histogram"])
        ]
        # Each bin has a band, since the last one may reach far: it holds the highest hundredth.
        chart = (
            alt.Chart(alt.Data(values=bins))
            .mark_bar(color=SERIES[0])
            .encode(
                x=alt.X("range:N", title=None, sort=alt.SortField("place"), axis=alt.Axis(labelAngle=-35)),
                y=alt.Y("people:Q", title="people", axis=alt.Axis(tickCount=4, tickMinStep=1, labelExpr=SHORT)),
                tooltip=[alt.Tooltip("range:N"), alt.Tooltip("people:Q", format=",")],
            )
        )
        _draw(chart, HEIGHT_PX + LABELS_PX)
    if spread["top"]:
        bars(
            [{"value": value_text(one["value"]), "count": one["count"]} for one in spread["top"]],
            name="value",
            of="count",
        )
        if spread["distinct"] > len(spread["top"]):
            st.caption(f"The most frequent of {spread['distinct']:,} values.")
    if spread["none"]:
        st.caption(f"{spread['none']:,} of {total:,} people have no value.")


def _draw(chart: alt.Chart, height: int = HEIGHT_PX) -> None:
    st.altair_chart(chart.properties(height=height), width="stretch")
