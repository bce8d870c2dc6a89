// The lines under the text: valid or the error with its place, the count and a sample, and the button that formats.

export class Status {
  constructor(format) {
    this.element = element("div", "foot");
    this.verdict = element("div", "verdict");
    this.verdict.id = "status";
    this.verdict.setAttribute("role", "status");
    this.verdict.setAttribute("aria-live", "polite");
    this.notes = element("ul", "notes");
    this.count = element("div", "count");
    this.button = element("button", "format");
    this.button.type = "button";
    this.button.textContent = "Format";
    this.button.title = "Write the expression in one way (Shift+Alt+F)";
    this.button.setAttribute("aria-keyshortcuts", "Shift+Alt+F");
    this.button.addEventListener("click", format);
    this.element.append(this.button, this.verdict, this.notes, this.count);
  }

  checking() {
    this.element.classList.add("stale");
  }

  empty(words) {
    this.#say("", words);
  }

  checked({ valid, error, errors = [], type = [], warnings = [] }) {
    if (valid) {
      this.#say("valid", `Valid${type.length ? `: ${type.join(" or ")}` : ""}`, warnings);
      return;
    }
    const first = errors[0];
    if (!first) {
      this.#say("invalid", firstLine(error));
      return;
    }
    const help = [];
    if (first.expected) help.push(`Expected ${first.expected}.`);
    if (first.nearest?.length) help.push(`Did you mean ${first.nearest.join(" or ")}?`);
    if (errors.length > 1) help.push(`${errors.length - 1} more underlined.`);
    this.#say("invalid", `Line ${first.line}, column ${first.column}: ${firstLine(first.message)}`, help);
  }

  away(words) {
    this.#say("away", words);
  }

  counting() {
    this.count.textContent = "Counting people…";
  }

  counted({ count, total, sample = [] }) {
    const people = sample.slice(0, 3).map(({ id, value }) => (value === true ? id : `${id} = ${JSON.stringify(value)}`));
    const some = people.length ? `: ${people.join(", ")}${count > people.length ? ", …" : ""}` : "";
    this.count.textContent = `${number(count)} of ${number(total)} people${some}`;
  }

  #say(kind, words, notes = []) {
    this.element.className = "foot";
    this.verdict.className = `verdict ${kind}`;
    this.verdict.textContent = words;
    this.count.textContent = "";
    this.notes.replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  }
}

function element(tag, className) {
  return Object.assign(document.createElement(tag), { className });
}

function firstLine(text) {
  return text.split("\n")[0];
}

function number(value) {
  return value.toLocaleString("en-US");
}
