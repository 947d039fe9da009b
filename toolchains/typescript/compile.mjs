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

// A tsconfig.json of the request decides what is checked and how, as for `tsc` alone; where the output goes is ours.
const HERE = ["--project", ".", "--outDir", EMITTED, "--rootDir", ".", "--noEmit", "false", "--emitDeclarationOnly", "false",
  "--declaration", "false", "--composite", "false", "--incremental", "false", "--sourceMap", "false"];
const OWN = new Set(["--types", "--skipLibCheck", "--inlineSourceMap", "--inlineSources", "--pretty", "--noCheck"]);

function tscArguments(files) {
  if (!files.includes("tsconfig.json")) return [...options, ...files.filter((name) => /\.[cm]?ts$/.test(name)).sort()];
  const kept = options.filter((option, index) => OWN.has(option) || (OWN.has(options[index - 1]) && !option.startsWith("--")));
  return [...HERE, ...kept];
}

const { status, signal } = spawnSync("/usr/bin/tsc", tscArguments(list(".")), { stdio: "inherit" });
if (status !== 0) {
  if (signal) process.kill(process.pid, signal);
  process.exit(status);
}

// struct file_head of daemon/warden/native/jail.c: bytes of the name, 0, bytes of the content; then both.
const places = new Map(list(".").map((name) => [name, name]));
if (fs.existsSync(EMITTED)) for (const name of list(EMITTED)) places.set(name, path.join(EMITTED, name));
const parts = [];
for (const [name, place] of places) {
  const content = fs.readFileSync(place);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(Buffer.byteLength(name), 0);
  head.writeBigUInt64LE(BigInt(content.length), 8);
  parts.push(head, Buffer.from(name), content);
}
fs.writeFileSync(packed, Buffer.concat(parts));
