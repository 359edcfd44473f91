// What the page says, in English and Korean.

const ORDER = ["maker", "model", "generation", "exact"];

const ordinal = (num) => {
  const tens = num % 100;
  const ending = tens > 10 && tens < 14 ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[num % 10] ?? "th");
  return `${num}${ending}`;
};

export const WORDS = {
  en: {
    question: "What car is this?",
    how: "Drop photos here, paste them, or choose them.",
    choose: "Choose photos", take: "Take a photo",
    privacy: "Photos go to this service alone, which keeps none.",
    about: (classes, risk) => `tells ${classes.toLocaleString("en")} ${classes === 1 ? "class" : "classes"} apart`
      + (risk === null ? "" : `, aims at ${percent(risk)} wrong answers at most`),
    answers: "Answers", photo: (name) => `Photo ${name}`, no_preview: "No preview",
    pasted: (num) => `Pasted photo ${num}`,
    count: (done, num) => (done === num
      ? `${num} ${num === 1 ? "photo" : "photos"}` : `${done} of ${num} photos answered`),
    copy: "Copy JSON", copy_all: "Copy all as JSON", copied: "Copied",
    copy_failed: "The browser does not let this page copy.",
    remove: "Remove", clear: "Remove all", again: "Try again",
    waiting: "Waiting…", asking: "Looking…", busy: (seconds) => `The service is busy. Again in ${seconds} s…`,
    level: { maker: "Maker", model: "Model", generation: "Generation", exact: "Class" },
    levels: "Level by level", top: "Likeliest classes", top_strange: "If it were one of the classes", nearest: "Most alike in training",
    sure: "sure", unsure: "not sure",
    dont_know: "I don’t know",
    generation: (text) => text.replace(/(\d+)세대/, (_, num) => `${ordinal(Number(num))} generation`),
    years: (from, to) => {
      if (from === to) return `${from}`;
      if (to === null) return `from ${from}`;
      return from === null ? `until ${to}` : `${from}–${to}`;
    },
    why: {
      sure: () => "Sure of the exact class.",
      unmeasured: () => "How often such answers are wrong was not measured.",
      unsure: (level, next) => `Sure of the ${{ maker: "maker", model: "model", generation: "generation" }[level]}, `
        + `but not of the ${{ model: "model", generation: "generation", exact: "class" }[next.level]}: `
        + `the likeliest is ${next.name} with ${next.share}.`,
      none: (next) => `${{ maker: "Not even the maker is sure", model: "Not even the model is sure", generation: "The generation is not sure", exact: "The class is not sure" }[next.level]}: `
        + `the likeliest is ${next.name} with ${next.share}. `
        + "A photo of the whole car from outside may help.",
      strange: (share) => "This is unlike the photos that were learned: perhaps no car, only a part of one, "
        + "or a model that is not among the classes."
        + (share === null ? "" : ` It is stranger than ${share} of the photos of known cars.`),
    },
    heat: "What decided it", heat_off: "Show the photo", heat_asking: "Looking…",
    heat_note: (name) => `What decided whether it is ${name}:`,
    heat_for: "speaks for it", heat_against: "speaks against it",
    heat_failed: "No heat map could be made.",
    key_title: "This service needs a key", key: "Key", key_send: "Use this key", cancel: "Cancel",
    key_why: "Whoever runs the service gives it out. The page forgets it when it is closed.",
    key_wrong: "That key was not accepted. Check it and try again.",
    folder: "Folders cannot be dropped. Open the folder and drop the photos in it.",
    nothing: "There was no photo in that.",
    problem: (type, limits) => ({
      "too-many-bytes": ["The file is too large", `At most ${megabytes(limits?.max_bytes)} are taken. Send a smaller copy.`],
      "too-many-for-way": ["The file is too large for the way here", "A server in between takes smaller ones only. Send a smaller copy, or tell whoever runs the service."],
      "too-many-pixels": ["The photo has too many pixels", `At most ${limits?.max_megapixels ?? "…"} megapixels are taken. Send a smaller copy.`],
      "too-many-frames": ["This is a moving picture", "Send one picture of it."],
      "unknown-format": ["This is no photo that can be read", "Send it as JPEG, PNG or WebP."],
      unreadable: ["The photo is damaged", "Copy it again from where it came, or take another one."],
      "queue-full": ["The service is busy", "Try again in a minute."],
      "too-many-bodies": ["The service is busy", "Try again in a minute."],
      stopping: ["The service is stopping", "Try again in a minute."],
      deadline: ["The answer took too long", "Try again; the service may be busy."],
      "slow-body": ["The photo arrived too slowly", "Try again on a better connection, or send a smaller copy."],
      "no-key": ["The service needs a key", "Try again and enter it."],
      gone: ["The service does not answer", "Check that it is running and that you are connected, then try again."],
      gone_file: ["The file cannot be read any more", "Choose it again."],
      bug: ["Something went wrong in the service", "Try again. If it stays, tell whoever runs the service."],
    })[type],
  },
  ko: {
    question: "이 차는 무엇일까요?",
    how: "사진을 여기에 끌어다 놓거나, 붙여넣거나, 선택하세요.",
    choose: "사진 선택", take: "사진 찍기",
    privacy: "사진은 이 서비스로만 보내지고 저장되지 않습니다.",
    about: (classes, risk) => `${classes.toLocaleString("ko")}개 차종 구별`
      + (risk === null ? "" : `, 목표 오답률 ${percent(risk)} 이하`),
    answers: "답", photo: (name) => `사진 ${name}`, no_preview: "미리보기 없음",
    pasted: (num) => `붙여넣은 사진 ${num}`,
    count: (done, num) => (done === num ? `사진 ${num}장` : `사진 ${num}장 중 ${done}장 완료`),
    copy: "JSON 복사", copy_all: "모두 JSON으로 복사", copied: "복사했습니다",
    copy_failed: "브라우저가 복사를 허용하지 않습니다.",
    remove: "지우기", clear: "모두 지우기", again: "다시 시도",
    waiting: "대기 중…", asking: "살펴보는 중…", busy: (seconds) => `서비스가 바쁩니다. ${seconds}초 뒤 다시 시도합니다…`,
    level: { maker: "제조사", model: "모델", generation: "세대", exact: "클래스" },
    levels: "어디까지 확실한가", top: "가능성이 높은 클래스", top_strange: "아는 차종 중에서 고른다면", nearest: "가장 닮은 학습 사진",
    sure: "확실", unsure: "불확실",
    dont_know: "모르겠습니다",
    generation: (text) => text,
    years: (from, to) => {
      if (from === to) return `${from}`;
      if (to === null) return `${from} 이후`;
      return from === null ? `${to} 이전` : `${from}–${to}`;
    },
    why: {
      sure: () => "정확한 클래스까지 확실합니다.",
      unmeasured: () => "이런 답이 얼마나 자주 틀리는지는 측정되지 않았습니다.",
      unsure: (level, next) => `${{ maker: "제조사", model: "모델", generation: "세대" }[level]}까지는 확실하지만 `
        + `${{ model: "모델은", generation: "세대는", exact: "정확한 클래스는" }[next.level]} 확실하지 않습니다. `
        + `가장 가능성이 높은 것은 ${next.name}(${next.share})입니다.`,
      none: (next) => `${{ maker: "제조사도", model: "모델도", generation: "세대가", exact: "클래스가" }[next.level]} 확실하지 않습니다. 가장 가능성이 높은 것은 ${next.name}(${next.share})입니다. `
        + "차 전체를 밖에서 찍은 사진을 써 보세요.",
      strange: (share) => "학습한 사진들과 많이 다릅니다. 차가 아니거나, 차의 일부만 보이거나, 클래스에 없는 모델일 수 있습니다."
        + (share === null ? "" : ` 아는 차 사진의 ${share}보다 낯섭니다.`),
    },
    heat: "판단 근거 보기", heat_off: "사진 보기", heat_asking: "살펴보는 중…",
    heat_note: (name) => `${name}의 판단 근거:`,
    heat_for: "맞다는 근거", heat_against: "아니라는 근거",
    heat_failed: "판단 근거를 표시할 수 없습니다.",
    key_title: "이 서비스에는 키가 필요합니다", key: "키", key_send: "이 키 사용", cancel: "취소",
    key_why: "서비스 운영자에게 받을 수 있습니다. 페이지를 닫으면 키는 지워집니다.",
    key_wrong: "키가 맞지 않습니다. 확인하고 다시 입력하세요.",
    folder: "폴더는 놓을 수 없습니다. 폴더를 열고 그 안의 사진을 놓으세요.",
    nothing: "사진이 없습니다.",
    problem: (type, limits) => ({
      "too-many-bytes": ["파일이 너무 큽니다", `최대 ${megabytes(limits?.max_bytes)}입니다. 더 작게 만들어 보내세요.`],
      "too-many-for-way": ["파일이 중간 서버의 한도보다 큽니다", "더 작게 만들어 보내거나 서비스 운영자에게 알려 주세요."],
      "too-many-pixels": ["사진의 픽셀이 너무 많습니다", `최대 ${limits?.max_megapixels ?? "…"}메가픽셀입니다. 더 작게 만들어 보내세요.`],
      "too-many-frames": ["움직이는 그림입니다", "그중 한 장만 보내세요."],
      "unknown-format": ["읽을 수 있는 사진이 아닙니다", "JPEG, PNG 또는 WebP로 보내세요."],
      unreadable: ["손상된 사진입니다", "원본을 다시 복사하거나 새로 찍으세요."],
      "queue-full": ["서비스가 바쁩니다", "잠시 뒤 다시 시도하세요."],
      "too-many-bodies": ["서비스가 바쁩니다", "잠시 뒤 다시 시도하세요."],
      stopping: ["서비스를 끄는 중입니다", "잠시 뒤 다시 시도하세요."],
      deadline: ["답이 너무 오래 걸립니다", "다시 시도하세요. 서비스가 바쁠 수 있습니다."],
      "slow-body": ["사진이 너무 느리게 도착했습니다", "더 빠른 연결에서 다시 시도하거나 더 작게 만들어 보내세요."],
      "no-key": ["서비스에 키가 필요합니다", "다시 시도하고 키를 입력하세요."],
      gone: ["서비스가 응답하지 않습니다", "서비스가 실행 중인지, 네트워크에 연결되어 있는지 확인하고 다시 시도하세요."],
      gone_file: ["파일을 더 이상 읽을 수 없습니다", "파일을 다시 선택하세요."],
      bug: ["서비스에 문제가 생겼습니다", "다시 시도하세요. 계속되면 서비스 운영자에게 알리세요."],
    })[type],
  },
};

