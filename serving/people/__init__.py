"""One person: which ids are theirs, what their records add up to, what a flag says for them, how they are deleted.

Pure, or steps of requests to the store; nothing here holds a connection. May import definitions, ingest and store, and
the language. Knows nothing of keys.
"""
