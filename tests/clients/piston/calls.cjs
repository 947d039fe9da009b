// What piston-api is asked to do, and what it says of it, as JSON. Argument: URL of the server.
const { PistonClient } = require("piston-api");

const client = new PistonClient({ baseUrl: process.argv[2] });
const failure = (promise) => promise.then(() => null, (error) => error.message);

// A session that does with each piece of output what `answer` says, until its program ends.
async function session(language, code, answer) {
  const found = { stages: [], output: "", code: undefined };
  const ended = new Promise((resolve) => client.on("sessionCompleted", (_, code) => (found.code = code, resolve())));
  client.on("sessionStage", (_, stage) => found.stages.push(stage));
  let id;
  const waiting = [];
  const hear = (text) => { found.output += text; answer(id, found.output); };
  client.on("sessionOutput", (_, text) => (id === undefined ? waiting.push(text) : hear(text)));
  id = await client.runInteractive(code, language, { runTimeout: 10000 });
  waiting.forEach(hear);
  await ended;
  client.removeAllListeners();
  client.destroySession(id);
  return found;
}

const CALCULATOR = `
while True:
    text = input("> ")
    if text == "quit":
        break
    print("=", eval(text), flush=True)
`;

async function main() {
  const said = [];
  const found = {
    valid: await client.validateInstance(),
    runtimes: (await client.getRuntimes()).length,
    packages: (await client.getPackages()).length,
    install: await failure(client.installRuntime("python")),
    hello: await client.run({ language: "c++", code: '#include <iostream>\nint main() { std::string s; std::cin >> s; std::cout << s; }', stdin: "hello" }),
    again: await client.run({ language: "c++", code: '#include <iostream>\nint main() { std::string s; std::cin >> s; std::cout << s; }', stdin: "again" }),
    unknown: await failure(client.run({ language: "cobol", code: "x" })),
    calculator: await session("python", CALCULATOR, (id, output) => {
      const next = output.endsWith("> ") && ["2 + 3\n", "quit\n"][said.length];
      if (next) client.sendInput(id, said[said.push(next) - 1]);
    }),
    interrupted: await session("python", "import time\nprint('ready', flush=True)\ntry:\n    time.sleep(9)\nexcept KeyboardInterrupt:\n    raise SystemExit(5)", (id) => client.interruptSession(id)),
  };
  console.log(JSON.stringify(found));
}

main();
