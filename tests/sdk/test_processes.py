"""The Python client where processes fork, freeze and end: each event arrives once, and nobody waits for long.

Every program sends to a server that keeps what it gets. Their clients would wait for an hour before they send a batch
that is not full, so what arrives was sent because somebody made sure of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.ports import free_port
from tests.sdk.scripted_server import ScriptedServer, scripted_server
from tests.waiting import wait_until

BEGINNING = """
import os, sys, time
import tinycdp

client = tinycdp.Client(os.environ["TINYCDP_URL"], "w", flush_interval_s=3600)
"""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that stores everything."""
    with scripted_server() as running:
        yield running


def environment(url: str) -> dict[str, str]:
    """That of a program which sends to this server."""
    return {**os.environ, "TINYCDP_URL": url, "PYTHONWARNINGS": "ignore::DeprecationWarning"}


def run(folder: Path, url: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, which must be a good one."""
    path = folder / "program.py"
    path.write_text(BEGINNING + program)
    done = subprocess.run(
        [sys.executable, str(path), *arguments], env=environment(url), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done


def arrived(server: ScriptedServer) -> Counter[str]:
    """How often each event came, by its name."""
    return Counter(event["event"] for batch in server.batches() for event in batch)


def test_a_forked_child_sends_its_own_events_and_none_of_its_parents(tmp_path: Path, server: ScriptedServer) -> None:
    """The child of a process whose sender runs has a sender of its own (analytics-python#171)."""
    run(
        tmp_path,
        server.url,
        """
client.track("ada", "before")
if os.fork() == 0:
    client.track("ada", "child")
    sys.exit()
os.wait()
client.track("ada", "after")
""",
    )

    assert arrived(server) == {"before": 1, "child": 1, "after": 1}


@pytest.mark.deep
def test_a_fork_while_the_lock_is_held_blocks_no_child(tmp_path: Path, server: ScriptedServer) -> None:
    """Twenty forks while a thread tracks without a pause: no child inherits a held lock (posthog-python, PR #811)."""
    run(
        tmp_path,
        server.url,
        """
import threading
is_over = False
def hammer():
    while not is_over:
        client.track("ada", "hammered")
threading.Thread(target=hammer, daemon=True).start()
for number in range(20):
    if os.fork() == 0:
        client.track("ada", f"child {number}")
        stats = client.close(timeout=30)  # a busy machine may take longer than the ten seconds that are the default
        if stats.sent != 1:
            print(number, stats, file=sys.stderr, flush=True)
        os._exit(stats.sent != 1)
    _, status = os.wait()
    assert status == 0, f"child {number} ended with {status}"
is_over = True
""",
    )

    names = arrived(server)
    assert {name: count for name, count in names.items() if name != "hammered"} == {f"child {n}": 1 for n in range(20)}


def test_all_that_sending_needs_is_imported_before_a_thread_sends(tmp_path: Path, server: ScriptedServer) -> None:
    """A child that is forked while another thread imports waits for that module for ever: its events never left."""
    run(
        tmp_path,
        server.url,
        """
client.track("ada", "first")
before = set(sys.modules)
client.flush()
client.decide("ada", "flag", False)
client.track("ada", "second")
client.close()
with tinycdp.Client("http://localhost:1", "w", on_error=lambda *lost: None) as nobody:  # where no one answers
    nobody.track("ada", "lost")
    nobody.flush(0.5)
    nobody.close(0)
assert set(sys.modules) == before, sorted(set(sys.modules) - before)
""",
    )

    assert arrived(server) == {"first": 1, "second": 1}


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_sends_before_it_ends(tmp_path: Path, server: ScriptedServer, method: str) -> None:
    """It ends by `os._exit`, which runs no `atexit`: its last events are sent all the same."""
    run(
        tmp_path,
        server.url,
        """
import multiprocessing
def work(number):
    client.track("ada", f"child {number}")
if __name__ == "__main__":
    client.track("ada", "parent")
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=work, args=(number,)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
""",
        method,
    )

    assert arrived(server) == {"parent": 1, "child 0": 1, "child 1": 1}


def test_uvloop_may_start_subprocesses(tmp_path: Path, server: ScriptedServer) -> None:
    """A loop that forks to start programs resets nothing in the parent (statsig-server-core#52)."""
    run(
        tmp_path,
        server.url,
        """
import asyncio, uvloop
async def main():
    cdp = tinycdp.AsyncClient(os.environ["TINYCDP_URL"], "w", flush_interval_s=3600)
    for number in range(3):
        client.track("ada", f"thread {number}")
        cdp.track("ada", f"task {number}")
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
    await cdp.close()
uvloop.run(main())
""",
    )

    assert arrived(server) == {f"{kind} {number}": 1 for kind in ("thread", "task") for number in range(3)}


def test_what_a_loop_left_is_sent_at_the_end_of_the_process(tmp_path: Path, server: ScriptedServer) -> None:
    """An app that never awaited `close`, and forgot its client: what is queued when the loop ends is sent at exit."""
    run(
        tmp_path,
        server.url,
        """
import asyncio
async def main():
    cdp = tinycdp.AsyncClient(os.environ["TINYCDP_URL"], "w", flush_interval_s=3600)
    for number in range(3):
        cdp.track("ada", f"left {number}")
asyncio.run(main())
import gc
gc.collect()
""",
    )

    assert arrived(server) == {f"left {number}": 1 for number in range(3)}


def test_a_request_is_over_when_its_events_are_sent(tmp_path: Path, server: ScriptedServer) -> None:
    """A process frozen right after `with client.request():` owes nothing.

    On Lambda others lost events so (Amplitude-Python#57, analytics-python#110).
    """
    path = tmp_path / "program.py"
    path.write_text(
        BEGINNING
        + """
with client.request():
    client.track("ada", "requested")
print("answered", flush=True)
time.sleep(600)
"""
    )
    command = [sys.executable, str(path)]
    with subprocess.Popen(command, env=environment(server.url), stdout=subprocess.PIPE) as frozen:
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == b"answered\n"
        frozen.send_signal(signal.SIGSTOP)
        names = arrived(server)
        frozen.kill()

    assert names == {"requested": 1}


@pytest.mark.deep
def test_the_end_of_a_process_waits_for_two_seconds_and_says_what_is_lost(tmp_path: Path) -> None:
    """Nobody answers: the process ends, and the count is on stderr. `flush` has a timeout too (posthog-python#79)."""
    began_s = time.monotonic()
    done = run(tmp_path, "http://127.0.0.1:9", 'client.track("ada", "lost")\n')

    assert "tinycdp: 1 events were not acknowledged before the process ended" in done.stderr
    assert time.monotonic() - began_s < 20


@pytest.mark.deep
def test_the_two_seconds_are_for_all_clients_together(tmp_path: Path, server: ScriptedServer) -> None:
    """Three clients of servers that are away or silent, and one that is well: its event arrives all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began_s = time.monotonic()
        done = run(
            tmp_path,
            server.url,
            """
urls = ["http://127.0.0.1:9", sys.argv[1], sys.argv[1]]
others = [tinycdp.Client(url, "w", flush_interval_s=3600) for url in urls]
for other in [*others, client]:
    other.track("ada", "last")
""",
            f"http://127.0.0.1:{silent.getsockname()[1]}",
        )

    assert arrived(server) == {"last": 1}
    assert done.stderr.count("events were not acknowledged") == 1
    assert "tinycdp: 3 events" in done.stderr
    assert time.monotonic() - began_s < 30


def test_an_event_of_the_last_moment_is_sent_without_a_new_thread(tmp_path: Path, server: ScriptedServer) -> None:
    """At exit no thread is started, which Python 3.12 refuses (sentry-python#2299); the event is sent all the same."""
    done = run(
        tmp_path,
        server.url,
        """
import atexit, threading
def last():
    client.track("ada", "last")
    print([thread.name for thread in threading.enumerate()])
atexit.register(last)
""",
    )

    assert arrived(server) == {"last": 1}
    assert "tinycdp" not in done.stdout


@pytest.mark.deep
def test_workers_of_gunicorn_send_though_the_client_was_made_before_the_fork(
    tmp_path: Path, server: ScriptedServer
) -> None:
    """With `--preload` the master makes the client and tracks; each worker sends its own (posthog-python#290)."""
    (tmp_path / "shop.py").write_text(
        BEGINNING
        + """
client.track("ada", "loaded")
def app(environ, start_response):
    client.track("ada", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""
    )
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "shop:app"]
    master = subprocess.Popen(command, cwd=tmp_path, env=environment(server.url), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _is_up(f"http://127.0.0.1:{port}/up"), "gunicorn answers")
        paths = [f"/{number}" for number in range(10)]
        assert {httpx.get(f"http://127.0.0.1:{port}{path}").status_code for path in paths} == {200}
    finally:
        master.terminate()
        master.wait(30)

    names = arrived(server)
    assert names.pop("/up") >= 1
    assert names == {"loaded": 1, **dict.fromkeys(paths, 1)}


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.deep
def test_workers_of_celery_send_before_they_end(tmp_path: Path, server: ScriptedServer) -> None:
    """Its children end by `os._exit`; the one line of the docs has them send what they have."""
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    (tmp_path / "work.py").write_text(
        BEGINNING
        + f"""
from celery import Celery
from celery.signals import worker_process_shutdown

folders = dict(data_folder_in={str(tmp_path / "queue")!r}, data_folder_out={str(tmp_path / "queue")!r},
               control_folder={str(tmp_path / "control")!r})
app = Celery("work", broker="filesystem://", broker_transport_options=folders)
worker_process_shutdown.connect(lambda **_: client.close(), weak=False)

@app.task
def buy(name):
    client.track("ada", name)
    open(os.path.join({str(tmp_path)!r}, name), "w").close()
"""
    )
    send = "import work; [work.buy.delay(f'bought-{number}') for number in range(6)]"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environment(server.url), check=True, timeout=60)
    command = [sys.executable, "-m", "celery", "-A", "work", "worker", "-c", "2", "-l", "ERROR"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = subprocess.Popen(
        command, cwd=tmp_path, env=environment(server.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: len(list(tmp_path.glob("bought-*"))) == 6, "the tasks are done")
    finally:
        worker.terminate()
        worker.wait(30)

    assert arrived(server) == {f"bought-{number}": 1 for number in range(6)}
