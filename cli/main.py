"""The commands of `tinycdp`, each with its options, its help and its exit code.

A command reads its options here and prints here; the work is in the file that has the command's name.
`cli/terminal.py` says what the exit codes mean.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer

from cli.backup_commands import backup, restore
from cli.connect import connect, connect_store
from cli.import_command import import_
from cli.imports_commands import imports
from cli.restoring import NotRestored
from cli.terminal import AWAY, MISUSED, WRONG, Json, err, fail, out, progress_bar, say, say_json
from expressions.errors import ExpressionError
from expressions.rules.values import instant_ms
from serving import garbage
from serving.refusals import Refusal, Unavailable
from serving.settings import WrongSettings, settings_of_environment, unknown_settings
from serving.store.errors import StoreError

app = typer.Typer(
    name="tinycdp",
    epilog=(
        "Exit codes: 0 all is well, 1 something is wrong with what was asked or found, 2 the command was called "
        "wrongly or a setting is wrong, 3 a part of the stack is away."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

NoPrefect = Annotated[bool, typer.Option("--no-prefect", help="Run without Prefect's server. Rebuilds need none.")]
NoConsole = Annotated[bool, typer.Option("--no-console", help="Run without the console.")]


def _say_version(is_asked: bool) -> None:
    """Prints the release and ends the command, where `--version` asks for it."""
    from serving.release import release

    if is_asked:
        out.print(f"tinycdp {release()}")
        raise typer.Exit


@app.callback()
def tinycdp(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the release.")
    ] = False,
) -> None:
    """TinyCDP: real-time traits, segments and flag decisions that you host yourself."""


def main() -> None:
    """Runs the command line. An error that somebody can mend is one sentence, without a trace."""
    garbage.look_rarely()
    from cli.rebuild import TookTooLong
    from lake.errors import LakeError
    from pipelines.leases import NotHeld

    try:
        app()
    except WrongSettings as error:
        fail(str(error), MISUSED)
    except (StoreError, LakeError, Unavailable, TookTooLong, NotHeld) as error:
        fail(str(error), AWAY)
    except (Refusal, ExpressionError, NotRestored) as error:
        fail(str(error), WRONG)
    except ModuleNotFoundError as error:
        if error.name != "tinycdp":
            raise
        fail("the Python client is not installed: run `make install`, or `pip install ./sdk/python`", AWAY)
    except Exception as error:
        import polars as pl

        if not isinstance(error, (pl.exceptions.PolarsError, OSError)):
            raise
        fail(str(error), AWAY)  # a frame reads the lake when it is collected, and fails then


def instant(text: str | None) -> int | None:
    """An ISO 8601 time as UTC milliseconds. Ends the command for anything else."""
    if text is None:
        return None
    at_ms = instant_ms(text)
    if at_ms is None:
        raise typer.BadParameter(f"{text!r} is no time: use ISO 8601, as 1998-07-01T00:00:00Z")
    return at_ms


# ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────────


@app.command()
def up(
    no_console: NoConsole = False,
    no_prefect: NoPrefect = False,
    as_json: Json = False,
) -> None:
    """Run the whole stack on this machine until Ctrl-C. The addresses are printed once it is ready."""
    from cli.console_link import say_sign_in
    from cli.orphans import say_ended
    from cli.stack import addresses, addresses_text
    from cli.starting import started
    from cli.up import StackError, stop, wait_for_end

    settings = settings_of_environment()
    for line in unknown_settings(os.environ):
        err.print(line, markup=False, soft_wrap=True)
    stack = started(settings, with_prefect=not no_prefect, with_console=not no_console)
    if as_json:  # in one line, and at once: a script that reads it cannot wait for the end
        sys.stdout.write(msgspec.json.encode(addresses(stack, settings)).decode() + "\n")
        sys.stdout.flush()
    else:
        out.print(addresses_text(stack, settings))
        say_sign_in(stack, settings)
        out.print("Ctrl-C stops it.")
    try:
        wait_for_end(stack)
    except StackError as error:
        fail(str(error), AWAY)
    finally:
        say_ended(stop(settings, stack))
    err.print("stopped")


@app.command()
def down(as_json: Json = False) -> None:
    """Stop the stack that runs on the folder TINYCDP_HOME, and what a killed one left running. Nothing that was
    acknowledged is lost.
    """
    from cli.orphans import say_ended
    from cli.up import StackError, stop_all

    try:
        stopped, ended = stop_all(settings_of_environment())
    except StackError as error:
        fail(str(error), AWAY)
    say_ended(ended)
    body = {"stopped": stopped, "orphans": [asdict(orphan) for orphan in ended]}
    say(body, "stopped" if stopped else "nothing runs here", as_json)


@app.command()
def demo(no_console: NoConsole = False, no_prefect: NoPrefect = False, as_json: Json = False) -> None:
    """Load 69,659 real purchases, send live events, and show how decisions change. The stack keeps running."""
    from cli import demo as tour
    from cli.console_link import say_sign_in
    from cli.import_history import FileMapping, import_history, say_imported
    from cli.stack import addresses, addresses_text, running_stack
    from cli.starting import started
    from serving.access.keys import raw_keys

    settings = settings_of_environment()
    stack = running_stack(settings)
    if stack is None:
        err.print("starting the stack …")
        stack = started(settings, with_prefect=not no_prefect, with_console=not no_console)
    api = tour.Api(stack.api_url, raw_keys(settings))
    try:
        tour.save_definitions(api, tour.read_definitions(tour.DEFINITIONS))
    except tour.InUse as error:
        fail(str(error))
    err.print(f"definitions saved from {tour.DEFINITIONS.name}")
    imported = import_history(
        [tour.PURCHASES],
        FileMapping(user="user_id", event="event", time="timestamp"),
        shift_to_now=True,
        quiet=False,
        as_json=as_json,
    )
    decisions = tour.decisions(api)
    if as_json:
        say_json({"imported": asdict(imported), **decisions, **addresses(stack, settings)})
        return
    say_imported(imported, False)
    out.print(tour.decisions_table(decisions))
    command = "tinycdp" if shutil.which("tinycdp") else os.path.relpath(sys.argv[0])
    out.print(f"explained: [bold]{command} explain {decisions['user']} free_shipping[/bold]")
    out.print(addresses_text(stack, settings))
    say_sign_in(stack, settings)
    out.print(f"Everything keeps running. Stop it with: [bold]{command} down[/bold]")


@app.command("sign-in")
def sign_in(as_json: Json = False) -> None:
    """Print a link that signs in to the console of this stack with the admin key: once, within an hour."""
    from cli.console_link import ConsoleError, console_link
    from cli.stack import running_stack

    settings = settings_of_environment()
    stack = running_stack(settings)
    if stack is None or stack.console_url is None:
        fail("no console runs here: start the stack with `tinycdp up`, without --no-console", AWAY)
    try:
        link = console_link(stack, settings)
    except ConsoleError as error:
        fail(str(error), AWAY)
    say({"url": link}, link, as_json)


app.command("backup")(backup)
app.command("restore")(restore)


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


app.command("import")(import_)


@app.command()
def rebuild(
    at: Annotated[
        str | None,
        typer.Option(help="Rebuild as of this ISO 8601 time. That goes to the lake only, and no decision changes."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rebuild every trait and segment now, and wait for it."""
    from cli.rebuild import await_rebuild
    from pipelines.leases import writing
    from pipelines.rebuild import rebuild_at, run_row

    store, lake, _ = connect()
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
def restamp(as_json: Json = False) -> None:
    """Put times right that were stamped while Redis' clock was ahead, and rebuild everybody."""
    from pipelines.leases import NotHeld
    from pipelines.restamp import restamp as put_right

    store, lake, settings = connect()
    try:
        did = put_right(store, lake, settings)
    except NotHeld as error:
        fail(str(error), AWAY)
    text = f"{did.rows:,} rows and {did.records:,} records went back by {did.span_ms / 1000:,.0f} s"
    say(asdict(did), text if did.rows else "no time is ahead of Redis' clock", as_json)


