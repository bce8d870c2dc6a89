"""The console as a server: Streamlit's settings, our routes beside its own, and uvicorn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.console import Console, set_console
from dashboard.theme import THEME

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

SCRIPT = Path(__file__).with_name("app.py")
#: Uploads are not used; a message to a browser holds at most a page of a list.
UPLOAD_MB_MAX, MESSAGE_MB_MAX = 1, 50


def serve(console: Console) -> None:
    """Serves the console until SIGTERM."""
    import uvicorn

    uvicorn.run(
        create_app(console),
        host=console.host,
        port=console.port,
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MESSAGE_MB_MAX * 2**20,
        timeout_graceful_shutdown=2,  # browsers keep their websockets, and connect to the next process by themselves
    )


def create_app(console: Console) -> ASGIApp:
    """The console, whose settings are set for the whole process: there is one a process."""
    import streamlit as st
    from streamlit import config

    from dashboard.gate import Gate

    _log_as_the_process_does()
    config.get_config_options(force_reparse=True, options_from_flags=streamlit_options(console))
    set_console(console)
    return Gate(st.App(SCRIPT, routes=_routes(console)), console)


def _log_as_the_process_does() -> None:
    """Hands Streamlit's lines to the process' own log. Else they are text, and quote what an exception says."""
    from streamlit import logger as streamlit_logger

    def hand_on(logger: logging.Logger) -> None:
        own = getattr(logger, "streamlit_console_handler", None)
        if own is not None:
            logger.removeHandler(own)
        logger.propagate = True

    streamlit_logger.setup_formatter = hand_on  # what it calls for each logger, those that are made later too
    streamlit_logger.update_formatter()


def _routes(console: Console) -> Sequence[BaseRoute]:
    """Our routes. A new one goes under a first part that is no screen's path, and into OPEN of `dashboard/gate.py`."""
    from dashboard.editor.routes import editor_routes
    from dashboard.sign_in import sign_in_routes

    return [*sign_in_routes(console), *editor_routes(console)]


def streamlit_options(console: Console) -> dict[str, Any]:
    """Streamlit's settings, which rule over any file of settings on the machine."""
    return {
        "browser.gatherUsageStats": False,
        "client.disableDataExport": True,  # of a table: files are exports, by an admin's key, and guarded
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "global.developmentMode": False,
        "logger.enableRich": False,
        "runner.magicEnabled": False,
        "server.address": console.host,
        "server.port": console.port,
        "server.baseUrlPath": console.base_path.strip("/"),
        "server.allowedHosts": list(console.hosts),
        "server.enableStaticServing": False,
        "server.fileWatcherType": "none",
        "server.headless": True,
        "server.maxMessageSize": MESSAGE_MB_MAX,
        "server.maxUploadSize": UPLOAD_MB_MAX,
        "server.showEmailPrompt": False,
        "server.xsrfCookieSameSite": "strict",
        **THEME,
    }
