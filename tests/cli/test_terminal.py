"""How far a command is, for people: the rate and the time left."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from cli.terminal import Rate, TimeLeft


@pytest.mark.parametrize(
    ("total", "left"), [(4_000_000, "0:01:15 left"), (None, "")], ids=["of a known number", "of any number"]
)
def test_a_bar_says_the_rate_and_the_time_left(total: int | None, left: str) -> None:
    """A million in 25 s is 40,000 in a second, and three more take 75 s; where nobody knows how many there are,
    nothing is said of the time left."""
    now = [100.0]
    progress = Progress(get_time=lambda: now[0])
    task_id = progress.add_task("importing", total=total)
    (task,) = progress.tasks
    assert (Rate().render(task).plain, TimeLeft().render(task).plain) == ("", "")
    for done in range(0, 1_000_001, 200_000):
        now[0] = 100.0 + done / 40_000
        progress.update(task_id, completed=done)
    assert (Rate().render(task).plain, TimeLeft().render(task).plain) == ("40,000/s", left)
