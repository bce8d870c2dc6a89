"""What somebody does first, where there is no event yet: a key, an event, a trait, a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.answers import forget
from dashboard.console import console
from dashboard.markdown import code, plain
from dashboard.navigation import link
from dashboard.workspace import may_change

WAIT_S = 2
KEY = "the write key that was just made"


def first_steps() -> None:
    """Five steps, each with its button or its text to copy. The page goes on by itself when the event is there."""
    st.subheader("There is no data yet", anchor=False)
    st.markdown("Five steps, a minute in all. Or load real purchases with `tinycdp demo`.")
    with st.container(border=True):
        st.markdown("**1. Make a key for your app.** It sends events, and can do nothing else.")
        _key()
    with st.container(border=True):
        st.markdown("**2. Send an event.**")
        key = st.session_state.get(KEY, "YOUR_WRITE_KEY")
        shell, python, typescript = st.tabs(["curl", "Python", "TypeScript"])
        shell.code(_curl(key), language="shell")
        python.code(_python(key), language="python")
        typescript.code(_typescript(key), language="typescript")
    with st.container(border=True):
        st.markdown("**3. See it arrive.**")
        _arrival()
    with st.container(border=True):
        st.markdown("**4. Create a trait**, such as `orders_30d`: `events.purchase.count_30d`.")
        if may_change():
            link("traits", "New trait", icon=":material/add:", new="1")
    with st.container(border=True):
        st.markdown('**5. Decide.** Create a flag with a rule such as `trait("orders_30d") >= 1`, and test it there.')
        if may_change():
            link("flags", "New flag", icon=":material/add:", new="1")


def _key() -> None:
    if KEY in st.session_state:
        st.code(st.session_state[KEY], language=None)
        st.caption("It is shown this once: keep it where your app reads it.")
    elif not may_change():
        st.caption("Your key shows and changes nothing: ask an admin for a write key.")
    elif st.button("Make a write key", icon=":material/key:"):
        with page.refusals():
            st.session_state[KEY] = signed_in().admin.create_key("write", "first app")["key"]
            st.rerun()


@st.fragment(run_every=WAIT_S)
def _arrival() -> None:
    with page.refusals():
        newest = signed_in().admin.newest_events(limit=1)["events"]
        if not newest:
            st.caption(":material/hourglass_empty: Waiting for the first event …")
        elif newest[0]["state"] == "refused":
            st.error(f"An event came and was refused: {plain(newest[0]['reason'])}")
        else:
            st.success(arrived(newest[0]), icon=":material/check:")
            link("events", "All events as they come in", icon=":material/bolt:")
            if st.button("Go on to the dashboard"):
                forget()
                st.rerun(scope="app")


def arrived(event: Mapping[str, Any]) -> str:
    """What came, and of whom: an identify has no name, and an event of a device no user."""
    who = event["userId"] or event["anonymousId"] or event["id"]
    return f"{code(event['name'] or event['kind'])} of {code(who)} arrived."


def _curl(key: str) -> str:
    return f"""curl {console().clients_url}/v1/track -H "Authorization: Bearer {key}" \\
  -d '{{"userId": "ada", "event": "purchase", "properties": {{"amount": 30}}}}'"""


def _python(key: str) -> str:
    return f'''import tinycdp

with tinycdp.Client("{console().clients_url}", write_key="{key}") as cdp:
    cdp.track("ada", "purchase", {{"amount": 30}})'''


def _typescript(key: str) -> str:
    return f"""import {{ initTinyCDP }} from "@tinycdp/sdk";

const cdp = initTinyCDP({{ endpoint: "{console().clients_url}", writeKey: "{key}" }});
cdp.track({{ userId: "ada", event: "purchase", properties: {{ amount: 30 }} }});"""
