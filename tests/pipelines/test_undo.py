"""The undo of an import: nothing counts its rows any more, and whatever the log has counts as if it had never been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, values_of
from lake.schemas import EVENTS
from pipelines.importing.chunk import ImportRefused
from pipelines.importing.import_file import import_file
from pipelines.importing.noted_imports import NotCancelled, Note, cancel_import, noted_imports
from pipelines.importing.report import Imported
from pipelines.undo import NotUndone, Undone, undo_import
from serving.store.scripts.ingest import Outcome
from tests.pipelines.world import World, empty_world, purchase

TRAITS = {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum"}
#: Where an undo is killed; walks over the protocol kill it at every step.
STEPS = ("drained", "rewritten", "rebuilt")
LINES = [f"ann,purchase,2020-01-0{number}T00:00:00Z,ann-{number},{10**number}" for number in (1, 2, 3)]


class Killed(Exception):
    """The undo ends here."""


@pytest.fixture
def world(url: str, tmp_path: Path) -> World:
    """A system that counts purchases."""
    return empty_world(url, tmp_path, "trait", TRAITS)


def imported(world: World, folder: Path, *lines: str, name: str = "a.csv") -> Imported:
    """Imports a file of these lines; it counts."""
    path = folder / name
    path.write_text("\n".join(["user,event,time,id,amount", *lines, ""]))
    note = Note(world.lake, [name], {}, "", world.store.now_ms())
    done = import_file(
        world.lake, path, user_column="user", event_column="event", time_column="time", id_column="id",
        now_ms=world.store.now_ms(), shards=world.settings.shards, begin=note.begin,
    )  # fmt: skip
    note.end(done)
    world.rebuild()
    return done


def undone(world: World, done: Imported, **more: Any) -> Undone:
    """Undoes it."""
    assert done.id is not None
    return undo_import(world.store, world.lake, world.settings, done.id, **more)


def answers(world: World, user: str = "ann", *, is_drained: bool = True) -> tuple[Any, Any]:
    """The number of purchases and their sum; the same live and in the batch, where that has all."""
    live = world.values(user)
    if not is_drained:
        return live["orders"], live["spent"]
    catalogue = world.catalogue
    frame = answer_frame(counted(world.lake.events()), list(catalogue.bounds.values()), world.store.now_ms())
    for name in TRAITS:
        assert values_of(frame, ("trait", name)).get(f"user:{user}", 0) == live[name]
    return live["orders"], live["spent"]


def states(world: World) -> list[str]:
    """The states of all imports, the oldest first."""
    return [row["state"] for row in noted_imports(world.lake, 99)][::-1]


@pytest.mark.parametrize("killed_at", [None, *STEPS])
def test_an_undo_takes_the_rows_out_and_keeps_what_came_live(
    world: World, tmp_path: Path, killed_at: str | None
) -> None:
    """Copies of imported events that were answered as duplicates count instead of them; those that come while the undo
    runs are not taken. A killed one is ended by the next. Until then no file of it is imported; then it counts again.
    """
    world.ingest([purchase("ann", 9, properties={"amount": 5})])
    world.drain().step()
    done = imported(world, tmp_path, *LINES, "bob,purchase,2020-01-01T00:00:00Z,bob-1,7")
    assert (answers(world), answers(world, "bob")) == ((4, 1115), (1, 7))
    sent = world.ingest([purchase("ann", 1, properties={"amount": 1})])
    assert (sent.outcomes[0].seq, sent.outcomes[0].duplicate) == (None, True)
    assert answers(world) == (4, 1115)
    world.rebuild()

    def on_step(step: str) -> None:
        if step != "rebuilt":
            sent = world.ingest([purchase("ann", 2, properties={"amount": 2})])
            assert sent.outcomes == [Outcome(None, busy=True)]
        if step == killed_at:
            raise Killed

    if killed_at is not None:
        with pytest.raises(Killed):
            undone(world, done, on_step=on_step)
        assert states(world) == ["undoing"]
        with pytest.raises(ImportRefused, match="being undone"):
            imported(world, tmp_path, *LINES, "bob,purchase,2020-01-01T00:00:00Z,bob-1,7")
        assert done.id is not None
        with pytest.raises(NotCancelled, match="undone"):
            cancel_import(world.lake, done.id)
    went = undone(world, done, on_step=lambda step: None if killed_at else on_step(step))
    assert went.rows == (4 if killed_at in (None, "drained") else 0)
    assert not world.ingest([purchase("ann", 2, properties={"amount": 2})]).outcomes[0].busy
    assert (answers(world, is_drained=False), answers(world, "bob")) == ((3, 8), (0, 0))
    assert world.lake.scan(EVENTS).filter(pl.col("import_id").is_not_null()).collect().is_empty()
    world.drain().step()
    world.rebuild()
    assert answers(world) == (3, 8)
    with pytest.raises(NotUndone, match="undone already"):
        undone(world, done)

    again = imported(world, tmp_path, *LINES, "bob,purchase,2020-01-01T00:00:00Z,bob-1,7")
    assert (again.accepted, states(world)) == (4, ["undone", "done"]) and again.id != done.id
    assert (answers(world), answers(world, "bob")) == ((4, 1008), (1, 7))


def test_imports_that_relied_on_its_rows_are_named_and_undone_with_it(world: World, tmp_path: Path) -> None:
    """The next day's file withheld rows that were there: without the first it would lack them. One that withheld
    nothing stays, and so does one of before."""
    other = imported(world, tmp_path, "bob,purchase,2020-01-01T00:00:00Z,bob-1,7", name="bob.csv")
    first = imported(world, tmp_path, *LINES[:2], name="first.csv")
    second = imported(world, tmp_path, *LINES, name="second.csv")
    third = imported(world, tmp_path, "cy,purchase,2020-01-01T00:00:00Z,cy-1,7", name="third.csv")
    assert (second.accepted, second.already, second.relied_on) == (1, 2, sorted([str(other.id), str(first.id)]))
    assert third.relied_on == []

    with pytest.raises(NotUndone, match=f"1 imports relied on .*{second.id}") as refused:
        undone(world, first)
    assert refused.value.dependents == [second.id] and answers(world) == (3, 1110)
    went = undone(world, first, with_dependents=True)
    assert (went.ids, went.rows) == ([first.id, second.id], 3)
    assert (answers(world), answers(world, "bob"), answers(world, "cy")) == ((0, 0), (1, 7), (1, 7))
    assert states(world) == ["done", "undone", "undone", "done"]
    assert imported(world, tmp_path, *LINES, name="second.csv").accepted == 3
    assert answers(world) == (3, 1110)


def test_an_import_that_is_not_there_or_has_no_id_in_its_rows_is_refused(world: World) -> None:
    """Each with the remedy."""
    with pytest.raises(NotUndone, match="tinycdp imports lists them"):
        undo_import(world.store, world.lake, world.settings, "nobody")
    world.lake.append_import(
        {"id": "a1", "at": 1, "state": "done", "source": "", "files": "[]", "mapping": "{}", "author": "", "already": 0}
    )
    with pytest.raises(NotUndone, match="a release before"):
        undo_import(world.store, world.lake, world.settings, "a1")
