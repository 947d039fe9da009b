// The files that lie beside the source: chosen by a person, listed, sent with the program.

import { base64 } from "./link.js";
import { size } from "./words.js";

/** @typedef {import("./server.js").File} Entry */

const FILES_MAX = 100; // as many as a request may have
const BYTES_MAX = 16 * 2 ** 20; // of all of them, as servers allow by default

export class Files {
  /** @type {Entry[]} */
  all = [];

  /**
   * @param {HTMLInputElement} input
   * @param {HTMLElement} list
   * @param {() => void} onEdit
   * @param {(text: string) => void} refuse is told why a file is not taken
   */
  constructor(input, list, onEdit, refuse) {
    this.list = list;
    this.onEdit = onEdit;
    input.addEventListener("change", async () => {
      const chosen = [...(input.files ?? [])];
      input.value = "";
      const bytes = chosen.reduce((sum, one) => sum + one.size, 0) + this.all.reduce((sum, one) => sum + one.content.length, 0);
      if (bytes > BYTES_MAX) return refuse(`Files may have ${size(BYTES_MAX)} together`);
      if (chosen.length + this.all.length > FILES_MAX) return refuse(`There may be ${FILES_MAX} files`);
      const names = new Set(chosen.map((one) => one.name));
      const added = await Promise.all(chosen.map(read));
      this.set([...this.all.filter((one) => !names.has(one.name)), ...added]);
      onEdit();
    });
  }

  /** @param {Entry[]} entries in place of those that were there */
  set(entries) {
    this.all = entries;
    this.list.replaceChildren(...entries.map((entry) => {
      const item = document.createElement("li");
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${entry.name}`);
      remove.addEventListener("click", () => {
        this.set(this.all.filter((one) => one !== entry));
        this.onEdit();
      });
      item.append(entry.name, remove);
      return item;
    }));
  }
}

/**
 * Text where it is UTF-8, else base64.
 * @param {globalThis.File} file
 * @returns {Promise<Entry>}
 */
async function read(file) {
  const bytes = await file.arrayBuffer();
  try {
    const content = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { name: file.name, content, encoding: "utf-8" };
  } catch {
    return { name: file.name, content: base64(new Uint8Array(bytes)), encoding: "base64" };
  }
}
