// What the server wrote into the page for scripts: language, words, and display rules. Text only ever goes out as text.

export interface Reading {
  datastream: number;
  thing: number;
  t: string;
  value: number | boolean | string | null;
  quality: number;
}

export interface ReadingsEvent {
  log_seq: number;
  readings: Reading[];
  truncated?: boolean;
}

export const READINGS = "lm-readings";
export const LIVE_STATE = "lm-live-state";

export const language = document.body.dataset.language === "en" ? "en" : "nl";
export const locale = language === "nl" ? "nl-NL" : "en-GB";

const words: Record<string, string> = JSON.parse(document.getElementById("texts")?.textContent ?? "{}");

export function word(key: string, values: Record<string, string | number> = {}): string {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

export function clock(at: Date): string {
  return at.toLocaleTimeString(locale, { timeZone: "Europe/Amsterdam", hour12: false });
}

export function ago(at: number, now: number): string | null {
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 100) return word("seconds_ago", { count: seconds });
  if (seconds < 100 * 60) return word("minutes_ago", { count: Math.round(seconds / 60) });
  if (seconds < 36 * 3600) return word("hours_ago", { count: Math.round(seconds / 3600) });
  return null;
}

export function shown(value: Reading["value"], rules: DOMStringMap): string {
  if (value === null) return "–";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return word(value ? "yes" : "no");
  const decimals = Number(rules.decimals ?? 1);
  const factor = Number(rules.factor ?? 1);
  // Adding nought turns a negative nought, which rounding makes, into a plain one.
  const scaled = Number((value * factor).toFixed(decimals)) + 0;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const text = scaled.toLocaleString(locale, digits);
  return rules.symbol ? `${text}\u00a0${rules.symbol}` : text;
}
