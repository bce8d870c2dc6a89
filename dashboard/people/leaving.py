"""Takes a person's data away, and deletes a person: their id is typed first."""

from __future__ import annotations

import json

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import open_query
from dashboard.answers import ASKING, forget
from dashboard.markdown import code

#: Events that one file holds, and fewer where they are large.
EVENTS_MAX = 10_000


def leaving(id: str) -> None:
    """The download and the delete."""
    st.subheader("Download", anchor=False)
    st.markdown("All that is known of this person, as JSON: ids, attributes, traits, segments, events.")
    _download(id)
    st.subheader("Delete", anchor=False)
    st.markdown("The person stops to exist, with all ids, events and links, here and in the lake. It cannot be undone.")
    if st.button("Delete this person …", icon=":material/person_remove:"):
        _ask_to_delete(id)


def _download(id: str) -> None:
    """The file, or the files one after the other of a person with very many or very large events."""
    following = f"next event of the download of {id}"
    offset = st.session_state.get(following)
    with st.container(horizontal=True):
        is_first = st.button("Prepare the file", icon=":material/download:")
        place = st.empty()
    with place:
        is_next = offset is not None and _asks_for_next(offset)
    if not is_first and not is_next:
        return
    begin = 0 if is_first else int(offset or 0)
    with page.refusals(), st.spinner(ASKING):
        data = signed_in().patient.person_part(id, limit=EVENTS_MAX, offset=begin)
        end, total = begin + len(data["events"]), data["total"]
        if begin or data["hasMore"]:
            st.warning(
                f"This file has the events {begin + 1:,} to {end:,} of {total:,}, the oldest first: a file holds "
                f"{EVENTS_MAX:,} events or 16 MiB. The rest comes in files of its own."
            )
        name = f"{_file_name(id)}{f'-from-{begin + 1}' if begin else ''}.json"
        text = json.dumps(data, indent=1, ensure_ascii=False)
        st.download_button("Download", text, name, "application/json", on_click="ignore", type="primary")
        st.session_state[following] = end if data["hasMore"] else None
        if not data["hasMore"]:
            place.empty()
        elif end != offset:  # whose button is there already
            with place:
                _asks_for_next(end)


def _asks_for_next(offset: int) -> bool:
    return st.button(f"Prepare the file from event {offset + 1:,} on", key=f"file from {offset}")


@page.dialog("Delete a person")
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
