// What the API says of the text: whether it is valid, soon after each key; for how many people it holds, after a pause.

import { setDiagnostics } from "@codemirror/lint";

import { Away, Newest, ask, pause } from "./asking.js";
import { fromPoints } from "./positions.js";

const CHECK_MS = 150;
const COUNT_MS = 1000;
const AGAIN_MS = 3000;

export class Checks {
  #newest = new Newest();
  #reading = null;

  /** `data` gives the addresses and the kind of the definition. */
  constructor(status, data) {
    this.status = status;
    this.data = data;
  }

  /** Checks the text as it is now; what was asked about an older one is dropped. */
  begin(view) {
    this.view = view;
    this.status.checking();
    this.#newest.run((signal) => this.#work(view, signal)).catch((error) => this.status.away(error.message));
  }

  end() {
    this.#newest.drop();
  }

  async #work(view, signal) {
    const expression = view.state.doc.toString();
    if (!expression.trim()) {
      this.#draw(view, []);
      this.status.empty(this.data().empty);
      return;
    }
    await pause(CHECK_MS, signal);
    const answer = await this.#asked(this.data().check, { expression, parts: [] }, signal);
    if (signal.aborted) return;
    this.#draw(view, problems(answer, expression));
    this.status.checked(answer);
    if (!answer.valid || !this.data().preview) return;
    await pause(COUNT_MS, signal);
    // The API reads the lake for these two, and goes on when the question is given up: one at a time.
    await this.#reading;
    if (signal.aborted) return;
    this.status.counting();
    this.#reading = this.#read(expression, signal).catch((error) => signal.aborted || this.status.away(error.message));
  }

  async #read(expression, signal) {
    const warned = await this.#asked(this.data().check, { expression, parts: ["warnings"] }, signal, false);
    if (signal.aborted) return;
    this.status.checked(warned);
    this.status.counting();
    const counted = await this.#asked(this.data().preview, { expression }, signal, false);
    if (!signal.aborted) this.status.counted(counted);
  }

  /** The answer to a question, asked again while the API is away; `drops`: when it is given up nobody waits for it. */
  async #asked(address, question, signal, drops = true) {
    for (;;) {
      try {
        const { kind, key } = this.data();
        return await ask(address, { kind, key, ...question }, drops ? signal : undefined);
      } catch (error) {
        if (!(error instanceof Away)) throw error;
        this.status.away(error.message);
        await pause(AGAIN_MS, signal);
      }
    }
  }

  #draw(view, diagnostics) {
    view.dispatch(setDiagnostics(view.state, diagnostics));
  }
}

/** The places to underline, each at least one character wide so that it is seen. */
function problems({ valid, error, errors = [] }, text) {
  if (valid) return [];
  const mistakes = errors.length ? errors : [{ message: error, start: 0, end: text.length }];
  return mistakes.map(({ message, start, end, expected, nearest = [] }) => {
    let from = Math.min(fromPoints(text, start), text.length);
    const to = Math.min(Math.max(fromPoints(text, end), from + 1), text.length);
    if (from === to) from = Math.max(0, to - 1);
    const actions = nearest.map((name) => ({
      name,
      apply: (view, from, to) => view.dispatch({ changes: { from, to, insert: name } }),
    }));
    return { from, to, severity: "error", message: expected ? `${message}; expected ${expected}` : message, actions };
  });
}
