"""The front door: one command a thing that a person or a script wants done.

Exit codes: 0 done and well · 1 something is wrong with what was asked, or what was found · 2 called wrongly · 3 a part
that is needed is away.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from expressions.errors import ExpressionError
from expressions.rules.values import instant_ms
from serving.refusals import Refusal, Unavailable
from serving.settings import Settings
from serving.store.errors import StoreError

if TYPE_CHECKING:
    from pipelines.importing.import_file import Imported

WRONG, AWAY = 1, 3

app = typer.Typer(
    name="tinycdp",
    help="TinyCDP: real-time traits, segments and flag decisions that you host yourself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output, for scripts")]


def main() -> None:
    """Runs the command line; what went wrong is said in one sentence, without a trace."""
    import httpx

    from cli.waiting import TookTooLong
    from lake.errors import LakeError
    from pipelines.leases import NotHeld

    try:
        app()
    except (StoreError, LakeError, Unavailable, TookTooLong, NotHeld, httpx.TransportError) as error:
        fail(str(error), AWAY)
    except (Refusal, ExpressionError) as error:
        fail(str(error), WRONG)
    except Exception as error:
        import polars as pl

        if not isinstance(error, (pl.exceptions.PolarsError, OSError)):
            raise
        fail(str(error), AWAY)  # a frame says that the lake is away when it is collected


def fail(message: str, code: int = WRONG) -> NoReturn:
    """Ends the command: the message on standard error, the code as exit code."""
    err.print(message, style="red", markup=False)
    raise SystemExit(code)


def say(body: Any, text: str, as_json: bool) -> None:
    """The result: for people or for scripts."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(body), indent=1).decode() + "\n")
    else:
        out.print(text, markup=False)


def found_settings() -> Settings:
    """The settings, with those of the stack that runs on this home, if any."""
    from cli.up import environment_of, running_stack

    settings = Settings()
    stack = running_stack(settings)
    if stack is not None:
        for name, value in environment_of(stack).items():
            os.environ.setdefault(name, value)
        settings = Settings()
    return settings


def connected() -> tuple[Any, Any, Settings]:
    """(store, lake, settings) of the running stack. Ends the command when no Redis is named."""
    from lake.lake import Lake
    from serving.store.store import Store

    settings = found_settings()
    if settings.redis_url is None:
        fail("no stack runs here: start one with `tinycdp up`, or set TINYCDP_REDIS_URL", AWAY)
    store = Store(settings.redis_url, settings.shards)
    store.require_shards()
    return store, Lake(settings.lake_root), settings


