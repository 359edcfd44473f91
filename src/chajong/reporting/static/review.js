"use strict";

const TEXT = {
  en: {
    review: "review", help: "Keys", previous: "Previous suspect", next: "Next suspect",
    doubt: "Doubt", given: "Given label", suggested: "Probably",
    duplicate: "A duplicate is labelled", keep: "Keep", other: "Other class…",
    relabel: (name) => `Relabel to ${name}`, exclude: "Exclude", undo: "Undo",
    choose: "Relabel to…", filter: "Filter classes", classes: "Classes", close: "Close",
    no_class: "No class has these words.", all_decided: "Everything is decided",
    lies_in: "The decisions lie in", then: "Train again with them:", look_again: "Look again",
    count: (done, all) => `${done} of ${all} decided`, place: (at, all) => `Suspect ${at} of ${all}`,
    saving: "saving…", saved: "saved", failed: "not saved", taken_back: "taken back",
    nothing_to_undo: "nothing to undo", kept: "Kept", excluded: "Excluded",
    relabelled: (name) => `Now ${name}`, no_sure: "No photo of this class is sure.",
    sure_photo: (name) => `Sure photo of ${name}`, suspect_photo: (name) => `Photo labelled ${name}`,
    unseen: (why) => `This photo cannot be shown: ${why}`,
    gone: "The review does not answer. Nothing was lost: what was called saved is in the file. "
      + "Start chajong review again, and open the address it prints.",
    about: "Each decision is written before the page says saved. Rows show photos that models took "
      + "for their class most surely without having learnt them.",
    keys: { K: "Keep the label", R: "Relabel to what is suggested", "/": "Relabel to another class",
      X: "Exclude the photo", U: "Undo the last decision", Z: "See the photo larger", "← J": "Previous", "→ L": "Next", "?": "These keys" },
  },
  ko: {
    review: "검토", help: "단축키", previous: "이전 사진", next: "다음 사진",
    doubt: "의심도", given: "현재 라벨", suggested: "추정 라벨",
    duplicate: "중복 사진의 라벨", keep: "유지", other: "다른 클래스…",
    relabel: (name) => `${name}(으)로 변경`, exclude: "제외", undo: "되돌리기",
    choose: "바꿀 클래스 선택", filter: "클래스 검색", classes: "클래스", close: "닫기",
    no_class: "해당하는 클래스가 없습니다.", all_decided: "모두 결정했습니다",
    lies_in: "결정이 저장된 파일:", then: "이 결정으로 다시 학습:", look_again: "다시 보기",
    count: (done, all) => `${all}장 중 ${done}장 결정`, place: (at, all) => `의심 사진 ${at} / ${all}`,
    saving: "저장 중…", saved: "저장됨", failed: "저장 안 됨", taken_back: "되돌림",
    nothing_to_undo: "되돌릴 결정 없음", kept: "유지함", excluded: "제외함",
    relabelled: (name) => `변경: ${name}`, no_sure: "확실한 사진이 없는 클래스입니다.",
    sure_photo: (name) => `${name}의 확실한 사진`, suspect_photo: (name) => `라벨이 ${name}인 사진`,
    unseen: (why) => `사진을 표시할 수 없습니다: ${why}`,
    gone: "검토 서버가 응답하지 않습니다. 저장됨으로 표시된 결정은 모두 파일에 있습니다. "
      + "chajong review를 다시 실행하고 출력된 주소를 여세요.",
    about: "결정은 파일에 기록된 뒤에만 저장됨으로 표시됩니다. 비교 사진은 그 사진을 학습하지 않은 "
      + "모델이 가장 확실하게 맞힌 사진입니다.",
    keys: { K: "라벨 유지", R: "추정 라벨로 변경", "/": "다른 클래스로 변경", X: "사진 제외",
      U: "마지막 결정 되돌리기", Z: "사진 크게 보기", "← J": "이전", "→ L": "다음", "?": "단축키 보기" },
  },
};

const $ = (id) => document.getElementById(id);
let language = localStorage.getItem("language")
  ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");
let t = TEXT[language];
let all = null;      // what the server holds
let at = 0;          // the suspect on show
let isOver = false;  // whether "everything is decided" is on show
let isBusy = false;  // while a decision is on its way
let said = "";       // the last status, a key of TEXT
let active = -1;     // the option chosen in the list

const suspect = () => all.suspects[at];
const url = (id, size) => `/photo?${new URLSearchParams({ id, size, session: all.session })}`;
const percent = (p) => {
  if (p < 0.0005) return "< 0.1 %";
  return `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`;
};
const numDecided = () => Object.keys(all.decisions).length;

// --- talking to the server ----------------------------------------------------------------------

async function ask(path, wish) {
  const options = wish === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wish),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error(t.gone);
  }
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  let why = text;
  try { why = JSON.parse(text).error; } catch { /* plain text */ }
  throw new Error(why);
}

