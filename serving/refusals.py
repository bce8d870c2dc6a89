"""Refusals: exceptions for a request that is wrong or that cannot be served now, which any part may raise.

Refusal              message, details, when to try again
├── Invalid            names the field, the value and the remedy
├── Unauthenticated    no key that is known
├── Forbidden          a key of another kind
├── NotFound           no such thing
├── Conflict           it is there already, or others need it
├── Changed            it is no longer what the caller said it is
├── NotAtOnce          too much to answer at once: it takes an analysis
├── TooMany            more than can be taken now: try again later
└── Unavailable        a part is away: try again later

The `code` of each is the word that answers and the lake's table `rejected` have for it. Nothing here knows HTTP: the
statuses and headers are in `serving.http.answers`. The drain, the flows and the commands raise and catch refusals, too.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Any, ClassVar

#: A refusal repeats so many characters of the value that it refuses.
SHOWN_CHARACTERS_MAX = 100


class Refusal(Exception):
    """A request that is refused. `retry_after_s`: after so many seconds the same request may pass; None: it will not.

    `details` are for programs: field, value, remedy, and what else a refusal has to say. `why` is for the log alone.
    """

    code: ClassVar[str]
    why: str | None = None

    def __init__(self, message: str, details: dict[str, Any] | None = None, retry_after_s: int | None = None) -> None:
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Invalid(Refusal):
    """The request itself is wrong; sending it again changes nothing."""

    code = "invalid_argument"


class Unauthenticated(Refusal):
    """The request has no key, or one that is not known."""

    code = "unauthenticated"


class Forbidden(Refusal):
    """The key's kind does not allow this."""

    code = "permission_denied"


class NotFound(Refusal):
    """There is no such thing."""

    code = "not_found"


class Conflict(Refusal):
    """The thing is there already, or others need it."""

    code = "already_exists"


class Changed(Refusal):
    """The thing is no longer the version that the caller said it is."""

    code = "failed_precondition"


class NotAtOnce(Refusal):
    """The lake has too many events to answer while the caller waits: an analysis answers it."""

    code = "failed_precondition"


class TooMany(Refusal):
    """More than can be taken now; the same request may pass later."""

    code = "resource_exhausted"


class Unavailable(Refusal):
    """A part is away or being restored; the same request may pass later."""

    code = "unavailable"


def invalid(field: str, value: object, remedy: str, message: str | None = None) -> Invalid:
    """A refusal that names the field, the value and the remedy. Clients make up fields: they are cut as values are."""
    field, text = cut(field), value_for_message(value)
    return Invalid(
        message or f"{field}: {text} is not accepted; {remedy}", {"field": field, "value": text, "remedy": remedy}
    )


def value_for_message(value: object) -> str:
    """A value as refusals repeat it: as Python writes it, at most 100 characters."""
    return cut(_repr(value))


def cut(text: str) -> str:
    """The text, or its beginning and an ellipsis where it has more than 100 characters."""
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 3]}..."


class _BoundedRepr(Repr):
    """Writes of a nested value only the part that is read: all of it, a few thousand brackets in each other, would
    exhaust the stack.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist = 4, 8, 16
        self.maxstring = self.maxlong = self.maxother = 1_000


_repr = _BoundedRepr().repr
