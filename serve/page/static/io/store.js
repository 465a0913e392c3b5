// What this browser keeps: jobs with their transcripts, and their audio, in IndexedDB.

const NAME = "sottovoce";
const JOBS = "jobs";
const AUDIO = "audio";

let opening = null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(JOBS, { keyPath: "id" });
      request.result.createObjectStore(AUDIO);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function run(stores, mode, action) {
  const transaction = (await open()).transaction(stores, mode);
  const request = action(transaction);
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Keep a job: a plain object with an id. */
export const saveJob = (job) => run([JOBS], "readwrite", (transaction) => transaction.objectStore(JOBS).put(job));

/** Keep the audio of a job; rejects where the browser has no room. */
export const saveAudio = (id, blob) =>
  run([AUDIO], "readwrite", (transaction) => transaction.objectStore(AUDIO).put(blob, id));

/** Return all kept jobs. */
export const loadJobs = () => run([JOBS], "readonly", (transaction) => transaction.objectStore(JOBS).getAll());

/** Return the kept audio of a job, or undefined. */
export const loadAudio = (id) => run([AUDIO], "readonly", (transaction) => transaction.objectStore(AUDIO).get(id));

/** Forget a job and its audio. */
export const removeJob = (id) => run([JOBS, AUDIO], "readwrite", (transaction) => {
  transaction.objectStore(JOBS).delete(id);
  transaction.objectStore(AUDIO).delete(id);
});
