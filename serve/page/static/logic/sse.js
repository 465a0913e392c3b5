// Server-sent events: the JSON of each `data:` line.

/** Reads a stream of text that arrives in pieces. */
export class EventReader {
  #rest = "";

  /** Return the events that a piece completes. */
  feed(piece) {
    const blocks = (this.#rest + piece).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map(dataOf).filter((data) => data && data !== "[DONE]").map((data) => JSON.parse(data));
  }
}

function dataOf(block) {
  return block.split("\n").filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}