const megabytes = (bytes) => (bytes === undefined ? "…" : `${+(bytes / 1e6).toPrecision(2)} MB`);

/** A share in words that never says all or nothing. */
export function percent(share) {
  if (share < 0.001) return "<\u00a00.1\u00a0%";
  if (share < 0.0995) return `${(100 * share).toFixed(1).replace(/\.0$/, "")}\u00a0%`;
  return share >= 0.995 ? ">\u00a099\u00a0%" : `${Math.round(100 * share)}\u00a0%`;
}

const plain = (name) => name.replaceAll("_", " ");
const maker = (car, language) => (language === "ko" ? car.make_ko ?? car.make : car.make ?? car.make_ko);

/** What is said of the car, such as "Hyundai 그랜저, 7th generation, from 2022". */
export function headline(answer, language) {
  const t = WORDS[language];
  if (answer.abstained) return t.dont_know;
  const parts = [[maker(answer, language), answer.model].filter(Boolean).map(plain).join(" ")];
  if (answer.generation) parts.push(t.generation(answer.generation));
  const isDeep = answer.level === "generation" || answer.level === "exact";
  if (isDeep && (answer.year_from ?? answer.year_to) !== null) {
    parts.push(t.years(answer.year_from, answer.year_to));
  }
  const said = parts.filter(Boolean).join(", ");
  return said === "" ? plain(answer.exact ?? answer.levels[answer.level].name) : said;
}

