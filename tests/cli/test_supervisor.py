"""The supervisor's configuration, read by the supervisor's own parser: paths and commands come back as they were."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest
from supervisor.options import ServerOptions
from supervisor.process import Subprocess

from cli.supervisor import CONFIG, Part, configuration, end, is_alive, launch
from tests.waiting import wait_until

#: What the format, its expansions or a shell would take for something else.
FOLDERS = [
    "plain",
    "with spaces",
    "100% %(here)s %% %s",
    "a;b #c ;d",
    "Müller & Söhne ß 日本",
    """it's "quoted" \\ and 'twice' """.strip(),
    "x ; '# ;' % ü",
    "=[a]:b",
]


def read(home: Path, parts: list[Part]) -> ServerOptions:
    """What the supervisor makes of its configuration."""
    (home / "logs").mkdir(parents=True)
    (home / CONFIG).write_text(configuration(parts))
    options = ServerOptions()
    options.realize(["-n", "-c", str(home / CONFIG)])
    return options


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_home_may_hold_anything(tmp_path: Path, folder: str) -> None:
    """Spaces, percent signs, semicolons, quotes and umlauts in a path reach each part, and each log, unchanged."""
    home = tmp_path / folder
    command = (str(home / "redis-server"), str(home / "redis.conf"), "--flag=50%", "", ";")

    options = read(home, [Part("redis", command, 10), Part("api", ("api",), 40)])

    groups = {group.name: group.process_configs[0] for group in options.process_group_configs}
    assert (options.logfile, options.pidfile) == (str(home / "logs" / "supervisord.log"), str(home / "supervisord.pid"))
    assert shlex.split(groups["redis"].command) == list(command)
    assert {name: part.stdout_logfile for name, part in groups.items()} == {
        name: str(home / "logs" / f"{name}.log") for name in ("redis", "api")
    }


def test_the_supervisor_finds_the_program(tmp_path: Path) -> None:
    """The words of a command are those that the supervisor executes, a program with a space in its path among them."""
    program = tmp_path / "my ;bin" / "part"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    options = read(tmp_path / "home", [Part("part", (str(program), "a b"), 10)])

    (group,) = options.process_group_configs
    process = Subprocess(group.process_configs[0])
    assert process.get_execv_args() == (str(program), [str(program), "a b"])


def test_parts_start_in_order_and_stop_as_they_are_told(tmp_path: Path) -> None:
    """Priority, patience and the reach of a stop are those of the part; each part is started again whenever it dies."""
    options = read(
        tmp_path / "home", [Part("first", ("a",), 10, stop_s=30), Part("last", ("b",), 20, stops_as_group=True)]
    )

    first, last = (group.process_configs[0] for group in sorted(options.process_group_configs))
    assert (first.name, first.priority, first.stopwaitsecs, first.stopasgroup) == ("first", 10, 30, False)
    assert (last.name, last.priority, last.stopwaitsecs, last.stopasgroup) == ("last", 20, 20, True)
    assert all(part.killasgroup and part.redirect_stderr and part.startretries >= 1_000_000 for part in (first, last))


@pytest.mark.deep
def test_a_redis_that_cannot_read_its_file_is_not_started_again(tmp_path: Path) -> None:
    """It would read a large file to the damage for ever, where nobody looks: as after an `up` that was killed. Other
    parts are started again, whatever they say.
    """
    said = "1:M 30 Nov 2026 18:00:00.000 # Bad file format reading the append only file: make a backup of your AOF"
    # Beyond the second after which a part counts as started: an end after that is no failed start.
    program = "import sys, time; open(sys.argv[1], 'a').write('x'); print(sys.argv[2], flush=True); time.sleep(1.2)"
    started = {name: tmp_path / f"{name}.started" for name in ("redis", "api")}
    (tmp_path / "logs").mkdir()
    parts = [Part(name, (sys.executable, "-c", program, str(started[name]), said), 10) for name in started]

    supervisor = launch(tmp_path, parts, dict(os.environ), tmp_path / "supervisor.lock")
    try:
        wait_until(lambda: started["api"].exists() and len(started["api"].read_text()) >= 3, "the other part goes on")
    finally:
        end(supervisor)

    assert started["redis"].read_text() == "x"
    assert "is not started again: see `tinycdp doctor`" in (tmp_path / "logs" / "supervisord.log").read_text()


@pytest.mark.deep
def test_a_full_disk_ends_no_supervisor(tmp_path: Path) -> None:
    """Its lines are lost, and those of its parts; parts that end are started again all the same."""
    started = tmp_path / "started"
    (tmp_path / "logs").mkdir()
    for name in ("supervisord.log", "supervisord.err", "part.log"):
        (tmp_path / "logs" / name).symlink_to("/dev/full")
    # Beyond the second after which a part counts as started: an end after that is no failed start.
    program = "import sys, time; open(sys.argv[1], 'a').write('x'); print('said', flush=True); time.sleep(1.2)"
    part = Part("part", (sys.executable, "-c", program, str(started)), 10)

    supervisor = launch(tmp_path, [part], dict(os.environ), tmp_path / "supervisor.lock")
    try:
        wait_until(lambda: started.exists() and len(started.read_text()) >= 2, "the part is started again")
        assert is_alive(supervisor)
    finally:
        end(supervisor)
