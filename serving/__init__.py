"""The API and all that it answers from: events go in, and live values and decisions come out, over Redis.

The rooms import downwards, in the order that `pyproject.toml` names. Only `serving.history` imports the lake, and
nothing here imports `pipelines` or `cli`.
"""
