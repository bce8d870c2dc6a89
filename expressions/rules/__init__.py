"""The rules that every execution must agree on: values and their order, types, windows, properties, identity, deletes,
repeats, buckets and patterns. Each rule lives once, here. May import nothing of ours but itself.
"""
