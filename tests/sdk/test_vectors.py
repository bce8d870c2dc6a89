"""The Python client's core against the vectors that both SDKs share."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tinycdp._answers import unanswered, verdict, wait_s
from tinycdp._asking import Asking, Outcome
from tinycdp._decisions import Decision, decision_of, fallback, fitted
from tinycdp._http import Reply
from tinycdp._intake import EventCalls, Intake
from tinycdp._outbox import Entry, Outbox
from tinycdp._questions import one_flag

FOLDER = Path(__file__).parents[1] / "conformance" / "clients"
OK = b'{"success": true}'


def vectors(name: str, key: str = "vectors") -> list[Any]:
    """Those of a file, each with its sentence as the test's name."""
    found = json.loads((FOLDER / name).read_text())[key]
    return [pytest.param(one, id=one.get("says", str(one.get("attempt")))) for one in found]


class Calls(EventCalls[tuple[Entry, str]]):
    """The calls, whose answer is the entry itself."""

    def _put(self, *arguments: Any) -> tuple[Entry, str]:
        return Intake(None, None).entry(0.0, *arguments)


#: The words of the wire, and the parameters of the calls.
PARAMETERS = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "messageId": "message_id",
    "groupId": "group_id",
    "previousId": "previous_id",
}


@pytest.mark.parametrize("vector", vectors("events.json"))
def test_an_event_on_the_wire(vector: dict[str, Any]) -> None:
    """Each call makes this event, or is refused for this reason."""
    arguments = {PARAMETERS.get(name, name): value for name, value in vector["arguments"].items()}
    if vector["call"] != "alias":
        arguments.setdefault("user_id", None)
    if repeated := vector.get("repeated"):
        arguments["properties"] = {repeated["property"]: repeated["text"] * repeated["times"]}

    entry, _ = getattr(Calls(), vector["call"])(**arguments)

    if "sent" in vector:
        assert json.loads(entry.body) == vector["sent"]
    else:
        assert entry.state == "refused"
        assert vector["refused"] in entry.reason


@pytest.mark.parametrize("vector", vectors("batches.json"))
def test_events_in_batches(vector: dict[str, Any]) -> None:
    """The requests name these events in turn, and each event ends in this state."""
    flush_at = vector.get("flushAt", json.loads((FOLDER / "batches.json").read_text())["flushAt"])
    box = Outbox(queue_max=100, queue_bytes_max=10**9, flush_at=flush_at, flush_interval_s=1.0, random=Random(11))
    entries = [Entry(b"x" * vector.get("bytes", 100), str(n), (), 0.0) for n in range(vector["events"])]
    for entry in entries:
        box.put(entry)
    answers, pauses_ms = iter(vector["answers"]), iter(vector.get("afterMs", []))
    requests: list[list[int]] = []
    now_s, wall_ms = 0.0, 10**12

    while (wake_s := box.wake_s(now_s)) is not None:
        now_s = max(now_s, wake_s)
        wall_ms += next(pauses_ms, 0)
        attempt, _ = box.next_attempt(now_s, wall_ms)
        if attempt is None:
            continue
        requests.append([entries.index(entry) for entry in attempt.entries])
        answer = next(answers)
        if isinstance(answer, int):
            found = verdict(answer, None, OK if answer == 200 else b"{}")
        else:
            found = unanswered("no answer", was_sent=answer != "refused")
        box.settle(attempt, found, now_s)

    assert requests == vector["requests"]
    assert [entry.state for entry in entries] == vector["states"]
    assert next(answers, "none") == "none"


@pytest.mark.parametrize("vector", vectors("answers.json"))
def test_an_answer_to_a_batch(vector: dict[str, Any]) -> None:
    """Its fate, whether a part may count, how long to wait, and which events are rejected."""
    found = verdict(vector["status"], vector.get("retryAfter"), vector["body"].encode())

    assert (found.fate.value, found.is_ambiguous) == (vector["fate"], vector["ambiguous"])
    assert {str(index): list(said) for index, said in found.rejected.items()} == vector.get("rejected", {})
    if "waitS" in vector:
        assert wait_s(1, found.retry_after_s, Random(11)) == vector["waitS"]
    else:
        assert found.retry_after_s is None


@pytest.mark.parametrize("vector", vectors("answers.json", "waits"))
def test_the_wait_after_an_attempt(vector: dict[str, Any]) -> None:
    """It doubles up to a minute, and chance takes up to half of it away."""
    random = Random(11)

    waits = [wait_s(vector["attempt"], None, random) for _ in range(200)]

    assert vector["fromS"] <= min(waits) < max(waits) <= vector["toS"]
    assert max(waits) - min(waits) > 0.4 * vector["toS"]


@pytest.mark.parametrize("vector", vectors("caching.json"))
def test_answers_that_are_kept(vector: dict[str, Any]) -> None:
    """Each step asks the server or does not, and gives this value with this reason."""
    asking = Asking()
    for step in vector["steps"]:
        if "sent" in step:
            asking.drop([f"user:{step['sent']}"])
            continue
        begun = asking.begin(one_flag(step["user"], None, "f", explain=False), step["at"])
        assert isinstance(begun, Outcome) is not step["asked"], step
        if isinstance(begun, Outcome):
            outcome = begun
        elif step["answer"] is None:
            outcome = asking.unanswered(begun, "no answer", step["at"])
        else:
            assert begun.ask("key").headers.get("If-None-Match") == step.get("tag"), step
            outcome = asking.answered(begun, reply(step["answer"]), step["at"])
        given: Decision[Any] = outcome.decisions[0] if outcome.decisions else fallback("f", "default", outcome.error)
        assert [given.value, given.reason] == step["gives"], step


@pytest.mark.parametrize("vector", vectors("types.json"))
def test_a_value_of_another_type_than_the_default(vector: dict[str, Any]) -> None:
    """The caller has the default's type; whether the flag allows, and its variant, are told as they are."""
    said = {"flag": "f", "value": vector["value"], "allow": True, "variant": "v", "reasons": ["evaluation_error: no"]}

    given = fitted(decision_of({**said, "reason": vector.get("reason", "SPLIT")}), vector.get("default"))

    assert [given.value, given.reason, given.error_code] == vector["gives"]
    assert (given.allow, given.variant) == (True, "v")


def reply(answer: dict[str, Any]) -> Reply:
    """The answer of a server."""
    body = {"flag": "f", "value": answer.get("value"), "allow": True, "variant": None, "reason": "STATIC"}
    status = answer.get("status", 200)
    content = json.dumps(body if status == 200 else {"message": "no"}).encode() if status != 304 else b""
    return Reply(status, None, answer.get("etag"), answer.get("cacheControl"), content)
