"""The log of a console that runs alone, under no supervisor of ours that would mend its lines."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
from dashboard.console import Console
from dashboard.server import create_app
from serving.logs import configure

configure("info")
create_app(Console("http://127.0.0.1:1"))
from streamlit.logger import get_logger

for name in ("streamlit.error_util", "streamlit.made_later"):
    try:
        {}["zq-secret"]
    except KeyError as error:
        get_logger(name).error("Uncaught app execution", exc_info=error)
"""


def test_what_streamlit_logs_is_an_object_without_the_text_of_an_exception() -> None:
    """It may quote a person: the type and the places in the code are enough."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)

    lines = [json.loads(line) for line in (ended.stdout + ended.stderr).splitlines()]
    told = [line for line in lines if line["event"] == "Uncaught app execution"]
    assert [(line["level"], line["error_type"], bool(line["frames"])) for line in told] == [
        ("error", "KeyError", True)
    ] * 2
    assert "zq-secret" not in ended.stdout + ended.stderr
