"""What can be asked over HTTP: a resource a file, its models in `wire`. May import every room of `serving`; only
`serving.app` imports it.
"""
