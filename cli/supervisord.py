"""Supervisor's own program, with one JSON object on each line of all logs that it keeps: its own, and its parts'.

A Redis that cannot read its file is not started again: it would read the file to the same place for ever, perhaps with
nobody there any more who looks.

A log that cannot be written, since the disk is full, loses lines and ends nothing.

Supervisor has no setting for these, so two of its classes are replaced by subclasses, and one function by ours. They
need what it keeps private, so `pyproject.toml` bounds its version by it:

* `ServerOptions.make_logger`, and of the options `loglevel`, `logfile`, `logfile_maxbytes`, `logfile_backups` and
  `parse_criticals`, `parse_warnings`, `parse_infos`; a handler formats by `fmt % fields`; `Handler.handleError`
* `POutputDispatcher._log` and `close`, and of `process.config` the `name`, and `autorestart` and `startretries`, which
  are set; and `process.config.options.logger`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor import dispatchers, loggers, supervisord
from supervisor.options import ServerOptions

from cli.json_lines import JsonLines, json_line
from cli.redis_log import tells_of_damage

#: Supervisor's names of levels, as ours.
LEVELS = {"CRIT": "critical", "ERRO": "error", "WARN": "warning", "INFO": "info", "DEBG": "debug", "TRAC": "debug"}


class JsonFormat:
    """A format, in the place of one of Python's."""

    def __mod__(self, fields: Mapping[str, Any]) -> str:
        """The line of a record."""
        level = LEVELS.get(fields["levelname"], "debug")
        return json_line(level, str(fields["message"]), part="supervisor").decode()


class JsonOptions(ServerOptions):
    """Options whose log has JSON lines."""

    def make_logger(self) -> None:
        """Opens the log, and writes what was found while the configuration was read."""
        self.logger = loggers.getLogger(self.loglevel)
        loggers.handle_file(
            self.logger,
            self.logfile,
            JsonFormat(),
            rotating=bool(self.logfile_maxbytes),
            maxbytes=self.logfile_maxbytes,
            backups=self.logfile_backups,
        )
        for message in self.parse_criticals:
            self.logger.critical(message)
        for message in self.parse_warnings:
            self.logger.warn(message)
        for message in self.parse_infos:
            self.logger.info(message)


class JsonOutput(dispatchers.POutputDispatcher):
    """The output of a part, on its way to the part's log."""

    def __init__(self, process: Any, event_type: Any, fd: int) -> None:
        super().__init__(process, event_type, fd)
        self._lines = JsonLines(process.config.name)

    def _log(self, data: bytes) -> None:
        self._keep(self._lines.of(data))

    def close(self) -> None:
        """Writes what is left, and closes."""
        if not self.closed:
            self._keep(self._lines.end())
        super().close()

    def _keep(self, lines: bytes) -> None:
        super()._log(lines)
        config = self.process.config
        if config.name == "redis" and config.autorestart and tells_of_damage(lines):
            config.autorestart, config.startretries = False, 0
            config.options.logger.critical("redis cannot read its file, and is not started again: see `tinycdp doctor`")


def _lose_line(handler: loggers.Handler) -> None:
    """Goes on without a line that cannot be written, as where the disk is full.

    Supervisor's own writes why to its standard error, which is a file of the same disk: it would end for that, and
    every part with it.
    """


def main() -> None:
    """Runs supervisor."""
    loggers.Handler.handleError = _lose_line
    supervisord.ServerOptions = JsonOptions
    dispatchers.POutputDispatcher = JsonOutput
    supervisord.main()


if __name__ == "__main__":
    main()
