// Calls functions of modules: a line of JSON {module, name, args} in, a line {result} or {error} out.

import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const { module, name, args } = JSON.parse(line);
  try {
    const result = await (await import(module))[name](...args);
    console.log(JSON.stringify({ result: result ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
