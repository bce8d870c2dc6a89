"""Request and response models, the source of the OpenAPI document: a resource a file, named as its routes. May import
`serving.definitions` and the root's files; only `serving.api` imports it.
"""