/** The likeliest group at each level, the coarsest first, and whether it is sure. */
export function levels(answer, language) {
  const deepest = ORDER.indexOf(answer.level);
  let above = "";
  // A level at which nobody knows a name is not told.
  const all = ORDER.filter((level) => level in answer.levels).map((level) => {
    const { prob } = answer.levels[level];
    const name = level === "exact" ? answer.levels.exact.name : group(answer.levels[level].name, answer, language);
    // What stands in the line above need not be said again.
    const short = name.startsWith(`${above} `) ? name.slice(above.length + 1) : name;
    above = name;
    return { level, prob, name, short, isSure: ORDER.indexOf(level) <= deepest };
  });
  // Nor what the next line says: cars without a catalogue are their class at every level.
  return all.filter((each, place) => {
    const next = all[place + 1];
    return !next || next.name !== each.name || next.isSure !== each.isSure;
  });
}

// Groups are named by the maker's English name; Korean readers get the Korean one.
function group(name, answer, language) {
  const known = [answer, ...answer.top].find(
    (car) => car.make && car.make_ko && (name === car.make || name.startsWith(`${car.make} `)),
  );
  const said = known ? maker(known, language) + name.slice(known.make.length) : name;
  return plain(WORDS[language].generation(said));
}

/** Why the answer is as deep as it is, and not deeper; where no risk is kept, nobody knows. */
export function why(answer, language, isMeasured = true) {
  const t = WORDS[language].why;
  if (answer.reason === "strange") {
    // Cut off, not rounded: it must not say 100 %.
    const share = answer.strangeness === null ? null : Math.min(answer.strangeness, 0.999);
    return t.strange(share === null ? null : `${Math.floor(1000 * share) / 10}\u00a0%`);
  }
  if (!isMeasured) return t.unmeasured();
  const next = levels(answer, language).find((each) => !each.isSure);
  if (!next) return t.sure();
  next.share = percent(next.prob);
  return answer.level === "none" ? t.none(next) : t.unsure(answer.level, next);
}
