// One editor: the text, what is drawn under it, and what Python hears of it.

import {
  acceptCompletion,
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  completionStatus,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import { EditorView, drawSelection, keymap, placeholder } from "@codemirror/view";

import { Newest, ask } from "./asking.js";
import { Checks } from "./checks.js";
import { completions, goesOn } from "./completions.js";
import { expressions } from "./language.js";
import { Status } from "./status.js";
import { theme } from "./theme.js";

/** After so long without a key, and with no list open, Python hears of the text; on leaving the editor at once. */
const SEND_MS = 500;

export class ExpressionEditor {
  #python;
  #data;
  #revision;
  #sent;
  #timer;
  #settings = new Compartment();
  #formatting = new Newest();

  constructor(parent, data, python) {
    this.#python = python;
    this.#data = data;
    this.#revision = data.revision;
    this.#sent = data.text;
    this.root = document.createElement("div");
    this.root.className = "expression-editor";
    parent.appendChild(this.root);
    for (const kind of ["keydown", "keypress", "keyup"]) this.root.addEventListener(kind, keepFromPage);

    this.status = new Status((event) => this.#formatByHand(event));
    this.checks = new Checks(this.status, () => this.#data);
    this.view = new EditorView({
      root: parent instanceof ShadowRoot ? parent : document,
      parent: this.root,
      state: EditorState.create({ doc: data.text, extensions: this.#extensions() }),
    });
    this.root.appendChild(this.status.element);
    this.checks.begin(this.view);
  }

  #extensions() {
    return [
      // Ours come first: Tab takes a completion while a list is open, and else leaves the editor.
      keymap.of([
        { key: "Tab", run: acceptCompletion },
        { key: "Mod-s", run: () => this.#save(), preventDefault: true },
        { key: "Shift-Alt-f", run: () => this.#formatByHand() },
      ]),
      keymap.of([...closeBracketsKeymap, ...completionKeymap, ...lintKeymap, ...historyKeymap, ...defaultKeymap]),
      history(),
      drawSelection(),
      bracketMatching(),
      closeBrackets(),
      EditorView.lineWrapping,
      expressions,
      theme,
      autocompletion({
        override: [completions(() => this.#data)],
        activateOnCompletion: goesOn,
        activateOnTypingDelay: 80,
        icons: false,
      }),
      EditorView.updateListener.of((update) => this.#changed(update)),
      EditorView.domEventHandlers({ blur: () => this.#send() }),
      this.#settings.of(this.#fromData()),
    ];
  }

  /** The settings that a rerun may change. */
  #fromData() {
    const { label, hint, disabled } = this.#data;
    this.status.button.hidden = disabled;
    return [
      placeholder(hint),
      EditorState.readOnly.of(disabled),
      EditorView.contentAttributes.of({
        "aria-label": label,
        "aria-multiline": "true",
        "aria-describedby": "status",
        "data-expression": "true",
        autocapitalize: "off",
        spellcheck: "false",
      }),
    ];
  }

  get text() {
    return this.view.state.doc.toString();
  }

  /** Takes over what a rerun of the page says: a text only if Python set one, so that typing goes on through reruns. */
  update(data, python) {
    const changedQuestion = data.kind !== this.#data.kind || data.check !== this.#data.check;
    this.#python = python;
    this.#data = data;
    this.view.dispatch({ effects: this.#settings.reconfigure(this.#fromData()) });
    if (data.revision > this.#revision) {
      this.#revision = data.revision;
      this.#sent = data.text;
      clearTimeout(this.#timer);
      this.#replace(data.text);
    }
    if (changedQuestion) this.checks.begin(this.view);
  }

  end() {
    clearTimeout(this.#timer);
    this.#formatting.drop();
    this.checks.end();
    this.view.destroy();
    this.root.remove();
  }

  #changed(update) {
    if (!update.docChanged) return;
    this.#formatting.drop();
    this.checks.begin(this.view);
    this.#sendSoon();
  }

  /** Not while a list is open: the page fades while it runs again, and the list with it. */
  #sendSoon() {
    clearTimeout(this.#timer);
    const send = () => (completionStatus(this.view.state) === "active" ? this.#sendSoon() : this.#send());
    this.#timer = setTimeout(send, SEND_MS);
  }

  #send() {
    clearTimeout(this.#timer);
    const text = this.text;
    if (text === this.#sent || this.#data.disabled) return;
    this.#sent = text;
    this.#python.send({ text, revision: this.#revision });
  }

  /** Replaces the text where it differs, keeping the caret where the texts agree. */
  #replace(text) {
    const before = this.text;
    if (text === before) return;
    let from = 0;
    while (from < before.length && from < text.length && before[from] === text[from]) from++;
    let after = 0;
    while (after < Math.min(before.length, text.length) - from && before.at(-1 - after) === text.at(-1 - after)) after++;
    this.view.dispatch({ changes: { from, to: before.length - after, insert: text.slice(from, text.length - after) } });
  }

  /** Writes the text as the language writes it; a text that is not valid stays. Gives whether it is the newest wish. */
  async #format() {
    if (this.#data.disabled || !this.text.trim()) return true;
    const expression = this.text;
    try {
      const question = { kind: this.#data.kind, expression, parts: ["text"] };
      const answer = await this.#formatting.run((signal) => ask(this.#data.check, question, signal));
      if (!answer || this.text !== expression) return false;
      if (answer.valid && answer.text != null) this.#replace(answer.text);
    } catch {
      // Away: the status line says so by itself, and a text is saved as it is.
    }
    return true;
  }

  #formatByHand() {
    this.#format().then(() => this.#send());
    return true;
  }

  #save() {
    this.#format().then((isNewest) => {
      if (!isNewest) return;
      this.#send();
      this.#python.save(this.text);
    });
    return true;
  }
}

/**
 * Streamlit reruns the page at `r` and clears caches at `c`, heard on the document, unless the key was typed into an
 * editable element. A popup of the editor is none. So no key that types something leaves the editor, nor one that it has
 * used itself, as Escape that closed a list.
 */
function keepFromPage(event) {
  const types = event.key?.length === 1 && !event.ctrlKey && !event.metaKey;
  if (types || event.defaultPrevented) event.stopPropagation();
}
