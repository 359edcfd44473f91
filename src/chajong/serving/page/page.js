// Takes photos, shows what the service says of each.

import { WORDS, headline, levels, percent, why } from "/words.js";
import { Problem, ask, inTurn, onKeyNeeded } from "/service.js";

const $ = (id) => document.getElementById(id);
// Other programs at this address may remember something, too.
const LANGUAGE = "chajong.language";
const remembered = () => { try { return localStorage.getItem(LANGUAGE); } catch { return null; } };
let language = Object.hasOwn(WORDS, remembered() ?? "") ? remembered()
  : navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
let t = WORDS[language];
let model = null;    // what the service says of itself
let shown = [];      // the photos, as they stand on the page
let numPasted = 0;
const GATHERED_MS = 400;

// --- photos -------------------------------------------------------------------------------------

function take(files) {
  const photos = [...files].map((file) => {
    const card = $("answer").content.cloneNode(true).firstElementChild;
    const photo = {
      file, card, name: file.name, url: URL.createObjectURL(file), state: "waiting", seconds: 0,
      answer: null, problem: null, heat: null, isHeatOn: false, stop: new AbortController(),
    };
    connect(photo);
    return photo;
  });
  shown = [...photos, ...shown];
  $("answers").prepend(...photos.map((photo) => photo.card));
  for (const photo of photos) { show(photo); answer(photo); }
  count();
}

async function answer(photo) {
  const { signal } = photo.stop;
  // The button goes, and the focus must not fall back to the top of the page.
  if (document.activeElement === part(photo, "again")) part(photo, "headline").focus();
  photo.state = "waiting";
  photo.problem = null;
  show(photo);
  try {
    await inTurn(async () => {
      if (signal.aborted) return;
      photo.state = "asking";
      show(photo);
      await know();
      const most = model?.limits?.max_bytes;
      if (most && photo.file.size > most) throw new Problem("too-many-bytes");
      const found = await ask(`/v1/predict${model?.can?.nearest ? "?nearest=4" : ""}`, {
        body: photo.file, signal, onBusy: (seconds) => busy(photo, seconds),
      });
      photo.answer = await found.json();
      // Another bundle took its place: what is said of risks is no longer so.
      if (model && photo.answer.bundle !== model.bundle) { model = null; await know().catch(() => {}); }
      photo.state = "answered";
    });
  } catch (error) {
    if (signal.aborted) return;
    photo.problem = error instanceof Problem ? error : new Problem("gone", String(error));
    photo.state = "failed";
  }
  if (signal.aborted) return;
  show(photo);
  count();
  tell(`${photo.name}: ${spoken(photo)}`);
}

function busy(photo, seconds) {
  Object.assign(photo, { state: "busy", seconds });
  show(photo);
}

async function heat(photo) {
  if (photo.isHeatOn || photo.heat !== null) {
    photo.isHeatOn = !photo.isHeatOn;
    show(photo);
    return;
  }
  const button = part(photo, "heat");
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  rename(button, t.heat_asking, photo);
  try {
    const where = `/v1/heat?class=${encodeURIComponent(photo.answer.top[0].name)}`;
    const found = await inTurn(() => ask(where, { body: photo.file, signal: photo.stop.signal }));
    photo.heat = URL.createObjectURL(await found.blob());
    photo.isHeatOn = true;
    photo.isHeatLost = false;
    tell(t.heat_note(photo.answer.top[0].name));
  } catch (error) {
    photo.hasNoHeat = error.type === "no-heat";
    photo.isHeatLost = true;
    tell(t.heat_failed);
  }
  button.removeAttribute("aria-busy");
  show(photo);
}

function remove(photo) {
  const place = shown.indexOf(photo);
  photo.stop.abort();
  for (const url of [photo.url, photo.heat]) if (url) URL.revokeObjectURL(url);
  photo.card.remove();
  shown = shown.filter((other) => other !== photo);
  count();
  // The focus must not fall back to the top of the page.
  const near = shown[place] ?? shown[place - 1];
  if (near) part(near, "headline").focus();
  else $("choose").focus();
}

function connect(photo) {
  const does = { heat, again: answer, copy: (one) => copy(record(one), part(one, "copy"), one), remove };
  for (const [name, act] of Object.entries(does)) {
    part(photo, name).addEventListener("click", () => act(photo));
  }
  const image = part(photo, "photo");
  image.addEventListener("error", () => {
    image.hidden = true;
    part(photo, "no_preview").hidden = false;
  });
}

const part = (photo, name) => photo.card.querySelector(`.${name}`);

// Said with the photo's name, and as it is read, so that it can be asked for by voice.
function rename(button, text, photo) {
  button.textContent = text;
  if (photo) button.setAttribute("aria-label", `${text}, ${photo.name}`);
}

