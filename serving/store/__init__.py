"""All that knows Redis: keys, scripts, records, bytes, and the two clients that send requests. May import `http` not at
all, of the root `ids`, `settings` and `refusals`, and of the language the states that it encodes.
"""
