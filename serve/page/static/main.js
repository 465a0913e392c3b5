// Starts the page: the queue, the views and the state of the server.

import { ApiError, apiKey, isReady, listModels } from "./io/api.js";
import { Microphone, recordingName } from "./io/microphone.js";
import { Jobs } from "./jobs.js";
import { languages } from "./logic/languages.js";
import { clock } from "./logic/time.js";
import { CompareView } from "./views/compare-view.js";
import { announce, byId, el, setText } from "./views/dom.js";
import { JobView } from "./views/job-view.js";
import { LiveView } from "./views/live-view.js";
import { QueueView } from "./views/queue-view.js";
import { listenForKeys } from "./views/shortcuts.js";

const CHECK_EVERY_MS = 15_000;
const VIEWS = ["files", "live", "compare"];

const jobs = new Jobs();
const jobView = new JobView(jobs);
const queueView = new QueueView(jobs, { onOpen: openJob });
const compareView = new CompareView(jobs);
const chosenModel = () => byId("model").value;
let recorder = null;

function openJob(job) {
  queueView.select(job);
  jobView.open(job);
  document.body.dataset.opened = "";
}

function addFiles(files) {
  if (!files.length) return;
  const first = jobs.add(files, { model: chosenModel(), language: byId("language").value, translates: byId("task").value === "translate" });
  location.hash = `files/${first.id}`;
}

function showView() {
  const [name, id] = location.hash.slice(1).split("/");
  const view = VIEWS.includes(name) ? name : "files";
  document.body.dataset.view = view;
  for (const other of VIEWS) byId(other).hidden = other !== view;
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const job = jobs.list.find((other) => other.id === id);
  if (job) openJob(job);
  else delete document.body.dataset.opened;
  if (view !== "files") jobView.player.pause();
}

async function checkServer() {
  try {
    const ready = await isReady();
    byId("server").dataset.state = ready ? "ready" : "starting";
    setText(byId("server-state"), ready ? "ready" : "starting");
    if (ready && !byId("model").options.length) await loadModels();
  } catch (error) {
    byId("server").dataset.state = "lost";
    setText(byId("server-state"), error instanceof ApiError ? error.message : "no connection");
  }
}

async function loadModels() {
  try {
    const models = await listModels();
    byId("model").replaceChildren(...models.map((model) => el("option", {}, model)));
    compareView.setModels(models);
  } catch (error) {
    if (error.status !== 401) throw error;
    if (!byId("key-dialog").open) byId("key-dialog").showModal();
    setText(byId("server-state"), "asks for a key");
  }
}

function listenForFiles() {
  byId("file-input").addEventListener("change", ({ target }) => {
    addFiles(target.files);
    target.value = "";
  });
  byId("record").addEventListener("click", () => (recorder ? stopRecording() : startRecording()));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || byId("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    addFiles(event.dataTransfer.files);
  });
}

async function startRecording() {
  const show = () => setText(byId("recording"), `recording · ${clock(recorder.seconds)}`);
  byId("recording").hidden = false;
  try {
    recorder = await Microphone.open({ onSamples: show, onSilence: () => setText(byId("recording"), "The browser delivers no sound from the microphone.") });
    setText(byId("record"), "stop recording");
  } catch (error) {
    setText(byId("recording"), error.message);
    announce(error.message);
  }
}

function stopRecording() {
  recorder.close();
  addFiles([recorder.toFile(recordingName())]);
  recorder = null;
  byId("recording").hidden = true;
  setText(byId("record"), "record");
}

function fillLanguages() {
  for (const [id, unknown] of [["language", "detect"], ["live-language", "detect language"]]) {
    byId(id).replaceChildren(el("option", { value: "" }, unknown), ...languages().map(([code, name]) => el("option", { value: code }, name)));
  }
}

async function start() {
  fillLanguages();
  new LiveView({ model: chosenModel, onKeep: (file) => addFiles([file]) });
  listenForFiles();
  listenForKeys(jobView);
  byId("key-form").addEventListener("submit", () => {
    apiKey.set(byId("key").value);
    checkServer();
  });
  addEventListener("hashchange", showView);
  for (const type of ["pagehide", "visibilitychange"]) addEventListener(type, () => jobs.save());
  await jobs.restore();
  showView();
  await checkServer();
  setInterval(() => document.hidden || checkServer(), CHECK_EVERY_MS);
}

start();
