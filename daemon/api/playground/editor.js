// The source's editor: a textarea, and below its transparent text a layer that shows the same with colours and marks.
// The textarea gives keyboard, undo, touch, input methods and screen readers; the layer is there for the eye alone.

/** @typedef {import("./places.js").Mark} Mark */
/** @typedef {string | { type: string, content: Token | Token[] }} Token as Prism makes them */
/** @typedef {[kind: string, text: string][]} Line its pieces */

const COLOURED_MAX = 256 * 1024; // characters; a longer source is shown in one colour
const UNDONE_MAX = 4096; // characters

export class Editor {
  /** @type {string[]} */
  #drawn = []; // what each line of the layer shows, to change those alone that differ
  /** @type {Mark[]} */
  #marks = [];
  #grammar = "";
  #indent = "    ";
  #leavesByTab = false;

  /**
   * @param {HTMLTextAreaElement} area
   * @param {HTMLElement} layer
   * @param {HTMLElement} gutter
   * @param {() => void} onEdit called when a person has changed the source
   */
  constructor(area, layer, gutter, onEdit) {
    this.area = area;
    this.layer = layer;
    this.gutter = gutter;
    area.addEventListener("input", () => {
      this.#draw();
      onEdit();
    });
    area.addEventListener("keydown", (event) => this.#onKey(event));
    area.addEventListener("scroll", () => (area.scrollTop = area.scrollLeft = 0)); // the box around both scrolls
    area.addEventListener("blur", () => (this.#leavesByTab = false));
  }

  get text() {
    return this.area.value;
  }

  /**
   * @param {string} text
   * @param {string} grammar of Prism; where there is none of this name, the source has one colour
   */
  set(text, grammar) {
    this.#grammar = grammar;
    this.area.value = text;
    this.#indent = /^\t/m.test(text) ? "\t" : (/^ +(?=\S)/m.exec(text)?.[0] ?? "    ");
    this.#drawn = [];
    this.layer.replaceChildren();
    this.mark([]);
  }

  /** @param {Mark[]} marks in place of those that were there; each goes when its line is edited */
  mark(marks) {
    this.#marks = marks;
    this.#draw();
  }

  /**
   * Put the cursor there, as near as there is such a place, and show it.
   * @param {{ line: number, column: number }} position from 1
   */
  goTo({ line, column }) {
    const lines = this.text.split("\n");
    const row = Math.min(line, lines.length) - 1;
    const before = lines.slice(0, row).reduce((sum, one) => sum + one.length + 1, 0);
    const offset = before + Math.min(column - 1, lines[row]?.length ?? 0);
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(offset, offset);
    this.layer.children[row]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #draw() {
    const lines = split(tokens(this.text, this.#grammar));
    const now = lines.map((line) => JSON.stringify(line));
    const most = Math.min(now.length, this.#drawn.length);
    let head = 0;
    while (head < most && now[head] === this.#drawn[head]) head++;
    let tail = 0;
    while (tail < most - head && now.at(-1 - tail) === this.#drawn.at(-1 - tail)) tail++;
    if (this.#drawn.length) this.#shiftMarks(head, this.#drawn.length - tail, now.length - this.#drawn.length);
    for (const old of [...this.layer.children].slice(head, this.#drawn.length - tail)) old.remove();
    const after = this.layer.children[head] ?? null;
    for (const line of lines.slice(head, now.length - tail)) this.layer.insertBefore(element(line), after);
    this.#drawn = now;
    this.#drawMarks();
  }

  /**
   * Keep the marks beside lines `from` to `to` (counted from 0, `to` not included), which were replaced.
   * @param {number} from
   * @param {number} to
   * @param {number} more lines than before
   */
  #shiftMarks(from, to, more) {
    this.#marks = this.#marks
      .filter(({ line }) => line <= from || line > to)
      .map((mark) => (mark.line > to ? { ...mark, line: mark.line + more } : mark));
  }

  #drawMarks() {
    for (const old of this.layer.querySelectorAll(":scope > .error, :scope > .warning")) {
      old.classList.remove("error", "warning");
      old.removeAttribute("data-message");
    }
    const numbers = this.#drawn.map((_, index) => index + 1).join("\n");
    if (this.gutter.firstChild?.textContent !== numbers) this.gutter.replaceChildren(numbers);
    for (const old of this.gutter.querySelectorAll("b")) old.remove();
    for (const { line, message, isWarning } of this.#marks) {
      const row = this.layer.children[line - 1];
      if (!row) continue;
      const number = document.createElement("b");
      number.className = isWarning ? "warning" : "error";
      number.textContent = `${line}`;
      number.style.top = `calc(.6rem + ${line - 1} * 1.55em)`;
      row.classList.add(number.className);
      row.setAttribute("data-message", message);
      this.gutter.append(number);
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      this.#leavesByTab = true; // so that the keyboard can leave (WCAG 2.2, 2.1.2)
    } else if (event.key === "Tab" && !this.#leavesByTab) {
      event.preventDefault();
      this.#indentLines(event.shiftKey);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const line = this.text.slice(0, this.area.selectionStart).split("\n").at(-1) ?? "";
      const opens = /[{([:]\s*$/.test(line) ? this.#indent : "";
      insert(this.area, `\n${/^\s*/.exec(line)?.[0]}${opens}`);
    } else if (event.key !== "Shift" && event.key !== "Tab") {
      this.#leavesByTab = false;
    }
  }

  /** @param {boolean} isBack */
  #indentLines(isBack) {
    const { selectionStart: start, selectionEnd: end } = this.area;
    if (start === end && !isBack) {
      insert(this.area, this.#indent);
      return;
    }
    const from = this.text.lastIndexOf("\n", start - 1) + 1;
    const next = this.text.indexOf("\n", end);
    const lineEnd = next < 0 ? this.text.length : next;
    const old = this.text.slice(from, start === end ? lineEnd : end);
    const outdent = new RegExp(`^(?:\t| {1,${this.#indent.length}})`, "gm");
    const changed = isBack ? old.replace(outdent, "") : old.replace(/^(?=.)/gm, this.#indent);
    if (changed === old) return;
    this.area.setSelectionRange(from, from + old.length);
    insert(this.area, changed);
    const cursor = Math.max(from, start - (old.length - changed.length));
    if (start === end) this.area.setSelectionRange(cursor, cursor);
    else this.area.setSelectionRange(from, from + changed.length);
  }
}

/**
 * Replace the selection. Undo takes it back only after execCommand, which takes seconds for hundreds of lines (Chromium 156).
 * @param {HTMLTextAreaElement} area
 * @param {string} text
 */
function insert(area, text) {
  const command = text === "" ? "delete" : "insertText";
  if (text.length < UNDONE_MAX && document.execCommand(command, false, text)) return;
  area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input"));
}

/**
 * @param {string} text
 * @param {string} grammar
 * @returns {Token[]}
 */
function tokens(text, grammar) {
  const prism = /** @type {any} */ (globalThis).Prism; // absent where it was not installed
  const rules = prism?.languages[grammar];
  return typeof rules === "object" && text.length <= COLOURED_MAX ? prism.tokenize(text, rules) : [text];
}

/**
 * @param {Token[]} found
 * @returns {Line[]}
 */
function split(found) {
  /** @type {Line} */
  let line = [];
  const lines = [line];
  /** @param {Token | Token[]} token @param {string} kind */
  const add = (token, kind) => {
    if (Array.isArray(token)) for (const one of token) add(one, kind);
    else if (typeof token !== "string") add(token.content, token.type);
    else {
      const [first = "", ...others] = token.split("\n");
      if (first) line.push([kind, first]);
      for (const other of others) {
        lines.push((line = []));
        if (other) line.push([kind, other]);
      }
    }
  };
  add(found, "");
  return lines;
}

/** @param {Line} line */
function element(line) {
  const row = document.createElement("div");
  row.className = "line";
  const text = document.createElement("span");
  for (const [kind, piece] of line) {
    if (kind) {
      const span = document.createElement("span");
      span.className = kind;
      span.textContent = piece;
      text.append(span);
    } else text.append(piece);
  }
  row.append(text);
  return row;
}
