"""Questions about everybody that take longer than a person waits: started once, then looked at until they are done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import streamlit as st
from tinycdp import NotFound, TinyCDPError
from tinycdp.admin import AnalysisKind, DefinitionKind

from dashboard import page
from dashboard.access import NotSignedIn, signed_in
from dashboard.answers import CHANGES
from dashboard.markdown import plain

LOOK_S = 1.0
ENDED = ("done", "failed", "cancelled")
#: Results that a tab keeps. With one more the oldest goes, and is computed anew where it is looked at again.
KEPT_MAX = 20
KEPT = "analyses of this tab"


def analysis(
    name: AnalysisKind,
    kind: DefinitionKind,
    expression: str | None,
    draw: Callable[[dict[str, Any]], None],
    **more: Any,
) -> None:
    """Draws the result of an analysis, or how far it is. The same question in this tab is asked once.

    `expression` is None for a definition as it is saved. `more` is what `Admin.start_analysis` takes besides. It stands
    in no fragment and no dialog: what repeats inside of those goes stale.
    """
    changes = st.session_state.get(CHANGES, 0)  # the definition, or what it needs, may be another after one of them
    question = f"analysis {changes} {name} {kind} {expression} {more}"

    def ask() -> dict[str, Any]:
        return _ask(question, name, kind, expression, more)

    found = st.session_state.get(question)
    looked: list[Look] = []
    if found is None or found["state"] not in ENDED:
        looked.append(_look(ask))
        found = looked[0].found
    if found is None or found["state"] not in ENDED:
        _wait(question, ask, looked)
    elif found["state"] == "done":
        draw(found["result"])
        _again(question, type="tertiary")
    else:
        st.error(plain(found.get("error") or f"It was {found['state']}."), icon=":material/error:")
        _again(question)


class Look(NamedTuple):
    """What an analysis was found to be, or why it is not known."""

    found: dict[str, Any] | None
    refusal: Exception | None = None


def _look(ask: Callable[[], dict[str, Any]]) -> Look:
    try:
        return Look(ask())
    except (TinyCDPError, NotSignedIn) as error:
        return Look(None, error)


def _wait(question: str, ask: Callable[[], dict[str, Any]], looked: list[Look]) -> None:
    """How far it is, each second. It was `looked` at already in the run that a press began."""

    @st.fragment(run_every=LOOK_S)
    def wait() -> None:
        with page.refusals():
            look = looked.pop() if looked else _look(ask)
            if look.refusal is not None:
                raise look.refusal
            found = look.found or {}
            if found["state"] in ENDED:
                page.draw_anew()
                st.caption("It has ended: close the dialog to see it.")
                return
            words = "Waiting for another question …" if found["state"] == "waiting" else "Asking the lake …"
            st.progress(found["progress"], words)
            if st.button("Cancel", type="tertiary", icon=":material/close:", key=f"cancel {question}"):
                st.session_state[question] = {**found, "state": "cancelled"}
                signed_in().admin.cancel_analysis(found["id"])
                st.rerun(scope="app")

    wait()


def _ask(question: str, name: AnalysisKind, kind: DefinitionKind, expression: str | None, more: dict[str, Any]) -> Any:
    """Starts an analysis, or asks how far it is, and notes it."""
    admin, found = signed_in().admin, st.session_state.get(question)
    if found is not None:
        try:
            found = admin.analysis(found["id"])
        except NotFound:  # the API was started anew, and with it its jobs
            found = None
    if found is None:
        found = admin.start_analysis(name, kind, expression=expression, **more)
    keep(question, found)
    return found


def keep(question: str, found: Any) -> None:
    """Notes how far an analysis is, of which a tab keeps `KEPT_MAX`."""
    kept: list[str] = st.session_state.setdefault(KEPT, [])
    if question not in kept:
        kept.append(question)
    st.session_state[question] = found
    while len(kept) > KEPT_MAX:
        st.session_state.pop(kept.pop(0), None)


def _again(question: str, **looks: Any) -> None:
    if st.button("Compute again", icon=":material/refresh:", key=f"again {question}", **looks):
        st.session_state.pop(question, None)
        st.rerun()
