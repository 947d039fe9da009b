// Makes a started Node wait for go just before it loads the program, so that everything after that is Node's own.
"use strict";
const fs = require("node:fs");

const gate = process.env.CELLBLOCK_GATE === undefined ? -1 : Number(process.env.CELLBLOCK_GATE);
delete process.env.CELLBLOCK_GATE;
delete require.cache[__filename];
process.execArgv = process.execArgv.filter((argument, index, all) => argument !== "--require" && all[index - 1] !== "--require");

if (gate >= 0) {
  // Load what the program's first word needs. Its streams themselves are left alone: making them would make the
  // descriptors non-blocking, and fs.writeSync(1, ...) fail where a command waits.
  require("node:net");
  require("node:tty");
  require("node:util").format("%s %o", "warm", { up: [1, "two"] });
  // Where nobody else waits for the end, skip the taking down of a virtual machine that is about to vanish (4 ms).
  // Not after a failure: Node prints an uncaught error only after this event.
  process.on("exit", function end(code) {
    if (code === 0 && process.listenerCount("exit") === 1) process.reallyExit(0);
  });
  fs.writeSync(gate, "ready");
  const message = Buffer.alloc(64 << 10);
  const length = fs.readSync(gate, message);
  if (length === 0) process.reallyExit(0);
  fs.closeSync(gate);
  process.argv.push(...JSON.parse(message.toString("utf8", 0, length)));
}
