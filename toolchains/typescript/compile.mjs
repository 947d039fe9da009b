// The compile step of a source with files: tsc emits every module of the request, and all that the program needs is
// packed into one file, which is what a step can leave. Arguments: the name of that file, then tsc's.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const [packed, ...options] = process.argv.slice(2);
const EMITTED = "/tmp/emitted"; // not below /work, because tsc leaves out what lies where it writes to
const list = (folder) => fs.readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));

const isModule = (name) => /\.[cm]?ts$/.test(name) && !name.includes(".d.");
const run = (list, stdio) => spawnSync("/usr/bin/tsc", list, { stdio });

// A tsconfig.json of the request decides what is checked and how, as for `tsc` alone; where the output goes is ours. Without
// one main.ts is checked with all that it imports and with all declarations.
function check(files) {
  if (!files.includes("tsconfig.json")) {
    const roots = files.filter((name) => name === "main.ts" || /\.d\.([^/]+\.)?[cm]?ts$/.test(name));
    return run([...options, ...roots.map((name) => `./${name}`)], "inherit");
  }
  const own = ["--project", ".", "--outDir", EMITTED, "--rootDir", ".", "--noEmit", "false", "--emitDeclarationOnly", "false",
    "--skipLibCheck", "--pretty", "false"];
  if (!/"(types|typeRoots|extends)"/.test(fs.readFileSync("tsconfig.json", "utf8"))) own.push("--types", "node,webassembly");
  if (options.includes("--noCheck")) own.push("--noCheck");
  return run(own, "inherit");
}

function end(text) {
  process.stdout.write(`${text}\n`);
  process.exit(2);
}

const given = list(".");
const { status, signal } = check(given);
if (status !== 0) {
  if (signal) process.kill(process.pid, signal);
  process.exit(status);
}
// Modules that nothing imports by name (a worker, a computed import): emitted as they are, if they can be.
const emitted = (name) => name.replace(/ts$/, "js");
const rest = given.filter((name) => isModule(name) && ![emitted(name), path.join(EMITTED, emitted(name))].some(fs.existsSync));
if (rest.length) run(["--noCheck", "--ignoreConfig", ...options.filter((option) => option !== "--noCheck"), ...rest.map((name) => `./${name}`)], "ignore");

// struct file_head of daemon/warden/native/jail.c: bytes of the name, 0, bytes of the content; then both.
const places = new Map(list(".").map((name) => [name, name]));
if (fs.existsSync(EMITTED)) for (const name of list(EMITTED)) places.set(name, path.join(EMITTED, name));
for (const name of places.keys())
  for (let folder = path.dirname(name); folder !== "."; folder = path.dirname(folder))
    if (places.has(folder)) end(`error TS5033: Could not write file '${folder}': it is a folder of the request.`);
const parts = [];
for (const [name, place] of places) {
  const content = fs.readFileSync(place);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(Buffer.byteLength(name), 0);
  head.writeBigUInt64LE(BigInt(content.length), 8);
  parts.push(head, Buffer.from(name), content);
}
fs.writeFileSync(packed, Buffer.concat(parts));
