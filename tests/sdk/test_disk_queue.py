"""The disk queue of the Python client: what survives a process, who adopts it, and what damage costs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tinycdp
from tinycdp._outbox import Entry
from tinycdp._spool import Spool, opened

from cli.ports import free_port
from tests.sdk.scripted_server import scripted_server
from tests.waiting import wait_until

URL = "http://127.0.0.1:9"

#: Tracks a thousand events for a server that is away, says so, and waits to be killed.
VICTIM = """
import sys, time, tinycdp
client = tinycdp.Client(sys.argv[1], "w", queue_dir=sys.argv[2])
for number in range(1000):
    client.track("ada", "bought", {"number": number})
print("tracked", flush=True)
time.sleep(600)
"""


def entry(number: int) -> Entry:
    """An event as the queue has it."""
    body = b'{"messageId":"m-%d","userId":"ada"}' % number
    return Entry(body, f"m-{number}", ("user:ada",), 0.0)


def left(spool: Spool) -> list[Entry]:
    """What dead processes left beside this one."""
    found = []
    for _, file, entries in spool.left():
        os.close(file)
        found += entries
    return found


def test_events_of_a_killed_process_are_sent_by_the_next_one(tmp_path: Path, new_client: Callable[..., Any]) -> None:
    """`kill -9` after `track` returned costs nothing: the next client sends all, in order, and empties the folder."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    folder = tmp_path / "queue"
    with subprocess.Popen([sys.executable, "-c", VICTIM, url, str(folder)], stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"tracked\n"
        victim.send_signal(signal.SIGKILL)
    assert (folder.stat().st_mode & 0o777, {path.stat().st_mode & 0o777 for path in folder.iterdir()}) == (
        0o700,
        {0o600},
    )

    with scripted_server(port=port) as server:
        client = new_client(url, "w", queue_dir=folder)
        stats = client.close()

        numbers = [event["properties"]["number"] for batch in server.batches() for event in batch]
        assert (numbers, stats.sent, stats.queued) == (list(range(1000)), 1000, 0)
    assert list(folder.iterdir()) == []


def test_what_a_closed_client_could_not_send_waits_for_the_next(tmp_path: Path, new_client: Callable[..., Any]) -> None:
    """It is neither dropped nor told: `on_disk` counts it, and the next client has it queued."""
    told: list[tinycdp.Failure] = []
    client = new_client(URL, "w", queue_dir=tmp_path, on_error=told.append)
    event = client.track("ada", "bought")

    stats = client.close(0.1)

    assert (stats.on_disk, stats.queued, dict(stats.dropped), told) == (1, 0, {}, [])
    assert event.wait(10) == "queued"
    assert new_client(URL, "w", queue_dir=tmp_path).stats().queued == 1


def test_nobody_adopts_the_queue_of_a_living_process_or_for_another_server(tmp_path: Path) -> None:
    """A file is locked by its owner; and events for one server are not sent to another."""
    owner = opened(tmp_path, URL)
    owner.append(entry(1))
    assert left(opened(tmp_path, URL)) == []

    owner.close(keep=True)

    assert left(opened(tmp_path, "http://127.0.0.1:10")) == []
    assert [one.message_id for one in left(opened(tmp_path, URL))] == ["m-1"]


def test_a_file_says_what_is_settled_and_what_was_tried(tmp_path: Path) -> None:
    """Settled events are gone; the others have the times of their attempts, so no old one is repeated blindly.

    The file written anew says the same.
    """
    spool = opened(tmp_path, URL)
    events = [entry(number) for number in range(1, 6)]
    for event in events:
        spool.append(event)
    spool.attempted(events[:3], 1_000)
    spool.attempted(events[:3], 2_000)
    spool.cleared(events[2:3])
    spool.settled(events[:1], 4, 100)
    spool.close(keep=True)

    heir = opened(tmp_path, URL)
    found = left(heir)
    said = [(one.message_id, one.first_ms, one.last_ms) for one in found]
    assert said == [("m-2", 1_000, 2_000), ("m-3", None, 2_000), ("m-4", None, None), ("m-5", None, None)]

    heir.rewrite(found)
    path = heir.path
    heir.close(keep=True)
    rewritten = [one for path_, _, entries in opened(tmp_path, URL).left() if path_ == path for one in entries]
    assert [(one.message_id, one.first_ms) for one in rewritten] == [(name, first) for name, first, _ in said]


@pytest.mark.parametrize("damage", [b"+9 00000000 {}\n", b"\0\0\0\0\n", b"+9 1", b"!x 1\n", b"?\n", b"-1-x\n", b"*\n"])
def test_a_damaged_line_costs_itself_alone(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What a power failure leaves of a line is passed over and said; the events before it stand."""
    spool = opened(tmp_path, URL)
    spool.append(entry(1))
    path = spool.path
    spool.close(keep=True)
    with path.open("ab") as file:
        file.write(damage)

    assert [one.message_id for one in left(opened(tmp_path, URL))] == ["m-1"]
    assert "1 lines of a disk queue are damaged" in caplog.text


def test_a_disk_that_fails_costs_durability_and_no_event(
    tmp_path: Path, new_client: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The events stay in memory and are sent; the failure is said once, and nothing stale is left for others."""
    with scripted_server() as server:
        client = new_client(server.url, "w", queue_dir=tmp_path, flush_interval_s=60)
        client.track("ada", "first")
        core = client.__dict__.get("_client", client)
        os.close(core._spool._file)  # every write fails from now on

        client.track("ada", "second")

        assert client.flush().sent == 2
        assert caplog.text.count("the disk queue cannot be written") == 1
        wait_until(lambda: not list(tmp_path.iterdir()), "the file is gone")


def test_the_file_does_not_grow_beyond_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where most of it is about settled events it is written anew with what waits."""
    monkeypatch.setattr("tinycdp._spool.SLACK_BYTES", 10_000)
    spool = opened(tmp_path, URL)
    events = [entry(number) for number in range(1, 1_001)]
    for event in events:
        spool.append(event)

    assert spool.settled(events[:990], 10, sum(len(event.body) for event in events[990:]))
    spool.rewrite(events[990:])

    assert spool.path.stat().st_size < 1_000
    assert [path.name for path in tmp_path.iterdir()] == [spool.path.name]
    spool.close(keep=False)


def test_a_disk_that_works_again_keeps_events_again(
    tmp_path: Path, new_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in memory alone is written to a new file, once in a while: a full disk is no end for ever."""
    monkeypatch.setattr("tinycdp._core.DISK_AGAIN_S", 0.0)
    client = new_client(URL, "w", queue_dir=tmp_path, flush_interval_s=60)
    client.track("ada", "first")
    core = client.__dict__.get("_client", client)
    os.close(core._spool._file)

    client.track("ada", "second")
    client.track("ada", "third")

    assert client.close(0).on_disk == 3
    assert len(left(opened(tmp_path, URL))) == 3


def test_a_folder_that_is_removed_is_noticed_and_made_again(
    tmp_path: Path, new_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever cleans up too much takes no event: what waits is written to the folder anew."""
    monkeypatch.setattr("tinycdp._core.DISK_AGAIN_S", 0.0)
    folder = tmp_path / "queue"
    client = new_client(URL, "w", queue_dir=folder)
    client.track("ada", "first")
    shutil.rmtree(folder)
    client.flush(0.5)
    assert "the file was removed" in caplog.text

    client.track("ada", "second")

    assert client.close(0).on_disk == 2
    assert len(left(opened(folder, URL))) == 2


#: Tracks until its file may not grow any more, then twice; each line is what the queue holds, and its files.
FULL = """
import logging, os, resource, sys, tinycdp
logging.basicConfig()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
client = tinycdp.Client(sys.argv[1], "w", queue_dir=sys.argv[2], flush_interval_s=60)
for number in range(200):
    assert client.track("ada", "bought", {"number": number}).state == "queued"
print(client.stats().queued, len(os.listdir(sys.argv[2])))
"""


def test_a_full_disk_costs_no_event(tmp_path: Path) -> None:
    """The line that does not fit is not left in halves, the file is given up, and the rest is sent from memory."""
    with scripted_server() as server:
        done = subprocess.run(
            [sys.executable, "-c", FULL, server.url, str(tmp_path)], capture_output=True, text=True, timeout=60
        )

        assert (done.returncode, done.stdout) == (0, "200 0\n"), done.stderr
        assert done.stderr.count("the disk queue cannot be written") == 1
        numbers = [event["properties"]["number"] for batch in server.batches() for event in batch]
        assert numbers == list(range(200))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_anew_leaves_nothing_to_adopt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old file that nobody writes any more would be adopted long after its events were sent."""
    spool = opened(tmp_path, URL)
    spool.append(entry(1))

    def fail(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        spool.rewrite([entry(2)])
    spool.close(keep=False)

    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_of_ours_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder, a pipe and a link of such a name are passed over, and the files beside them are adopted."""
    spool = opened(tmp_path, URL)
    spool.append(entry(1))
    spool.close(keep=True)
    beginning = spool.path.name.partition("-")[0]
    (tmp_path / f"{beginning}-0.events").mkdir()
    os.mkfifo(tmp_path / f"{beginning}-1.events")
    (tmp_path / f"{beginning}-2.events").symlink_to("/etc/passwd")

    assert [one.message_id for one in left(opened(tmp_path, URL))] == ["m-1"]
    assert caplog.text.count("a disk queue that was left cannot be read") == 2


def test_a_damaged_range_costs_no_time(tmp_path: Path) -> None:
    """It may name more numbers than anybody can count; those that are there are what it names."""
    spool = opened(tmp_path, URL)
    for number in (1, 2):
        spool.append(entry(number))
    path = spool.path
    spool.close(keep=True)
    with path.open("ab") as file:
        file.write(b"!5 1-99999999999999999\n-2-99999999999999999\n?9-1\n")

    assert [(one.message_id, one.first_ms) for one in left(opened(tmp_path, URL))] == [("m-1", 5)]


def test_a_folder_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    """It is said where the client is made, with the name of the setting."""
    (tmp_path / "file").touch()

    with pytest.raises(tinycdp.ConfigurationError, match="queue_dir"):
        tinycdp.Client(URL, "w", queue_dir=tmp_path / "file")
