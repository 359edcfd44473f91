// Asks the service: a few photos at once, again where it is busy, with a key where it wants one.

const AT_ONCE = 3;
const LONGEST_BUSY_MS = 120_000;
const OF_PROXIES = { 413: "too-many-for-way", 502: "gone", 504: "deadline" };  // they have no words of ours

let key = null;       // kept in memory only
let asked = null;     // the question for the key that is on show
let askForKey = null; // what puts it on show; gives the key or null
let numCancelled = 0; // how often nobody had a key
const waiting = [];
let numRunning = 0;

/** What went wrong: the end of the problem's type, and what the service said of it. */
export class Problem extends Error {
  constructor(type, detail = "", body = null) {
    super(type);
    Object.assign(this, { type, detail, body });
  }
}

/** Say who asks the user for the key: it is told whether a key was refused. */
export function onKeyNeeded(ask) { askForKey = ask; }

/** Run a job when its turn comes. */
export function inTurn(job) {
  return new Promise((resolve, reject) => {
    waiting.push({ job, resolve, reject });
    next();
  });
}

function next() {
  while (numRunning < AT_ONCE && waiting.length > 0) {
    numRunning += 1;
    const { job, resolve, reject } = waiting.shift();
    job().then(resolve, reject).finally(() => { numRunning -= 1; next(); });
  }
}

// Who has no key for one photo has none for the others: they are not asked for it again and again.
function giveUp() {
  numCancelled += 1;
  for (const { reject } of waiting.splice(0)) reject(new Problem("no-key"));
}

/**
 * Ask, and give what came back if it is good; a problem is thrown.
 *
 * `signal` gives up; `onBusy` is told for how many seconds a busy service wants to be left alone.
 */
export async function ask(path, { body, signal, onBusy } = {}) {
  const givenUp = performance.now() + LONGEST_BUSY_MS;
  const before = numCancelled;
  for (;;) {
    const used = key;
    const answer = await send(path, body, signal, used);
    if (answer.ok) return answer;
    const problem = await problemIn(answer);
    if (answer.status === 401 && askForKey && before === numCancelled) {
      if (used === key && !(await newKey(used !== null))) throw problem;
    } else if (answer.status === 503 && performance.now() < givenUp) {
      const seconds = Math.min(Number(answer.headers.get("Retry-After")) || 1, 30);
      onBusy?.(seconds);
      await pause(1000 * (seconds + Math.random() / 2), signal);
    } else {
      throw problem;
    }
  }
}

async function send(path, body, signal, used) {
  const headers = used === null ? {} : { Authorization: `Bearer ${used}` };
  const options = { headers, signal, cache: "no-store" };
  if (body) {
    options.method = "POST";
    options.body = body;
    headers["Content-Type"] = "application/octet-stream";  // a file's name may lie; its content is looked at
  }
  try {
    return await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    if (body && !(await isReadable(body))) throw new Problem("gone_file");
    throw new Problem("gone");
  }
}

async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function problemIn(answer) {
  const text = await answer.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* of a proxy, not of the service */ }
  const type = String(body?.type ?? "").split(":").pop();
  const detail = body === null ? `${answer.status} ${answer.statusText}` : body.detail ?? body.title ?? "";
  return new Problem(type || OF_PROXIES[answer.status] || "bug", detail, body);
}

// All that wait for a key wait for the same one.
async function newKey(wasRefused) {
  asked ??= askForKey(wasRefused).then((given) => {
    asked = null;
    if (given === null) giveUp();
    return given;
  });
  const given = await asked;
  if (given === null) return false;
  // Other characters do not fit into a header, and no key has them.
  if (!/^[!-~]+$/.test(given)) return newKey(true);
  key = given;
  return true;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
