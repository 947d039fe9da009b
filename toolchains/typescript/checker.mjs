// The TypeScript service: checks one file at a time in a living tsc and turns it into JavaScript. It runs nothing.
//
// A frame is a length (4 bytes, big endian) and that many bytes of JSON. In: {code, check}. Out: {diagnostics, code},
// where code is null when diagnostics stand in its way. One frame at a time, in order.
import fs from "node:fs";
import { createRequire } from "node:module";

const PACKAGES = "/usr/lib/checker/node_modules";
const MAIN = "/work/main.ts";
const CONFIG = "/work/tsconfig.json";
const LIB = ["es2025", "esnext.array", "esnext.decorators", "esnext.disposable", "esnext.error", "esnext.sharedmemory"];
const OPTIONS = { target: "es2025", lib: LIB, types: ["node", "webassembly"], skipLibCheck: true, noEmit: true }; // as in typescript.toml
const EMPTY = "export {};\n";

const { API } = await import(`${PACKAGES}/typescript/dist/api/async/api.js`);
const swc = createRequire(import.meta.url)(`${PACKAGES}/@swc/core-linux-x64-gnu/swc.linux-x64-gnu.node`);

const files = new Map([[CONFIG, JSON.stringify({ compilerOptions: OPTIONS, files: ["main.ts"] })], [MAIN, EMPTY]]);
const inWork = (name) => name.startsWith("/work/");
const api = new API({
  cwd: "/work",
  tsserverPath: "/usr/bin/tsc",
  fs: {
    readFile: (name) => (inWork(name) ? (files.get(name) ?? null) : undefined),
    fileExists: (name) => (inWork(name) ? files.has(name) : undefined),
    directoryExists: (name) => (name === "/work" ? true : inWork(name) ? false : undefined),
    getAccessibleEntries: (name) => (name === "/work" ? { files: ["main.ts", "tsconfig.json"], directories: [] } : undefined),
    realpath: (name) => (name === "/work" || inWork(name) ? name : undefined),
  },
});
await (await api.updateSnapshot({ openProjects: [CONFIG] })).dispose();

let disposed = Promise.resolve(); // of the snapshot before, which nobody needs to wait for

async function diagnose(code) {
  await disposed;
  files.set(MAIN, code);
  const snapshot = await api.updateSnapshot({ fileChanges: { changed: [MAIN] } });
  try {
    const { program } = snapshot.getProjects()[0];
    const [general, globals, syntactic, semantic] = await Promise.all([
      program.getProgramDiagnostics(), program.getGlobalDiagnostics(), program.getSyntacticDiagnostics(MAIN),
      program.getSemanticDiagnostics(MAIN),
    ]);
    // As tsc does: of what cannot be parsed it says no more than that.
    return format(code, unique([...general, ...syntactic, ...globals, ...(syntactic.length ? [] : semantic)]));
  } finally {
    disposed = snapshot.dispose();
    files.set(MAIN, EMPTY);
  }
}

function unique(diagnostics) {
  const seen = new Set();
  return diagnostics
    .filter((d) => !seen.has((d.key = `${d.fileName}:${d.pos}:${d.code}:${d.text}`)) && seen.add(d.key))
    .sort((a, b) => (a.fileName ?? "").localeCompare(b.fileName ?? "") || a.pos - b.pos || a.end - b.end || a.code - b.code);
}

const CATEGORIES = ["warning", "error", "suggestion", "message"];

function format(code, diagnostics) {
  return diagnostics.map((d) => {
    const place = d.fileName === undefined ? "" : `${d.fileName.replace(/^\/work\//, "")}${position(code, d.pos)}: `;
    return `${place}${CATEGORIES[d.category]} TS${d.code}: ${flatten(d, 0)}\n`;
  }).join("");
}

function flatten(diagnostic, depth) {
  const chain = (diagnostic.messageChain ?? []).map((next) => `\n${"  ".repeat(depth + 1)}${flatten(next, depth + 1)}`);
  return diagnostic.text + chain.join("");
}

function position(code, offset) {
  const before = code.slice(0, offset).split(/\r\n|[\n\r\u2028\u2029]/);
  return `(${before.length},${before.at(-1).length + 1})`;
}

// What @swc/core hands to its native part, which is all that is installed; 1.15, because 1.16 unpacks itself at every
// start, under a lock of a kind that jails do not have.
const EMIT = Buffer.from(JSON.stringify({
  filename: MAIN, sourceFileName: "main.ts", sourceMaps: true, inlineSourcesContent: true, isModule: true, // else decorators of scripts come out wrong
  swcrc: false, configFile: false,
  jsc: {
    target: "es2024", keepClassNames: true, externalHelpers: false, parser: { syntax: "typescript", decorators: true },
    transform: { decoratorVersion: "2023-11", useDefineForClassFields: true },
  },
}));

function emit(code) {
  const { code: output, map } = swc.transformSync(code, false, EMIT);
  // tsc writes "use strict" into scripts, and in a module it changes nothing.
  const shifted = JSON.parse(map);
  shifted.mappings = `;${shifted.mappings}`;
  shifted.file = "main.js";
  const inlined = Buffer.from(JSON.stringify(shifted)).toString("base64");
  return `"use strict";\n${output}//# sourceMappingURL=data:application/json;base64,${inlined}`;
}

async function answer({ code, check }) {
  const [diagnostics, emitted] = await Promise.all([check ? diagnose(code) : "", emitted_or_null(code)]);
  return { diagnostics, code: /^\S*: error |^error /m.test(diagnostics) ? null : emitted };
}

async function emitted_or_null(code) {
  await new Promise(setImmediate); // once tsc has begun
  try {
    const emitted = emit(code);
    // swc gives decorated classes a Symbol.metadata, which tsc does not and this Node has not: tsc shall emit them.
    return emitted.includes("Symbol.metadata") && !code.includes("Symbol.metadata") ? null : emitted;
  } catch {
    return null; // not for us: tsc itself will say what is wrong with it
  }
}

emit("enum Warm { Up }\nconsole.log(Warm.Up);\n");
for (let turn = 0; turn < 3; turn++) await diagnose(`console.log("warm ${turn}");\n`);

function frame(value) {
  const body = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

let pending = Buffer.alloc(0);
fs.writeSync(1, frame({ ready: true }));
for await (const chunk of process.stdin) {
  pending = pending.length ? Buffer.concat([pending, chunk]) : chunk;
  while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
    const size = pending.readUInt32BE(0);
    const request = JSON.parse(pending.subarray(4, 4 + size).toString());
    pending = pending.subarray(4 + size);
    const reply = frame({ id: request.id, ...(await answer(request)) });
    for (let sent = 0; sent < reply.length; ) sent += fs.writeSync(1, reply, sent);
  }
}
process.exit(0);
