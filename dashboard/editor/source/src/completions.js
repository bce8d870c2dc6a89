// The list of completions: the API says what may stand at the caret, with types.

import { insertCompletionText, pickedCompletion } from "@codemirror/autocomplete";

import { ask } from "./asking.js";
import { fromPoints, toPoints } from "./positions.js";

/** The list opens by itself behind a word or one of the marks that a name or a value follows. */
const OPENS = /[\w.(["'`]$/;

/** The source of completions for CodeMirror; `data` gives the address and the kind of the definition. */
export function completions(data) {
  return async (context) => {
    const { kind, check, disabled } = data();
    if (disabled || !(context.explicit || context.matchBefore(OPENS))) return null;
    const text = context.state.doc.toString();
    const controller = new AbortController();
    context.addEventListener("abort", () => controller.abort(), { onDocChange: true });
    let answer;
    try {
      const question = { kind, expression: text, parts: ["completions"], position: toPoints(text, context.pos) };
      answer = await ask(check, question, controller.signal);
    } catch {
      return null; // the status line says why; typing goes on
    }
    const found = answer.completions ?? [];
    if (context.aborted || !found.length) return null;
    const options = found.map((one) => option(one, fromPoints(text, one.start), fromPoints(text, one.end)));
    // The API has filtered and sorted already, and is asked again after each key.
    return { from: context.pos, options, filter: false };
  };
}

/** Each completion says itself what it replaces: a name that needs brackets takes the dot before it away. */
function option({ label, text, kind, type, signature, detail }, from, to) {
  return {
    label,
    type: kind,
    detail: type?.length ? type.filter((one) => one !== "null" || type.length === 1).join(" | ") : kind,
    info: signature || detail ? () => described(signature, detail) : undefined,
    apply(view, completion) {
      const isCall = text.endsWith("(");
      const isOpen = isCall && view.state.sliceDoc(to, to + 1) === "("; // the text has the bracket already
      const inserted = insertCompletionText(view.state, isOpen ? text.slice(0, -1) : isCall ? `${text})` : text, from, to);
      const selection = { anchor: from + text.length };
      view.dispatch({ ...inserted, selection, annotations: pickedCompletion.of(completion), scrollIntoView: true });
    },
  };
}

function described(signature, detail) {
  const box = document.createElement("div");
  for (const [words, name] of [[signature, "signature"], [detail, "meaning"]]) {
    if (words) box.appendChild(Object.assign(document.createElement("div"), { className: name, textContent: words }));
  }
  return box;
}

/** Whether the list opens again at once after a completion was taken: an argument or a condition follows. */
export function goesOn(completion) {
  return completion.type === "function" || completion.label === "where";
}
