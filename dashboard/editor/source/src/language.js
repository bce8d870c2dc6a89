// The colours of the text: what a word is by the marks around it. What it means, the API knows alone, so no list of
// functions or aggregates stands here.

import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { tags } from "@lezer/highlight";

const WORD = /[A-Za-z_][A-Za-z0-9_]*/;
const CONSTANTS = new Set(["true", "false", "null"]);
const OPERATORS = new Set(["and", "or", "not", "in"]);
const ROOTS = new Set(["events", "profile"]);

/** Reads one token; `chain` is the root of the dotted names at hand, which a mark or a space before no dot ends. */
function token(stream, state) {
  if (stream.eatSpace()) return null;
  const first = stream.peek();
  if (first === '"' || first === "'") {
    quoted(stream, first);
    return "string";
  }
  if (first === "`") {
    stream.match(/`([^`]|``)*`?/);
    return "propertyName";
  }
  if (stream.match(/\d+(\.\d*)?([eE][+-]?\d+)?/)) {
    state.chain = null;
    return "number";
  }
  if (stream.match(/\.\s*(?=[A-Za-z_`])/)) {
    state.behindDot = true;
    return "punctuation";
  }
  if (stream.match(WORD)) return word(stream, state);
  stream.next();
  if (first === "[" || first === "]") return "bracket";
  state.behindDot = false;
  if (first === "(") state.open.push(state.chain);
  if (first === ")") {
    state.chain = state.open.pop() ?? null; // behind `.where(…)` the chain of `events` goes on
    return "bracket";
  }
  state.chain = null;
  return first === "(" ? "bracket" : first === "," ? "punctuation" : "operator";
}

function word(stream, state) {
  const text = stream.current();
  const { behindDot } = state;
  state.behindDot = false;
  if (behindDot) {
    if (stream.match(/\s*\(/, false)) return "keyword"; // where
    const isLast = !stream.match(/\s*[.[]/, false);
    return isLast && state.chain === "events" ? "function" : "propertyName";
  }
  state.chain = null;
  if (CONSTANTS.has(text)) return "atom";
  if (OPERATORS.has(text)) return "operatorKeyword";
  if (ROOTS.has(text)) {
    state.chain = text;
    return "keyword";
  }
  return stream.match(/\s*\(/, false) ? "function" : "variableName";
}

function quoted(stream, quote) {
  stream.next();
  for (let next; (next = stream.next()) != null && next !== quote; ) if (next === "\\") stream.next();
}

const language = StreamLanguage.define({
  name: "tinycdp",
  startState: () => ({ chain: null, behindDot: false, open: [] }),
  copyState: (state) => ({ ...state, open: [...state.open] }),
  token,
  tokenTable: { function: tags.function(tags.variableName) },
  languageData: { closeBrackets: { brackets: ["(", "[", '"', "'", "`"] } },
});

// Streamlit gives its colours as custom properties, which follow the theme at once.
const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--st-violet-text-color)" },
  { tag: tags.function(tags.variableName), color: "var(--st-blue-text-color)" },
  { tag: tags.propertyName, color: "var(--st-text-color)" },
  { tag: tags.variableName, color: "var(--st-orange-text-color)" },
  { tag: tags.string, color: "var(--st-green-text-color)" },
  { tag: [tags.number, tags.atom], color: "var(--st-red-text-color)" },
  { tag: [tags.operator, tags.operatorKeyword], color: "var(--st-text-color)", fontWeight: "600" },
  { tag: [tags.punctuation, tags.bracket], color: "var(--st-gray-text-color)" },
]);

export const expressions = [language, syntaxHighlighting(colours)];
