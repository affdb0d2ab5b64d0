// Keeps what the server rendered up to date: values, ages, states. Nothing here is needed to read the page.
import { LitElement, html, type TemplateResult } from "lit";
import { LIVE_STATE, READINGS, ago, clock, shown, word, type Reading, type ReadingsEvent } from "./page";

type Connection = "connecting" | "on" | "paused";

/** Says whether live works, politely and only when that changes. */
class LiveStatus extends LitElement {
  static properties = { connection: { state: true } };
  declare connection: Connection;
  private until = new Date();

  constructor() {
    super();
    this.connection = "connecting";
  }

  // The page's style sheet is to reach this element: no shadow.
  protected createRenderRoot(): HTMLElement {
    return this;
  }

  connectedCallback(): void {
    super.connectedCallback();
    this.hidden = false;
    document.addEventListener(LIVE_STATE, (event) => {
      const connection = (event as CustomEvent<Connection>).detail;
      if (connection === "paused" && this.connection !== "paused") this.until = new Date();
      this.connection = connection;
    });
  }

  protected render(): TemplateResult {
    this.dataset.connection = this.connection;
    const text =
      this.connection === "on"
        ? word("live_on")
        : this.connection === "paused"
          ? word("live_paused", { time: clock(this.until) })
          : word("live_connecting");
    return html`<span class="dot" aria-hidden="true"></span>${text}`;
  }
}
customElements.define("lm-live", LiveStatus);

const still = matchMedia("(prefers-reduced-motion: reduce)");
// The same rules as overview.py: doubtful is out of range (1) or time in the future (4).
const DOUBTFUL = 1 | 4;

function apply(readings: Reading[], animated: boolean): void {
  const states = new Map<number, boolean>();
  for (const reading of readings) {
    const at = Date.parse(reading.t);
    states.set(reading.thing, (states.get(reading.thing) ?? false) || (reading.quality & DOUBTFUL) !== 0);
    for (const element of document.querySelectorAll<HTMLElement>(`[data-datastream="${reading.datastream}"]`)) {
      // Late readings arrive too: what is shown stays where it is newer.
      if (element.dataset.time && Date.parse(element.dataset.time) >= at) continue;
      element.dataset.time = reading.t;
      element.textContent = shown(reading.value, element.dataset);
      const post = element.closest<HTMLElement>("[data-thing]");
      if (post) {
        for (const time of post.querySelectorAll<HTMLTimeElement>("time[data-relative]")) {
          const mine = time.dataset.timeOf === undefined || time.dataset.timeOf === String(reading.datastream);
          if (mine && !(Date.parse(time.dateTime) >= at)) time.dateTime = reading.t;
        }
      }
      if (animated && !still.matches) {
        element.classList.remove("renewed");
        requestAnimationFrame(() => element.classList.add("renewed"));
      }
    }
  }
  if (animated) {
    for (const [thing, doubtful] of states) speak(thing, doubtful);
  }
  refreshAges();
}

/** A lamppost that was silent and speaks is no longer silent. Doubt is for the server to take back. */
function speak(thing: number, doubtful: boolean): void {
  for (const badge of document.querySelectorAll<HTMLElement>(`[data-state-of="${thing}"]`)) {
    const state = doubtful || badge.classList.contains("doubtful") ? "doubtful" : "fresh";
    if (badge.classList.contains(state)) continue;
    badge.classList.remove("fresh", "doubtful", "silent", "never");
    badge.classList.add(state);
    const label = badge.querySelector(".word");
    if (label) label.textContent = word(state);
  }
}

function refreshAges(): void {
  const now = Date.now();
  for (const time of document.querySelectorAll<HTMLTimeElement>("time[data-relative]")) {
    const text = ago(Date.parse(time.dateTime), now);
    if (text !== null && time.textContent !== text) time.textContent = text;
  }
}

function connect(): void {
  const map = document.querySelector("lm-map");
  const shownThings = [...document.querySelectorAll<HTMLElement>("[data-thing]")].map((one) => one.dataset.thing);
  if (!map && shownThings.length === 0) return;
  const source = new EventSource(map ? "/live" : `/live?things=${shownThings.join(",")}`);
  const say = (connection: Connection) => document.dispatchEvent(new CustomEvent(LIVE_STATE, { detail: connection }));
  const take = (animated: boolean) => (event: MessageEvent<string>) => {
    const { readings } = JSON.parse(event.data) as ReadingsEvent;
    apply(readings, animated);
    if (animated) document.dispatchEvent(new CustomEvent(READINGS, { detail: readings }));
  };
  source.addEventListener("open", () => say("on"));
  source.addEventListener("error", () => {
    say("paused");
    // A refusal (503) ends an EventSource for good; the browser only comes back by itself after a broken connection.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 10_000);
  });
  source.addEventListener("snapshot", take(false));
  source.addEventListener("readings", take(true));
  addEventListener("pagehide", () => source.close(), { once: true });
}

addEventListener("pageshow", (event) => {
  // Back from the browser's cache of pages: the stream was closed and what stands here is old.
  if (event.persisted) location.reload();
});

const map = document.querySelector<HTMLElement>("lm-map");
if (map?.dataset.script) {
  void import(map.dataset.script).catch(() => {
    const note = map.querySelector(".map-note");
    if (note) note.textContent = word("map_failed");
  });
}
refreshAges();
setInterval(refreshAges, 1000);
connect();
