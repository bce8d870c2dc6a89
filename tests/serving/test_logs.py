"""What lines of the logs hold, and what they never hold."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import polars as pl
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from serving.history import Source
from serving.logs import Level, first_line, frames_only, safe_message, without_secrets
from serving.lookups.export_job import Order
from serving.lookups.job_process import FAILED
from serving.release import release
from serving.settings import Settings
from serving.store.errors import StoreUnreachable
from tests.running import RunningStack
from tests.serving.local_api import NOWHERE, answers, get
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

MARK = "zqxmark"


def logs_of(stack: RunningStack) -> str:
    """All logs of all parts."""
    return "\n".join(path.read_text() for path in (stack.settings.home / "logs").glob("*.log*"))


def lines_of(stack: RunningStack) -> list[dict[str, Any]]:
    """The lines of the API's log, each an object."""
    return [msgspec.json.decode(line) for line in (stack.settings.home / "logs" / "api.log").read_text().splitlines()]


def test_nobody_and_no_key_is_in_any_log(stack: RunningStack) -> None:
    """After all kinds of traffic, good and bad, no log of any part has an id, name, property, query or key of it.

    D-29.
    """
    key = stack.call("POST", "/v1/admin/keys", json={"kind": "write", "label": "logged"}).json()["key"]
    ids = {"userId": f"{MARK}-user", "anonymousId": f"{MARK}-device"}
    stack.track(f"{MARK}-user", f"{MARK}-event", properties={f"{MARK}-name": f"{MARK}-value"})
    stack.call("POST", "/v1/identify", "write", json={**ids, "traits": {"email": f"{MARK}@example.com"}})
    stack.call("POST", "/v1/track", None, json={**ids, "event": "e"}, headers={"Authorization": f"Bearer {key}"})
    stack.call("POST", "/v1/track", "write", json={**ids, "event": " ", "properties": {"p": MARK}})
    stack.call("POST", "/v1/track", "write", content=f'{{"broken": "{MARK}'.encode())
    stack.call("POST", "/v1/batch", "write", json={"batch": [{**ids, "type": MARK}]})
    stack.call("GET", "/v1/decide", None, params={"userId": f"{MARK}-user", "flag": MARK, "apiKey": key})
    stack.call("GET", f"/v1/users/{MARK}-user/traits")
    stack.call("GET", f"/v1/admin/users/search?query={MARK}")
    stack.call("GET", f"/{MARK}/nothing?email={MARK}@example.com")
    stack.call("POST", "/v1/admin/validate", json={"expression": f'profile.email == "{MARK}"', "type": "trait"})
    stack.call("GET", f"/v1/admin/users/{MARK}-user")
    stack.json("rebuild")
    stack.call("DELETE", f"/v1/admin/users/{MARK}-user")
    wait_until(lambda: "/v1/admin/users/search" in logs_of(stack), "the log is written")

    lines = logs_of(stack)

    assert MARK not in lines
    assert key not in lines
    assert [kind for kind, text in stack.keys.items() if text in lines] == []
    answered = [line for line in lines_of(stack) if line["event"] != "started"]  # which has addresses of ours
    assert "127.0.0.1:" not in "\n".join(map(str, answered))


def test_every_line_of_every_log_is_an_object(stack: RunningStack) -> None:
    """Our own parts, Redis and the supervisor write one JSON object a line, with an event and a level."""
    logs = sorted((stack.settings.home / "logs").glob("*.log"))
    lines = [(path.name, msgspec.json.decode(line)) for path in logs for line in path.read_bytes().splitlines()]

    assert {name for name, _ in lines} >= {"api.log", "drain.log", "worker.log", "redis.log", "supervisord.log"}
    assert all(line["event"] and line["level"] and line["timestamp"] for _, line in lines)


