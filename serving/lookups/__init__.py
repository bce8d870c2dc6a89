"""Work on the lake that takes seconds, so it runs beside the event loop: questions, searches, exports. May import the
engine and what stands below it; `serving.api` imports it.
"""