// Runs one change at a time; the page moves on only when the server says that it is on disk.
async function change(path, wish, after) {
  if (isBusy || all === null) return;
  isBusy = true;
  status("saving");
  try {
    const answer = await ask(path, wish);
    $("failure").hidden = true;
    if (answer.decision) all.decisions[answer.id] = answer.decision;
    else if (answer.id !== null) delete all.decisions[answer.id];
    after(answer);
  } catch (error) {
    status("failed");
    fail(error);
  } finally {
    isBusy = false;
  }
}

function decide(action, label = null) {
  if (isOver) return;
  change("/decide", { id: suspect().id, action, label }, () => {
    status("saved");
    const next = undecided(at + 1);
    isOver = next === null;
    show(next ?? at);
  });
}

function undo() {
  change("/undo", {}, (answer) => {
    status(answer.id === null ? "nothing_to_undo" : "taken_back");
    if (answer.id === null) return;
    isOver = false;
    show(all.suspects.findIndex((row) => row.id === answer.id));
  });
}

function undecided(from) {
  const num = all.suspects.length;
  for (let step = 0; step < num; step += 1) {
    const place = (from + step) % num;
    if (!(all.suspects[place].id in all.decisions)) return place;
  }
  return null;
}

// --- showing ------------------------------------------------------------------------------------

function status(key) {
  said = key;
  $("status").textContent = key ? t[key] : "";
  $("status").className = { saving: "waiting", failed: "failed" }[key] ?? "";
}

function fail(error) {
  $("failure").textContent = error.message;
  $("failure").hidden = false;
}

function show(place) {
  at = place;
  $("review").hidden = $("actions").hidden = isOver;
  $("over").hidden = !isOver;
  const num = all.suspects.length;
  $("count").textContent = t.count(numDecided(), num);
  $("bar").max = num;
  $("bar").value = numDecided();
  if (isOver) {
    $("file").textContent = all.file;
    $("command").textContent = all.next;
    $("look_again").focus();
    return;
  }
  const row = suspect();
  $("place").textContent = t.place(at + 1, num);
  $("name").textContent = row.id;
  $("score").value = row.score;
  $("score_value").textContent = row.score.toFixed(3);
  $("relabel_text").textContent = t.relabel(row.suggested);
  badge(row);
  for (const side of ["given", "suggested"]) {
    const name = side === "given" ? row.label : row.suggested;
    $(side).textContent = name;
    $(`p_${side}`).textContent = percent(row[`p_${side}`]);
    $(`share_${side}`).style.width = `${100 * row[`p_${side}`]}%`;
    fill($(`sure_${side}`), all.sure[name].filter((id) => id !== row.id), () => t.sure_photo(name));
  }
  $("twins").hidden = row.duplicate_says === null;
  $("duplicate_says").textContent = row.duplicate_says ?? "";
  fill($("twin_row"), row.twins.map((twin) => twin.id), () => t.suspect_photo(row.duplicate_says));
  picture(row);
}

function badge(row) {
  const decision = all.decisions[row.id];
  const isKept = decision && (decision.action === "keep" || decision.label === row.label);
  const texts = { keep: t.kept, exclude: t.excluded, relabel: t.relabelled(decision?.label) };
  const action = isKept ? "keep" : decision?.action;
  $("verdict").className = `badge ${action ?? ""}`;
  $("verdict").textContent = action ? texts[action] : "";
}

function fill(row, ids, alt) {
  const shown = ids.map((id) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "thumb";
    button.title = id;
    button.setAttribute("aria-label", alt());
    button.addEventListener("click", () => enlarge(id, alt()));
    const image = document.createElement("img");
    image.src = url(id, "small");
    image.alt = "";
    button.append(image);
    return button;
  });
  if (shown.length === 0) {
    shown.push(document.createElement("p"));
    shown[0].textContent = t.no_sure;
  }
  row.replaceChildren(...shown);
}

function enlarge(id, alt) {
  $("enlarged").src = url(id, "large");
  $("enlarged").alt = alt;
  $("zoom").showModal();
}

function picture(row) {
  const photo = $("photo");
  photo.alt = t.suspect_photo(row.label);
  $("unseen").hidden = true;
  const source = url(row.id, "large");
  if (photo.getAttribute("src") !== source) {
    photo.className = "waiting";
    photo.src = source;
  }
  const after = all.suspects[at + 1];
  if (after) new Image().src = url(after.id, "large");
}

async function unseen() {
  const { id } = suspect();
  $("photo").className = "waiting";
  let why = "";
  try { why = await (await fetch(url(id, "large"))).text(); } catch { why = t.gone; }
  if (id !== suspect().id) return;
  $("unseen").textContent = t.unseen(why);
  $("unseen").hidden = false;
}

