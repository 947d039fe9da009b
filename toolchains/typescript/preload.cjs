// Makes a started Node wait for go just before it loads the program, so that everything after that is Node's own.
"use strict";
const fs = require("node:fs");

const gate = process.env.CELLBLOCK_GATE === undefined ? -1 : Number(process.env.CELLBLOCK_GATE);
const last = Number(process.env.CELLBLOCK_END);
delete process.env.CELLBLOCK_GATE;
delete process.env.CELLBLOCK_END;
delete require.cache[__filename];
process.execArgv = process.execArgv.filter((argument, index, all) => argument !== "--require" && all[index - 1] !== "--require");

// Node was started in another folder: it looks for a package.json where it is when it comes here, and would not look again
// for one that is put there at go.
const { isMainThread } = require("node:worker_threads");
if (isMainThread) process.chdir("/work");

// The jail's /proc tells nothing of the host's processors and its filter knows no netlink, so Node finds no processor and
// no interface. Programs count the former and look through the latter; there is none. In worker threads, too.
const os = require("node:os");
if (os.cpus().length === 0) {
  const idle = { model: "unknown", speed: 0, times: { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 } };
  os.cpus = function cpus() {
    return Array.from({ length: os.availableParallelism() }, () => structuredClone(idle));
  };
  os.networkInterfaces = function networkInterfaces() {
    return {};
  };
  require("node:module").syncBuiltinESMExports();
}

if (gate >= 0) {
  // Do once what a program's first words do, import and print, so that all of it is loaded and compiled. Its streams
  // themselves are left alone: making them would make the descriptors non-blocking, and fs.writeSync(1, ...) fail where a
  // command waits. So a stream without a descriptor prints, and what it does next is left undone: by an exception, since
  // anything that is still to be done after go would change the order in which the program's own callbacks run.
  require("./rehearsal.mjs");
  delete require.cache[require.resolve("./rehearsal.mjs")];
  require("node:util").format("%s %o", "warm", { up: [1, "two"] });
  try {
    const handle = { writeUtf8String() { throw new Error("rehearsed"); } };
    new (require("node:net").Socket)({ handle, readable: false, writable: true }).write("warm\n");
  } catch {}
}

// V8 replaces the code of a loop while it runs (on-stack replacement). Where its middle compiler, Maglev, came first, a loop
// sometimes kept that code to its end: by chance the same program took 0.35 s or 1.5 s of CPU (Node 24, three runs of eight).
// Without Maglev there a loop waits some milliseconds longer for the best code, and always gets it. As an argument of
// Node the switch would make V8 refuse the code that Node's own modules bring with them, which is only for V8 as it was
// built: 3 ms more for each start, 10 ms where the program imports something.
if (isMainThread) require("node:v8").setFlagsFromString("--no-maglev-osr");

if (gate >= 0) {
  // Where nobody else waits for the end, skip the taking down of a virtual machine that is about to vanish (4 ms), and
  // say so, so that nobody waits for the kernel to free its memory either (3 ms): we are killed while we wait.
  // Not after a failure: Node prints an uncaught error only after this event. Nor where the program itself emits it, as
  // it may: Node sets _exiting before it does.
  const { fstatSync, closeSync, writeSync, readSync } = fs;
  const { wait } = Atomics;
  const { ino } = fstatSync(last);
  process.on("exit", function end(code) {
    if (code !== 0 || !process._exiting || process.listenerCount("exit") !== 1) return;
    try {
      if (fstatSync(last).ino === ino) {
        closeSync(1);
        closeSync(2);
        writeSync(last, "ended");
        wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
      }
    } catch {} // the program has closed what was not its own
    process.reallyExit(0);
  });
  const message = Buffer.alloc(64 << 10);
  process.dlopen({ exports: {} }, "/cellblock/input.so"); // returns at go, with the input at descriptor 0
  const length = readSync(gate, message);
  if (length === 0) process.reallyExit(0);
  closeSync(gate);
  process.argv.push(...message.toString("utf8", 0, length).split("\0").slice(1, -1)); // "go", then each with a NUL
}
