// The menu of formats, for the text and for its translation.

import { exportAs, fileName, FORMATS, MEDIA_TYPES } from "../logic/exports.js";
import { byId, download, el } from "./dom.js";

const LABELS = { txt: "Text (.txt)", srt: "Subtitles (.srt)", vtt: "Web subtitles (.vtt)", json: "Words and times (.json)" };

export class ExportMenu {
  constructor({ source, onDone }) {
    this.source = source;
    this.onDone = onDone;
    this.menu = byId("export");
    this.menu.addEventListener("toggle", () => this.menu.open && this.#render());
    this.menu.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    document.addEventListener("click", ({ target }) => this.menu.contains(target) || this.close(false));
  }

  /** Open the menu with its first format focused. */
  open() {
    this.menu.open = true;
    this.#render();
    byId("export-items").querySelector("button")?.focus();
  }

  close(focuses = true) {
    if (!this.menu.open) return;
    this.menu.open = false;
    if (focuses) this.menu.querySelector("summary").focus();
  }

  #render() {
    const { transcript, translation } = this.source();
    const texts = [["", transcript, ""], ...(translation ? [["Translation: ", translation, "en"]] : [])];
    byId("export-items").replaceChildren(...texts.flatMap(([label, text, mark]) =>
      FORMATS.map((format) => el("button", { type: "button", click: () => this.#save(format, text, mark) }, label + LABELS[format]))),
    el("button", { type: "button", click: () => this.copy() }, "Copy the text"));
  }

  #save(format, transcript, mark) {
    const { name, model } = this.source();
    const text = exportAs(format, transcript, { source: name, model });
    download(new Blob([text], { type: `${MEDIA_TYPES[format]};charset=utf-8` }), fileName(name, format, mark));
    this.close();
    this.onDone(`${fileName(name, format, mark)} is saved`);
  }

  /** Copy the text. */
  async copy() {
    this.close();
    try {
      await navigator.clipboard.writeText(exportAs("txt", this.source().transcript));
      this.onDone("copied");
      byId("copy").textContent = "Copied";
      setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
    } catch {
      this.onDone("the browser refused to copy");
    }
  }
}