function move(step) {
  if (isBusy || isOver) return;
  const place = at + step;
  if (place < 0 || place >= all.suspects.length) return;
  status("");
  show(place);
}

function speak() {
  t = TEXT[language];
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t[node.dataset.text];
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t[node.dataset.label]);
    node.title = t[node.dataset.label];
  }
  $("language").textContent = language === "ko" ? "English" : "한국어";
  $("language").lang = language === "ko" ? "en" : "ko";
  $("key_list").replaceChildren(...Object.entries(t.keys).flatMap(([keys, meaning]) => {
    const term = document.createElement("dt");
    term.append(...keys.split(" ").map((key) => {
      const shown = document.createElement("kbd");
      shown.textContent = key;
      return shown;
    }));
    const what = document.createElement("dd");
    what.textContent = meaning;
    return [term, what];
  }));
  status(said);
  if (all !== null) show(at);
}

// --- the list of classes ------------------------------------------------------------------------

const plain = (text) => text.normalize("NFC").toLowerCase();

function openList() {
  if (isBusy || isOver) return;
  $("filter").value = "";
  $("list").showModal();
  filter();
  $("filter").focus();
}

function filter() {
  const words = plain($("filter").value).split(/\s+/).filter(Boolean);
  const names = all.classes.filter((name) => words.every((word) => plain(name).includes(word)));
  $("options").replaceChildren(...names.map((name, place) => {
    const option = document.createElement("li");
    option.id = `option_${place}`;
    option.setAttribute("role", "option");
    option.textContent = name;
    return option;
  }));
  if (names.length === 0) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = t.no_class;
    $("options").append(none);
  }
  activate(names.length ? Math.max(0, words.length ? 0 : names.indexOf(suspect().suggested)) : -1);
}

function activate(place) {
  const options = [...$("options").querySelectorAll("[role=option]")];
  active = options.length ? (place + options.length) % options.length : -1;
  options.forEach((option, index) => option.setAttribute("aria-selected", index === active));
  if (active < 0) { $("filter").removeAttribute("aria-activedescendant"); return; }
  $("filter").setAttribute("aria-activedescendant", options[active].id);
  options[active].scrollIntoView({ block: "nearest" });
}

function choose(option) {
  if (!option) return;
  $("list").close();
  decide("relabel", option.textContent);
}

$("filter").addEventListener("input", filter);
$("filter").addEventListener("keydown", (event) => {
  if (event.isComposing) return;  // Enter ends a Korean syllable first
  if (event.key === "ArrowDown") activate(active + 1);
  else if (event.key === "ArrowUp") activate(active - 1);
  else if (event.key === "Enter") choose($(`option_${active}`));
  else return;
  event.preventDefault();
});
$("options").addEventListener("click", (event) => choose(event.target.closest("[role=option]")));

// --- keys and buttons ---------------------------------------------------------------------------

const DO = {
  k: () => decide("keep"), r: () => decide("relabel", suspect().suggested), "/": openList,
  x: () => decide("exclude"), u: undo, j: () => move(-1), l: () => move(1),
  z: () => isOver || enlarge(suspect().id, t.suspect_photo(suspect().label)),
  arrowleft: () => move(-1), arrowright: () => move(1), "?": () => $("keys").showModal(),
};
const BUTTONS = {
  keep: "k", relabel: "r", other: "/", exclude: "x", undo: "u", previous: "j", next: "l", help: "?",
  photo: "z",
};

document.addEventListener("keydown", (event) => {
  if (all === null || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if ($("zoom").open) {  // any key goes back
    if (event.key !== "Escape") event.preventDefault();
    $("zoom").close();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  let key = event.key.toLowerCase();
  // With a Korean keyboard the K key gives ㅏ.
  if (!(key in DO) && !/^[\x20-\x7e]$/.test(key)) {
    if (/^Key[A-Z]$/.test(event.code)) key = event.code.slice(3).toLowerCase();
    if (event.code === "Slash") key = event.shiftKey ? "?" : "/";
  }
  if (!(key in DO)) return;
  event.preventDefault();
  DO[key]();
});
for (const [id, key] of Object.entries(BUTTONS)) $(id).addEventListener("click", () => DO[key]());
for (const name of ["list", "keys"]) $(`close_${name}`).addEventListener("click", () => $(name).close());
$("zoom").addEventListener("click", () => $("zoom").close());
$("look_again").addEventListener("click", () => { isOver = false; show(0); });
$("photo").addEventListener("load", () => { $("photo").className = ""; });
$("photo").addEventListener("error", unseen);
$("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  localStorage.setItem("language", language);
  speak();
});

async function start() {
  speak();
  // The cookie holds the token from here on; it need not stand in the address.
  history.replaceState(null, "", "/");
  try {
    all = await ask("/state");
  } catch (error) {
    fail(error);
    return;
  }
  const first = undecided(0);
  isOver = first === null;
  show(first ?? 0);
}
start();
