"""What every screen begins with, and what it shows where there is nothing, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import NoReturn

import streamlit as st
from tinycdp import ApiError, TinyCDPError, Unreachable

from dashboard.access import NotSignedIn
from dashboard.answers import forget
from dashboard.console import console
from dashboard.markdown import plain

ICON = str(Path(__file__).with_name("icon.svg"))
#: The words of what was just done, which the next run shows.
SAID = "said by the run before"

STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 2.75rem; padding-bottom: 4rem; max-width: 1500px; }
@media (min-width: 50rem) { [data-testid="stMainBlockContainer"] { padding-left: 2.5rem; padding-right: 2.5rem; } }
[data-testid="stSidebarHeader"] { height: 3rem; }
[data-testid="stHeading"] h1 { padding: 0 0 .2rem; }
h1.console-name { margin: 0 !important; padding: 0 0 .2rem !important; font-size: 1.6rem !important;
  font-weight: 650 !important; line-height: 1.2; overflow-wrap: anywhere; }
[data-testid="stMetric"] label p { font-size: .85rem; opacity: .75; }
.console-links a { color: inherit; opacity: .7; text-decoration: none; font-size: .9rem; }
.console-links a:hover { opacity: 1; text-decoration: underline; }
/* The part that is chosen, on the dark ground. */
button[data-variant="segmented_control"][data-selected="true"] { color: light-dark(#0f766e, #5eead4) !important; }
[data-testid="stCaptionContainer"] { opacity: .8; }
/* The editor comes a moment later than what is below it. */
[data-testid="stBidiComponentIsolated"] { min-height: 8.5rem; }
/* What refreshes itself does not fade each time. */
[class*="st-key-live"] [data-stale="true"] { opacity: 1 !important; }
/* The list that picks a row by the keyboard lies over the head of the table, once the focus is in it. */
[data-testid="stLayoutWrapper"]:has(> [class*="st-key-by-keyboard"]) { position: relative; height: 0; z-index: 10;
  margin-bottom: -1rem; }
[class*="st-key-by-keyboard"] { position: absolute; top: 0; width: min(40rem, 100%); clip-path: inset(50%); }
[class*="st-key-by-keyboard"]:focus-within { clip-path: none; }
</style>"""

#: Streamlit runs a page again at `r` and clears caches at `c`, heard on the document, unless a field has the focus. A
#: list that is open is no field, so these letters do not come up to the document. Tab passes over a table whose rows
#: are picked: it would pick its first row.
KEYS = """<script>
if (!document.body.dataset.consoleKeys) {
  document.body.dataset.consoleKeys = "heard";
  const keep = (event) => {
    const types = /^[rc]$/i.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (types) event.stopPropagation();
  };
  for (const kind of ["keydown", "keyup"]) document.body.addEventListener(kind, keep);
  const picked = '[data-testid="stLayoutWrapper"]:has(> [class*="st-key-by-keyboard"]) + * canvas';
  window.addEventListener("keydown", (event) => {
    if (event.key === "Tab") for (const one of document.querySelectorAll(picked)) one.tabIndex = -1;
  }, true);
}
</script>"""


def style() -> None:
    """The few rules that Streamlit's theme has no option for."""
    st.html(STYLE)


def keep_keys() -> None:
    """Keeps what people type from Streamlit's shortcuts and tables. It stands where an empty line does no harm."""
    st.html(KEYS, unsafe_allow_javascript=True)


def header(title: str, says: str = "") -> None:
    """The title of a screen, and one sentence about what it is for."""
    with st.container(gap="xsmall"):
        st.title(title, anchor=False)
        if says:
            st.caption(says)


def sidebar_link(label: str, url: str) -> None:
    """A link that leaves Streamlit's pages."""
    st.html(f'<div class="console-links"><a href="{escape(url)}" target="_self">{escape(label)}</a></div>')


def back_header(title: str, back: str, says: str = "") -> None:
    """The name of one thing of a list, with the way back to the list. `says` is Markdown."""
    if st.button(back, type="tertiary", icon=":material/arrow_back:"):
        open_query()
    with st.container(gap="xsmall"):
        st.html(f'<h1 class="console-name">{escape(title)}</h1>')  # a name, letter by letter
        if says:
            st.caption(says)


def sections(names: Sequence[str]) -> str:
    """The part of a page that a person chose, which the URL keeps as `tab`."""
    chosen = st.segmented_control(
        "Part", names, default=names[0], required=True, key="tab", bind="query-params", label_visibility="collapsed"
    )
    return chosen or names[0]


def open_query(**query: str) -> NoReturn:
    """Shows the same screen with other words in its URL."""
    st.query_params.from_dict(query)
    st.rerun()


def say(text: str) -> None:
    """Says something at the foot of the page that comes next."""
    st.session_state[SAID] = text


def show_said() -> None:
    """Shows what the run before had to say."""
    said = st.session_state.pop(SAID, None)
    if said:
        st.toast(said, icon=":material/check:")


def empty(title: str, remedy: str, icon: str = ":material/inbox:") -> None:
    """What a list shows without rows: that there are none, and what to do."""
    with st.container(border=True, key=f"empty {title}"):
        st.markdown(f"{icon} **{title}**")
        st.markdown(remedy)


def share_of_all(label: str, count: int, total: int) -> None:
    """How many of all people something holds for."""
    left, right, _ = st.columns([1, 1, 2])
    left.metric(label, f"{count:,}", border=True)
    share = count / total if total else 0
    right.metric("Share of all", f"{share:.1%}", border=True, help=f"of {total:,} people")


def refusal(error: TinyCDPError) -> None:
    """An error as the API words it: message, place in an expression, remedy."""
    if isinstance(error, Unreachable) and error.may_be_done:
        forget()  # what is looked at next is as it is now
        st.warning(
            f"**It is not known whether this was done.** It was sent, and no answer came: {plain(error)}. "
            "Look before you do it again: it may have worked.",
            icon=":material/question_mark:",
        )
        return
    if isinstance(error, Unreachable):
        remedy = "Look whether it runs: `tinycdp doctor`."
        st.error(f"The API does not answer: {plain(error)}. {remedy}", icon=":material/cloud_off:")
        return
    if not isinstance(error, ApiError):
        st.error(plain(error), icon=":material/error:")
        return
    first, *others = error.message.split("\n")
    st.error(plain(first), icon=":material/error:")
    if others:  # of an expression: its line, and a caret below the mistake
        st.code("\n".join(others), language=None)
    if error.remedy:
        st.caption(f"What to do: {plain(error.remedy)}")


@contextmanager
def refusals() -> Iterator[None]:
    """Shows what the API refuses in this block in its place; the rest of the screen stands."""
    try:
        yield
    except TinyCDPError as error:
        refusal(error)
    except NotSignedIn:
        sign_in_again()


def sign_in_again() -> None:
    """Says that the sign-in has ended, with the way back in."""
    st.info("Your sign-in has ended.", icon=":material/lock:")
    st.html(f'<a href="{console().base_path}/sign-in" target="_self">Sign in again</a>')
