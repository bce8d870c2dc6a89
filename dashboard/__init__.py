"""The place of the console: screens over the same API and definitions that everybody else uses.

It may import serving, pipelines and expressions, but never the lake.
"""
