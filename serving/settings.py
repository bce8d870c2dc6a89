"""Every setting, with its default. Each process reads them from the environment, as `TINYCDP_…`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MINUTE_S = 60

#: Settings that cannot change once a system has taken events: the one routes them, the other counts them.
FIXED = ("shards", "time_zone")


class Settings(BaseSettings):
    """The settings of one stack. A port of 0 means any free one."""

    model_config = SettingsConfigDict(env_prefix="TINYCDP_", extra="ignore")

    home: Path = Field(default=Path(".tinycdp"), description="where the embedded default keeps all it stores")
    host: str = Field(default="127.0.0.1", description="the address that servers bind to")
    port: int = Field(default=4000, ge=0, le=65535, description="the API")
    prefect_port: int = Field(default=4200, ge=0, le=65535, description="Prefect's server and UI")
    console_port: int = Field(default=8501, ge=0, le=65535, description="the console")
    redis_port: int = Field(default=0, ge=0, le=65535, description="the embedded Redis")
    redis_url: str | None = Field(default=None, description="a Redis >= 6.2 or Valkey of your own; none: embedded")
    lake_uri: str | None = Field(default=None, description="a folder or object store; none: lake/ under home")
    durability: Literal["always", "everysec"] = "always"
    time_zone: str = Field(default="UTC", description="whose calendar dates unique_days counts; fixed at creation")
    shards: int = Field(default=16, ge=1, le=1024, description="fixed at creation")

    write_key: SecretStr | None = None
    read_key: SecretStr | None = None
    admin_key: SecretStr | None = None

    definitions_max: int = Field(default=1_000, ge=1, description="traits, segments and flags; one more gets 409")
    light_events_max: int = Field(default=256, ge=0, description="beyond it an id keeps spans instead of raw events")
    rebuild_interval_s: float = Field(default=15 * MINUTE_S, gt=0)
    maintain_interval_s: float = Field(default=6 * 60 * MINUTE_S, gt=0)
    purge_interval_s: float = Field(default=24 * 60 * MINUTE_S, gt=0, description="deleted people out of all files")
    retention_days: int | None = Field(default=None, ge=1, description="events older than this go; none: all are kept")
    drain_interval_s: float = Field(default=1.0, gt=0)
    tail_wanted_entries: int = Field(default=1_000, ge=1, description="a longer tail asks for a rebuild of its id")
    tail_entries_max: int = Field(default=20_000, ge=1, description="events of an id with a longer tail get 429")
    backlog_entries_max: int = Field(default=4_000_000, ge=1, description="undrained events, all shards, before 429")
    redis_memory_max: str = Field(default="4gb", description="of the embedded Redis; 429 before it is full")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug: a line for each event sent and each decision too"
    )
    metrics_open: bool = Field(default=False, description="/metrics without a key, to callers on this machine alone")
    public_url: str | None = Field(default=None, description="how clients reach the API; none: as they just did")
    export_retention_days: float = Field(default=7, gt=0, description="exports are kept so long")
    cors_origins: str = Field(default="*", description="whose pages may call: origins with commas, * all, empty none")
    body_bytes_max: int = Field(default=500 * 1024, ge=1024)
    event_bytes_max: int = Field(default=32 * 1024, ge=512)
    batch_events_max: int = Field(default=2_500, ge=1)
    rate_limit: float = Field(default=0, ge=0, description="requests and events a second of a key; 0: as many as come")
    connections_max: int = Field(default=4_000, ge=1, description="of one API process, at once")
    request_s_max: float = Field(default=30, gt=0, description="for a request to arrive, and an answer to be taken")

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


def settings_fixed(settings: Settings) -> dict[str, str]:
    """The values of the settings that are fixed when a system is made, as text."""
    return {name: str(getattr(settings, name)) for name in FIXED}