// --- showing ------------------------------------------------------------------------------------

function make(tag, className, ...inside) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...inside);
  return node;
}

// Names of classes are long words; they are broken at their joints first.
function breakable(text) {
  const node = document.createDocumentFragment();
  for (const word of text.split(/(\S*_\S*)/)) {
    node.append(...(word.includes("_") ? word.split(/(?<=_)/).map((piece) => make("span", "piece", piece)) : [word]));
  }
  return node;
}

function bar(share) {
  const filled = make("i");
  filled.style.width = `${100 * share}%`;
  const whole = make("span", "bar", filled);
  whole.setAttribute("aria-hidden", "true");
  return whole;
}

function spoken(photo) {
  if (photo.state === "failed") return fault(photo.problem).join(". ");
  const share = photo.answer.abstained ? "" : ` · ${percent(photo.answer.score)}`;
  return `${headline(photo.answer, language)}${share}`;
}

// What went wrong, and what to do: in the user's language if the page knows the problem.
function fault(problem) {
  return t.problem(problem.type, model?.limits)
    ?? (problem.body?.title ? [problem.body.title, problem.body.advice ?? ""] : t.problem("bug"));
}

function show(photo) {
  const { card, state } = photo;
  const isAnswered = state === "answered";
  words(card);
  card.className = `answer ${state}`;
  card.setAttribute("aria-busy", String(!isAnswered && state !== "failed"));
  part(photo, "name").replaceChildren(breakable(photo.name));
  part(photo, "again").hidden = state !== "failed";
  part(photo, "copy").hidden = !isAnswered && state !== "failed";
  for (const name of ["again", "copy", "remove"]) rename(part(photo, name), t[name], photo);
  picture(photo);
  const [title, reason] = { answered: said, failed: failure }[state]?.(photo)
    ?? [state === "busy" ? t.busy(photo.seconds) : t[state], ""];
  part(photo, "headline").replaceChildren(...[title].flat());
  part(photo, "why").replaceChildren(breakable(reason));
  part(photo, "why").hidden = reason === "";
  part(photo, "detail").textContent = photo.problem?.detail ?? "";
  part(photo, "detail").hidden = !photo.problem?.detail;
  part(photo, "grounds").hidden = !isAnswered;
  part(photo, "alike").hidden = !photo.answer?.nearest?.length;
  if (isAnswered) grounds(photo);
}

function said({ answer: found, card }) {
  card.classList.add(found.reason);
  if (found.abstained) card.classList.add("abstained");
  const title = [breakable(headline(found, language))];
  if (!found.abstained) title.push(" ", make("span", "score", `· ${percent(found.score)}`));
  return [title, why(found, language, isMeasured())];
}

const failure = ({ problem }) => fault(problem);

function picture(photo) {
  const image = part(photo, "photo");
  const wanted = photo.isHeatOn ? photo.heat : photo.url;
  if (image.getAttribute("src") !== wanted) image.src = wanted;
  const likeliest = photo.answer?.top[0]?.name;
  image.alt = photo.isHeatOn ? t.heat_note(likeliest) : t.photo(photo.name);
  part(photo, "no_preview").textContent = t.no_preview;
  const button = part(photo, "heat");
  // It goes where there is no map, and the focus must not fall back to the top of the page.
  if (photo.hasNoHeat && document.activeElement === button) part(photo, "headline").focus();
  button.hidden = !(model?.can?.heat && photo.state === "answered") || Boolean(photo.hasNoHeat);
  rename(button, photo.isHeatOn ? t.heat_off : t.heat, photo);
  const note = part(photo, "heat_note");
  note.hidden = !photo.isHeatOn && !photo.isHeatLost;
  note.replaceChildren(...(photo.isHeatLost ? [t.heat_failed] : [
    breakable(t.heat_note(likeliest ?? "")), " ",
    make("span", "key for", t.heat_for), " ", make("span", "key against", t.heat_against),
  ]));
}

// A bundle without held-out photos keeps no risk: all it says is how likely each class is.
const isMeasured = () => model === null || model.risk !== null;

function grounds(photo) {
  // Where the photo is like nothing that was learned, shares mean little.
  const isStrange = photo.answer.reason === "strange";
  part(photo, "steps").hidden = isStrange;
  part(photo, "top_title").textContent = isStrange ? t.top_strange : t.top;
  part(photo, "levels").replaceChildren(...levels(photo.answer, language).map((each) => make(
    "li", each.isSure ? "" : "open",
    make("span", "level faint small", t.level[each.level]), " ",
    make("span", "who", breakable(each.short)), " ",
    make("span", "share", percent(each.prob)), " ",
    ...(isMeasured() ? [make("span", each.isSure ? "badge fine" : "badge", each.isSure ? t.sure : t.unsure)] : []),
  )));
  part(photo, "top").replaceChildren(...photo.answer.top.map((guess) => make(
    "li", "", make("span", "who", breakable(guess.name)), " ",
    make("span", "share", percent(guess.prob)), bar(guess.prob),
  )));
  part(photo, "nearest").replaceChildren(...(photo.answer.nearest ?? []).map(neighbour));
}

