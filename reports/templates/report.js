"use strict";
// Sorts, filters and searches the changed transcripts, and plays a clip from a word.
// The page is complete without it. Untrusted text passes through textContent and node moves only.
(() => {
  const explorer = document.getElementById("explorer");
  const list = explorer.querySelector(".clips");
  const controls = explorer.querySelector(".controls");
  const order = controls.querySelector("[name=order]");
  const reversed = controls.querySelector("[name=reversed]");
  const search = controls.querySelector("[name=search]");
  const choices = [...controls.querySelectorAll("[data-choice]")];
  const status = controls.querySelector("output");
  const more = explorer.querySelector(".more");
  let limit = list.children.length; // as many as are unfolded without a script

  const number = (text) => (text === undefined ? NaN : Number(text));
  const wordsOf = (element) =>
    [...element.querySelectorAll(".line")].map((line) =>
      [...line.children].map((word) => (word.firstChild ? word.firstChild.data : "")).join(" "));
  const clips = [...explorer.querySelectorAll(".clip")].map((element, index) => {
    const id = element.querySelector(".id").textContent;
    return {
      element,
      index,
      id,
      harm: number(element.dataset.harm),
      length: number(element.dataset.length),
      speedup: number(element.dataset.speedup),
      parts: element.dataset.parts.split(" "),
      text: [id, ...wordsOf(element)].join("\n").replace(/ +/g, " ").toLowerCase(),
    };
  });

  const orders = {
    harm: (a, b) => b.harm - a.harm,
    length: (a, b) => b.length - a.length,
    clip: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
    speedup: (a, b) => a.speedup - b.speedup,
  };

  const compare = (a, b) => {
    const unknown = Number.isNaN(a[order.value]) - Number.isNaN(b[order.value]);
    const found = unknown || (reversed.checked ? -1 : 1) * orders[order.value](a, b);
    return found || a.index - b.index;
  };

  const isWanted = (clip) =>
    choices.every((choice, index) => !choice.value || choice.value === clip.parts[index])
    && clip.text.includes(search.value.trim().replace(/\s+/g, " ").toLowerCase());

  const show = () => {
    const found = clips.filter(isWanted).sort(compare);
    const shown = new Set(found.slice(0, limit));
    for (const clip of clips) {
      clip.element.hidden = !shown.has(clip);
      if (clip.player && clip.element.hidden) clip.player.pause();
    }
    list.append(...found.map((clip) => clip.element));
    status.textContent = `${found.length} of ${clips.length} found, ${shown.size} shown`;
    more.hidden = found.length <= limit;
    more.textContent = `Show all ${found.length}`;
  };

  // A clip that several variants changed has its audio once: the others play a copy of that player.
  const playerOf = (element) => {
    const link = element.querySelector("[data-audio-at]");
    if (!link) return element.querySelector("audio");
    const copy = document.querySelector(`${link.getAttribute("href")} audio`).cloneNode();
    link.parentElement.replaceWith(copy);
    return copy;
  };

  const playFrom = (player, start) => {
    for (const other of explorer.querySelectorAll("audio")) if (other !== player) other.pause();
    player.currentTime = start;
    player.play().catch(() => undefined); // the player itself shows what cannot be played
  };

  const makeButton = (word) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = word.className;
    button.style.width = word.style.width;
    button.title = word.title;
    button.dataset.start = word.dataset.start;
    button.tabIndex = -1;
    button.append(...word.childNodes);
    word.replaceWith(button);
    return button;
  };

  // One stop of the Tab key for a line; the arrow keys go from word to word.
  const moveIn = (line, buttons, event) => {
    const step = line.dir === "rtl" ? -1 : 1;
    const steps = { ArrowRight: step, ArrowLeft: -step, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    const index = buttons.indexOf(event.target) + steps[event.key];
    buttons[Math.min(Math.max(index, 0), buttons.length - 1)].focus();
    event.preventDefault();
  };

  const makePlayable = (line, player) => {
    const buttons = [...line.querySelectorAll("[data-start]")].map(makeButton);
    if (!buttons.length) return;
    buttons[0].tabIndex = 0;
    line.setAttribute("role", "toolbar");
    line.setAttribute("aria-label", `${line.dataset.label}: plays from a word`);
    line.addEventListener("keydown", (event) => moveIn(line, buttons, event));
    line.addEventListener("focusin", (event) => {
      for (const button of buttons) button.tabIndex = button === event.target ? 0 : -1;
    });
    line.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) playFrom(player, Number(button.dataset.start));
    });
    player.addEventListener("timeupdate", () => {
      const now = buttons.filter((button) => Number(button.dataset.start) <= player.currentTime).pop();
      for (const button of buttons) button.classList.toggle("now", button === now && !player.ended);
    });
  };

  for (const clip of clips) {
    clip.player = playerOf(clip.element);
    if (!clip.player) continue;
    for (const line of clip.element.querySelectorAll(".line")) makePlayable(line, clip.player);
  }
  const folded = explorer.querySelector(".folded");
  if (folded) folded.remove();
  for (const control of [order, reversed, ...choices]) control.addEventListener("change", show);
  search.addEventListener("input", show);
  more.addEventListener("click", () => {
    limit = Infinity;
    show();
  });
  controls.hidden = false;
  show();
})();
