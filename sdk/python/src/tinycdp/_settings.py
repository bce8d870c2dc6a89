"""Every setting of a client, with its default: given as an argument, else read from the environment, `TINYCDP_…`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from .errors import ConfigurationError

WhenFull: TypeAlias = Literal["drop_oldest", "block"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a client. Times are in seconds. Keys stand in no text of this object."""

    url: str
    write_key: str | None
    read_key: str | None
    profile_key: str | None
    admin_key: str | None
    queue_dir: str | None
    queue_max: int
    queue_bytes_max: int
    when_full: WhenFull
    block_s: float
    flush_at: int
    flush_interval_s: float
    timeout_s: float
    decide_timeout_s: float
    exit_s: float

    @property
    def asking_key(self) -> str | None:
        """The key that asks for decisions."""
        return self.read_key or self.profile_key

    def __repr__(self) -> str:
        return f"Settings(url={self.url!r}, …)"


def settings_of(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings, each as given where that is not None, else of the environment, else its default.

    Raises `ConfigurationError` that names the first wrong one.
    """
    named = os.environ if environment is None else environment
    unknown = given.keys() - _DEFAULTS.keys()
    if unknown:
        raise ConfigurationError(f"{min(unknown)}: there is no such setting; there are {', '.join(_DEFAULTS)}")
    values: dict[str, Any] = {}
    for name, (default, read, remedy) in _DEFAULTS.items():
        value = given.get(name)
        if value is None:
            value = named.get(f"TINYCDP_{name.upper()}") or default
        try:
            values[name] = None if value is None else read(value)
        except (ValueError, TypeError):
            shown = "(not shown)" if name.endswith("_key") else repr(value)
            raise ConfigurationError(f"{name}: {shown} is not accepted; {remedy}") from None
    return Settings(**values)


def _url(value: Any) -> str:
    parts = urlsplit(str(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(value)
    return str(value).rstrip("/").removesuffix("/v1")  # the paths of calls begin with it


def _key(value: Any) -> str:
    text = str(value).strip()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(value)
    return text


def _folder(value: Any) -> str:
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError(value)
    return text


def _whole(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value)
        if isinstance(value, bool) or number < least:
            raise ValueError(value)
        return number

    return read


def _seconds(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not 0 <= number < 86_400:
        raise ValueError(value)
    return number


def _when_full(value: Any) -> WhenFull:
    if value not in ("drop_oldest", "block"):
        raise ValueError(value)
    return "block" if value == "block" else "drop_oldest"


_KEY = (None, _key, "give the key as the server printed it")
_TIME = "give seconds, from 0 to a day"

#: Name → default, how a value is read, what to do about one that cannot be.
_DEFAULTS: dict[str, tuple[Any, Callable[[Any], Any], str]] = {
    "url": ("http://127.0.0.1:4000", _url, "give the server's address, as https://cdp.example.com"),
    "write_key": _KEY,
    "read_key": _KEY,
    "profile_key": _KEY,
    "admin_key": _KEY,
    "queue_dir": (None, _folder, "name a folder of a local disk"),
    "queue_max": (10_000, _whole(1), "give how many events may wait, at least 1"),
    "queue_bytes_max": (64 * 1024 * 1024, _whole(64 * 1024), "give how many bytes may wait, at least 65,536"),
    "when_full": ("drop_oldest", _when_full, 'give "drop_oldest" or "block"'),
    "block_s": (1.0, _seconds, _TIME),
    "flush_at": (500, _whole(1), "give how many events make a batch, at least 1"),
    "flush_interval_s": (1.0, _seconds, _TIME),
    "timeout_s": (10.0, _seconds, _TIME),
    "decide_timeout_s": (1.0, _seconds, _TIME),
    "exit_s": (2.0, _seconds, _TIME),
}
