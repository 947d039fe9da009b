// A program as the fragment of a link, which browsers send to nobody: JSON, compressed (RFC 1951), in base64url.

const VERSION = "1.";
const LINK_MAX = 64 * 1024; // characters: what every browser and most places to paste it take
const PROGRAM_MAX = 8 * 2 ** 20; // bytes that a link may unpack to
const TEXT_MAX = 256 * 1024; // characters of source, input and arguments; a browser takes seconds to show more

/**
 * @param {import("./server.js").Program} program
 * @returns {Promise<string>} a fragment without its #. Throws RangeError where it is too long for a link.
 */
export async function encode(program) {
  const stream = new Blob([JSON.stringify(program)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  if (bytes.length * (4 / 3) > LINK_MAX || shownLength(program) > TEXT_MAX) throw new RangeError("This is too long for a link");
  return VERSION + base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} with padding (RFC 4648, 4)
 */
export function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/**
 * @param {string} fragment without its #
 * @returns {Promise<import("./server.js").Program>} Throws where it is no link of ours.
 */
export async function decode(fragment) {
  if (!fragment.startsWith(VERSION)) throw new SyntaxError("not a version that is known");
  const text = atob(fragment.slice(VERSION.length).replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const found = JSON.parse(await readAtMost(stream, PROGRAM_MAX));
  const { language, code, stdin = "", args = [], files = [] } = found;
  const texts = [language, code, stdin, ...args, ...files.flatMap((/** @type {any} */ one) => [one.name, one.content, one.encoding])];
  if (!texts.every((one) => typeof one === "string")) throw new TypeError("not a program");
  if (shownLength(found) > TEXT_MAX) throw new RangeError("too long");
  return { language, code, stdin, args, files };
}

/** @param {{ code: string, stdin?: string, args?: string[] }} program */
const shownLength = ({ code, stdin = "", args = [] }) => args.reduce((sum, one) => sum + one.length + 1, code.length + stdin.length);

/**
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} stream
 * @param {number} bytesMax
 */
async function readAtMost(stream, bytesMax) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > bytesMax) throw new RangeError("too large");
    text += decoder.decode(value, { stream: true });
  }
}
