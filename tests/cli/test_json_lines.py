"""Lines of any program become lines of a log: one JSON object each, without the texts of exceptions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.json_lines import LINE_BYTES_MAX, JsonLines
from cli.supervisord import JsonFormat


def lines(text: str, pieces: int = 7, part: str = "part") -> list[dict[str, Any]]:
    """The objects that a program's output becomes, whose bytes come so many at once."""
    made, data = JsonLines(part), text.encode()
    given = b"".join(made.of(data[at : at + pieces]) for at in range(0, len(data), pieces)) + made.end()
    return [json.loads(line) for line in given.splitlines()]


@pytest.mark.parametrize(
    ("line", "level", "event"),
    [
        ("12:M 30 Nov 2026 14:00:00.000 * Ready to accept connections", "info", "Ready to accept connections"),
        ("12:M 30 Nov 2026 14:00:00.000 # Out of memory", "warning", "Out of memory"),
        ("14:00:00.123 | ERROR   | prefect.server - failed", "error", "prefect.server - failed"),
        ("2026-11-30 14:00:00,123 WARNING streamlit: old", "warning", "streamlit: old"),
        ("\x1b[31mTINYCDP_REDIS_URL is not set\x1b[0m", "info", "TINYCDP_REDIS_URL is not set"),
        ("asks redis://:secret@host/0 and s3://b/k?sig=1", "info", "asks redis://…host/0 and s3://b/k…"),
    ],
)
def test_a_line_of_text_is_the_event_of_an_object(line: str, level: str, event: str) -> None:
    """The level is the one that the line names. Colours and the secrets of addresses are left out."""
    (made,) = lines(f"{line}\n")

    assert (made["level"], made["event"], made["part"]) == (level, event, "part")
    assert made["timestamp"].endswith("Z")


def test_an_object_stays_as_it_is() -> None:
    """What our own parts write passes unchanged, whatever the pieces are in which it comes."""
    text = '{"event":"answered","path":"/v1/admin/users/{user}","ms":0.1}'

    assert JsonLines("api").of(f"{text}\n".encode()) == f"{text}\n".encode()
    assert lines(f"{text}\n{text}") == [json.loads(text)] * 2


def test_a_banner_and_empty_lines_are_nothing() -> None:
    """Lines without a letter or a digit say nothing."""
    assert lines("\n ___ ___\n| _ \\ _ \\\n\n") == []


def test_of_a_traceback_type_and_places_are_kept() -> None:
    """The text of an exception may quote what somebody sent: neither it nor what follows it is in any line."""
    text = (
        "Traceback (most recent call last):\n"
        '  File "/a/serving/api/x.py", line 12, in f\n'
        "    raise KeyError(secret)\n"
        "serving.store.errors.StoreError: secret ann\n"
        "and secret more\n"
        '{"event":"next"}\n'
        "plain\n"
    )
    raised, following, plain = lines(text)

    assert (raised["event"], raised["level"], raised["error_type"]) == (
        "raised",
        "error",
        "serving.store.errors.StoreError",
    )
    assert raised["frames"] == ["api/x.py:12 f"]
    assert (following, plain["event"]) == ({"event": "next"}, "plain")


def test_a_panic_of_a_native_library_is_a_place() -> None:
    """Polars says after a panic which value it could not take."""
    made = lines("thread '<unnamed>' panicked at crates/polars-core/src/x.rs:12:5:\ncalled unwrap: secret\n")

    assert [(line["event"], line["place"]) for line in made] == [("panicked", "src/x.rs:12")]


def test_a_line_that_never_ends_is_cut() -> None:
    """Memory does not grow with a line: it becomes several, each cut."""
    made = lines("x" * (3 * LINE_BYTES_MAX), pieces=8_192)

    assert len(made) >= 3 and all(len(line["event"]) <= 2_000 for line in made)


def test_an_unfinished_traceback_is_told_at_the_end() -> None:
    """A part that is killed while it writes one leaves the places that it wrote."""
    (made,) = lines('Traceback (most recent call last):\n  File "a/b.py", line 1, in g\n')

    assert (made["error_type"], made["frames"]) == ("unknown", ["a/b.py:1 g"])


def test_supervisors_own_lines_are_objects() -> None:
    """Its levels have our names."""
    line = JsonFormat() % {"message": "spawned: 'api' with pid 7", "levelname": "WARN", "asctime": ""}

    assert json.loads(line)["level"] == "warning" and json.loads(line)["event"] == "spawned: 'api' with pid 7"
