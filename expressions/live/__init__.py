"""The execution at read time: the definitions of one person at one instant, in Python, from that person's bases. May
import `text`, the root's files and `rules`; knows nothing of `batch` and `sql`.
"""
