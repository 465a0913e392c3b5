// Server-sent events: the JSON of each `data:` line.

/** Return the events that a piece of the stream completes, and the rest that waits for the next piece. */
export function readEvents(rest, piece) {
  const blocks = (rest + piece).replaceAll("\r\n", "\n").split("\n\n");
  const last = blocks.pop();
  const events = blocks.map(dataOf).filter((data) => data && data !== "[DONE]").map((data) => JSON.parse(data));
  return { events, rest: last };
}

function dataOf(block) {
  return block.split("\n").filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}
