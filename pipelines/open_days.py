"""Days of events to which rows are still added: who rewrites one would be in the way of the drain."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from serving.store.layout import LEAD_MS_MAX


def open_days(now: datetime) -> tuple[date, date]:
    """The first and the last open day: today, and tomorrow where receipts may be there already (`store.layout`).

    A later day is closed: its rows were received while Redis' clock was wrong.
    """
    return now.date(), (now + timedelta(milliseconds=LEAD_MS_MAX)).date()