@app.command()
def purge(
    now: Annotated[
        bool,
        typer.Option("--now", help="Purge today's rows too, and rewrite every file that held them before it returns."),
    ] = False,
    id: Annotated[
        list[str] | None,
        typer.Option("--id", help="Search for this id of a deleted person too, such as ada or anon:5f3a. Repeatable."),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="With --now: redact values of other people's events that name them, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take deleted people out of the lake, then search every store for their ids.

    The exit code is 0 if no id is found, else 1.
    """
    from cli.purge import purge_and_search, report_text
    from pipelines.leases import NotHeld

    if redact and not now:
        raise typer.BadParameter("values are redacted with --now only", param_hint="--redact")
    store, lake, settings = connect()
    try:
        report = purge_and_search(
            store, lake, settings, now=now, redacts=redact, ids=id or [], on_step=lambda step: None
        )
    except NotHeld as error:
        fail(str(error), AWAY)
    say(report, report_text(report), as_json)
    if not report["clean"]:
        raise SystemExit(WRONG)


@app.command()
def users(
    key: Annotated[str, typer.Argument(help="The key of a trait, segment or flag.")],
    at: Annotated[str | None, typer.Option(help="Ask as of this ISO 8601 time. Without it the time is now.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
    as_json: Json = False,
) -> None:
    """List the users who are in a segment or for whom a trait is true, computed from the lake, an id a line.

    An id with an end of a line in it is written as JSON writes it. A trait that is not boolean counts as true unless it
    is null, 0 or an empty string. Of a flag only the rule is asked, not its schedule, prerequisites, named users or
    rollout.
    """
    from cli.definition_keys import definition_key
    from cli.users import say_rule_alone, say_users, users_having
    from serving.definitions.saving import current

    store, lake, _ = connect()
    at_ms = instant(at)
    kind, name = definition_key(current(store), key)
    if kind == "flag":
        say_rule_alone(name)
    ids = users_having(store, lake, key, at_ms if at_ms is not None else store.now_ms())
    if count:
        say({"count": len(ids)}, str(len(ids)), as_json)
    else:
        say_users(f"{kind} {name}", ids, as_json)


@app.command()
def rejected(
    reason: Annotated[str | None, typer.Option(help="Only events that were refused for this, as it is listed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many events to show.")] = 10,
    again: Annotated[
        list[str] | None, typer.Option("--again", help="Send the event of this id again. Repeatable.")
    ] = None,
    again_all: Annotated[
        bool, typer.Option("--again-all", help="Send all events of --reason again, the oldest first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the events of the last week that were refused, and why; or send some again, once the cause is repaired.

    An event that is sent again counts at its own time, and once. The exit code is 1 if one is refused again.
    """
    from cli.rejected import page_text, redriven_text, refused_events, send_again

    if again_all and reason is None:
        raise typer.BadParameter("name the reason", param_hint="--again-all")
    if not (again or again_all):
        page = refused_events(reason, limit)
        say(page, page_text(page), as_json)
        return
    body = send_again(again or None, reason if again_all else None)
    say(body, redriven_text(body), as_json)
    if body["refused"]:
        raise SystemExit(WRONG)


@app.command("formats")
def formats_(
    name: Annotated[str | None, typer.Argument(help="Print the file of this one, to copy and change.")] = None,
    as_json: Json = False,
) -> None:
    """List the formats of other tools that `tinycdp import --format` reads.

    A format is a short file. Of a copy that you changed name the file: --format mine.toml.
    """
    from cli.formats import format_text, formats_body, formats_text

    if name is None:
        say(formats_body(), formats_text(), as_json)
        return
    text = format_text(name)
    if as_json:
        say_json({"name": name, "text": text})
    else:
        sys.stdout.write(text)


app.add_typer(imports, name="imports")


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="The id of the user.")],
    key: Annotated[str, typer.Argument(help="The key of a trait, segment or flag.")],
    as_json: Json = False,
) -> None:
    """Explain why a user has a value: every part with its value, its threshold, and when it next changes."""
    from cli.explain import explanation, explanation_tree

    store, _ = connect_store()
    body = explanation(store, user, key)
    if as_json:
        say_json(body)
    else:
        out.print(explanation_tree(body))


