"""Models of requests and answers, the source of the OpenAPI document: a resource a file, named as its routes. The
hot paths (events, decide, OFREP) read and write these shapes by hand; here they are declared. May import the rooms of
`serving` that hold rules and bounds, `definitions`, `access` and `people`, and the root's files. `serving.api` imports
it, and `cli` where it prints what the API answers.
"""
