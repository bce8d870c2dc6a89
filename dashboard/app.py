"""The router: Streamlit runs this file for each click, and it shows the screen that the path names.

Only this file knows how screens are reached. `dashboard/server.py` makes a server of it.
"""

from __future__ import annotations

from html import escape

import streamlit as st

from dashboard import page
from dashboard.access import NotSignedIn, signed_in
from dashboard.console import console
from dashboard.navigation import pages
from dashboard.workspace import workspace

st.set_page_config(page_title="TinyCDP", page_icon=page.ICON, layout="wide")
page.style()

try:
    signed_in(is_used=True)
except NotSignedIn:
    st.navigation([st.Page(lambda: None, title="Sign in")], position="hidden")
    page.sign_in_again()
    st.stop()

screen = st.navigation(pages())
st.logo(page.ICON, size="large")
page.show_said()
with page.refusals():
    screen.run()
with st.sidebar, page.refusals():
    key = workspace()["key"]
    who = f"{key['label'] or key['id']} ({key['kind']})"
    st.html(
        f'<div class="console-links"><span>Signed in with {escape(who)}</span>'
        f'<a href="{console().base_path}/sign-out" target="_self">Sign out</a></div>'
    )
