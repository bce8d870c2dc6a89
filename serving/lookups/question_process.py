"""The process that answers questions about the lake, one after the other, for `serving.lookups.worker`.

It reads a question from its standard input and writes the answer to its standard output. Both are pickled, with their
length before them: only the process that started it is at the other end. It imports nothing by itself, so it starts in
the time of Python alone; reading a question imports what that one needs. It ends when its input does.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from typing import Any, TypeAlias

#: What a process writes first, when it can read a question.
READY = b"READY\n"
#: Before a question: its bytes. Before an answer: whether it is an error in place of one, its bytes, and those of what
#: was logged behind it, if anything was. With an error come the places in the code that it came through.
QUESTION_HEADER, ANSWER_HEADER = struct.Struct("!Q"), struct.Struct("!?QQ")

#: A line of the log: the text of no exception is in it.
Line: TypeAlias = dict[str, Any]
#: So many lines are kept for one question; the first ones say what went wrong.
LINES_MAX = 20


def main() -> None:
    """Answers questions until there are no more."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    _silence()
    answers.write(READY)
    answers.flush()
    lines: list[Line] = []
    while header := questions.read(QUESTION_HEADER.size):
        (length,) = QUESTION_HEADER.unpack(header)
        is_error, answer = _answer(questions.read(length), lines)
        logged = pickle.dumps(lines, pickle.HIGHEST_PROTOCOL) if lines else b""
        lines.clear()
        answers.write(ANSWER_HEADER.pack(is_error, len(answer), len(logged)) + answer + logged)
        answers.flush()


def _silence() -> None:
    """Takes what a question may print away from the answers, and from the logs of the API."""
    with open(os.devnull, "r+b") as nothing:
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)


def _answer(question: bytes, lines: list[Line]) -> tuple[bool, bytes]:
    """Whether the question failed, and the answer, or the error with its places. What is logged goes to the lines."""
    try:
        ask, args = pickle.loads(question)
        if "structlog" in sys.modules:  # else nothing that the question needs logs anything
            _log_to(lines)
        return False, pickle.dumps(ask(*args), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        from serving.logs import frames_only  # it takes long to import, and most processes never need it

        frames = frames_only(None, "", {"exc_info": error})["frames"]
        return True, _pickled_error(error, frames)


def _log_to(lines: list[Line]) -> None:
    """Lets our lines, from warnings on, be kept here: the output of this process is for answers."""
    import structlog  # it is there already

    from serving.logs import frames_only, without_secrets

    def keep(logger: Any, method: str, line: Any) -> Any:
        if len(lines) < LINES_MAX:
            lines.append({name: value if _is_plain(value) else repr(value) for name, value in line.items()})
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, frames_only, without_secrets, keep],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )


def _is_plain(value: Any) -> bool:
    """Whether a value means the same in every process."""
    return value is None or isinstance(value, (bool, int, float, str, list))


def _pickled_error(error: Exception, frames: list[str]) -> bytes:
    """The error; where it cannot be made again elsewhere, one that names its type."""
    try:
        pickled = pickle.dumps((error, frames), pickle.HIGHEST_PROTOCOL)
        pickle.loads(pickled)
    except Exception:  # whatever its class raises when it is taken apart or put together
        return pickle.dumps((RuntimeError(type(error).__name__), frames), pickle.HIGHEST_PROTOCOL)
    return pickled


if __name__ == "__main__":
    main()
