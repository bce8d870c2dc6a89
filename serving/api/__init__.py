"""The calls of the HTTP API: a resource a file, its models in `wire` under the same name. May import every room of
`serving`. `serving.app` imports it, and `cli` takes one model; a file of routes imports no other file of routes.
"""
