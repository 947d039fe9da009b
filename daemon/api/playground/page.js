// The page: what its parts show, and what follows when a person runs, stops, edits, links or chooses.

import { Editor } from "./editor.js";
import { Files } from "./files.js";
import { decode, encode } from "./link.js";
import { Output } from "./output.js";
import { marks, pattern, whereIs } from "./places.js";
import { askJson, ConnectionLost, Refused, run } from "./server.js";
import * as words from "./words.js";

/**
 * @typedef {{ id: string, title: string, source?: string, lexer?: string | null, example?: string | null, version?: string | null,
 *   compiles?: boolean, start_charged?: boolean }} Language
 * @typedef {{ code: string, stdin: string, args: string }} Draft what was written in one language
 */

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const part = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} id @returns {HTMLTextAreaElement} */
const area = (id) => part(id);
/** @param {string} id @returns {HTMLButtonElement} */
const button = (id) => part(id);

const TOKEN = "cellblock token"; // in sessionStorage, which ends with the tab
const DRAFTS = "cellblock drafts";
/** @type {Map<string, string>} what a reload forgets */
const unstored = new Map();

const editor = new Editor(area("code"), part("layer"), part("gutter"), edited);
const output = new Output(part("output"), part("note"));
const files = new Files(part("files"), part("listed"), edited, (text) => say(text, "bad"));
/** @type {HTMLSelectElement} */
const choice = part("language");
/** @type {Map<string, Language>} */
const languages = new Map();
const drafts = storedDrafts();
/** @type {AbortController | null} */
let running = null;

/** @param {string} key */
function stored(key) {
  try {
    return unstored.get(key) ?? sessionStorage.getItem(key) ?? "";
  } catch {
    return ""; // a browser that stores nothing
  }
}

/** @returns {{ language: string, byId: Record<string, Draft> }} none where another page of this address stored its own */
function storedDrafts() {
  try {
    const { language, byId } = JSON.parse(stored(DRAFTS));
    if (typeof language === "string" && byId instanceof Object) return { language, byId };
  } catch {
    // There are none.
  }
  return { language: "", byId: {} };
}

/** @param {string} key @param {string} value */
function store(key, value) {
  try {
    sessionStorage.setItem(key, value);
    unstored.delete(key);
  } catch {
    unstored.set(key, value); // there is no room, or it is not allowed
  }
}

/** @param {string} text @param {"" | "ok" | "bad"} [kind] */
function say(text, kind = "") {
  const status = part("status");
  status.textContent = text;
  status.className = kind;
  button("again").hidden = true;
}

// -- languages and drafts

/** Get the languages. Without a token where one is needed only their ids are told. Throws as `ask` does. */
async function loadLanguages() {
  const token = stored(TOKEN);
  button("forget").hidden = token === "";
  try {
    const found = await askJson("languages", token);
    part("access").hidden = true;
    offer(found.languages);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401)) throw error;
    needToken(token === "" ? "" : error.message);
    const index = await askJson("./", "");
    offer(index.supported_languages.map((/** @type {string} */ id) => ({ id, title: id })));
  }
}

/** @param {string} wrong what is wrong with the token that there is */
function needToken(wrong) {
  part("access").hidden = false;
  button("forget").hidden = true;
  store(TOKEN, "");
  if (wrong) say(wrong, "bad");
}

/** @param {Language[]} found */
function offer(found) {
  languages.clear();
  for (const one of found) languages.set(one.id, one);
  choice.replaceChildren(...found.map(({ id, title }) => new Option(title, id)));
  const first = found.find((one) => !one.compiles && one.start_charged === false) ?? found[0]; // one that starts at once
  const wanted = languages.has(drafts.language) ? drafts.language : first?.id;
  if (wanted) choose(wanted);
}

/** @param {string} id of the language to show, with what was last written in it or its example */
function choose(id) {
  const language = languages.get(id);
  const draft = drafts.byId[id];
  choice.value = drafts.language = id;
  editor.set(draft?.code ?? language?.example ?? "", language?.lexer ?? "");
  area("stdin").value = draft?.stdin ?? "";
  area("args").value = draft?.args ?? "";
  part("version").textContent = language?.version ?? "";
}

/** A person has changed something: it is kept for a reload, and a link to what was there before is a wrong one. */
function edited() {
  drafts.byId[choice.value] = { code: editor.text, stdin: area("stdin").value, args: area("args").value };
  store(DRAFTS, JSON.stringify(drafts));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
}

// -- links

/** @returns {import("./server.js").Program} */
function program() {
  const args = area("args").value.split("\n");
  if (args.at(-1) === "") args.pop();
  return { language: choice.value, code: editor.text, stdin: area("stdin").value, args, files: files.all };
}