def instant(text: str | None) -> int | None:
    """An ISO 8601 time as UTC milliseconds. Ends the command for anything else."""
    if text is None:
        return None
    found = instant_ms(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time: use ISO 8601, as 1998-07-01T00:00:00Z")
    return found


@contextmanager
def progress_bar(what: str, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error; the callback takes how much is done, and of how much."""
    if quiet:
        yield lambda done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────────


@app.command()
def up(
    no_console: Annotated[bool, typer.Option("--no-console", help="without the console")] = False,
    no_prefect: Annotated[bool, typer.Option("--no-prefect", help="rebuild without Prefect's server")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole stack on this machine until Ctrl-C; addresses are printed once it is ready."""
    from cli import up as stack

    settings = Settings()
    try:
        found = stack.start(settings, with_prefect=not no_prefect)
    except stack.StackError as error:
        fail(str(error), AWAY)
    if as_json:  # in one line, and at once: who reads it cannot wait for the end
        sys.stdout.write(msgspec.json.encode(addresses(found, settings)).decode() + "\n")
        sys.stdout.flush()
    else:
        print_addresses(found, settings)
        out.print("Ctrl-C stops it.")
    try:
        stack.wait_for_end(found)
    except stack.StackError as error:
        fail(str(error), AWAY)
    finally:
        stack.stop(settings, found)


@app.command()
def down(as_json: Json = False) -> None:
    """Stop the stack that runs on this home, in order; nothing that was acknowledged is lost."""
    from cli import up as stack

    settings = Settings()
    found = stack.running_stack(settings)
    if found is not None:
        stack.stop(settings, found)
    say({"stopped": found is not None}, "nothing runs here" if found is None else "stopped", as_json)


def addresses(found: Any, settings: Settings) -> dict[str, str | None]:
    """Where everything is, for scripts. There is no file of keys where all of them come from the environment."""
    keys_file = settings.home.absolute() / "keys.json"
    return {
        "api_url": found.api_url,
        "prefect_url": found.prefect_url,
        "redis_url": without_password(found.redis_url),
        "lake_uri": found.lake_uri,
        "keys_file": str(keys_file) if keys_file.exists() else None,
    }


def without_password(url: str) -> str:
    """The address of a Redis as it may be shown: who has its password has all that is in it."""
    return re.sub(r"(?<=://)([^/@]*):[^/@]*@", r"\1:…@", url)


def print_addresses(found: Any, settings: Settings) -> None:
    """Where everything is, for people."""
    out.print(f"API      {found.api_url}  (try {found.api_url}/health and /docs)")
    if found.prefect_url:
        out.print(f"Prefect  {found.prefect_url}")
    out.print(f"Redis    {without_password(found.redis_url)}")
    out.print(f"lake     {found.lake_uri}")
    out.print(f"keys     {settings.home / 'keys.json'}")


@app.command()
def demo(
    no_prefect: Annotated[bool, typer.Option("--no-prefect", help="rebuild without Prefect's server")] = False,
    as_json: Json = False,
) -> None:
    """Load 69,659 real purchases, send live events, and show decisions change. Leaves everything running."""
    from cli import demo as tour
    from cli import up as stack
    from serving.access.keys import raw_keys

    settings = Settings()
    found = stack.running_stack(settings)
    if found is None:
        err.print("starting the stack …")
        try:
            found = stack.start(settings, with_prefect=not no_prefect)
        except stack.StackError as error:
            fail(str(error), AWAY)
    api = tour.Api(found.api_url, raw_keys(settings))
    try:
        tour.save_definitions(api, tour.read_definitions(tour.DEFINITIONS))
    except tour.InUse as error:
        fail(str(error))
    err.print(f"definitions saved from {tour.DEFINITIONS.name}")
    imported = run_import(tour.PURCHASES, "user_id", "event", "timestamp", None, True, quiet=False, as_json=as_json)
    shown = tour.decisions(api)
    if as_json:
        say({"imported": asdict(imported), **shown, **addresses(found, settings)}, "", True)
        return
    say_imported(imported, False)
    out.print(tour.table_of(shown))
    command = "tinycdp" if shutil.which("tinycdp") else os.path.relpath(sys.argv[0])
    out.print(f"explained: [bold]{command} explain {shown['user']} free_shipping[/bold]")
    print_addresses(found, settings)
    out.print(f"Everything keeps running. Stop it with: [bold]{command} down[/bold]")


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, Parquet or JSONL; .gz too")],
    user: Annotated[str, typer.Option(help="the column of the user id")],
    event: Annotated[str, typer.Option(help="the column of the event name")],
    time: Annotated[str, typer.Option(help="the column of the time")],
    id: Annotated[
        str | None, typer.Option("--id", help="the column of the event id; without it each row is its own")
    ] = None,
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="move all times so that the newest is now")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load history from a file into the lake, and wait until it counts. Running it again adds nothing."""
    say_imported(run_import(file, user, event, time, id, shift_to_now, quiet=as_json, as_json=as_json), as_json)


def run_import(
    file: Path, user: str, event: str, time: str, id: str | None, shift_to_now: bool, *, quiet: bool, as_json: bool
) -> Imported:
    """The import, its bar and its rebuild. Where nobody rebuilds, what went in is said before that is raised."""
    from cli.waiting import TookTooLong, await_rebuild
    from pipelines.importing.chunks import ImportRefused
    from pipelines.importing.import_file import import_file
    from pipelines.leases import writing

    store, lake, settings = connected()
    with progress_bar(f"importing {file.name}", quiet) as on_progress, writing(store):
        try:
            found = import_file(
                lake,
                file,
                user_column=user,
                event_column=event,
                time_column=time,
                id_column=id,
                shift_to_now=shift_to_now,
                now_ms=store.now_ms(),
                shards=settings.shards,
                progress=on_progress,
            )
        except ImportRefused as error:
            fail(str(error))
    try:
        with progress_bar("rebuilding", quiet):
            await_rebuild(store)
    except TookTooLong as error:
        say_imported(found, as_json, rebuilt=False)
        raise TookTooLong(f"they are in the lake and not lost, but do not count yet: {error}") from None
    return found


def say_imported(found: Imported, as_json: bool, **more: bool) -> None:
    """What became of the rows."""
    text = f"{found.accepted:,} events imported, {found.rejected:,} rejected, {found.already:,} were there already"
    say(asdict(found) | more, text, as_json)


@app.command()
def rebuild(
    at: Annotated[str | None, typer.Option(help="as of a time, ISO 8601: written to the lake, never published")] = None,
    as_json: Json = False,
) -> None:
    """Rebuild every trait and segment now, and wait for it."""
    from cli.waiting import await_rebuild
    from pipelines.leases import writing
    from pipelines.rebuild import rebuild_at, run_row

    store, lake, _ = connected()
    at_ms = instant(at)
    if at_ms is not None:
        with writing(store):
            run = rebuild_at(store, lake, at_ms)
        text = f"{run.users:,} users as of {at} from {run.events:,} events, build {run.build}"
        say(run_row(run), text, as_json)
        return
    with progress_bar("rebuilding", as_json):
        await_rebuild(store)
    say({"done": True}, "rebuilt", as_json)


@app.command()
def purge(
    now: Annotated[
        bool, typer.Option("--now", help="today's rows too, and out of every file before it returns")
    ] = False,
    id: Annotated[
        list[str] | None,
        typer.Option("--id", help="an id of somebody who is gone (anon:…, email:…): search for it too"),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="with --now: values of other people's events that name them, too")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take what was deleted out of the lake's tables and files, then search every store for the ids; 0: none found."""
    from cli.purging import purged, shown
    from pipelines.leases import NotHeld

    if redact and not now:
        raise typer.BadParameter("values are redacted with --now only", param_hint="--redact")
    store, lake, settings = connected()
    try:
        found = purged(store, lake, settings, now=now, redacts=redact, ids=id or [], on_step=lambda step: None)
    except NotHeld as error:
        fail(str(error), AWAY)
    say(found, shown(found), as_json)
    if not found["clean"]:
        raise SystemExit(WRONG)


@app.command()
def users(
    key: Annotated[str, typer.Argument(help="a trait or a segment")],
    at: Annotated[str | None, typer.Option(help="as of a time, ISO 8601; now if left out")] = None,
    count: Annotated[bool, typer.Option("--count", help="only how many")] = False,
    as_json: Json = False,
) -> None:
    """Who has a trait that is true (S4), or is in a segment, computed from the lake by Polars."""
    from cli.asking import users_having

    store, lake, _ = connected()
    at_ms = instant(at)
    found = users_having(store, lake, key, at_ms if at_ms is not None else store.now_ms())
    if count:
        say({"count": len(found)}, str(len(found)), as_json)
    else:
        say({"users": found}, "\n".join(found), as_json)


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="a user id")],
    key: Annotated[str, typer.Argument(help="a trait, segment or flag")],
    as_json: Json = False,
) -> None:
    """Why a user has the value it has: every part with its value, its threshold, and when it next changes."""
    from cli.asking import explanation, tree_of

    store, _, _ = connected()
    body = explanation(store, user, key)
    if as_json:
        say(body, "", True)
    else:
        out.print(tree_of(body))


