"""HTTP without our resources: bodies in, answers out, connections with bounds, the hot paths, counts of requests.

May import `serving.refusals` and `serving.logs`, and nothing else of ours.
"""
