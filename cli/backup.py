"""`tinycdp backup`: a copy of a running stack, in a folder.

    backup.json         what is in it, written last: a folder without it is no backup
    keys.json …         the first keys, and what signs addresses of exports
    redis.rdb           the embedded Redis
    lake/               the tables, each at one version

**Redis is copied first, then the lake.** Redis trims its log up to what the lake has. So a lake that is newer than
Redis lacks nothing that Redis has forgotten, and recovery brings Redis what the lake has more. A lake that is older may
lack what is in no log any more. `Backup.drained` notes, for each shard, up to which seq the lake must have its events;
it is read between the two copies. A Redis of the operator's own is not copied: there the lake is copied once it has all
that Redis had acknowledged when the backup began, which is what `drained` says then.

Everything that was acknowledged before the backup began is in it. Of what is acknowledged meanwhile some is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import redis

from cli.redis_log import is_embedded
from cli.stack import Stack, running_stack
from lake.copies import Copied, copy_file, copy_lake
from lake.lake import Lake
from lake.stored_files import StoredFiles
from serving.access.secret_files import write_private
from serving.definitions.saving import unwritten
from serving.release import release
from serving.settings import Settings, settings_fixed
from serving.store.store import Store

FILE, REDIS_FILE, LAKE_FOLDER = "backup.json", "redis.rdb", "lake"
#: Files of a home that nothing else makes again.
SECRETS = ("keys.json", "signing.key")
#: How long Redis may take to save itself, and the drain to bring to the lake what is in Redis.
SAVE_S_MAX, DRAIN_S_MAX = 1_800.0, 120.0
LOOK_S = 0.1
#: The settings that are noted for whoever restores: those of the environment, without keys and passwords.
_SECRET_SETTINGS = ("write_key", "read_key", "admin_key", "redis_url")


class BackupError(RuntimeError):
    """The backup cannot be made, or not be restored; the message ends with the remedy."""


class Backup(msgspec.Struct, frozen=True):
    """What a backup holds. `files` are by their paths in its folder."""

    release: str
    at: str
    #: The settings that are fixed for good, and those that the environment named.
    fixed: dict[str, str]
    settings: dict[str, str]
    #: The version of the server that wrote `redis.rdb`; None where that is not there.
    redis: str | None
    #: For each shard the seq up to which a lake that fits must have its events.
    drained: list[int]
    files: dict[str, Copied]

    @property
    def has_lake(self) -> bool:
        """Whether the lake is in it."""
        return any(path.startswith(f"{LAKE_FOLDER}/") for path in self.files)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.bytes for file in self.files.values())


def back_up(
    store: Store,
    lake: Lake,
    settings: Settings,
    folder: Path,
    *,
    with_lake: bool = True,
    on_file: Callable[[str], None] = lambda path: None,
) -> Backup:
    """Copies the running stack into an empty folder, which is made where it is absent; what the copy holds.

    Only its owner may read it. `on_file` is told the path of each file before it is copied. Raises `BackupError`, and
    `StoreError` and `LakeError` where a part is away.
    """
    lake.reach()
    folder = folder.absolute()
    _require_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    target = StoredFiles(str(folder))
    at = datetime.fromtimestamp(store.now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
    home = settings.home.absolute()
    files = {}
    for name in SECRETS:
        if (home / name).exists():
            on_file(name)
            files[name] = _copy_private(home / name, target, name)
    stack = running_stack(settings)
    version = None
    if stack is not None and is_embedded(home, stack):
        on_file(REDIS_FILE)
        version = store.server().version
        files[REDIS_FILE] = _copy_redis(stack, home, target)
        drained = [state.drained for state in store.shard_states()]  # after the copy, before the lake's
    else:
        drained = _await_drained(store, lake)
    if with_lake:
        files |= copy_lake(lake.root, target, f"{LAKE_FOLDER}/", on_file)
    backup = Backup(release(), at, settings_fixed(settings), _named(settings), version, drained, files)
    write_private(folder / FILE, msgspec.json.format(msgspec.json.encode(backup), indent=1).decode())
    return backup


def read_backup(folder: Path) -> Backup:
    """What a folder holds. Raises `BackupError` where it is no whole backup."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Backup)
    except FileNotFoundError:
        raise BackupError(
            f"{folder} has no {FILE}: it is no backup, or one that was cut off; name another folder"
        ) from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{folder / FILE} is damaged ({error}): take another backup") from error


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty: name a folder that is, or one that is not there yet")


def _named(settings: Settings) -> dict[str, str]:
    names = sorted(settings.model_fields_set - set(_SECRET_SETTINGS))
    return {name: str(getattr(settings, name)) for name in names}


def _copy_private(path: Path, target: StoredFiles, name: str) -> Copied:
    copied = copy_file(StoredFiles(str(path.parent)).chunks(path.name), target, name)
    Path(target.root, name).chmod(0o600)
    return copied


def _copy_redis(stack: Stack, home: Path, target: StoredFiles) -> Copied:
    """Lets the embedded Redis save itself, and takes the file."""
    try:
        with redis.Redis.from_url(stack.redis_url, socket_timeout=60) as client:
            saved = home / "redis" / str(client.config_get("dbfilename")["dbfilename"])
            try:
                _save(client)
                return _copy_private(saved, target, REDIS_FILE)
            finally:  # beside its log it would be a second, older truth, and hold people who are deleted later
                saved.unlink(missing_ok=True)
    except redis.exceptions.RedisError as error:
        raise BackupError(f"Redis did not save itself ({error}): look at logs/redis.log, and try again") from error


def _save(client: redis.Redis) -> None:
    """Returns when Redis has written a snapshot that is not older than the call. Raises `RedisError`."""
    deadline = time.monotonic() + SAVE_S_MAX
    for _ in _looks(deadline):
        with suppress(redis.exceptions.ResponseError):  # it saves, or rewrites its file, for somebody else
            client.bgsave(schedule=False)
            break
    else:
        raise redis.exceptions.RedisError(f"it was busy for {SAVE_S_MAX:.0f} s")
    for _ in _looks(deadline):
        state = client.info("persistence")
        if not state["rdb_bgsave_in_progress"]:
            if state["rdb_last_bgsave_status"] == "ok":
                return
            raise redis.exceptions.RedisError(f"it says {state['rdb_last_bgsave_status']}")
    raise redis.exceptions.RedisError(f"it took longer than {SAVE_S_MAX:.0f} s")


def _looks(deadline: float) -> Iterator[None]:
    """One after the other until a deadline, with pauses between them."""
    yield
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        yield


def _await_drained(store: Store, lake: Lake) -> list[int]:
    """The seqs that shards have now, once the lake has them, and the definitions that wait for it."""
    seqs = [state.seq for state in store.shard_states()]
    definitions = {(row.kind, row.key, row.version) for row in unwritten(store)}
    for _ in _looks(time.monotonic() + DRAIN_S_MAX):
        drained = lake.transaction_versions(None, store.shards)
        waiting = definitions & {(row.kind, row.key, row.version) for row in unwritten(store)}
        if not waiting and all(map(int.__ge__, drained, seqs)):
            return seqs
    left = sum(max(0, seq - upto) for seq, upto in zip(seqs, drained, strict=True))
    raise BackupError(
        f"the lake lacks {left} events and {len(waiting)} versions of definitions after {DRAIN_S_MAX:.0f} s: see what "
        "`tinycdp doctor` says of the drain, and try again"
    )