@app.command()
def sql(
    key: Annotated[str, typer.Argument(help="a trait or a segment")],
    dialect: Annotated[str, typer.Option(help="duckdb, bigquery or snowflake")] = "duckdb",
    at: Annotated[str | None, typer.Option(help="as of a time, ISO 8601; the warehouse's clock if left out")] = None,
    as_json: Json = False,
) -> None:
    """The same definition as one SELECT for a warehouse that holds the events."""
    from cli.asking import sql_of

    store, _, _ = connected()
    try:
        found = sql_of(store, key, dialect, instant(at))
    except ValueError as error:  # another dialect
        fail(str(error))
    if as_json:
        say(found, "", True)
    else:
        sys.stdout.write(found["sql"] + "\n")


@app.command()
def doctor(
    sample: Annotated[int, typer.Option(help="how many users are compared")] = 100,
    as_json: Json = False,
) -> None:
    """What runs, how far the drain is behind, the last build, the horizon left, and live answers against the lake."""
    from cli.doctor import examined, shown

    store, lake, settings = connected()
    found = examined(store, lake, settings, sample)
    say(found, shown(found), as_json)
    if not found["well"]:
        raise SystemExit(WRONG)


# ── parts of the stack, each alone ───────────────────────────────────────────────────────────────────────────────


@app.command(hidden=True)
def api() -> None:
    """Run the API alone."""
    from cli.parts import run_api

    run_api(Settings())


@app.command(hidden=True)
def drain() -> None:
    """Run the drain, and recovery, alone."""
    from cli.parts import run_drain

    run_drain(Settings())


@app.command(hidden=True)
def worker() -> None:
    """Run the rebuild worker alone."""
    from cli.parts import run_worker

    run_worker(Settings())


if __name__ == "__main__":
    main()
