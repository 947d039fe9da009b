import { writeSync } from "node:fs";
const line = "x".repeat(99) + "\n";
while (true) writeSync(1, line);
