// Where sentences and clauses end: the rules of sottovoce.runtime.timestamps.sentences.

const SENTENCE_ENDS = ".。!！?？";
const CLAUSE_ENDS = ",;:，；：、—–";
const CLOSING_MARKS = /["'”)\]}%]+$/;
const ABBREVIATIONS = new Set(
  "mr mrs ms dr st prof sr jr vs gen col capt lt sgt rev hon".split(" "),
);

/** Return whether a word ends a sentence: in "i.e. so", "Mr. Hill" and "J. Hill" the first does not. */
export function endsSentence(text, following) {
  const word = text.trim().replace(CLOSING_MARKS, "");
  if (!word || !SENTENCE_ENDS.includes(word.at(-1))) return false;
  const [first] = following.trimStart();
  if (first && first === first.toLowerCase() && first !== first.toUpperCase()) return false;
  const bare = word.slice(0, -1).toLowerCase();
  const isInitial = /^[a-z]$/.test(bare) && bare !== "i";
  return !(word.endsWith(".") && (ABBREVIATIONS.has(bare) || isInitial));
}

/** Return whether a word ends with a comma or the like. */
export function endsClause(text) {
  const last = text.trim().replace(CLOSING_MARKS, "").at(-1);
  return last !== undefined && CLAUSE_ENDS.includes(last);
}
