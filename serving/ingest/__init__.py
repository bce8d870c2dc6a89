"""From what a client sends to an accepted event: checked, routed to a record, in its own time, and its tail payload.

Pure, but for the chance that ids are made of. May import the shape of the log's events (`serving.store.logged_event`)
and nothing else of the store, `serving.http.bodies`, `serving.ids` and `serving.refusals`, and the language.
"""
