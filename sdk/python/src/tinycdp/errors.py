"""What can go wrong, as an app sees it.

TinyCDPError
├── ConfigurationError    a setting is wrong: raised where the client is made, names setting, value and remedy
├── QueueFull             `track` with `when_full="block"` found no room within its timeout
├── LakeError             a lake (`tinycdp.lake`) is not there, cannot be read, or lacks what is asked for
├── Unreachable           a call that must answer (`traits`, the admin client) got no answer
│   └── AnswerTooLarge    the admin client got one of more than 16 MiB
└── ApiError              the API refused: status, code, message, details
    ├── InvalidRequest    400: `details` names field, value and remedy; of an expression also line and column
    ├── Unauthenticated   401: the key is not known
    ├── Forbidden         403: the key's kind may not do this
    ├── NotFound          404
    ├── Conflict          409
    ├── PreconditionFailed 412
    └── Unavailable       429, 503 and other answers after which the same call may pass later

`track` and its siblings raise none of these but `QueueFull`, and that only on request. `decide` raises none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class TinyCDPError(Exception):
    """The root of every error of this package."""


class ConfigurationError(TinyCDPError):
    """A setting is wrong. The message names the setting, its value (never a key) and the remedy."""


class QueueFull(TinyCDPError):
    """No room for an event within the timeout that `when_full="block"` waits."""


class LakeError(TinyCDPError):
    """A lake is not there, cannot be read, or lacks what is asked for. The message names it."""


class UnknownIds(UserWarning):
    """Ids of labels are unknown to the lake. The message names the first."""


class Unreachable(TinyCDPError):
    """The API did not answer: refused, timed out, or cut off.

    `may_be_done`: a change was sent (by the admin client), and it may have been made all the same. Look before you send
    it again.
    """

    def __init__(self, message: str, *, may_be_done: bool = False) -> None:
        super().__init__(message)
        self.may_be_done = may_be_done


class AnswerTooLarge(Unreachable):
    """The API answered with more than a client takes. Ask for less: a page with a smaller `limit`."""


class ApiError(TinyCDPError):
    """A refusal of the API."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}

    @property
    def field(self) -> str | None:
        """The field that is wrong, if the API names one."""
        return self.details.get("field")

    @property
    def value(self) -> Any:
        """The refused value, cut to 100 characters, if the API names one."""
        return self.details.get("value")

    @property
    def remedy(self) -> str | None:
        """What to do instead, if the API names it."""
        return self.details.get("remedy")

    @property
    def line(self) -> int | None:
        """The line in an expression, from 1."""
        return self.details.get("line")

    @property
    def column(self) -> int | None:
        """The column in that line, from 1."""
        return self.details.get("column")


class InvalidRequest(ApiError):
    """400: sending the same again changes nothing."""


class Unauthenticated(ApiError):
    """401: no key, or an unknown one."""


class Forbidden(ApiError):
    """403: the key's kind may not do this."""


class NotFound(ApiError):
    """404: there is no such thing."""


class Conflict(ApiError):
    """409: it is there already, others need it, or there are too many events to answer at once."""


class PreconditionFailed(ApiError):
    """412: somebody changed it since it was read."""


class Unavailable(ApiError):
    """429, 503 and the like: the same call may pass later, after `retry_after_s` seconds if that is given."""

    retry_after_s: float | None = None


BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: InvalidRequest,
}


def api_error(status: int, body: Any, retry_after: str | None = None) -> ApiError:
    """The error that an answer of this status and decoded JSON body stands for; any body will do."""
    parts = body if isinstance(body, Mapping) else {}
    details = parts.get("details")
    error = BY_STATUS.get(status, Unavailable)(
        status,
        str(parts.get("code", "unknown")),
        str(parts.get("message", f"HTTP status {status}")),
        details if isinstance(details, Mapping) else None,
    )
    if isinstance(error, Unavailable) and retry_after is not None and retry_after.isdigit():
        error.retry_after_s = float(retry_after)
    return error
