"""Instants and dates in SQL: what `values.instant_ms` and `windows.Zone.day` give.

An instant is arithmetic on digits, without the engines' own dates: these differ in what they take, in what they raise,
and in the year 0. Once the pattern holds, every part stands at a fixed place, so the engine's regular expressions only
have to match or not. A date follows from a table of periods, without the engines' own time zones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

from sqlglot import exp

from ..rules.values import ISO_TIME
from ..rules.windows import DAY_MS, END_MS, MINUTE_MS, UTC_ZONE, Zone
from .cells import Sql, all_of, any_of, case, cast, coalesced, column, double, text, whole

#: The shared pattern, without backslashes and with plain groups: engines differ in both.
_ISO_TIME = ISO_TIME.replace(r"\d", "[0-9]").replace("(?:", "(")

_ZERO = double(0.0)
_SIXTY = double(60.0)


def instant_ms(value: Sql, let: Callable[[Sql, str], Sql]) -> Sql:
    """The instant that an ISO 8601 text names, UTC milliseconds, as a number; NULL where it names none.

    `let` makes a column of a value.
    """
    iso = let(case((exp.RegexpLike(this=value.copy(), expression=text(_ISO_TIME)), value)), "iso")
    year, month = let(_digits(iso, 1, 4), "year"), let(_digits(iso, 6, 2), "month")
    day = let(_digits(iso, 9, 2), "day_of_month")
    minutes = coalesced([_digits(iso, 12, 2), _ZERO]) * _SIXTY + coalesced([_digits(iso, 15, 2), _ZERO])
    seconds = case((_part(iso, 17, 1).eq(text(":")), _digits(iso, 18, 2)), otherwise=_ZERO)
    fraction = exp.RegexpExtract(this=iso.copy(), expression=text("[.,]([0-9]+)"), group=whole(1))
    thousandths = _digits(exp.DPipe(this=fraction, expression=text("00")), 1, 3)
    has_fraction = _part(iso, 20, 1).isin(text("."), text(","))
    parts: list[Sql] = [
        exp.paren(_days(year, month, day)) * double(DAY_MS),
        exp.paren(minutes - exp.paren(_offset_minutes(iso))) * double(MINUTE_MS),
        exp.paren(seconds) * double(1000.0),
        exp.paren(case((has_fraction, thousandths), otherwise=_ZERO)),
    ]
    exists = all_of(
        [
            year >= double(1.0),
            month >= double(1.0),
            month <= double(12.0),
            day >= double(1.0),
            day <= _days_in_month(year, month),
        ]
    )
    return case((exists, reduce(add, parts)))


def _part(value: Sql, start: int | Sql, length: int) -> Sql:
    first = whole(start) if isinstance(start, int) else start
    return exp.Substring(this=value.copy(), start=first, length=whole(length))


def _digits(value: Sql, start: int | Sql, length: int) -> Sql:
    """The number at a place of a text; NULL where the text ends before."""
    return cast(exp.Nullif(this=_part(value, start, length), expression=text("")), "DOUBLE")


def _offset_minutes(iso: Sql) -> Sql:
    """How far the +HH:MM or -HHMM at the end lies east of UTC; 0 where there is none."""
    end = exp.Length(this=iso.copy())

    def branch(sign: int, hours: int) -> tuple[Sql, Sql]:
        """Whether the sign stands so far from the end, and the minutes then."""
        mark = _part(iso, end - whole(sign), 1)
        minutes = _digits(iso, end - whole(hours), 2) * _SIXTY + _digits(iso, end - whole(1), 2)
        is_there = all_of([end > whole(10), mark.isin(text("+"), text("-"))])
        return is_there, case((mark.eq(text("-")), _ZERO - exp.paren(minutes)), otherwise=minutes)

    return case(branch(5, 4), branch(4, 3), otherwise=_ZERO)


def _days(year: Sql, month: Sql, day: Sql) -> Sql:
    """The days of a date since 1970-01-01. Years are counted from March, so that the leap day comes last."""
    is_early = month <= double(2.0)
    from_march = exp.paren(case((is_early, month + double(9.0)), otherwise=month - double(3.0)))
    years = exp.paren(case((is_early, year - double(1.0)), otherwise=year))

    def every(length: float) -> Sql:
        return exp.Floor(this=years / double(length))

    in_year = exp.Floor(this=exp.paren(from_march * double(153.0) + double(2.0)) / double(5.0)) + day
    return years * double(365.0) + every(4.0) - every(100.0) + every(400.0) + in_year - double(719_469.0)


def _days_in_month(year: Sql, month: Sql) -> Sql:
    def divides(by: float) -> Sql:
        return exp.paren(exp.Floor(this=year / double(by)) * double(by)).eq(year)

    is_leap = any_of([all_of([divides(4.0), exp.not_(divides(100.0))]), divides(400.0)])
    february = case((is_leap, double(29.0)), otherwise=double(28.0))
    is_short = month.isin(*(double(number) for number in (4.0, 6.0, 9.0, 11.0)))
    return exp.paren(case((month.eq(double(2.0)), february), (is_short, double(30.0)), otherwise=double(31.0)))


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def day_of(instant_ms: Sql, zone: Zone) -> Sql:
    """The date of an instant, days since 1970-01-01. In a zone other than UTC the row is joined by `with_calendar`."""
    if zone == UTC_ZONE:
        return exp.Floor(this=instant_ms / double(DAY_MS))
    local = exp.Floor(this=exp.paren(instant_ms + column("offset_ms")) / double(DAY_MS))
    return exp.Greatest(this=local, expressions=[column("least_day")])


def with_calendar(query: exp.Select, instant: str) -> exp.Select:
    """The query, joined in place to the period of `calendar` that holds its instant, which is a column."""
    at = column(instant)
    within = exp.and_(at >= column("starts_at"), at < column("ends_at"))
    return query.join(exp.Join(this=exp.table_("calendar"), on=within), copy=False)


def calendar(zone: Zone) -> exp.Select:
    """The periods of `windows.Calendar`: starts_at, ends_at, offset_ms, least_day, one row a period.

    It is a table, since the engines' own time zones may give other dates than `windows.Zone`.
    """
    starts_ms, offsets_ms, least_days = zone.calendar
    rows = zip(starts_ms, [*starts_ms[1:], END_MS], offsets_ms, least_days, strict=True)
    values = exp.values(
        [tuple(whole(part) for part in row) for row in rows],
        alias="periods",
        columns=["starts_at", "ends_at", "offset_ms", "least_day"],
    )
    return exp.select("starts_at", "ends_at", "offset_ms", "least_day").from_(values)
