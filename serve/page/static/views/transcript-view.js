// The transcript: one row for each paragraph, whose text is a single text node. The word that plays, doubtful and edited
// words and matches are CSS highlights over ranges of it, so that 30,000 words need few elements and editing needs no markup.
// The browser lays out blocks of rows that are near the window only.

import { clock } from "../logic/time.js";
import { isDoubtful, wordAtOffset } from "../logic/transcript.js";
import { byId, el, scrollBehavior } from "./dom.js";

const NAMES = ["doubtful", "edited", "found", "found-current", "playing", "current"]; // later ones are painted over earlier ones

const BLOCK_ROWS = 40;
const LOOK_AROUND_MS = 5000; // after a person scrolls, the view does not follow the playing word for so long

/**
 * Shows paragraphs.
 *
 * onWord(place) is called for a click, onFocus(index) where a paragraph is focused, onEditStart() and onEditEnd() around editing,
 * and onEdit(index, text) while a person types, which returns the paragraph.
 */
export class TranscriptView {
  #rows = [];
  paragraphs = [];
  scrolledAt = 0;
  #highlights = Object.fromEntries(NAMES.map((name, index) => [name, registerHighlight(name, index)]));
  #marks = [];

  constructor({ onWord, onEditStart, onEdit, onEditEnd, onFocus }) {
    this.list = byId("text");
    this.scroller = byId("scroller");
    this.onEditStart = onEditStart;
    this.onEdit = onEdit;
    this.onEditEnd = onEditEnd;
    this.onFocus = onFocus;
    for (const type of ["wheel", "touchmove"]) {
      this.scroller.addEventListener(type, () => { this.scrolledAt = Date.now(); }, { passive: true });
    }
    this.list.addEventListener("click", (event) => this.#click(event, onWord));
    this.list.addEventListener("dblclick", (event) => this.#editClicked(event));
    this.list.addEventListener("keydown", (event) => this.#keydown(event));
    this.list.addEventListener("input", (event) => this.#input(event.target));
    this.list.addEventListener("focusout", ({ target }) => target.matches?.("[contenteditable]") && this.#endEdit(target));
    this.list.addEventListener("focusin", (event) => this.#rove(event.target));
  }

  /** Show paragraphs, beside each those of a translation. */
  show(paragraphs, { beside = null, language = "", isPreview = false } = {}) {
    this.isPreview = isPreview;
    for (const highlight of Object.values(this.#highlights)) highlight.clear();
    this.paragraphs = [...paragraphs];
    this.#rows = paragraphs.map((paragraph, index) => this.#row(paragraph, index, beside?.[index], language));
    this.#marks = paragraphs.map(() => []);
    this.list.classList.toggle("with-translation", Boolean(beside));
    this.list.replaceChildren();
    this.#rows.forEach((row, index) => this.#append(row, index));
    if (this.#rows.length) this.#rows[0].time.tabIndex = 0;
    paragraphs.forEach((_, index) => this.#mark(index));
  }

  /** Add paragraphs while a transcription is under way: only the last row can change. */
  extend(paragraphs) {
    if (!this.isPreview || this.#rows.length > paragraphs.length) {
      this.show(paragraphs, { isPreview: true });
      return;
    }
    const first = Math.max(0, this.#rows.length - 1);
    this.paragraphs = [...paragraphs];
    paragraphs.slice(first).forEach((paragraph, offset) => {
      const index = first + offset;
      const row = this.#row(paragraph, index, null, "");
      if (this.#rows[index]) this.#rows[index].root.replaceWith(row.root);
      else this.#append(row, index);
      this.#rows[index] = row;
      this.#marks[index] ??= [];
      this.#mark(index);
    });
  }

  /** Show other text in some paragraphs, such as after replacing. */
  update(paragraphs) {
    paragraphs.forEach((paragraph, index) => {
      if (paragraph === this.paragraphs[index]) return;
      this.paragraphs[index] = paragraph;
      if (this.#rows[index].text.textContent !== paragraph.text) this.#rows[index].text.textContent = paragraph.text;
      this.#mark(index);
    });
  }

  #append(row, index) {
    if (index % BLOCK_ROWS === 0) this.list.append(el("div", { class: "block" }));
    this.list.lastChild.append(row.root);
  }

  #row(paragraph, index, beside, language) {
    const time = el("button", { type: "button", class: "time", tabindex: -1, "data-index": index }, clock(paragraph.start));
    const text = el("p", { class: "words", "data-index": index, lang: language || null, dir: "auto" }, paragraph.text);
    const edit = el("button", { type: "button", class: "edit", tabindex: -1, "data-index": index, "aria-label": `Edit the text from ${clock(paragraph.start)}` }, "edit");
    const other = beside && el("p", { class: "beside", lang: "en" }, beside.map((part) => part.text).join(" "));
    return { root: el("div", { class: "row", role: "listitem" }, time, text, this.isPreview ? null : edit, other), time, text, edit };
  }

  #mark(index) {
    for (const [highlight, range] of this.#marks[index]) highlight.delete(range);
    this.#marks[index] = [];
    for (const word of this.paragraphs[index].words) {
      const name = isDoubtful(word) ? "doubtful" : word.isEdited ? "edited" : null;
      const range = name && this.#range(index, word.from, word.to);
      if (!range) continue;
      this.#highlights[name].add(range);
      this.#marks[index].push([this.#highlights[name], range]);
    }
  }

  #range(index, from, to) {
    const node = this.#rows[index]?.text.firstChild;
    if (!node || to > node.length) return null;
    return new StaticRange({ startContainer: node, startOffset: from, endContainer: node, endOffset: to });
  }

  /** Light the word that plays; null lights none. */
  light(place, { follows = false } = {}) {
    const word = place && this.paragraphs[place.paragraph]?.words[place.word];
    const key = word ? `${place.paragraph} ${place.word}` : "";
    if (key === this.litKey) return;
    this.litKey = key;
    this.#setOnly("playing", word ? [this.#range(place.paragraph, word.from, word.to)] : []);
    if (follows && place) this.#follow(place.paragraph);
  }

  #follow(index) {
    if (index === this.followed || this.isEditing || Date.now() - this.scrolledAt < LOOK_AROUND_MS) return;
    this.followed = index;
    const [row, view] = [this.#rows[index].root.getBoundingClientRect(), this.scroller.getBoundingClientRect()];
    if (row.top < view.top + 20 || row.bottom > view.bottom - 60) this.reveal(index);
  }

  /** Scroll to a paragraph. */
  reveal(index) {
    const row = this.#rows[index]?.root;
    if (!row) return;
    const isNear = Math.abs(row.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top) < 2 * this.scroller.clientHeight;
    row.scrollIntoView({ block: "center", behavior: isNear ? scrollBehavior() : "instant" }); // blocks on a long way get their heights on it
  }

  /** Mark the word that a person steps to; null marks none. */
  setCurrent(place) {
    const word = place && this.paragraphs[place.paragraph].words[place.word];
    this.#setOnly("current", word ? [this.#range(place.paragraph, word.from, word.to)] : []);
    if (word) this.reveal(place.paragraph);
  }

  /** Mark matches, and the one of an index as the current one. */
  setFound(places, current) {
    this.#setOnly("found", places.map(({ paragraph, from, to }) => this.#range(paragraph, from, to)));
    const place = places[current];
    this.#setOnly("found-current", place ? [this.#range(place.paragraph, place.from, place.to)] : []);
  }

  #setOnly(name, ranges) {
    const highlight = this.#highlights[name];
    highlight.clear();
    for (const range of ranges) if (range) highlight.add(range);
  }

  get isEditing() {
    return Boolean(this.list.querySelector("[contenteditable]"));
  }

  /** Make a paragraph editable, with a range of it selected. */
  edit(index, { from = null, to = null } = {}) {
    const text = this.#rows[index]?.text;
    if (!text || this.isPreview) return;
    this.setCurrent(null);
    this.onEditStart();
    text.setAttribute("contenteditable", "plaintext-only");
    text.setAttribute("role", "textbox");
    text.setAttribute("aria-multiline", "true");
    text.setAttribute("aria-label", `Text from ${clock(this.paragraphs[index].start)}`);
    text.focus();
    if (from !== null && text.firstChild) getSelection().setBaseAndExtent(text.firstChild, from, text.firstChild, to);
  }

  #editClicked(event) {
    const text = event.target.closest(".words");
    if (!text || text.isContentEditable) return;
    const { anchorNode, anchorOffset, focusOffset } = getSelection();
    const isInside = text.contains(anchorNode);
    const [from, to] = [anchorOffset, focusOffset].sort((a, b) => a - b);
    this.edit(Number(text.dataset.index), isInside ? { from, to: Math.max(from, from + text.textContent.slice(from, to).trimEnd().length) } : {});
  }

  #input(text) {
    if (!text.isContentEditable) return;
    if (text.childNodes.length > 1) text.normalize();
    const index = Number(text.dataset.index);
    this.paragraphs[index] = this.onEdit(index, text.textContent.replaceAll("\n", " "));
    this.#mark(index);
  }

  #endEdit(text) {
    for (const name of ["contenteditable", "role", "aria-multiline", "aria-label"]) text.removeAttribute(name);
    const { text: clean } = this.paragraphs[Number(text.dataset.index)];
    if (text.textContent !== clean) text.textContent = clean;
    this.#mark(Number(text.dataset.index));
    getSelection().removeAllRanges();
    this.onEditEnd();
  }

  #click(event, onWord) {
    const edit = event.target.closest(".edit");
    const time = event.target.closest(".time");
    const text = event.target.closest(".words");
    if (edit) this.edit(Number(edit.dataset.index));
    else if (time) onWord({ paragraph: Number(time.dataset.index), word: 0 });
    else if (text && !text.isContentEditable && getSelection().isCollapsed) {
      const index = Number(text.dataset.index);
      const offset = offsetAt(event, text);
      onWord({ paragraph: index, word: wordAtOffset(this.paragraphs[index], offset) });
    }
  }

  #keydown(event) {
    const { target, key } = event;
    if (target.isContentEditable && (key === "Escape" || key === "Enter")) {
      event.preventDefault();
      this.#rows[Number(target.dataset.index)].time.focus();
    } else if (target.matches(".time, .edit") && (key === "ArrowDown" || key === "ArrowUp")) {
      event.preventDefault();
      const next = this.#rows[Number(target.dataset.index) + (key === "ArrowDown" ? 1 : -1)];
      next?.[target.matches(".time") ? "time" : "edit"].focus();
    }
  }

  /** Keep one paragraph in the order of the tab key. */
  #rove(target) {
    const index = Number(target.dataset?.index);
    if (!this.#rows[index]) return;
    for (const row of [this.#rows[this.roving ?? 0], this.#rows[index]]) {
      if (row) [row.time.tabIndex, row.edit.tabIndex] = row === this.#rows[index] ? [0, 0] : [-1, -1];
    }
    this.roving = index;
    this.onFocus?.(index);
  }
}

function registerHighlight(name, priority) {
  if (!globalThis.Highlight) return new Set();
  const highlight = new Highlight();
  highlight.priority = priority;
  CSS.highlights.set(name, highlight);
  return highlight;
}

function offsetAt({ clientX, clientY }, text) {
  const position = document.caretPositionFromPoint?.(clientX, clientY);
  if (position) return text.contains(position.offsetNode) ? position.offset : 0;
  const range = document.caretRangeFromPoint?.(clientX, clientY);
  return range && text.contains(range.startContainer) ? range.startOffset : 0;
}
