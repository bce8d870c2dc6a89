"""The errors between us and Redis, by what to do about them.

    StoreError
    ├── StoreUnreachable     no connection, no answer in time, loading, or a replica: a write may have happened
    │   └── NotAdmitted      it answers, and refuses our password: nothing was written; correct the address
    ├── ShardNotReady        the server was started or promoted since this shard was recovered: wait for the drain
    ├── ProjectionOutdated   the caller's definitions are older than the shard's: reload them and repeat
    ├── ServerReplaced       the server was started or promoted since a piece of work began: begin it again
    ├── StoreFull            the undrained log, or the memory, is at its bound: wait
    │   └── HistoryFull      so are the versions of definitions that wait for the lake
    ├── NotDurable           the server's settings could lose what was acknowledged: change them
    └── OtherSetting         the system was made with another number of shards or time zone: set that
        └── OtherLake        Redis belongs to another lake: correct an address

All but `NotAdmitted` and the last three may pass by themselves, and repeating is safe: dedupe absorbs the resend.
"""

from __future__ import annotations


class StoreError(Exception):
    """Any error between us and Redis."""


class StoreUnreachable(StoreError):
    """Redis did not answer. A write may or may not have happened."""


class NotAdmitted(StoreUnreachable):
    """Redis answers and does not let us in. `said` are its words, which hold no password."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"Redis does not let us in ({said.strip().rstrip('.')}): correct the password, the user or the number of "
            "the database in TINYCDP_REDIS_URL, as redis://:PASSWORD@HOST:6379/0"
        )


#: How the words of a server begin that does not let us in: a wrong password or user, none, or one too many; or no right
#: to ask who the server is; or a database that it does not have.
_NOT_ADMITTED = (
    *("WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH"),
    *("ERR DB index", "ERR invalid DB index"),
)


def is_not_admitted(said: str) -> bool:
    """Whether the words of a server, said while a connection was opened, mean that it does not let us in."""
    return said.startswith(_NOT_ADMITTED)


class ShardNotReady(StoreError):
    """A shard is not yet recovered on this server; nothing was written."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"shard {shard} is being recovered on this Redis server")
        self.shard = shard


class ProjectionOutdated(StoreError):
    """The caller projects by older definitions than the shard's; nothing was written in that shard."""

    def __init__(self, shard: int, version: int) -> None:
        super().__init__(f"shard {shard} keeps events by a newer projection than version {version}")
        self.shard = shard


class ServerReplaced(StoreError):
    """The server is another one, or another run, than the work at hand began on; nothing was written.

    The new run may have lost what the work has written so far, so the work must begin again.
    """


class StoreFull(StoreError):
    """There is no room for more until the drain, or the operator, has made some."""


class HistoryFull(StoreFull):
    """As many versions of definitions wait for the lake as may; nothing was written."""


class OtherSetting(StoreError):
    """This process is told another value of a setting that is fixed when a system is made."""

    def __init__(self, name: str, made_with: str, told: str) -> None:
        setting = f"TINYCDP_{name.upper()}"
        super().__init__(
            f"this system was made with {setting}={made_with}, which cannot change, and is told {told}: "
            f"set {setting}={made_with}"
        )


class OtherLake(OtherSetting):
    """Redis belongs to another lake than this process is told: `noted` and `told` are their ids.

    `noted` is None where nobody noted it, `told` where there is no lake.
    """

    def __init__(self, noted: str | None, lake_id: str | None, root: str) -> None:
        self.noted, self.told = noted, lake_id
        own = "holds no lake" if lake_id is None else f"is lake {lake_id}"
        other = "another lake, which its log contradicts" if noted is None else f"lake {noted}"
        StoreError.__init__(
            self,
            f"this Redis belongs to {other}, and {root} {own}: set TINYCDP_LAKE_URI to the lake of this "
            "Redis, or TINYCDP_REDIS_URL to the Redis of this lake. If the lake of this Redis is lost for good, empty "
            "Redis, which is then recovered from this one (docs/deployment.md, Backups)",
        )


class NotDurable(StoreError):
    """The server's settings could lose what was acknowledged. The message names each setting and its remedy."""
