"""The operations of the store, a subject a file: each is a method that makes a request, which is a value. `operations`
joins the subjects. Pure: no module here talks to a server; `store` alone sends requests. May import the scripts, keys
and values of the store.
"""
