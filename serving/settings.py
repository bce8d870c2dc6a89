"""Every setting, with its default. Each process reads them from the environment, as `TINYCDP_…`.

A value that cannot work is refused here, before anything starts: a zone that is fixed with the first start cannot be
mended afterwards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from expressions.errors import nearest_names
from serving.refusals import cut

T = TypeVar("T")

PREFIX = "TINYCDP_"
#: What else has the prefix: settings of the Python client, and what `tinycdp up` tells its parts.
OTHERS = (
    *("url", "profile_key", "queue_dir", "queue_max", "queue_bytes_max", "when_full", "block_s", "flush_at"),
    *("flush_interval_s", "timeout_s", "decide_timeout_s", "exit_s", "supervised"),
)
MINUTE_S = 60
YEAR_DAYS = 366
YEAR_S = YEAR_DAYS * 24 * 60 * MINUTE_S
#: Files of zone databases that are no places: each machine reads them in its own way, or not at all.
NO_ZONES = ("Factory", "localtime")

#: The paths of lakes that the libraries which read Delta tables read back.
READABLE = "of valid Unicode, without [ ] ^ | \\ =, control characters, and % before two hexadecimal digits"

#: The schemes of object stores that both the tables and the other files of a lake can be in.
STORES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss")

#: Bytes. A Redis with less has no room for a first event, and the stack would never be ready.
REDIS_MEMORY_MIN = 8_000_000

#: Settings that cannot change once a system has taken events: the one routes them, the other counts them.
FIXED = ("shards", "time_zone")


class Settings(BaseSettings):
    """The settings of one stack. A port of 0 means any free one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", allow_inf_nan=False)

    home: Path = Field(default=Path(".tinycdp"), description="where the embedded default keeps all it stores")
    host: str = Field(default="127.0.0.1", description="the address that servers bind to")
    port: int = Field(default=4000, ge=0, le=65535, description="the API")
    api_processes: int = Field(default=1, ge=1, le=256, description="of the API, at its one address")
    prefect: bool | None = Field(
        default=None, description="whether Prefect takes part; None: where PREFECT_API_URL names its server"
    )
    prefect_port: int = Field(default=4200, ge=0, le=65535, description="Prefect's server and UI")
    prefect_name: str | None = Field(
        default=None, max_length=100, pattern=r"^[\w.-]*$", description="ends the names of this stack's deployments"
    )
    console: bool = Field(default=True, description="whether `up` starts the console")
    console_port: int = Field(default=8501, ge=0, le=65535, description="the console")
    console_hosts: str | None = Field(default=None, description="names that browsers reach the console by")
    console_path: str | None = Field(
        default=None, pattern=r"^(/[\w.~-]+)*/?$", description="the path before the console's own, behind a proxy"
    )
    redis_port: int = Field(default=0, ge=0, le=65535, description="the embedded Redis")
    redis_url: str | None = Field(default=None, description="a Redis >= 6.2 or Valkey of your own; none: embedded")
    lake_uri: str | None = Field(default=None, description="a folder or object store; none: lake/ under home")
    durability: Literal["always", "everysec"] = "always"
    time_zone: str = Field(default="UTC", description="whose calendar dates unique_days counts; fixed at creation")
    shards: int = Field(default=16, ge=1, le=1024, description="fixed at creation")

    write_key: SecretStr | None = Field(default=None, description="one, or several with commas between them")
    read_key: SecretStr | None = None
    admin_key: SecretStr | None = None

    definitions_max: int = Field(default=1_000, ge=1, description="traits, segments and flags; one more gets 409")
    fresh_events_max: int = Field(
        default=1_000_000, ge=0, description="up to so many events members are computed while the caller waits"
    )
    light_events_max: int = Field(default=256, ge=0, description="beyond it an id keeps spans instead of raw events")
    rebuild_interval_s: float = Field(default=15 * MINUTE_S, gt=0, le=YEAR_S)
    maintain_interval_s: float = Field(default=6 * 60 * MINUTE_S, gt=0, le=YEAR_S)
    purge_interval_s: float = Field(
        default=24 * 60 * MINUTE_S, gt=0, le=YEAR_S, description="deleted people out of all files"
    )
    retention_days: int | None = Field(
        default=None, ge=1, le=100 * YEAR_DAYS, description="events older than this go; none: all are kept"
    )
    drain_interval_s: float = Field(default=1.0, gt=0, le=YEAR_S)
    tail_wanted_entries: int = Field(default=1_000, ge=1, description="a longer tail asks for a rebuild of its id")
    tail_entries_max: int = Field(default=20_000, ge=1, description="events of an id with a longer tail get 429")
    backlog_entries_max: int = Field(default=4_000_000, ge=1, description="undrained events, all shards, before 429")
    redis_memory_max: str = Field(default="4gb", description="of the embedded Redis; 429 before it is full")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug: a line for each event sent and each decision too"
    )
    metrics_open: bool = Field(default=False, description="/metrics without a key, to callers on this machine alone")
    public_url: str | None = Field(default=None, description="how clients reach the API; none: as they just did")
    export_retention_days: float = Field(default=7, gt=0, le=100 * YEAR_DAYS, description="exports are kept so long")
    cors_origins: str = Field(default="*", description="whose pages may call: origins with commas, * all, empty none")
    body_bytes_max: int = Field(default=500 * 1024, ge=1024)
    event_bytes_max: int = Field(default=32 * 1024, ge=512)
    batch_events_max: int = Field(default=2_500, ge=1)
    rate_limit: float = Field(default=0, ge=0, description="requests and events a second of a key; 0: as many as come")
    connections_max: int = Field(default=4_000, ge=1, le=1_000_000, description="of one API process, at once")
    request_s_max: float = Field(
        default=30, gt=0, le=YEAR_S, description="for a request to arrive, and an answer to be taken"
    )

    @field_validator("home", mode="before")
    @classmethod
    def _empty_is_none(cls, home: object) -> object:
        # A compose file writes a variable that nobody set as empty. A path of no characters is the current folder.
        return cls.model_fields["home"].default if home == "" else home

    @field_validator("write_key", "read_key", "admin_key")
    @classmethod
    def _are_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        is_empty = keys is None or not keys.get_secret_value()
        return _expected("a key, or several with commas between them", keys, is_empty or bool(split_keys(keys)))

    @field_validator("home")
    @classmethod
    def _is_folder(cls, home: Path) -> Path:
        _expected(f"a path {READABLE}", home, _is_readable(str(home.absolute())))
        is_other = os.path.exists(home) and not os.path.isdir(home)  # False where the path may not be looked at
        return _expected("a folder, or a path where one can be made", home, not is_other)

    @field_validator("lake_uri")
    @classmethod
    def _is_lake(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        scheme = re.match(r"([A-Za-z][\w+.-]*):/", uri)  # one slash too: s3:/bucket would be a folder of that name
        if scheme is None or uri.startswith("file://"):
            return _expected(f"an object store, or a path {READABLE}", uri, _is_readable(unquote(uri)))
        is_store = scheme[1] in STORES and re.match(r"://[^/]", uri[len(scheme[1]) :]) is not None
        return _expected(f"a path, or an object store, as s3://bucket/lake (one of {', '.join(STORES)})", uri, is_store)

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        return _expected(
            "an address or a name of this machine, as 127.0.0.1", host, re.fullmatch(r"[\w.:%-]+", host) is not None
        )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        if not url:
            return None
        from redis.connection import parse_url  # commands that need no Redis do not wait until it is imported

        try:
            parse_url(url)
            is_redis = True
        except ValueError:
            is_redis = False
        return _expected("the address of a Redis, as redis://127.0.0.1:6379/0", url, is_redis)

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        is_zone = name == "UTC" or (name in available_timezones() and name not in NO_ZONES)
        return _expected("a zone of the IANA time zone database, as Europe/Berlin", name, is_zone)

    @field_validator("redis_memory_max")
    @classmethod
    def _is_size(cls, size: str) -> str:
        parts = re.fullmatch(r"([0-9]{1,18})(b|[kmg]b?)?", size.lower())
        power = "bkmg".index((parts[2] or "b")[0]) if parts else 0
        is_size = parts is not None and (int(parts[1]) == 0 or int(parts[1]) * 1000**power >= REDIS_MEMORY_MIN)
        return _expected("a size as Redis writes them, as 4gb, of at least 8mb, or 0 for no bound", size, is_size)

    @field_validator("public_url")
    @classmethod
    def _is_web(cls, url: str | None) -> str | None:
        return _expected("an address, as https://cdp.example.com", url, _is_web_address(url)) if url else None

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        origins = [origin.strip() for origin in text.split(",")]
        are_origins = all(re.fullmatch(r"|\*|null|[a-z][a-z0-9+.-]*://[^/\s]+", origin) for origin in origins)
        return _expected("origins with commas between them, as https://shop.example, or *", text, are_origins)

    @property
    def cors_regex(self) -> str:
        """A regular expression that matches the whole of each origin whose pages may call."""
        origins = [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]
        return ".*" if "*" in origins else "|".join(map(re.escape, origins))

    @property
    def lake_root(self) -> str:
        """The folder or address under which the lake's tables are."""
        return self.lake_uri or str((self.home / "lake").absolute())

    @property
    def horizon_ms(self) -> int:
        """How long a heavy base stays exact without a rebuild: four intervals, at least an hour."""
        return max(int(4 * self.rebuild_interval_s * 1000), 60 * MINUTE_S * 1000)


def split_keys(keys: SecretStr | None) -> list[str]:
    """The keys that a setting names, in order; nothing for one that is not set, or empty."""
    texts = [] if keys is None else keys.get_secret_value().split(",")
    return [text.strip() for text in texts if text.strip()]


def settings_fixed(settings: Settings) -> dict[str, str]:
    """The values of the settings that are fixed when a system is made, as text."""
    return {name: str(getattr(settings, name)) for name in FIXED}


class WrongSettings(ValueError):
    """Settings that cannot be used: a line for each, with its name, its value and a remedy."""


def settings_of_environment() -> Settings:
    """The settings as the environment gives them. Raises `WrongSettings`, which names all that are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise WrongSettings("\n".join(map(_line, error.errors()))) from None


def unknown_settings(environment: Iterable[str]) -> list[str]:
    """A line for each variable of these names that has our prefix and is nothing we know, with the nearest setting.

    To be told and not refused: whoever runs a part may set what it does not know. Values may be secrets.
    """
    known = {name.upper() for name in (*Settings.model_fields, *OTHERS)}
    lines = []
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known:
            nearest = nearest_names(name, known, 1)
            hint = f": the nearest one is {PREFIX}{nearest[0]}" if nearest else ""
            lines.append(f"{cut(variable)} is no setting, and changes nothing{hint}")
    return lines


def home_unusable(home: Path, error: OSError) -> WrongSettings:
    """The refusal of a home that cannot be made, or in which nothing can be written."""
    default = Settings.model_fields["home"].default
    return WrongSettings(
        f"{PREFIX}HOME is {cut(str(home))!r}, where nothing can be written ({error.strerror}): set it to a folder that "
        f"this user may write, or unset it for {default}"
    )


def home_closed(home: Path, error: OSError) -> WrongSettings:
    """The refusal of a home that this user may not look into."""
    return WrongSettings(
        f"{PREFIX}HOME is {cut(str(home))!r}, where nothing can be read ({error.strerror}): run the command as the user"
        " whose stack is there, or set it to a folder of your own"
    )


def _line(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    name = PREFIX + field.upper()
    is_secret = field.endswith("_key") or field == "redis_url"  # an address may have a password
    shown = "has a value that is not shown" if is_secret else f"is {cut(str(error['input']))!r}"
    expected = error["msg"].partition(", unable")[0].replace("Input should be", "should be", 1)
    default = Settings.model_fields[field].default
    instead = "" if default is None else f" for {default}"
    return f"{name} {shown}, but {expected}: set another, or unset it{instead}"


def _expected(what: str, value: T, is_met: bool) -> T:
    if not is_met:
        raise PydanticCustomError("setting", "Input should be {what}", {"what": what})
    return value


def _is_readable(path: str) -> bool:
    try:
        path.encode()  # bytes that are no UTF-8 are in a path as half a surrogate pair, which no file of ours holds
    except UnicodeEncodeError:
        return False
    return re.search(r"[\[\]^|\\=\x00-\x1f\x7f]|%[0-9a-fA-F]{2}", path) is None


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
