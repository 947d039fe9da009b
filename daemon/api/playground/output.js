// The pane that shows what a program writes, while it writes it. It holds a bounded number of characters.

const SHOWN_MAX = 128 * 1024; // characters
const BLOCK = 2048; // characters that a browser lays out together; it passes over those blocks that are out of sight

/** What is written is drawn once in a frame, however many pieces come. */
export class Output {
  /** @type {{ name: string, text: string }[]} */
  #waiting = [];
  #waitingLength = 0;
  #shownLength = 0;
  #hiddenLength = 0;
  #lastLength = 0; // of the last block
  #frame = 0;

  /**
   * @param {HTMLElement} pane
   * @param {HTMLElement} note where it is told that not all is shown
   */
  constructor(pane, note) {
    this.pane = pane;
    this.note = note;
  }

  /** @param {string} placeholder shown until something is written */
  clear(placeholder) {
    cancelAnimationFrame(this.#frame);
    this.#waiting = [];
    this.#waitingLength = this.#shownLength = this.#hiddenLength = this.#frame = 0;
    this.pane.replaceChildren();
    this.note.hidden = true;
    this.wait(placeholder);
  }

  /** @param {string} placeholder in place of the one before */
  wait(placeholder) {
    this.pane.dataset["placeholder"] = placeholder;
  }

  /**
   * @param {string} name the stream, which decides the colour
   * @param {string} text
   */
  add(name, text) {
    const last = this.#waiting.at(-1);
    if (last?.name === name && last.text.length < SHOWN_MAX) last.text += text;
    else this.#waiting.push({ name, text });
    this.#waitingLength += text.length;
    while (this.#waiting.length > 1 && this.#waitingLength - (this.#waiting[0]?.text.length ?? 0) >= SHOWN_MAX) {
      const length = this.#waiting.shift()?.text.length ?? 0;
      this.#waitingLength -= length;
      this.#hiddenLength += length;
    }
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Show at once what waits for the next frame. */
  draw() {
    cancelAnimationFrame(this.#frame);
    const wasAtEnd = this.pane.scrollHeight - this.pane.scrollTop - this.pane.clientHeight < 40;
    for (const { name, text } of this.#waiting) this.#append(name, text);
    this.#waiting = [];
    this.#waitingLength = this.#frame = 0;
    this.#trim();
    if (wasAtEnd) this.pane.scrollTop = this.pane.scrollHeight;
  }

  /**
   * Make buttons of the places that the shown text names.
   * @param {RegExp} pattern global
   * @param {(match: RegExpMatchArray) => void} go
   */
  link(pattern, go) {
    this.draw();
    for (const piece of this.pane.querySelectorAll("span")) {
      const text = piece.textContent ?? "";
      const parts = [];
      let end = 0;
      for (const match of text.matchAll(pattern)) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "place";
        button.textContent = match[0];
        button.addEventListener("click", () => go(match));
        parts.push(text.slice(end, match.index), button);
        end = match.index + match[0].length;
      }
      if (parts.length) piece.replaceChildren(...parts, text.slice(end));
    }
  }

  /**
   * A block ends with a line, unless that is too long.
   * @param {string} name
   * @param {string} text
   */
  #append(name, text) {
    this.#shownLength += text.length;
    for (let from = 0; from < text.length; ) {
      let block = this.pane.lastElementChild;
      if (!block || this.#lastLength >= BLOCK) {
        block = document.createElement("div");
        this.pane.append(block);
        this.#lastLength = 0;
      }
      const room = BLOCK - this.#lastLength;
      const newline = text.indexOf("\n", from + room - 1);
      const cut = from + room + BLOCK;
      const isInPair = /[\ud800-\udbff]/.test(text.charAt(cut - 1)); // two blocks would show two halves of a character
      const to = newline < 0 || newline > cut ? cut + Number(isInPair) : newline + 1;
      const piece = text.slice(from, to);
      this.#lastLength += piece.length;
      from = to;
      const last = block.lastElementChild;
      if (last?.className === name) last.append(piece);
      else {
        const span = document.createElement("span");
        span.className = name;
        span.textContent = piece;
        block.append(span);
      }
    }
  }

  #trim() {
    while (this.#shownLength > SHOWN_MAX) {
      const first = this.pane.firstElementChild;
      const length = first?.textContent?.length ?? 0;
      first?.remove();
      this.#shownLength -= length;
      this.#hiddenLength += length;
    }
    this.note.hidden = this.#hiddenLength === 0;
    this.note.textContent = `${this.#hiddenLength.toLocaleString("en")} characters before this are not shown`;
  }
}
