"""Takes a person's data away, and deletes a person: their id is typed first."""

from __future__ import annotations

import json

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import open_query
from dashboard.answers import ASKING, forget
from dashboard.markdown import code

#: Events that one download holds; `tinycdp` and the API page through more.
EVENTS_MAX = 10_000


def leaving(id: str) -> None:
    """The two buttons."""
    st.subheader("Download", anchor=False)
    st.markdown("All that is known of this person, as JSON: ids, attributes, traits, segments, events.")
    if st.button("Prepare the file", icon=":material/download:"):
        with st.spinner(ASKING):
            data = signed_in().patient.person_data(id, limit=EVENTS_MAX)
        if data["hasMore"]:
            st.warning(f"The file has the first {EVENTS_MAX:,} of {data['total']:,} events; the API has all.")
        st.download_button(
            "Download", json.dumps(data, indent=1, ensure_ascii=False), f"{_file_name(id)}.json", "application/json"
        )
    st.subheader("Delete", anchor=False)
    st.markdown("The person stops to exist, with all ids, events and links, here and in the lake. It cannot be undone.")
    if st.button("Delete this person …", icon=":material/person_remove:"):
        _ask_to_delete(id)


@st.dialog("Delete a person")
def _ask_to_delete(id: str) -> None:
    st.markdown(f"This deletes {code(id)} with all ids that belong to the same person, for good.")
    typed = st.text_input("Type the id to delete the person", autocomplete="off", placeholder=id)
    if st.button("Delete for good", type="primary", disabled=typed != id, icon=":material/delete_forever:"):
        with page.refusals():
            deleted = signed_in().admin.delete_user(id)
            forget()
            page.say(f"Deleted, with {len(deleted['deleted'])} ids")
            open_query()


def _file_name(id: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in id)[:80]
