"""`tinycdp demo`: definitions, real history, live events on top, and decisions that change, with their reasons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.table import Table

from serving.access.keys import KeyKind

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PURCHASES = EXAMPLES / "cdnow" / "purchases.parquet"
DEFINITIONS = EXAMPLES / "definitions.yaml"

#: The field of the API that has the expression, by kind of definition.
FIELDS = {"trait": "expression", "segment": "rule", "flag": "rule"}

READY_S_MAX = 60.0


def read_definitions(path: Path) -> list[tuple[str, str, str]]:
    """(kind, key, expression) of each definition in a file. A definition comes after those that it uses."""
    file = yaml.safe_load(path.read_text())
    return [(kind, key, str(expression)) for kind in FIELDS for key, expression in (file.get(f"{kind}s") or {}).items()]


class InUse(Exception):
    """Somebody uses the stack, so the demo leaves it alone; the message ends with the remedy."""


class Api:
    """The API as the demo uses it."""

    def __init__(self, url: str, keys: Mapping[KeyKind, str]) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._keys = keys

    def definitions(self) -> dict[tuple[str, str], str]:
        """The expressions that are saved, by (kind, key)."""
        return {
            (kind, definition["key"]): definition[FIELDS[kind]]
            for kind in FIELDS
            for definition in self._ask("GET", f"/v1/admin/{kind}s", "admin").json()[f"{kind}s"]
        }

    def save(self, kind: str, key: str, expression: str) -> None:
        """Saves a definition."""
        self._ask("POST", f"/v1/admin/{kind}s", "admin", json={"key": key, FIELDS[kind]: expression})

    def send(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Sends a batch of events."""
        answer: dict[str, Any] = self._ask("POST", "/v1/batch", "write", json={"batch": events}).json()
        return answer

    def traits(self, user: str) -> dict[str, Any]:
        """A user's traits and segments."""
        answer: dict[str, Any] = self._ask("GET", f"/v1/users/{user}/traits", "admin").json()
        return answer

    def decide(self, user: str, flag: str, explain: bool = False) -> dict[str, Any]:
        """The decision of a flag for a user."""
        parameters = {"userId": user, "flag": flag} | ({"explain": "true"} if explain else {})
        answer: dict[str, Any] = self._ask("GET", "/v1/decide", "read", params=parameters).json()
        return answer

    def _ask(self, method: str, path: str, key: KeyKind, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._keys[key]}"}
        answer = self._http.request(method, path, headers=headers, **more)
        if answer.status_code != 200:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer


def save_definitions(api: Api, wanted: Sequence[tuple[str, str, str]]) -> None:
    """Saves the definitions that are not there yet.

    Raises `InUse`, and saves none, where the stack has others: events of the demo would count in them.
    """
    saved = api.definitions()
    others = saved.items() - {((kind, key), expression) for kind, key, expression in wanted}
    if others:
        names = ", ".join(sorted(f"{kind} {key}" for (kind, key), _ in others)[:3])
        raise InUse(f"this stack has definitions of its own ({names}): set TINYCDP_HOME to another folder")
    for kind, key, expression in wanted:
        if (kind, key) not in saved:
            api.save(kind, key, expression)


def await_settled(api: Api, user: str) -> dict[str, Any]:
    """The user's traits once nothing is warming any more."""
    deadline = time.monotonic() + READY_S_MAX
    while (traits := api.traits(user))["warming"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"still warming after {READY_S_MAX:.0f} s: {', '.join(traits['warming'])}")
        time.sleep(0.2)
    return traits


def decisions(api: Api) -> dict[str, Any]:
    """A new `user`, and their `decisions` before and after live events: after what, which flag, allowed or not, why."""
    user = f"visitor-{time.time_ns() // 1_000_000}"
    await_settled(api, user)
    rows: list[dict[str, Any]] = []

    def decide(after: str, flag: str) -> None:
        decision = api.decide(user, flag, explain=True)
        reasons = [reason for reason in decision["reasons"] if not reason.startswith("final_result")]
        rows.append({"after": after, "flag": flag, "allow": decision["allow"], "because": reasons})

    for flag in ("free_shipping", "help_chat"):
        decide("nothing yet", flag)
    api.send([{"type": "track", "userId": user, "event": "Product Viewed"} for _ in range(3)])
    decide("3 x Product Viewed", "help_chat")
    api.send(
        [
            {"type": "track", "userId": user, "event": "purchase", "properties": {"amount": 320.5, "quantity": 2}},
            {"type": "track", "userId": user, "event": "purchase", "properties": {"amount": 180.25, "quantity": 1}},
        ]
    )
    decide("2 purchases, 500.75", "free_shipping")
    api.send([{"type": "identify", "userId": user, "traits": {"plan": "premium"}}])
    decide("identify plan=premium", "help_chat")
    return {"user": user, "decisions": rows}


def decisions_table(result: Mapping[str, Any]) -> Table:
    """The decisions for people, one a row."""
    table = Table(title=f"Decisions for {result['user']}", title_justify="left")
    for column in ("after", "flag", "allow", "because"):
        table.add_column(column)
    for row in result["decisions"]:
        table.add_row(row["after"], row["flag"], _word(row["allow"]), ", ".join(row["because"]))
    return table


def _word(allow: bool) -> str:
    return "[green]yes[/green]" if allow else "[red]no[/red]"
