"""Questions about the lake, run in processes beside the API.

A query over millions of rows takes seconds of two cores. In the event loop's process it would take them from
decisions. So each question of this room takes and gives plain values, and `in_worker` runs it elsewhere, a few at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_process

from serving.history import AWAY, away
from serving.lookups.flag_people import flag_people
from serving.lookups.timeline import timeline
from serving.lookups.typed_text import told_beside
from serving.lookups.unsaved_expressions import cost, preview
from serving.lookups.vocabulary import vocabulary
from serving.refusals import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

#: Questions of one kind that run at once; more wait. Each has the memory of a query of its own.
AT_ONCE = 1
#: Kinds of questions: previews, costs, timelines of one person, long texts that are typed, the names in the lake, all
#: others. Somebody who looks at people waits for no preview, and who looks at one person for no search.
PREVIEWS, COSTS, TIMELINES, TYPED, NAMES, OTHERS = (CapacityLimiter(AT_ONCE) for _ in range(6))


async def in_worker(question: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
    """The answer of a question, from a process beside this one. Raises `Unavailable` while the lake is away."""
    kinds: dict[Callable[..., Any], CapacityLimiter] = {
        preview: PREVIEWS,
        flag_people: PREVIEWS,
        cost: COSTS,
        timeline: TIMELINES,
        told_beside: TYPED,
        vocabulary: NAMES,
    }
    try:
        return await to_process.run_sync(question, *args, cancellable=True, limiter=kinds.get(question, OTHERS))
    except (*AWAY, Unavailable) as error:  # a refusal loses its details on its way between processes
        raise away() from error
