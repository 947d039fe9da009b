// Asks the server, and tells what it refuses as errors with a sentence for a person.

import { events } from "./events.js";

/**
 * @typedef {{ name: string, content: string, encoding: "utf-8" | "base64" }} File
 * @typedef {{ language: string, code: string, stdin: string, args: string[], files: File[] }} Program
 * @typedef {{ line: number, found: string, reason: string }} Warning
 * @typedef {{ success: boolean, error: string | null, stdout: string, stderr: string, exit_code: number | null,
 *   signal: string | null, reason: string, cpu_time: number | null, wall_time: number, compile_time: number,
 *   memory_bytes: number | null, cached: boolean, warnings?: Warning[] }} Result
 */

const HEARD = ["stage", "stdout", "stderr"]; // a newer server may tell more
const NOT_OURS = "What answered is not cellblock";

/** What the server refused. `status` is that of HTTP; `mayRepeat`: the same request may be answered later. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   * @param {string | null} [retryAfter] of the header; a date is not told
   */
  constructor(status, detail, retryAfter) {
    super(/^\d+$/.test(retryAfter ?? "") && !detail.includes("again") ? `${detail}; try again in ${retryAfter} s` : detail);
    this.status = status;
    this.mayRepeat = [408, 429, 502, 503, 504].includes(status);
  }
}

/** The server could not be reached, or went away before the program's end was told. */
export class ConnectionLost extends Error {}

/**
 * A response with a status below 400. Throws Refused, ConnectionLost, and AbortError where the signal says so.
 * @param {string} path relative to the page
 * @param {string} token empty where there is none
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function ask(path, token, init = {}) {
  const headers = new Headers(init.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ConnectionLost("The server cannot be reached");
  }
  if (response.ok) return response;
  let detail = `The server answered with status ${response.status}`;
  try {
    const problem = await response.json();
    if (typeof problem.detail === "string") detail = problem.detail;
  } catch {
    // A proxy's own page: its status says enough.
  }
  throw new Refused(response.status, detail, response.headers.get("Retry-After"));
}

/**
 * The JSON that a GET answers. Throws as `ask` does, and Refused for what is no JSON.
 * @param {string} path
 * @param {string} token
 * @returns {Promise<any>}
 */
export async function askJson(path, token) {
  const response = await ask(path, token, { headers: { Accept: "application/json" } });
  try {
    return await response.json();
  } catch {
    throw new Refused(502, NOT_OURS);
  }
}

/**
 * Run a program until it ends. `hear` gets the events stage, stdout and stderr as they come. To abort the signal ends
 * the run on the server too. Throws as `ask` does.
 * @param {Program} program
 * @param {string} token
 * @param {AbortSignal} signal
 * @param {(name: string, data: any) => void} hear
 * @returns {Promise<Result>}
 */
export async function run(program, token, signal, hear) {
  const headers = { Accept: "text/event-stream", "Content-Type": "application/json" };
  const response = await ask("execute", token, { method: "POST", body: JSON.stringify(program), headers, signal });
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) throw new Refused(502, NOT_OURS);
  try {
    for await (const { name, data } of events(/** @type {any} */ (response.body))) {
      if (name === "result") return data;
      if (name === "error") throw new Refused(data.status, data.detail);
      if (HEARD.includes(name)) hear(name, data);
    }
  } catch (error) {
    if (error instanceof Refused || signal.aborted) throw error;
  }
  throw new ConnectionLost("The connection was lost before the program's end was told");
}
