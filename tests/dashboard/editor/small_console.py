"""The console with another script in the place of its screens: one page with an expression on it.

Run as a program, with the address of the API, the port and the base path. The query of the page says what is edited.
"""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st


def show() -> None:
    """An expression, what Python has of it, and how often the page ran."""
    from dashboard.access import signed_in
    from dashboard.editor.expression_input import expression_input

    signed_in(is_used=True)
    asked, remembered = st.query_params, st.session_state
    if st.toggle("Elsewhere"):
        return
    remembered["runs"] = remembered.get("runs", 0) + 1
    if st.button("Set another text"):
        remembered["given"] = "profile.set_by_python"
    text = expression_input(
        asked.get("kind", "trait"),  # type: ignore[arg-type]
        remembered.get("given", asked.get("text", "")),
        key="expression",
        disabled="disabled" in asked,
        on_save=lambda: remembered.update(saved=True),
    )
    st.text(f"runs {remembered['runs']}")
    st.text(f"saved {remembered.get('saved', False)}")
    st.code(text, language=None)


def serve(api_url: str, port: int, base_path: str) -> None:
    """Serves the page until SIGTERM."""
    from dashboard import server
    from dashboard.console import Console

    server.SCRIPT = Path(__file__)
    # Streamlit clears caches at `c` only where its menu offers it.
    options = server.streamlit_options
    server.streamlit_options = lambda console: {**options(console), "client.toolbarMode": "developer"}
    server.serve(Console(api_url, port=port, base_path=base_path))


if st.runtime.exists():
    show()
elif __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
