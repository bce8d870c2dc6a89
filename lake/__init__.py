"""The source of truth: Delta tables and the files beside them, in a folder or an object store. Knows storage, not
meaning. Imports nothing of ours.
"""
