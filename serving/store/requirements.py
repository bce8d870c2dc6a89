"""Requirements of a system before it is used: the settings and the lake that it was made with, and a server that loses
nothing.
"""

from __future__ import annotations

from serving.store.errors import NotDurable, OtherLake, OtherSetting
from serving.store.operations.server import Server


def require_same(name: str, made_with: object, told: object) -> None:
    """Raises `OtherSetting` unless this process is told what the system was made with. None: nobody has noted that."""
    if made_with is not None and made_with != told:
        raise OtherSetting(name, str(made_with), str(told))


def require_lake(noted: str, lake_id: str | None, root: str) -> None:
    """Raises `OtherLake` unless Redis belongs to the lake under a root, by their ids. None: there is no lake yet."""
    if noted != lake_id:
        raise OtherLake(noted, lake_id, root)


def require_durable(server: Server, settings: dict[str, str | None], durability: str) -> Server:
    """The server with its `appendfsync`, if its settings lose nothing beyond `durability`. Raises `NotDurable`.

    `settings` are those that the server told, by name; None of a setting that it keeps to itself. The error names each
    remedy.
    """
    wrong = []
    if not server.append_only or settings.get("appendonly") == "no":
        wrong.append("appendonly is no, so a restart loses everything: set `appendonly yes`")
    enough = ("always",) if durability == "always" else ("always", "everysec")
    fsync = settings.get("appendfsync")
    if fsync is not None and fsync not in enough:
        remedy = f"set `appendfsync {enough[-1]}`"
        if fsync == "everysec":
            remedy += ", or accept that with TINYCDP_DURABILITY=everysec"
        wrong.append(f"appendfsync is {fsync}, so a crash loses what was acknowledged: {remedy}")
    eviction = settings.get("maxmemory-policy") or server.eviction
    if eviction != "noeviction":
        wrong.append(f"maxmemory-policy is {eviction}, so records are dropped: set `maxmemory-policy noeviction`")
    if wrong:
        raise NotDurable("This Redis would lose events. " + "; ".join(wrong))
    return server._replace(appendfsync=fsync)
