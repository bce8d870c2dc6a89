"""Answers about flags that were deleted between their decision and the answer."""

from __future__ import annotations

from serving.api.ofrep import tag_with_stream
from serving.ids import Ids
from serving.people.decide import error_decision
from serving.people.decided import Decided


def test_a_flag_that_was_deleted_meanwhile_is_in_no_answer_about_all() -> None:
    """Another process decides by its own catalogue, and the one that answers may have a newer one."""
    asof = {"ids": {"user:ann": {"seq": 3}}}
    decided = Decided({"gone": error_decision("it does not matter")}, {}, asof)
    assert tag_with_stream(decided, Ids("ann")) == tag_with_stream(Decided({}, {}, asof), Ids("ann"))
