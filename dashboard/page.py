"""What every screen begins with, and what it shows where there is nothing, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from html import escape
from pathlib import Path
from typing import Literal, ParamSpec

import streamlit as st
from tinycdp import ApiError, PreconditionFailed, TinyCDPError, Unauthenticated, Unavailable, Unreachable

from dashboard.access import NotSignedIn, signed_in
from dashboard.address import open_list
from dashboard.answers import forget
from dashboard.console import console
from dashboard.markdown import plain
from dashboard.values import share_text

P = ParamSpec("P")

ICON = str(Path(__file__).with_name("icon.svg"))
#: The words of what was just done, which the next run shows.
SAID = "said by the run before"
#: Set where the API did not answer in this run: whether it took too long, and no more. How often it is looked again.
AWAY, LOOK_AGAIN_S = "the API did not answer", 5.0
LOOKED = "it was looked whether the API answers"
#: Set while a dialog is open. Whatever runs the whole screen closes it.
DIALOG = "a dialog is open"
#: Of a name: no key or id is longer, but an address may say anything.
NAME_CHARACTERS_MAX = 300

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
[data-testid="stTab"][aria-selected="true"] { color: light-dark(#0f766e, #5eead4) !important; }
[data-testid="stCaptionContainer"] { opacity: .8; }
/* Differences and texts to copy, with more contrast than Streamlit's. Mixed with the colour of the text, since a dialog
   does not know which of the two themes it is in. */
[data-testid="stCode"] :is(.token.inserted, .token.string) { color: color-mix(in srgb, currentColor 35%, #16a34a)
  !important; }
[data-testid="stCode"] .token.deleted { color: color-mix(in srgb, currentColor 35%, #e5382c) !important; }
[data-testid="stCode"] .token:is(.unchanged, .parameter) { color: inherit !important; }
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

#: A link to the screen that is shown leaves the address as it is in Streamlit: *Traits* beside a trait did nothing, and
#: a link from one segment to another showed that one until the next press, which came with the first one's address. So
#: it is opened as a step of the browser's history is: by its address alone.
LINKS = """<script>
if (!document.body.dataset.consoleLinks) {
  document.body.dataset.consoleLinks = "heard";
  document.body.addEventListener("click", (event) => {
    const link = event.target.closest?.('[data-testid="stSidebarNavLink"], [data-testid="stPageLink-NavLink"]');
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const to = new URL(link.href);
    if (to.pathname !== location.pathname || to.search === location.search) return;
    event.preventDefault();
    event.stopPropagation();
    history.pushState({}, "", link.href);
    window.dispatchEvent(new PopStateEvent("popstate"));
  }, true);
}
</script>"""


def style() -> None:
    """The few rules that Streamlit's theme has no option for."""
    st.html(STYLE)


def hear() -> None:
    """Hears keys and clicks before Streamlit does. It stands where an empty line does no harm."""
    st.html(KEYS + LINKS, unsafe_allow_javascript=True)


def dialog(
    title: str, *, width: Literal["small", "large"] = "small"
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Makes a dialog of a function. While it is open, what refreshes itself does not draw the screen anew: it would
    close the dialog, with what somebody typed there. Once it is closed the screen is drawn.
    """

    def decorate(draw: Callable[P, None]) -> Callable[P, None]:
        @st.dialog(title, width=width, on_dismiss="rerun")
        @wraps(draw)
        def opened(*arguments: P.args, **named: P.kwargs) -> None:
            st.session_state[DIALOG] = True
            draw(*arguments, **named)

        return opened

    return decorate


def dialogs_are_closed() -> None:
    """Notes that no dialog is open, as a run of the whole screen begins."""
    st.session_state.pop(DIALOG, None)


def draw_anew() -> None:
    """Draws the whole screen anew, from a part that refreshes itself; unless a dialog is open, which would close.

    A run that a press began does not come here: the press would be lost.
    """
    if DIALOG not in st.session_state:
        st.rerun(scope="app")


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
        open_list()
    with st.container(gap="xsmall"):
        shown = title if len(title) <= NAME_CHARACTERS_MAX else f"{title[:NAME_CHARACTERS_MAX]} …"
        st.html(f'<h1 class="console-name">{escape(shown)}</h1>')  # a name, letter by letter
        if says:
            st.caption(says)


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
    right.metric("Share of all", share_text(count / total if total else 0), border=True, help=f"of {total:,} people")


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
        st.session_state[AWAY] = "Timeout" in str(error) and st.session_state.get(AWAY, True)
        remedy = "Look whether it runs: `tinycdp doctor`."
        st.error(f"The API does not answer: {plain(error)}. {remedy}", icon=":material/cloud_off:")
        return
    if not isinstance(error, ApiError):
        st.error(plain(error), icon=":material/error:")
        return
    if isinstance(error, Unavailable):
        st.session_state[AWAY] = False
    if isinstance(error, PreconditionFailed):
        forget()  # somebody changed it meanwhile, so who tries again begins from what is in force now
    first, *others = error.message.split("\n")
    st.error(plain(first), icon=":material/error:")
    if others:  # of an expression: its line, and a caret below the mistake
        st.code("\n".join(others), language=None)
    if isinstance(error, Unauthenticated):  # what a program is told to do, its person cannot
        st.caption("The key that you signed in with is none any more: it was revoked, or replaced.")
        _sign_in_link()
    elif error.remedy:
        st.caption(f"What to do: {plain(error.remedy)}")


def is_away() -> bool:
    """Whether a part of this run got no answer of the API, or one that a part of the stack is away.

    A question that took too long is none of these while the API answers others: it would be asked without end.
    """
    is_slow = st.session_state.pop(AWAY, None)
    if is_slow is None:
        return False
    if is_slow:
        try:
            signed_in().admin.workspace()
        except (Unreachable, Unavailable):
            pass
        except (TinyCDPError, NotSignedIn):
            return False
        else:
            return False
    st.session_state[LOOKED] = True
    return True


@st.fragment(run_every=LOOK_AGAIN_S)
def look_again() -> None:
    """Looks whether the API answers again, and then draws the whole screen anew."""
    if not st.session_state.pop(LOOKED, False):
        try:
            signed_in().admin.workspace()
        except (Unreachable, Unavailable):
            pass
        except (TinyCDPError, NotSignedIn):
            draw_anew()
        else:
            draw_anew()
    st.caption(f"This screen looks each {LOOK_AGAIN_S:.0f} s whether the API answers again.")


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
    _sign_in_link()


def _sign_in_link() -> None:
    st.html(f'<a href="{console().base_path}/sign-in" target="_self">Sign in again</a>')
