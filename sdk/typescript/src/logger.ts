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
  return loggerBy((own, message) => {
    if (LEVELS.indexOf(own) >= LEVELS.indexOf(level)) console[own](`${prefix} ${message}`);
  });
}

/** A logger of the app's, as the client calls it: a method that is missing, throws or rejects costs its line alone. */
export const guarded = (logger: Logger): Logger =>
  loggerBy(async (own, message) => {
    try {
      await logger[own](message);
    } catch {}
  });

const loggerBy = (say: (own: LogLevel, message: string) => unknown): Logger =>
  Object.fromEntries(LEVELS.map((own) => [own, (message: string) => void say(own, message)])) as any;
