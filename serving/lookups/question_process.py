"""The process that answers questions about the lake, one after the other, for `serving.lookups.worker`.

It reads a question from its standard input and writes the answer to its standard output. Both are pickled, with their
length before them: only the process that started it is at the other end. It imports nothing by itself, so it starts in
the time of Python alone; reading a question imports what that one needs. It ends when its input does.
"""

from __future__ import annotations

import os
import pickle
import struct
from typing import Any

#: What a process writes first, when it can read a question.
READY = b"READY\n"
#: Before a question: its bytes. Before an answer: whether it is an error in place of one, and its bytes.
QUESTION_HEADER, ANSWER_HEADER = struct.Struct("!Q"), struct.Struct("!?Q")


def main() -> None:
    """Answers questions until there are no more."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    _silence()
    answers.write(READY)
    answers.flush()
    while header := questions.read(QUESTION_HEADER.size):
        (length,) = QUESTION_HEADER.unpack(header)
        is_error, answer = _answer(questions.read(length))
        answers.write(ANSWER_HEADER.pack(is_error, len(answer)) + answer)
        answers.flush()


def _silence() -> None:
    """Takes what a question may print away from the answers, and from the logs of the API."""
    with open(os.devnull, "r+b") as nothing:
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)


def _answer(question: bytes) -> tuple[bool, bytes]:
    """Whether the question failed, and the answer or the error."""
    try:
        ask, args = pickle.loads(question)
        return False, pickle.dumps(ask(*args), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return True, _pickled_error(error)


def _pickled_error(error: Any) -> bytes:
    """The error; where it cannot be made again elsewhere, one that names its type."""
    try:
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(pickled)
    except Exception:  # whatever its class raises when it is taken apart or put together
        return pickle.dumps(RuntimeError(type(error).__name__), pickle.HIGHEST_PROTOCOL)
    return pickled


if __name__ == "__main__":
    main()
