"""Settings that cannot work: every command and every part refuses to start with them, in a line for each."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tinycdp._settings import _DEFAULTS

from serving.settings import WrongSettings, settings_of_environment, unknown_settings

#: A command that starts the stack, one that stops it, one that reads, and the parts that start alone.
COMMANDS = (("up",), ("down",), ("explain", "ada", "vip"), ("api",), ("drain",), ("worker",))

WRONG = {
    "TIME_ZONE": ("Europe/Berln", "", "../etc/passwd", "europe/berlin", "localtime", "Factory", "UTC+1"),
    "PORT": ("abc", "-1", "65536", "4000.5", ""),
    "SHARDS": ("0", "1025", "many"),
    "DURABILITY": ("never", ""),
    "HOST": ("", "http://127.0.0.1", "a b"),
    "REDIS_URL": ("localhost:6379", "http://:hunter2@localhost", "redis://:hunter2@localhost:x"),
    "REDIS_MEMORY_MAX": ("4 gb", "lots", "-1", "50%", "4", "900kb"),
    "RETENTION_DAYS": ("0", "1.5", "none", "99999999999"),
    "REBUILD_INTERVAL_S": ("0", "nan", "inf", "1e300"),
    "RATE_LIMIT": ("inf", "-1"),
    "METRICS_OPEN": ("perhaps",),
    "PREFECT": ("maybe", ""),
    "PUBLIC_URL": ("cdp.example.com", "https://", "https://cdp.example.com:x"),
    "CORS_ORIGINS": ("shop.example", "https://shop.example/", "https://a.example https://b.example"),
    "CONNECTIONS_MAX": ("0", "9" * 30),
    "LOG_LEVEL": ("loud",),
    "HOME": ("/data/a[1]", "/data/day=1", "/data/a%20b", "/data/a|b", "/data/a\udcff"),
    "LAKE_URI": (
        "/data/a^b",
        "file:///data/a%5Bb",
        "/data/a\\b",
        "ftp://host/lake",
        "s3:/bucket",
        "s3://",
        "S3://bucket",
    ),
}


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_and_part_refuses_in_one_line_each(command: tuple[str, ...], tmp_path: Path) -> None:
    """Exit status 2, name, value and remedy of each setting in a line of its own, no traceback, and nothing is made."""
    home = tmp_path / "home"
    wrong = {"TINYCDP_PORT": "abc", "TINYCDP_TIME_ZONE": "Europe/Berln", "TINYCDP_HOME": str(home)}
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", *command],
        env={**os.environ, **wrong},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "TINYCDP_PORT is 'abc', but should be a valid integer: set another, or unset it for 4000",
        "TINYCDP_TIME_ZONE is 'Europe/Berln', but should be a zone of the IANA time zone database, as Europe/Berlin: "
        "set another, or unset it for UTC",
    ]
    assert not home.exists()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_setting_is_named_with_value_and_remedy(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, which has no password in it."""
    monkeypatch.setenv(f"TINYCDP_{name}", value)
    with pytest.raises(WrongSettings) as refused:
        settings_of_environment()
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"TINYCDP_{name} ")
    assert ": set another, or unset it" in line
    assert "hunter2" not in line
    assert name == "REDIS_URL" or repr(value) in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIME_ZONE", "America/St_Johns"),
        ("REDIS_URL", "rediss://:p%40ss@redis.example:6380/2"),
        ("REDIS_URL", ""),
        ("REDIS_MEMORY_MAX", "512MB"),
        ("REDIS_MEMORY_MAX", "0"),
        ("HOST", "::1"),
        ("PUBLIC_URL", "https://cdp.example.com/track/"),
        ("CORS_ORIGINS", "https://shop.example, https://www.shop.example:8443"),
        ("CORS_ORIGINS", ""),
        ("LAKE_URI", "/data/Käse & Brot/50% #1?"),
        ("LAKE_URI", "s3://bucket/day=1"),
        ("LAKE_URI", "abfss://files@account.dfs.core.windows.net/lake"),
    ],
)
def test_a_setting_that_can_work_is_taken(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is empty is none, as compose files write it."""
    monkeypatch.setenv(f"TINYCDP_{name}", value)
    assert getattr(settings_of_environment(), name.lower()) == (value or (None if name == "REDIS_URL" else ""))


@pytest.mark.parametrize("value", [",", " , "])
def test_a_setting_of_keys_without_a_key_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no key, and not as one that is not set: somebody meant to set one."""
    monkeypatch.setenv("TINYCDP_READ_KEY", value)
    with pytest.raises(WrongSettings, match=r"^TINYCDP_READ_KEY has a value that is not shown, but should be a key"):
        settings_of_environment()


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("part", ["drain", "api", "worker"])
def test_a_part_alone_that_is_told_no_redis_ends_with_the_same_status(part: str, tmp_path: Path) -> None:
    """A service manager that starts a part again where it failed leaves it: nothing would be better the next time."""
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", part],
        env={**os.environ, "TINYCDP_HOME": str(tmp_path / "home"), "TINYCDP_REDIS_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("TINYCDP_REDIS_URL is not set: ")


def test_an_empty_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compose file writes an unset variable as empty; a stack in the current folder would be closed and filled."""
    monkeypatch.setenv("TINYCDP_HOME", "")

    assert settings_of_environment().home == Path(".tinycdp")


def test_a_setting_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    """A line for each, without its value; settings, those of clients and what a part is told are known."""
    known = {"TINYCDP_PORT": "1", "tinycdp_shards": "2", "TINYCDP_URL": "http://a", "TINYCDP_SUPERVISED": "true"}
    clients = {f"TINYCDP_{name.upper()}": "x" for name in _DEFAULTS}
    wrong = {"TINYCDP_PORTT": "hunter2", "TINYCDP_XYZZY": "", "PORTT": "1"}

    assert unknown_settings({**known, **clients, **wrong}) == [
        "TINYCDP_PORTT is no setting, and changes nothing: the nearest one is TINYCDP_PORT",
        "TINYCDP_XYZZY is no setting, and changes nothing",
    ]


def test_the_console_says_at_its_start_which_api_it_asks(tmp_path: Path) -> None:
    """Without the password that may stand in the address; and it ends here, since its port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        url = "http://ann:hunter2@api.example:4000/cdp"
        ended = ended_of(
            {"TINYCDP_CONSOLE_PORT": str(port), "TINYCDP_HOME": str(tmp_path), "TINYCDP_URL": url}, "console"
        )

    line = json.loads(ended.stdout.splitlines()[0])
    assert (line["event"], line["part"], line["api"]) == ("started", "console", "http://…api.example:4000/cdp")
    assert line["address"] == f"http://127.0.0.1:{port}" and line["version"]
    assert "hunter2" not in ended.stdout + ended.stderr


def test_a_part_and_the_stack_warn_of_a_setting_that_does_not_exist(tmp_path: Path) -> None:
    """Each at its start, before it ends here for another reason."""
    part = ended_of({"TINYCDP_PORTT": "1", "TINYCDP_HOME": str(tmp_path)}, "worker")
    stack = ended_of({"TINYCDP_PORTT": "1", "TINYCDP_HOME": "/proc/nope"}, "up", "--no-prefect")

    logged = [json.loads(line) for line in part.stdout.splitlines()]
    assert [(line["event"], line["level"]) for line in logged] == [("started", "info"), ("unknown_setting", "warning")]
    for text in (logged[1]["what"], stack.stderr):
        assert "TINYCDP_PORTT is no setting, and changes nothing: the nearest one is TINYCDP_PORT" in text


@pytest.mark.parametrize("command", [("doctor",), ("explain", "ada", "vip"), ("down",)], ids=" ".join)
def test_a_home_of_another_user_is_named_with_the_remedy(command: tuple[str, ...], tmp_path: Path) -> None:
    """In one line, with exit status 2."""
    home = tmp_path / "home"
    home.mkdir(mode=0)

    def look_into_what_is_open() -> None:
        """Lets root, too, look only into what its rights say, also after the command has begun."""
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(_CAPBSET_DROP, capability, 0, 0, 0)

    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", *command],
        env={**os.environ, "TINYCDP_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=look_into_what_is_open,
    )

    told = f"TINYCDP_HOME is {str(home)!r}, where nothing can be read (Permission denied): run the command as the user"
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert ended.stderr.startswith(told)


#: Of Linux: what takes a capability from a process and its children for good, and two of them.
_CAPBSET_DROP, _DAC_OVERRIDE, _DAC_READ_SEARCH = 24, 1, 2


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("command", [("up", "--no-prefect"), ("api",)], ids=" ".join)
def test_a_home_that_cannot_be_made_is_named_with_the_remedy(command: tuple[str, ...]) -> None:
    """In one line, with exit status 2, as a setting that is wrong."""
    ended = ended_of({"TINYCDP_HOME": "/proc/nope", "TINYCDP_REDIS_URL": "redis://127.0.0.1:1/0"}, *command)

    assert (ended.returncode, ended.stderr.splitlines()) == (
        2,
        [
            "TINYCDP_HOME is '/proc/nope', where nothing can be written (No such file or directory): set it to a "
            "folder that this user may write, or unset it for .tinycdp"
        ],
    )


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("text", ["", "{", "[]", '{"write": "w", "read": "r"}', '{"write": 1, "read": 2, "admin": 3}'])
def test_a_damaged_file_of_keys_is_named_with_the_remedy(text: str, tmp_path: Path) -> None:
    """By `up` before it starts anything, in one line, and without what is in the file."""
    (tmp_path / "keys.json").write_text(text)

    ended = ended_of({"TINYCDP_HOME": str(tmp_path), "TINYCDP_PORT": "0"}, "up", "--no-prefect")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert str(tmp_path / "keys.json") in ended.stderr and "remove it" in ended.stderr
    assert not (tmp_path / "supervisord.conf").exists()


def ended_of(settings: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, after it has ended, with these settings alone."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *command],
        env={**others, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