// Bundles may hold small pictures of the photos they were made of, or their names alone.
function neighbour(near) {
  const texts = [make("span", "who", breakable(near.name)), make("span", "file faint small", breakable(near.photo))];
  if (!near.thumbnail) return make("li", "", texts[0], " ", texts[1]);
  const image = make("img");
  image.alt = "";
  image.src = near.thumbnail;
  return make("li", "pictured", make("span", "frame", image), ...texts);
}

function count() {
  const done = shown.filter((photo) => photo.state === "answered" || photo.state === "failed").length;
  $("all").hidden = shown.length === 0;
  $("count").textContent = t.count(done, shown.length);
  $("copy_all").hidden = done === 0;
}

// What comes at once is said at once: a text that takes another's place may never be read out.
const news = [];
function tell(text) {
  if (news.push(text) > 1) return;
  setTimeout(() => { $("news").textContent = news.splice(0).join("; "); }, GATHERED_MS);
}

function words(root) {
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = t[node.dataset.text];
  for (const node of root.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t[node.dataset.label]);
  }
}

function speak() {
  t = WORDS[language];
  document.documentElement.lang = language;
  document.title = `${t.question} · chajong`;
  words(document);
  $("language").textContent = language === "ko" ? "English" : "한국어";
  $("language").lang = language === "ko" ? "en" : "ko";
  $("about").textContent = model ? t.about(model.num_classes, model.risk) : "";
  $("failure").hidden = true;
  shown.forEach(show);
  count();
}

// --- copying ------------------------------------------------------------------------------------

const record = ({ name, answer: found, problem }) => ({
  name, answer: found, problem: problem && (problem.body ?? { type: problem.type }),
});

async function copy(what, button, photo) {
  const isCopied = await copied(JSON.stringify(what, null, 2));
  note(isCopied ? "" : t.copy_failed);
  if (!isCopied) return;
  tell(t.copied);
  rename(button, t.copied, photo);
  setTimeout(() => rename(button, t[button.dataset.text], photo), 2000);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that came without TLS have no clipboard of the new kind.
    const area = make("textarea", "unseen", text);
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const isDone = document.execCommand("copy");
    area.remove();
    before?.focus();
    return isDone;
  }
}

// --- ways in ------------------------------------------------------------------------------------

function note(text) {
  $("failure").textContent = text;
  $("failure").hidden = text === "";
}

for (const id of ["choose", "camera"]) {
  $(id).addEventListener("change", () => {
    note("");
    take($(id).files);
    $(id).value = "";  // so that the same file can be chosen again
  });
}
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length === 0 || $("ask_key").open) return;
  event.preventDefault();
  note("");
  // What was copied out of a picture has no name of its own.
  take(files.map((file) => (file.name && file.name !== "image.png" ? file
    : new File([file], t.pasted(numPasted += 1), { type: file.type }))));
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const isFolder = items.map((item) => item.webkitGetAsEntry?.()?.isDirectory);
  const files = items.map((item) => item.getAsFile()).filter((file, place) => file && !isFolder[place]);
  note(isFolder.some(Boolean) ? t.folder : files.length ? "" : t.nothing);
  take(files);
});
$("copy_all").addEventListener("click", () => copy(
  shown.filter((photo) => photo.answer || photo.problem).map(record), $("copy_all"),
));
$("clear").addEventListener("click", () => [...shown].forEach(remove));
$("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  try { localStorage.setItem(LANGUAGE, language); } catch { /* private windows may forbid it */ }
  speak();
});

onKeyNeeded((wasRefused) => new Promise((resolve) => {
  $("key").value = "";
  $("key_why").textContent = wasRefused ? t.key_wrong : t.key_why;
  $("ask_key").returnValue = "";
  $("ask_key").addEventListener("close", () => {
    const key = $("key").value.trim();
    $("key").value = "";
    resolve($("ask_key").returnValue === "send" && key ? key : null);
  }, { once: true });
  $("ask_key").showModal();
}));

// Asked again with the next photo where it could not be had: the key was not given, nobody answered.
async function know() {
  if (model !== null) return;
  model = await (await ask("/v1/model")).json();
  speak();
}
speak();
know().catch((error) => note(fault(error).join(". ")));
