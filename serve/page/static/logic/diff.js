// Words in which two transcripts differ: Myers' O(ND) difference, "An O(ND) Difference Algorithm and Its Variations", 1986.

const MAX_DIFFERENCES = 3000; // texts that differ more are not compared further: memory grows with its square

/** Return the pairs of equal items as [left, right] indices, in order. */
export function matchItems(left, right) {
  const head = commonHead(left, right);
  const tail = commonTail(left, right, head);
  const inner = matchDiffering(left.slice(head, left.length - tail), right.slice(head, right.length - tail));
  return [
    ...Array.from({ length: head }, (_, index) => [index, index]),
    ...inner.map(([a, b]) => [a + head, b + head]),
    ...Array.from({ length: tail }, (_, index) => [left.length - tail + index, right.length - tail + index]),
  ];
}

function commonHead(left, right) {
  let head = 0;
  while (head < left.length && head < right.length && left[head] === right[head]) head += 1;
  return head;
}

function commonTail(left, right, head) {
  let tail = 0;
  while (tail < Math.min(left.length, right.length) - head && left.at(-1 - tail) === right.at(-1 - tail)) tail += 1;
  return tail;
}

function matchDiffering(left, right) {
  const trace = []; // after n differences: the furthest x on each diagonal k = x - y, from -n to n in steps of 2
  for (let n = 0; n <= Math.min(left.length + right.length, MAX_DIFFERENCES); n += 1) {
    const reached = new Int32Array(n + 1);
    trace.push(reached);
    for (let k = -n; k <= n; k += 2) {
      let { x } = step(trace, n, k);
      while (x < left.length && x - k < right.length && left[x] === right[x - k]) x += 1;
      reached[(k + n) / 2] = x;
      if (x >= left.length && x - k >= right.length) return backtrack(trace, left.length, right.length);
    }
  }
  return [];
}

/** Return where diagonal k is entered with the nth difference, and the diagonal before. */
function step(trace, n, k) {
  if (n === 0) return { x: 0, before: 0 };
  const at = (diagonal) => trace[n - 1][(diagonal + n - 1) / 2];
  const isDown = k === -n || (k !== n && at(k - 1) < at(k + 1));
  return isDown ? { x: at(k + 1), before: k + 1 } : { x: at(k - 1) + 1, before: k - 1 };
}

function backtrack(trace, nLeft, nRight) {
  const pairs = [];
  let [end, k] = [nLeft, nLeft - nRight];
  for (let n = trace.length - 1; n >= 0; n -= 1) {
    const { x, before } = step(trace, n, k);
    for (let at = end - 1; at >= x; at -= 1) pairs.push([at, at - k]);
    end = n ? trace[n - 1][(before + n - 1) / 2] : 0;
    k = before;
  }
  return pairs.reverse();
}

/** Return a word as it is compared: without case, punctuation and the form of its apostrophes. */
export function plainWord(text) {
  return text.normalize("NFKC").toLowerCase().replaceAll("’", "'")
    .replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}%]+$/gu, "");
}

/**
 * Compare two lists of paragraphs word by word.
 *
 * Returns {nWords, nDiffer, rows}: words of the left side, words that differ (a replaced, missing or additional word counts once),
 * and rows of paragraphs that are about the same words: {left, right, differs}, each side [{start, pieces: [{text, differs}]}].
 */
export function compareTexts(left, right) {
  const sides = [left, right].map(listWords);
  const pairs = matchItems(...sides.map((words) => words.map((word) => word.plain)));
  for (const [a, b] of pairs) {
    sides[0][a].mate = b;
    sides[1][b].mate = a;
  }
  return { nWords: sides[0].length, nDiffer: countDiffering(sides, pairs), rows: alignRows([left, right], sides, pairs) };
}

function listWords(paragraphs) {
  return paragraphs.flatMap(({ text }, paragraph) => [...text.matchAll(/\S+/g)]
    .map((match) => ({ paragraph, from: match.index, to: match.index + match[0].length, plain: plainWord(match[0]), mate: null }))
    .filter((word) => word.plain));
}

function countDiffering([left, right], pairs) {
  let [a, b, count] = [0, 0, 0];
  for (const [x, y] of [...pairs, [left.length, right.length]]) {
    count += Math.max(x - a, y - b);
    [a, b] = [x + 1, y + 1];
  }
  return count;
}

function alignRows(paragraphs, sides, pairs) {
  const rows = [];
  const grouped = sides.map((words, side) => groupWords(words, paragraphs[side].length));
  let start = [0, 0];
  const push = (end) => {
    if (end[0] === start[0] && end[1] === start[1]) return;
    const [left, right] = [0, 1].map((side) => paragraphs[side].slice(start[side], end[side])
      .map((paragraph, index) => marked(paragraph, grouped[side][start[side] + index])));
    const differs = [...left, ...right].some(({ pieces }) => pieces.some((piece) => piece.differs));
    rows.push({ left, right, differs });
    start = end;
  };
  for (const pair of pairs) {
    const words = pair.map((index, side) => sides[side][index]);
    const isFirst = pair.every((index, side) => index > 0 && sides[side][index - 1].paragraph < words[side].paragraph);
    if (isFirst) push(words.map((word) => word.paragraph));
  }
  push(paragraphs.map((side) => side.length));
  return rows;
}

function groupWords(words, nParagraphs) {
  const groups = Array.from({ length: nParagraphs }, () => []);
  for (const word of words) groups[word.paragraph].push(word);
  return groups;
}

function marked({ start, text }, words) {
  const pieces = [];
  let offset = 0;
  const add = (to, differs) => {
    const last = pieces.at(-1);
    const piece = text.slice(offset, to);
    if (piece && last?.differs === differs) last.text += piece;
    else if (piece) pieces.push({ text: piece, differs });
    offset = Math.max(offset, to);
  };
  words.forEach((word, index) => {
    const differs = word.mate === null;
    add(word.from, differs && index > 0 && words[index - 1].mate === null);
    add(word.to, differs);
  });
  add(text.length, false);
  return { start, pieces };
}
