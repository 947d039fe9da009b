// Finds the places in the source that compilers, interpreters and stack traces name. Forms, not languages, are told apart.

/** @typedef {{ line: number, column: number, message: string, isWarning: boolean }} Mark */

const MARKS_MAX = 100;

/**
 * Matches `main.ts(1,7)`, `main.c:3:5`, `Main.java:3`, `"main.py", line 3` and `run: line 3`, where `source` is the name
 * of the source's file. Line and column, from 1, are in the groups that `whereIs` reads.
 * @param {string} source
 * @returns {RegExp} global
 */
export function pattern(source) {
  const name = source.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const forms = ["\\((\\d+),(\\d+)\\)", ":(\\d+)(?::(\\d+))?", '", line (\\d+)', ": line (\\d+)(?=:)"];
  return new RegExp(`(?<![\\w.-])${name}(?:${forms.join("|")})`, "g");
}

/**
 * @param {RegExpMatchArray} match of `pattern`
 * @returns {{ line: number, column: number }} from 1; a column that is not named is 1
 */
export function whereIs(match) {
  const line = match[1] ?? match[3] ?? match[5] ?? match[6];
  return { line: Number(line), column: Number(match[2] ?? match[4] ?? 1) };
}

/**
 * What to mark in the source, at most one mark for a line.
 * @param {string} text what was said
 * @param {string} source
 * @param {boolean} isOfCompiler then each place is a finding of its own; else they are the trace of one failure, of which
 *   the innermost place is marked
 * @returns {Mark[]}
 */
export function marks(text, source, isOfCompiler) {
  const lines = text.split("\n");
  const found = lines.flatMap((line, index) => [...line.matchAll(pattern(source))].slice(0, 1).map((match) => ({ match, index })));
  /** @type {Map<number, Mark>} */
  const byLine = new Map();
  for (const { match, index } of isOfCompiler ? found.slice(0, MARKS_MAX) : innermost(found)) {
    const message = messageOf(lines, index, match);
    if (/^note\b/.test(message)) continue;
    const position = whereIs(match);
    const mark = { ...position, message, isWarning: /^warning\b/.test(message) };
    if (!byLine.has(position.line) || byLine.get(position.line)?.isWarning) byLine.set(position.line, mark);
  }
  return [...byLine.values()];
}

/**
 * The last place where the form is `", line 3`, whose traces end with the latest call; the first in all others.
 * @template {{ match: RegExpMatchArray }} Found
 * @param {Found[]} found
 */
function innermost(found) {
  const last = found.at(-1);
  if (!last) return [];
  return endsWithLatest(last.match) ? [last] : found.slice(0, 1);
}

/**
 * What is said of a place: behind it, on the line before an arrow, or in the line that names the failure.
 * @param {string[]} lines
 * @param {number} index of the line with the place
 * @param {RegExpMatchArray} match
 */
function messageOf(lines, index, match) {
  if (endsWithLatest(match)) return lines.findLast((one) => one.trim()) ?? "";
  const line = lines[index] ?? "";
  if (/^\s*-->\s/.test(line)) return lines[index - 1] ?? "";
  const rest = line.slice((match.index ?? 0) + match[0].length).replace(/^:?\s*/, "");
  if (/^[^+)]*[a-z]{2}/i.test(rest) && !/^\s*at\s/.test(line)) return rest;
  return lines.find((one) => /(error|exception|panic)\b.*:/i.test(one) && !one.includes(match[0])) ?? lines[index + 1] ?? "";
}

/** @param {RegExpMatchArray} match */
const endsWithLatest = (match) => match[5] !== undefined;
