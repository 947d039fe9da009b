// Reads an event stream (HTML Living Standard, "Server-sent events") as this server writes it: event, data, empty line.

const LINE_MAX = 256 * 2 ** 20; // characters; an output of 1 MB that is all NUL makes a line of 12

/**
 * The events until the stream ends, each with its data read as JSON. Throws what reading the stream throws,
 * SyntaxError for data that is no JSON, and RangeError for a line above LINE_MAX.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<{ name: string, data: any }>}
 */
export async function* events(body) {
  let name = "";
  let data = "";
  for await (const line of lines(body)) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
    else if (line === "" && data !== "") {
      yield { name, data: JSON.parse(data) };
      name = data = "";
    }
  }
}

/**
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<string>}
 */
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  /** @type {string[]} */
  let parts = []; // of the line that has not ended: joined once, because it may be long
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const [first = "", ...others] = value.split("\n");
    parts.push(first);
    length += first.length;
    if (length > LINE_MAX) throw new RangeError(`a line of more than ${LINE_MAX} characters`);
    for (const part of others) {
      const line = parts.join("");
      yield line.endsWith("\r") ? line.slice(0, -1) : line;
      parts = [part];
      length = part.length;
    }
  }
}
