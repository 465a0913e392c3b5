// Keys of the Files view. None with a modifier but Ctrl+S, Ctrl+F and Ctrl+Z; none while a person types.

import { byId, el, isTyping } from "./dom.js";

const KEYS = [
  ["Space", "play, pause"], ["J, L", "5 seconds back, forward"], ["<, >", "slower, faster"],
  ["N, Shift+N", "next, previous doubtful word"], ["A", "the doubtful word is right"],
  ["E", "edit here; Enter or Escape ends"], ["/, Ctrl+F", "search"], ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"],
  ["Ctrl+S", "export"], ["↑, ↓", "previous, next paragraph, from a time"], ["?", "these keys"],
];

/** Listen for keys; view is the JobView. */
export function listenForKeys(view) {
  byId("keys").append(...KEYS.flatMap(([keys, meaning]) => [el("dt", {}, keys), el("dd", {}, meaning)]));
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const action = event.key === "?" && !isTyping(event.target) ? () => byId("help").showModal() : actionOf(event, view);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function actionOf(event, view) {
  if (document.body.dataset.view !== "files" || !view.job) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) return controlAction(key, event, view);
  if (event.altKey || isTyping(event.target)) return null;
  const isButton = event.target.closest("button, a, summary");
  switch (key) {
    case " ": return isButton ? null : () => view.player.toggle();
    case "k": return () => view.player.toggle();
    case "j": return () => view.player.jump(-5);
    case "l": return () => view.player.jump(5);
    case "<": return () => view.player.step(-1);
    case ">": return () => view.player.step(1);
    case "n": return () => view.nextDoubtful({ isBackwards: event.shiftKey });
    case "a": return () => view.confirm();
    case "e": return () => view.edit();
    case "/": return () => byId("search").select();
    default: return null;
  }
}

function controlAction(key, event, view) {
  if (!view.job.transcript) return null;
  if (key === "s") return () => view.menu.open();
  if (key === "f") return () => byId("search").select();
  if (key === "z" && !isTyping(event.target)) return () => (event.shiftKey ? view.redo() : view.undo());
  return null;
}
