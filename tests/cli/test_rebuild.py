"""`tinycdp rebuild` and imports wait for the worker, and say why they wait in vain."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cli.rebuild import TookTooLong, await_rebuild
from pipelines.worker import Worker
from tests.pipelines.world import World


@pytest.mark.deep
def test_a_rebuild_that_fails_again_and_again_is_said_with_its_error(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is alive and tries it less and less often: nobody is left waiting for half an hour. Failures of before
    do not count, since their cause may be repaired; the request stays."""
    monkeypatch.setattr("pipelines.due.RETRY_S", 0.05)
    monkeypatch.setattr("pipelines.worker.BEAT_MS", 400)
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    is_repaired = threading.Event()

    def rebuild(ids: object) -> object:
        if not is_repaired.is_set():
            raise OSError("the memory is full")
        return world.rebuild()

    worker = Worker(world.store, world.lake, world.settings, rebuild, lambda: None, lambda: None)
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        with pytest.raises(TookTooLong, match="the rebuild fails: rebuild: the memory is full"):
            await_rebuild(world.store)
        assert world.store.rebuild_requests().is_full
        is_repaired.set()
        await_rebuild(world.store)
    finally:
        stop.set()
        thread.join()
    assert not world.store.rebuild_requests().is_full
