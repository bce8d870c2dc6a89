"""The router: Streamlit runs this file for each click, and it shows the screen that the path names.

Only this file knows how screens are reached. `dashboard/server.py` makes a server of it.
"""

from __future__ import annotations

import streamlit as st

from dashboard import page
from dashboard.access import NotSignedIn, signed_in
from dashboard.console import console
from dashboard.navigation import pages

st.set_page_config(page_title="TinyCDP", page_icon=page.ICON, layout="wide")

try:
    signed_in(is_used=True)
except NotSignedIn:
    st.navigation([lambda: None], position="hidden")
    page.sign_in_again()
    st.stop()

screen = st.navigation(pages())
with st.sidebar:
    st.html(f'<a href="{console().base_path}/sign-out" target="_self">Sign out</a>')
with page.refusals():
    screen.run()
