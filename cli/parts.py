"""The parts of the stack that are our own processes: API, drain, worker and console. Each also starts alone.

None but the console, which has nothing of its own, starts on a home where a restore did not end: `NotRestored`.

Under a supervisor a part ends by itself, in order, when the supervisor is gone: nobody else would end it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import structlog

from cli.api_processes import become_parent
from cli.ports import reached_host
from cli.restoring import require_restored
from cli.supervised import end_without_supervisor
from lake.lake import Lake
from pipelines.drain import Drain
from pipelines.lives import require_own_lake
from pipelines.recover import recover
from pipelines.work import plain_work
from pipelines.worker import Worker
from serving import garbage
from serving.access.keys import raw_keys
from serving.logs import configure
from serving.release import release
from serving.settings import Settings, WrongSettings, unknown_settings
from serving.store.errors import NotAdmitted, NotDurable, OtherLake, OtherSetting, StoreError
from serving.store.scripts.ingest import TailLimits
from serving.store.store import Store

log = structlog.get_logger()

REDIS_S_MAX = 60.0
#: How long the API waits for a first answer of Redis before it starts all the same.
REDIS_ANSWER_S = 2.0
#: Answers go before rebuilds: beside a busy process a rebuild has a tenth of that one's share of a core. With more the
#: slowest decisions would be slower; with less no rebuild would end while all are busy.
WORKER_NICE = 10


def run_api(settings: Settings) -> None:
    """Serves the API until SIGTERM; requests under way are finished."""
    require_restored(settings.home)
    _say_what_starts(settings, "api")
    _refuse_what_cannot_run(settings)
    raw_keys(settings)  # a home where no keys can be kept is refused here, in one line
    if settings.api_processes > 1:
        become_parent()
    end_without_supervisor(settings.home, "api")
    # Here, so that drain and worker start without the framework, which takes half a second and 17 MB.
    from cli.api_server import serve

    serve(settings)


def run_drain(settings: Settings) -> None:
    """Drains, and recovers a Redis that lost something, until SIGTERM."""
    require_restored(settings.home)
    _begin(settings, "drain")
    store = _store(settings)
    lake = Lake(settings.lake_root)
    drain = Drain(store, lake, settings, recover=lambda: recover(store, lake, settings))
    _until_stopped(drain.run)


def run_worker(settings: Settings) -> None:
    """Rebuilds, purges and maintains until SIGTERM, by the schedules of the Prefect server that the environment names.

    That is PREFECT_API_URL; the setting `prefect` can leave Prefect out.
    """
    require_restored(settings.home)
    os.nice(WORKER_NICE)
    _begin(settings, "worker")
    store = _store(settings)
    lake = Lake(settings.lake_root)
    takes_part = bool(os.environ.get("PREFECT_API_URL")) if settings.prefect is None else settings.prefect
    if not takes_part:
        _until_stopped(Worker(store, lake, settings, *plain_work(store, lake, settings)).run)
        return
    from pipelines.prefect_flows import PrefectFlows

    with PrefectFlows(store, lake, settings) as flows:
        _until_stopped(Worker(store, lake, settings, *flows.work).run)


def run_console(settings: Settings) -> None:
    """Serves the console until SIGTERM. It asks the API of `TINYCDP_URL`, or the one of these settings."""
    from dashboard.console import LOOPBACK, Console
    from dashboard.server import serve

    reached = reached_host(settings.host)
    api_url = os.environ.get("TINYCDP_URL") or f"http://{reached}:{settings.port}"
    _begin(settings, "console", api=api_url)
    named = [host.strip().lower() for host in (settings.console_hosts or "").split(",") if host.strip()]
    serve(
        Console(
            api_url,
            host=settings.host,
            port=settings.console_port,
            base_path=(settings.console_path or "").rstrip("/"),
            hosts=tuple(dict.fromkeys([*LOOPBACK, reached.strip("[]"), *named])),
            public_url=settings.public_url,
        )
    )


def _begin(settings: Settings, part: str, **follows: str | None) -> None:
    """What each part does first: it says what it is, and ends with its supervisor."""
    _say_what_starts(settings, part, **follows)
    end_without_supervisor(settings.home, part)


def _say_what_starts(settings: Settings, part: str, **follows: str | None) -> None:
    """Logs from now on by the settings; says what the part is and what it `follows`, Redis and the lake unless
    something else is named, and names what it was given that is none.

    An address loses its password on its way into the log (`serving.logs`).
    """
    configure(settings.log_level)
    addresses = {"api": (settings.host, settings.port), "console": (settings.host, settings.console_port)}
    host, port = addresses.get(part, (None, None))
    log.info(
        "started",
        part=part,
        version=release(),
        pid=os.getpid(),
        **({} if host is None else {"address": f"http://{f'[{host}]' if ':' in host else host}:{port}"}),
        **(follows or {"redis": settings.redis_url, "lake": settings.lake_root}),
    )
    for line in unknown_settings(os.environ):
        log.warning("unknown_setting", what=line)


def _store(settings: Settings) -> Store:
    """The store, once Redis answers.

    Raises `NotAdmitted`, `NotDurable` and `OtherSetting` with their remedies, also where Redis belongs to another lake,
    and `StoreError` when Redis is away for a minute.
    """
    store = Store(_require_redis(settings), settings.shards, TailLimits.of(settings))
    deadline = time.monotonic() + REDIS_S_MAX
    while True:
        try:
            store.require_durable(settings.durability)
            store.require_shards()
            require_own_lake(store, Lake(settings.lake_root))
            return store
        except (NotAdmitted, NotDurable, OtherSetting):
            raise
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _refuse_what_cannot_run(settings: Settings) -> None:
    """Raises what no waiting mends, `NotAdmitted` and `OtherSetting`. The API starts while Redis is away."""
    with Store(_require_redis(settings), settings.shards, timeout_s=REDIS_ANSWER_S) as store:
        try:
            store.require_shards()
            require_own_lake(store, Lake(settings.lake_root))
        except OtherLake as error:
            if error.told is not None:  # a folder that is not mounted yet: events and decisions need none
                raise
        except (NotAdmitted, OtherSetting):
            raise
        except StoreError:
            return


def _require_redis(settings: Settings) -> str:
    if settings.redis_url is None:
        raise WrongSettings("TINYCDP_REDIS_URL is not set: start the stack with `tinycdp up`, or name a Redis")
    return settings.redis_url


def _until_stopped(run: Callable[[threading.Event], None]) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    garbage.settle()
    run(stop)
