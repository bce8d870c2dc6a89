"""`tinycdp demo`: definitions, real history, live events on top, and decisions that change, with their reasons."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tinycdp
import yaml
from rich.table import Table
from tinycdp.admin import DefinitionKind

from serving.access.keys import KeyKind
from serving.refusals import Unavailable

_OF_CHECKOUT = Path(__file__).resolve().parent.parent / "examples"
#: An install without a checkout brings what the tour reads.
EXAMPLES = _OF_CHECKOUT if _OF_CHECKOUT.is_dir() else Path(sys.prefix, "share", "tinycdp", "examples")
PURCHASES = EXAMPLES / "cdnow" / "purchases.parquet"
DEFINITIONS = EXAMPLES / "definitions.yaml"

#: The field of the API that has the expression, by kind of definition.
FIELDS: dict[DefinitionKind, str] = {"trait": "expression", "segment": "rule", "flag": "rule"}
KINDS: tuple[DefinitionKind, ...] = ("trait", "segment", "flag")

READY_S_MAX = 60.0
#: How long a decision may take: it waits until the events before it are acknowledged, on a machine that may be busy.
ANSWER_S = 30.0


@dataclass(frozen=True)
class ToDefine:
    """A definition as a file has it. `settings` are what a flag has beside its rule, as the API takes them."""

    kind: DefinitionKind
    key: str
    expression: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """What the API is sent."""
        return {"key": self.key, FIELDS[self.kind]: self.expression, **self.settings}


def read_definitions(path: Path) -> list[ToDefine]:
    """Each definition in a file. A definition comes after those that it uses."""
    file = yaml.safe_load(path.read_text())
    return [_to_define(kind, key, said) for kind in KINDS for key, said in (file.get(f"{kind}s") or {}).items()]


def _to_define(kind: DefinitionKind, key: str, said: Any) -> ToDefine:
    if not isinstance(said, dict):
        return ToDefine(kind, key, str(said))
    settings = dict(said)
    return ToDefine(kind, key, settings.pop(FIELDS[kind]), settings)


class InUse(Exception):
    """Somebody uses the stack, so the demo leaves it alone; the message ends with the remedy."""


class Api:
    """The API as the demo uses it: by the Python client. Nobody who answers is `Unavailable`, a refusal an error."""

    def __init__(self, url: str, keys: Mapping[KeyKind, str]) -> None:
        self._admin = tinycdp.Admin(url, keys["admin"])
        self._client = tinycdp.Client(url, keys["write"], keys["read"], decide_timeout_s=ANSWER_S)
        self._last: tinycdp.Handle | None = None

    def definitions(self) -> dict[tuple[str, str], str]:
        """The expressions that are saved, by (kind, key)."""
        with _away_as_unavailable():
            return {
                (kind, definition["key"]): definition[FIELDS[kind]]
                for kind in KINDS
                for definition in self._admin.definitions(kind)
            }

    def save(self, wanted: ToDefine) -> None:
        """Saves a definition."""
        with _away_as_unavailable():
            self._admin.call("POST", f"/v1/admin/{wanted.kind}s", wanted.body)

    def track(self, user: str, event: str, properties: Mapping[str, Any] | None = None) -> None:
        """Sends an event."""
        self._last = self._client.track(user, event, properties)

    def identify(self, user: str, attributes: Mapping[str, Any]) -> None:
        """Sends attributes of a user."""
        self._last = self._client.identify(user, attributes)

    def traits(self, user: str) -> dict[str, Any]:
        """A user's traits and segments."""
        with _away_as_unavailable():
            return self._admin.traits(user)

    def decide(self, user: str, flag: str) -> tinycdp.Decision[bool]:
        """The decision of a flag for a user, which sees the events before it. Raises `Unavailable`."""
        decision = self._client.decide(user, flag, False, after=self._last, explain=True)
        if decision.error is not None:
            raise Unavailable(f"the API decides nothing: {decision.error}")
        return decision


@contextmanager
def _away_as_unavailable() -> Iterator[None]:
    try:
        yield
    except tinycdp.Unreachable as error:
        raise Unavailable(f"the API does not answer: {error}") from error


def save_definitions(api: Api, wanted: Sequence[ToDefine]) -> None:
    """Saves the definitions that are not there yet.

    Raises `InUse`, and saves none, where the stack has others: events of the demo would count in them.
    """
    saved = api.definitions()
    others = saved.items() - {((one.kind, one.key), one.expression) for one in wanted}
    if others:
        names = ", ".join(sorted(f"{kind} {key}" for (kind, key), _ in others)[:3])
        raise InUse(f"this stack has definitions of its own ({names}): set TINYCDP_HOME to another folder")
    for one in wanted:
        if (one.kind, one.key) not in saved:
            api.save(one)


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
        decision = api.decide(user, flag)
        reasons = [reason for reason in decision.reasons if not reason.startswith("final_result")]
        rows.append({"after": after, "flag": flag, "allow": decision.allow, "because": reasons})

    for flag in ("free_shipping", "help_chat"):
        decide("nothing yet", flag)
    for _ in range(3):
        api.track(user, "Product Viewed")
    decide("3 x Product Viewed", "help_chat")
    api.track(user, "purchase", {"amount": 320.5, "quantity": 2})
    api.track(user, "purchase", {"amount": 180.25, "quantity": 1})
    decide("2 purchases, 500.75", "free_shipping")
    api.identify(user, {"plan": "premium"})
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
