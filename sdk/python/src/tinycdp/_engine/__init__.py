"""The engine's modules, for reading a lake. No other module of the client names `expressions` or `lake`.

In a checkout these are the checkout's own packages. A wheel carries both beside this file, and the build writes `.lake`
here where `lake` stands (`hatch_build.py`): nothing of these names lands in a user's site-packages. So each import is
`from expressions…` or `from lake…` and begins its line.
"""

from lake.lake import Lake

__all__ = ["Lake"]
