"""What every execution must agree on: values and their order, windows, identity, deletes, repeats, buckets, patterns.
Imports nothing of ours but itself.
"""