async function copyLink() {
  try {
    history.replaceState(null, "", `#${await encode(program())}`);
  } catch (error) {
    return say(/** @type {Error} */ (error).message, "bad");
  }
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied", "ok");
  } catch {
    say("The link is in the address bar", "ok"); // pages without TLS may not copy
  }
}

/** Show the program of the address, if there is one. It is not run: it may be anybody's. */
async function openLink() {
  if (location.hash.length < 2) return;
  try {
    const linked = await decode(location.hash.slice(1));
    if (!languages.has(linked.language)) return say(`This server has no language ${linked.language}`, "bad");
    drafts.byId[linked.language] = { code: linked.code, stdin: linked.stdin, args: linked.args.join("\n") };
    choose(linked.language);
    files.set(linked.files);
    if (linked.args.length || linked.files.length) part("more").setAttribute("open", "");
    output.clear("This program came with the link. It has not run yet.");
    part("figures").replaceChildren();
    say("");
  } catch {
    say("This link is damaged, or of another version", "bad");
  }
}

// -- running

async function start() {
  if (running || !choice.value) return;
  const stop = (running = new AbortController());
  const sent = program();
  const startedAt = performance.now();
  const clock = setInterval(() => (part("clock").textContent = words.duration((performance.now() - startedAt) / 1000)), 100);
  button("run").disabled = true;
  button("stop").disabled = false;
  output.clear("");
  editor.mark([]);
  part("figures").replaceChildren();
  say("Waiting for a place");
  try {
    const result = await run(sent, stored(TOKEN), stop.signal, (name, data) => {
      if (name === "stage") say(words.stage(data.stage));
      else output.add(name, data.text);
    });
    tell(result);
    const isShown = choice.value === sent.language && editor.text === sent.code;
    if (isShown && !result.success) markErrors(result, languages.get(sent.language)?.source);
  } catch (error) {
    output.draw();
    if (stop.signal.aborted) say("Stopped");
    else tellError(error);
  } finally {
    clearInterval(clock);
    part("clock").textContent = "";
    button("run").disabled = false;
    button("stop").disabled = true;
    running = null;
  }
}

/** @param {import("./server.js").Result} result */
function tell(result) {
  if (result.reason === "compile_error") output.add("stderr", result.error ?? "");
  output.wait("The program wrote nothing.");
  output.draw();
  if (result.reason === "compile_error") output.pane.scrollTop = 0; // the first error is the one to mend
  const warning = result.warnings?.map((one) => `. Line ${one.line}: ${one.reason}`).join("") ?? "";
  say(words.ending(result) + warning, result.success ? "ok" : "bad");
  part("status").parentElement?.scrollIntoView({ block: "nearest" }); // on a phone it is below the source
  part("figures").replaceChildren(...words.figures(result).map(([label, value]) => {
    const [pair, dt, dd] = ["div", "dt", "dd"].map((name) => document.createElement(name));
    if (dt) dt.textContent = label;
    if (dd) dd.textContent = value;
    pair?.append(dt ?? "", dd ?? "");
    return pair ?? "";
  }));
}

/**
 * @param {import("./server.js").Result} result
 * @param {string | undefined} source name of the source's file, where it is known
 */
function markErrors(result, source) {
  if (!source) return;
  const isCompileError = result.reason === "compile_error";
  output.link(pattern(source), (match) => editor.goTo(whereIs(match)));
  editor.mark(marks((isCompileError ? result.error : result.stderr) ?? "", source, isCompileError));
}

/** @param {unknown} error */
function tellError(error) {
  if (!(error instanceof Refused || error instanceof ConnectionLost)) {
    say("What the server told cannot be shown; the browser's console says why", "bad");
    throw error;
  }
  if (error instanceof Refused && error.status === 401) needToken("");
  output.wait("");
  say(error.message, "bad");
  button("again").hidden = error instanceof Refused && !error.mayRepeat;
}

const stop = () => running?.abort();

// -- what a person does

choice.addEventListener("change", () => {
  choose(choice.value);
  store(DRAFTS, JSON.stringify(drafts));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
});
for (const id of ["stdin", "args"]) part(id).addEventListener("input", edited);
button("run").addEventListener("click", start);
button("stop").addEventListener("click", stop);
button("link").addEventListener("click", copyLink);
button("again").addEventListener("click", () => (languages.size ? start() : begin()));
button("forget").addEventListener("click", () => {
  store(TOKEN, "");
  begin();
});
part("access").addEventListener("submit", (event) => {
  event.preventDefault();
  store(TOKEN, /** @type {HTMLInputElement} */ (part("token")).value);
  /** @type {HTMLFormElement} */ (part("access")).reset();
  begin();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    start();
  } else if (event.key === "Escape") stop();
});
addEventListener("hashchange", openLink);

async function begin() {
  say("");
  output.clear("What the program writes appears here.");
  try {
    await loadLanguages();
    await openLink();
  } catch (error) {
    tellError(error);
  }
}

begin();