@pytest.mark.parametrize("part", ["api", "drain", "worker"])
def test_a_part_says_at_its_start_what_it_is(stack: RunningStack, part: str) -> None:
    """The first line has the version, what the part follows without a password, and where it answers."""
    first, *others = (stack.settings.home / "logs" / f"{part}.log").read_bytes().splitlines()
    line = msgspec.json.decode(first)

    assert (line["event"], line["part"], line["version"]) == ("started", part, release())
    assert line["lake"] == stack.stack.lake_uri
    assert line["redis"].startswith("redis://…127.0.0.1:") and line["redis"].endswith(stack.stack.redis_url[-7:])
    assert line.get("address") == (stack.stack.api_url if part == "api" else None)
    # Another test may have stopped the part for so long that its lease ran out: then it takes it again.
    taken = {line["lease"] for line in map(msgspec.json.decode, others) if line["event"] == "lease_taken"}
    assert taken == {"api": set(), "drain": {"drain"}, "worker": {"rebuild"}}[part]


def test_who_leaves_early_is_no_error(stack: RunningStack) -> None:
    """A client that closes its connection within a body, or before its answer, leaves no line of an error."""
    before = len(lines_of(stack))
    key = stack.keys["admin"].encode()
    url = urlsplit(stack.stack.api_url)
    for path in (b"/v1/track", b"/v1/batch", b"/v1/admin/traits", b"/ofrep/v1/evaluate/flags/x", b"/v1/decide"):
        with socket.create_connection((url.hostname, url.port)) as gone:
            gone.sendall(
                b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key + b"\r\n"
                b"Content-Length: 900\r\n\r\n{"
            )
    with socket.create_connection((url.hostname, url.port)) as gone:
        gone.sendall(b"GET /v1/admin/users/search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key + b"\r\n\r\n")
    known_as = stack.call("GET", "/v1/users/somebody/traits").headers["x-request-id"]
    wait_until(lambda: any(line.get("request_id") == known_as for line in lines_of(stack)), "the line is there")

    assert [line for line in lines_of(stack)[before:] if line["level"] in ("error", "critical")] == []


@pytest.mark.parametrize("path", ["/v1/track", "/v1/identify", "/ofrep/v1/evaluate/flags", "/health", "/traits/health"])
def test_a_503_says_why(tmp_path: Path, path: str) -> None:
    """The line of a 503 names the part that is away, on paths that the framework answers and on those that we do."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE, write_key=SecretStr("w"), read_key=SecretStr("r"))
    kind = "r" if "ofrep" in path else "w"
    sent = httpx.Request(
        "GET" if "health" in path else "POST",
        f"http://api{path}",
        headers={"Authorization": f"Bearer {kind}", "Origin": "https://shop.example"},
        json={"userId": "a", "event": "e", "traits": {}},
    )
    with capture_logs() as captured:
        (answer,) = answers(settings, [sent])

    (line,) = [line for line in captured if line["event"] == "answered"]
    assert answer.status_code == 503
    assert ("redis" if "health" in path and path == "/health" else "database" if "health" in path else "away") in line[
        "reason"
    ]
    assert "hidden-password" not in line["reason"]


def test_a_request_is_a_line_with_its_template_and_the_id_that_the_caller_got(stack: RunningStack) -> None:
    """The line of a request has method, path template, status, milliseconds and request id; hot paths have no line."""
    stack.track("somebody", "quiet")
    stack.call("GET", "/metrics")
    known_as = stack.call("GET", "/v1/users/somebody/traits").headers["x-request-id"]

    line = wait_until(
        lambda: next((line for line in lines_of(stack) if line.get("request_id") == known_as), None),
        "the line is there",
    )

    assert (line["event"], line["level"], line["method"], line["status"]) == ("answered", "info", "GET", 200)
    assert line["path"] == "/v1/users/{user}/traits"
    assert line["ms"] > 0
    told = {(line.get("method"), line.get("path")) for line in lines_of(stack) if line.get("status", 200) < 500}
    assert told.isdisjoint({("POST", "/v1/track"), ("GET", "/v1/decide"), ("GET", "/metrics"), ("GET", "/health")})


@pytest.mark.parametrize(("level", "told"), [("info", []), ("debug", ["/v1/decide", "/ofrep/v1/evaluate/flags/{key}"])])
def test_hot_paths_are_told_on_demand(tmp_path: Path, level: Level, told: list[str]) -> None:
    """A line for each decision is written at debug, and only then. It names no flag that a caller made up."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE, log_level=level)
    named = httpx.Request("POST", "http://api/ofrep/v1/evaluate/flags/b%2Fc", json={})
    with capture_logs() as captured:
        answers(settings, [get("/v1/decide?userId=a&flag=b"), named])

    assert [line["path"] for line in captured if line["event"] == "answered"] == told


def test_an_error_is_a_line_whatever_the_path(tmp_path: Path) -> None:
    """503 on a hot path is a warning, and the caller gets the request id of the line."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE, write_key=SecretStr("a-write-key"))
    sent = httpx.Request(
        "POST",
        "http://api/v1/track",
        headers={"Authorization": "Bearer a-write-key"},
        json={"userId": "a", "event": "e"},
    )
    with capture_logs() as captured:
        (answer,) = answers(settings, [sent])

    (line,) = [line for line in captured if line["event"] == "answered"]
    assert (answer.status_code, line["log_level"], line["path"]) == (503, "warning", "/v1/track")
    assert answer.headers["x-request-id"] == line["request_id"]


def test_of_an_exception_the_places_are_kept_and_not_the_text() -> None:
    """The line of an exception has its type and the places that it came through. Its text may quote an event."""
    try:
        {}[MARK]
    except KeyError:
        line = frames_only(None, "error", {"event": "unforeseen", "exc_info": sys.exc_info()})

    assert line["error_type"] == "KeyError"
    assert line["frames"][-1].startswith("tests/serving/test_logs.py:")
    assert MARK not in str(line)


def test_an_exception_that_another_tells_is_one_line_without_its_text() -> None:
    """As uvicorn of a request, asyncio of a task, and Python of what nobody can raise: also where no supervisor of ours
    mends what a part writes.
    """
    script = f"""
import logging
from serving.logs import configure
configure("info")
for name in ("uvicorn.error", "asyncio"):
    try:
        {{}}["{MARK}"]
    except KeyError as error:
        logging.getLogger(name).error("went wrong", exc_info=error)
class Broken:
    def __del__(self):
        {{}}["{MARK}"]
Broken()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)

    lines = [msgspec.json.decode(line) for line in (ended.stdout + ended.stderr).splitlines()]
    told = [(line["event"], line["error_type"], len(line["frames"])) for line in lines]
    assert told == [("went wrong", "KeyError", 1)] * 2 + [("ignored", "KeyError", 1)]
    assert MARK.encode() not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("redis://:pw@host:6379/0 is away", "redis://…host:6379/0 is away"),
        ("https://host/lake?sig=abc&x=1 failed", "https://host/lake… failed"),
        ("is it there? no", "is it there? no"),
    ],
)
def test_urls_lose_what_they_hide(text: str, kept: str) -> None:
    """Passwords and signatures in addresses are cut out of every line."""
    assert without_secrets(None, "error", {"event": text})["event"] == kept


