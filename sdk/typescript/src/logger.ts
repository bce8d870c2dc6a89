/** Where a client says what goes on. */

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** A logger that writes to the console what is of this level or above. */
export function createLogger(level: LogLevel = "info", prefix = "[TinyCDP]"): Logger {
  const at = (own: LogLevel) =>
    LEVELS.indexOf(own) < LEVELS.indexOf(level) ? () => {} : (message: string) => console[own](`${prefix} ${message}`);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
