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
  const say = (own: LogLevel, message: string): void => {
    if (LEVELS.indexOf(own) >= LEVELS.indexOf(level)) console[own](`${prefix} ${message}`);
  };
  return Object.fromEntries(LEVELS.map((own) => [own, (message: string) => say(own, message)])) as any;
}
