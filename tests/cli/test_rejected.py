"""What `tinycdp rejected` prints of events that anybody with a write key may send."""

from __future__ import annotations

from typing import Any

from cli.rejected import page_text, redriven_text

#: Clears a terminal, and gives it another title.
STEERS = "\x1b[2J\x1b]0;mine\x07"


def test_what_was_sent_steers_no_terminal() -> None:
    """A text that does not print is written as JSON has it, on one line: what was sent, and reasons that repeat it."""
    event = {"received_at": "2026-01-02T03:04:05Z", "id": "r1", "cut": False, "redriven_at": None}
    page: dict[str, Any] = {
        "total": 1,
        "waiting": 0,
        "reasons": [{"count": 1, "reason": f"properties.{STEERS}: send less"}],
        "sources": [{"count": 1, "source": f"{STEERS}.csv", "path": None, "key": None}],
        "rejected": [{**event, "reason": f"{STEERS} is none", "event": f'{{"event":"{STEERS}",\n"userId":"ada"}}'}],
    }
    done = {"redriven": 0, "duplicates": 0, "refused": [{"id": "r1", "message": STEERS}]}

    for text in (page_text(page), redriven_text(done)):
        assert all(line.isprintable() for line in text.split("\n"))
        assert "[2J" in text
    assert len(page_text(page).split("\n")) == 5


def test_what_prints_is_printed_as_it_is() -> None:
    """JSON as most clients send it."""
    sent = {"received_at": "t", "id": "r1", "cut": True, "redriven_at": None, "reason": "no name", "event": '{"a":"ü"}'}
    page = {"total": 1, "waiting": 0, "reasons": [], "sources": [], "rejected": [sent]}

    assert '\n    {"a":"ü"}' in page_text(page)
