// Whisper's languages, by code; their names come from the browser.

const CODES = ("af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy "
  + "id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk "
  + "sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh").split(" ");
const NAMES = new Intl.DisplayNames(["en"], { type: "language" });
const OWN_NAMES = { jw: "Javanese", tl: "Tagalog" }; // browsers lack the withdrawn code, and say Filipino

/** Return [code, name] of every language, by name. */
export function languages() {
  return CODES.map((code) => [code, languageName(code)]).sort((a, b) => a[1].localeCompare(b[1], "en"));
}

/** Return "English" for "en" and for "english". */
export function languageName(language) {
  if (!language) return "";
  if (language.length > 3) return language[0].toUpperCase() + language.slice(1);
  try {
    return OWN_NAMES[language] ?? NAMES.of(language);
  } catch {
    return language;
  }
}

/** Return "en" for "english" and for "en"; empty where the name is unknown. */
export function languageCode(language) {
  if (language.length <= 3) return language;
  return languages().find(([, name]) => name.toLowerCase() === language.toLowerCase())?.[0] ?? "";
}