@app.command()
def sql(
    key: Annotated[str, typer.Argument(help="The key of a trait or a segment.")],
    dialect: Annotated[str, typer.Option(help="The SQL to write: duckdb, bigquery or snowflake.")] = "duckdb",
    at: Annotated[
        str | None, typer.Option(help="Compute as of this ISO 8601 time. Without it the warehouse's clock is asked.")
    ] = None,
    table: Annotated[
        str, typer.Option(help="The table that holds the events, as the warehouse names it, such as schema.events.")
    ] = "events",
    as_json: Json = False,
) -> None:
    """Print a definition as one SELECT, for a warehouse that holds the events."""
    from cli.sql import sql_of

    store, _ = connect_store()
    try:
        body = sql_of(store, key, dialect, instant(at), table)
    except ValueError as error:  # another dialect, or no table
        fail(str(error))
    if as_json:
        say_json(body)
    else:
        sys.stdout.write(body["sql"] + "\n")


@app.command()
def doctor(
    sample: Annotated[int, typer.Option(min=0, help="How many ids to compare.")] = 100,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take files that are gone out of the lake's tables, with their rows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the stack: its parts, the lag of the drain, the last build, the lake's files, and live answers against the
    lake's.

    The exit code is 1 if anything is not well.
    """
    from cli.doctor import examine, forget_missing_files, report_text

    store, lake, settings = connect(to_examine=not repair)
    if repair:
        for name, files in forget_missing_files(store, lake).items():
            err.print(f"{name}: {files} files that were gone are out of the table", markup=False)
    report = examine(store, lake, settings, sample)
    say(report, report_text(report), as_json)
    if not report["well"]:
        raise SystemExit(WRONG)


# ── parts of the stack, each alone ───────────────────────────────────────────────────────────────────────────────


@app.command(hidden=True)
def api() -> None:
    """Run the API alone."""
    from cli.parts import run_api

    run_api(settings_of_environment())


@app.command(hidden=True)
def drain() -> None:
    """Run the drain alone. It also recovers a Redis that lost something."""
    from cli.parts import run_drain

    run_drain(settings_of_environment())


@app.command(hidden=True)
def worker() -> None:
    """Run the worker alone. It rebuilds, purges and maintains."""
    from cli.parts import run_worker

    run_worker(settings_of_environment())


@app.command(hidden=True)
def console() -> None:
    """Run the console alone."""
    from cli.parts import run_console

    run_console(settings_of_environment())


if __name__ == "__main__":
    main()
