// Facts as a person reads them.

const STAGES = new Map([["compile", "Compiling"], ["run", "Running"]]);

/** @param {string} id of a step of a language */
export const stage = (id) => STAGES.get(id) ?? `Step ${id}`;

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toPrecision(2)} ms`;
  return seconds < 0.9995 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 2 ** 20 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 2 ** 20).toFixed(1)} MB`;
}

/**
 * How a program ended, in a sentence.
 * @param {import("./server.js").Result} result
 */
export function ending(result) {
  switch (result.reason) {
    case "compile_error":
      return /^Compilation .*/.exec(result.error ?? "")?.[0] ?? "It does not compile";
    case "signal":
      return `Killed by ${result.signal}`;
    case "exited":
      return result.success ? "Finished" : `Exited with code ${result.exit_code}`;
    default:
      return result.error ?? result.reason; // a limit: the sentence stands alone
  }
}

/**
 * What was measured: labels and values.
 * @param {import("./server.js").Result} result
 * @returns {[string, string][]}
 */
export function figures(result) {
  /** @type {[string, string][]} */
  const found = [];
  if (result.reason === "compile_error") return [["Compiler", duration(result.compile_time)]];
  if (result.cached) found.push(["Compiled", "before"]);
  else if (result.compile_time) found.push(["Compiled in", duration(result.compile_time)]);
  found.push(["Ran for", duration(result.wall_time)]);
  if (result.cpu_time !== null) found.push(["CPU", duration(result.cpu_time)]);
  if (result.memory_bytes !== null) found.push(["Memory", size(result.memory_bytes)]);
  return found;
}