def test_of_a_librarys_message_the_first_line_is_kept() -> None:
    """The first line of a library's message is kept; the lines after it quote values."""
    line = first_line(None, "error", {"event": f"Task exception was never retrieved\nfuture: {MARK}"})

    assert line["event"] == "Task exception was never retrieved"


def test_an_export_that_fails_says_where_and_not_of_what() -> None:
    """The process of an export that fails writes a type and places alone, so the API can log no more."""
    order = msgspec.json.encode(Order(Source("/nowhere"), MARK.encode(), MARK, 0, MARK))

    process = subprocess.run(
        [sys.executable, "-m", "serving.lookups.export_job"], input=order, capture_output=True, timeout=60, check=False
    )

    assert process.returncode == FAILED
    assert b"error_type" in process.stderr and b"serving/lookups/export_job.py" in process.stderr
    assert MARK.encode() not in process.stderr


def test_what_polars_quotes_is_not_told() -> None:
    """An error of Polars is told by its type alone; an error of ours about a part that is away is told as it is."""
    assert safe_message(pl.exceptions.ComputeError(f"cannot cast {MARK}")) == "ComputeError"
    assert safe_message(StoreUnreachable("Redis cannot be reached: refused")) == "Redis cannot be reached: refused"


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    """A disk that is full takes no lines: who writes them, or a library that does, goes on."""
    script = """
import logging, sys, structlog
from serving.logs import configure
configure("info")
for number in range(1_000):
    structlog.get_logger().info("drained", rows=number)
    logging.getLogger("a.library").warning("slow")
print("went on", file=sys.stderr)
"""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, timeout=60, text=True
        )

    assert ended.stderr.startswith("went on")
