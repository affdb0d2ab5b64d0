// The map: every lamppost as a mark whose shape and colour both tell its state, on a plain ground. No tiles, no third party.
import { LitElement, html, type TemplateResult } from "lit";
import * as maplibregl from "maplibre-gl";
import { READINGS, ago, language, word, type Reading } from "./page";

interface Card {
  id: number;
  name: string;
  state: string;
  last: string | null;
  readings: { name: string; value: string }[];
}

type Town = GeoJSON.FeatureCollection<GeoJSON.Point, { name: string; state: string; last: string | null }>;

const STATES = ["fresh", "doubtful", "silent", "never"] as const;
const REFRESH_MS = 60_000;
const PULSE_MS = 900;
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Draws a mark: circle, triangle, square, ring. Twice the size for sharp screens. */
function mark(state: (typeof STATES)[number]): ImageData {
  const size = 44;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const pen = canvas.getContext("2d");
  if (!pen) return new ImageData(size, size);
  pen.lineJoin = "round";
  pen.lineWidth = 4;
  pen.strokeStyle = colour("map-ground");
  pen.fillStyle = colour(state);
  pen.beginPath();
  if (state === "doubtful") {
    pen.moveTo(22, 5);
    pen.lineTo(40, 38);
    pen.lineTo(4, 38);
    pen.closePath();
  } else if (state === "silent") {
    pen.rect(9, 9, 26, 26);
  } else {
    pen.arc(22, 22, 14, 0, 2 * Math.PI);
  }
  if (state === "never") {
    pen.lineWidth = 5;
    pen.strokeStyle = colour(state);
    pen.fillStyle = colour("map-ground");
    pen.fill();
    pen.stroke();
  } else {
    pen.stroke();
    pen.fill();
  }
  return pen.getImageData(0, 0, size, size);
}

class TownMap extends LitElement {
  static properties = { trouble: { state: true } };
  declare trouble: string;
  private town: Town = { type: "FeatureCollection", features: [] };
  private readonly places = new Map<number, Town["features"][number]>();
  private readonly pulses = new Map<number, number>();

  constructor() {
    super();
    this.trouble = "";
  }

  protected createRenderRoot(): HTMLElement {
    // The server's note for people without JavaScript makes room.
    this.replaceChildren();
    return this;
  }

  protected render(): TemplateResult {
    if (this.trouble) return html`<p class="note map-note">${this.trouble}</p>`;
    return html`<div class="map-canvas"></div>
      <p class="age">${word("map_help")}</p>`;
  }

  protected firstUpdated(): void {
    void this.open();
  }

  private async open(): Promise<void> {
    const container = this.querySelector<HTMLElement>(".map-canvas");
    if (!container) return;
    if (!document.createElement("canvas").getContext("webgl2")) {
      this.trouble = word("map_no_webgl");
      return;
    }
    try {
      await this.fetchTown();
      maplibregl.setWorkerUrl(this.dataset.worker ?? "");
      this.draw(container);
    } catch {
      this.trouble = word("map_failed");
    }
  }

  private async fetchTown(): Promise<void> {
    const response = await fetch("/map.geojson");
    if (!response.ok) throw new Error(`map.geojson answered ${response.status}`);
    this.town = (await response.json()) as Town;
    this.places.clear();
    for (const feature of this.town.features) this.places.set(Number(feature.id), feature);
  }

