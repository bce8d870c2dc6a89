"""The router: Streamlit runs this file for each click, and it shows the screen that the path names.

Only this file knows how screens are reached. `dashboard/server.py` makes a server of it.
"""

from __future__ import annotations

import streamlit as st

from dashboard import page
from dashboard.access import NotSignedIn, signed_in
from dashboard.address import arrive
from dashboard.console import console
from dashboard.definitions.drafts import show_drafts
from dashboard.markdown import plain
from dashboard.navigation import pages
from dashboard.workspace import workspace

st.set_page_config(page_title="TinyCDP", page_icon=page.ICON, layout="wide")
page.style()
page.dialogs_are_closed()

try:
    signed_in(is_used=True)
except NotSignedIn:
    st.navigation([st.Page(lambda: None, title="Sign in")], position="hidden")
    page.sign_in_again()
    st.stop()

screen = st.navigation(pages())
st.logo(page.ICON, size="large")
with st.sidebar, st.container(gap="xsmall"):
    unsaved, who = st.container(gap="xsmall"), st.empty()
    page.sidebar_link("Sign out", f"{console().base_path}/sign-out")
    page.hear()
arrive(screen.url_path)
page.show_said()
with page.refusals():
    screen.run()
with unsaved:
    show_drafts()
if page.is_away():
    page.look_again()
else:
    with who, page.refusals():
        key = workspace()["key"]
        st.caption(f"Signed in with {plain(key['label'] or key['id'])} ({key['kind']})")