  private draw(container: HTMLElement): void {
    const bounds = new maplibregl.LngLatBounds();
    for (const feature of this.town.features) bounds.extend(feature.geometry.coordinates as [number, number]);
    const map = new maplibregl.Map({
      container,
      style: { version: 8, sources: {}, layers: [this.ground()] },
      ...(bounds.isEmpty() ? { center: [5.2, 52.1], zoom: 6 } : { bounds, fitBoundsOptions: { padding: 40, maxZoom: 17 } }),
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      cooperativeGestures: false,
      fadeDuration: still.matches ? 0 : 150,
      locale: {
        "NavigationControl.ZoomIn": word("zoom_in"),
        "NavigationControl.ZoomOut": word("zoom_out"),
        "Popup.Close": word("close"),
        "Map.Title": word("map_help"),
      },
    });
    map.touchZoomRotate.disableRotation();
    map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new maplibregl.ScaleControl({ unit: "metric" }), "bottom-left");
    map.on("load", () => this.populate(map));
  }

  private ground(): maplibregl.BackgroundLayerSpecification {
    return { id: "ground", type: "background", paint: { "background-color": colour("map-ground") } };
  }

  private populate(map: maplibregl.Map): void {
    for (const state of STATES) map.addImage(state, mark(state), { pixelRatio: 2 });
    map.addSource("town", { type: "geojson", data: this.town });
    map.addLayer({
      id: "pulse",
      type: "circle",
      source: "town",
      paint: {
        "circle-radius": 16,
        "circle-color": colour("glow"),
        "circle-blur": 0.6,
        "circle-opacity": ["case", ["boolean", ["feature-state", "pulse"], false], 0.9, 0],
        "circle-opacity-transition": { duration: 500 },
      },
    });
    map.addLayer({
      id: "posts",
      type: "symbol",
      source: "town",
      layout: {
        "icon-image": ["get", "state"],
        "icon-allow-overlap": true,
        "icon-size": ["interpolate", ["linear"], ["zoom"], 10, 0.45, 14, 0.75, 17, 1],
        // What needs attention lies on top.
        "symbol-sort-key": ["match", ["get", "state"], "silent", 3, "doubtful", 2, "fresh", 1, 0],
      },
    });
    map.on("mouseenter", "posts", () => (map.getCanvas().style.cursor = "pointer"));
    map.on("mouseleave", "posts", () => (map.getCanvas().style.cursor = ""));
    map.on("click", (event) => {
      // A finger covers more than a pixel.
      const reach = 14;
      const box: [maplibregl.PointLike, maplibregl.PointLike] = [
        [event.point.x - reach, event.point.y - reach],
        [event.point.x + reach, event.point.y + reach],
      ];
      const nearest = map
        .queryRenderedFeatures(box, { layers: ["posts"] })
        .map((feature) => this.places.get(Number(feature.id)))
        .filter((feature) => feature !== undefined)
        .map((feature) => ({ feature, at: map.project(feature.geometry.coordinates as [number, number]) }))
        .sort((one, other) => one.at.dist(event.point) - other.at.dist(event.point))[0];
      if (nearest) void this.openCard(map, nearest.feature);
    });
    document.addEventListener(READINGS, (event) => this.hear(map, (event as CustomEvent<Reading[]>).detail));
    dark.addEventListener("change", () => this.repaint(map));
    setInterval(() => void this.refresh(map), REFRESH_MS);
    // Drawn, not merely loaded: from here on a click finds a mark.
    void map.once("idle", () => (this.dataset.ready = String(this.town.features.length)));
  }

  private repaint(map: maplibregl.Map): void {
    map.setPaintProperty("ground", "background-color", colour("map-ground"));
    map.setPaintProperty("pulse", "circle-color", colour("glow"));
    for (const state of STATES) map.updateImage(state, mark(state));
  }

  private async refresh(map: maplibregl.Map): Promise<void> {
    try {
      await this.fetchTown();
    } catch {
      return; // The marks stay as they are; the status line tells that live is paused.
    }
    void map.getSource<maplibregl.GeoJSONSource>("town")?.setData(this.town);
  }

  private hear(map: maplibregl.Map, readings: Reading[]): void {
    const renewed: maplibregl.GeoJSONFeatureDiff[] = [];
    for (const thing of new Set(readings.map((reading) => reading.thing))) {
      const place = this.places.get(thing);
      if (!place) continue;
      if (place.properties.state === "silent" || place.properties.state === "never") {
        place.properties.state = "fresh";
        renewed.push({ id: thing, addOrUpdateProperties: [{ key: "state", value: "fresh" }] });
      }
      if (!still.matches) this.pulse(map, thing);
    }
    if (renewed.length) void map.getSource<maplibregl.GeoJSONSource>("town")?.updateData({ update: renewed });
  }

  private pulse(map: maplibregl.Map, thing: number): void {
    clearTimeout(this.pulses.get(thing));
    map.setFeatureState({ source: "town", id: thing }, { pulse: true });
    const end = () => map.setFeatureState({ source: "town", id: thing }, { pulse: false });
    this.pulses.set(thing, setTimeout(end, PULSE_MS));
  }

  private async openCard(map: maplibregl.Map, feature: Town["features"][number]): Promise<void> {
    const response = await fetch(`/things/${Number(feature.id)}/card.json?lang=${language}`);
    if (!response.ok) return;
    const card = (await response.json()) as Card;
    new maplibregl.Popup({ maxWidth: "280px", focusAfterOpen: true })
      .setLngLat(feature.geometry.coordinates as [number, number])
      .setDOMContent(content(card))
      .addTo(map);
  }
}

/** Names come from registers and devices: they are set as text, never parsed. */
function content(card: Card): HTMLElement {
  const box = document.createElement("div");
  box.className = "card";
  const title = box.appendChild(document.createElement("h3"));
  title.textContent = card.name;
  const state = box.appendChild(document.createElement("p"));
  const age = card.last === null ? "" : ` · ${ago(Date.parse(card.last), Date.now()) ?? card.last}`;
  state.textContent = word(card.state) + age;
  const list = box.appendChild(document.createElement("dl"));
  for (const reading of card.readings) {
    list.appendChild(document.createElement("dt")).textContent = reading.name;
    list.appendChild(document.createElement("dd")).textContent = reading.value;
  }
  const link = box.appendChild(document.createElement("a"));
  link.href = `/things/${card.id}?lang=${language}`;
  link.textContent = word("more");
  return box;
}

customElements.define("lm-map", TownMap);
