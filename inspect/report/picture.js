// The picture of one image: full resolution by OpenSeadragon where the page has it and the run has tiles, the overview
// with its boxes drawn in otherwise. Coordinates are px of the image.
const stage = document.getElementById("stage");
const boxes = document.getElementById("boxes");
const heat = document.getElementById("heat");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const BOX_MIN_PX = 18; // of the screen: a 5 px dot is 1 px wide in the whole picture
const AROUND = 4; // a region takes at most one part in so many of the stage's width and height
const AROUND_MIN_PX = 120; // of the image
const LARGEST_PIXEL = 24; // screen pixels for one of the image
let viewer = null; // OpenSeadragon's, made once
let heatLayer = null;
let lookedAt = null; // the image in the stage
let pick = () => {};

async function openDeepZoom() {
  if (viewer || !stage.dataset.viewer) return;
  await loadScript(stage.dataset.viewer);
  // It would warn of every tile that arrives after the next image was asked for.
  OpenSeadragon.console = Object.assign(Object.create(console), { warn: () => {} });
  viewer = new OpenSeadragon.Viewer({
    element: document.getElementById("picture"),
    drawer: "canvas", // a page opened from a folder may not give pictures to WebGL
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "TOP_RIGHT",
    navigatorSizeRatio: 0.16,
    navigatorAutoFade: false, // half faded it looks like a smudge on the picture
    navigatorDisplayRegionColor: "#7db2ff", // its own dark red drowns in a dark picture
    animationTime: still.matches ? 0 : 0.7,
    maxZoomPixelRatio: LARGEST_PIXEL,
    visibilityRatio: 0.5,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  });
  for (const name of ["update-viewport", "resize", "open"]) viewer.addHandler(name, drawBoxes);
  viewer.addHandler("update-viewport", () => {
    if (!viewer.world.getItemCount()) return;
    viewer.drawer.setImageSmoothingEnabled(imageZoom() < 1); // large, a pixel is a square
    const whole = viewer.viewport.getZoom() <= viewer.viewport.getHomeZoom() * 1.01;
    viewer.navigator.element.style.visibility = whole ? "hidden" : "visible"; // it would show what the stage shows
  });
  viewer.addHandler("canvas-click", (event) => {
    if (!event.quick) return;
    const region = regionAt(event.position);
    if (region) pick(region.n);
  });
  // The arrows move a picture that has the focus; every other key is the page's.
  viewer.addHandler("canvas-key", (event) => {
    event.preventDefaultAction = !event.originalEvent.key.startsWith("Arrow");
  });
}

// Shows an image; `region` is flown to once it is there.
async function showPicture(image, region, picked) {
  lookedAt = image;
  pick = picked;
  const says = document.getElementById("stage-says");
  says.textContent = image.error || (image.overview ? "" : "There is no picture of this image.");
  stage.classList.remove("deep", "plain");
  if (image.zoom) await openDeepZoom().catch(() => {}); // a viewer that went missing leaves plain pictures
  if (lookedAt !== image) return; // the next one was asked for meanwhile
  const deep = Boolean(image.zoom && viewer);
  stage.classList.add(deep ? "deep" : "plain");
  if (deep) openTiles(image, region);
  else showPlain(image);
}

function openTiles(image, region) {
  document.querySelector("#picture > .overview")?.remove();
  heatLayer = null;
  viewer.addOnceHandler("open", () => {
    if (lookedAt !== image) return;
    heatLayer = viewer.world.getItemAt(1);
    applyHeat();
    if (region) flyTo(region, true);
  });
  viewer.open([{ tileSource: tiles(image, "picture") }, { tileSource: tiles(image, "heat"), opacity: 0 }]);
}

function tiles(image, what) {
  const { folder, tile, overlap, levels, heat } = image.zoom;
  const there = new Set(heat);
  const source = new OpenSeadragon.TileSource({
    width: image.width,
    height: image.height,
    tileSize: tile,
    tileOverlap: what === "heat" ? 0 : overlap,
    minLevel: 0,
    maxLevel: levels - 1,
  });
  source.getTileUrl = (level, x, y) => `${folder}${what}-${level}-${x}-${y}.${what === "heat" ? "png" : "jpg"}`;
  if (what === "heat") {
    source.tileExists = (level, x, y) => there.has(`${level}-${x}-${y}`); // cold tiles were not written
    source.hasTransparency = () => true;
  }
  return source;
}

function showPlain(image) {
  document.querySelector("#picture > .overview")?.remove();
  viewer?.close();
  boxes.replaceChildren();
  if (!image.overview) return;
  const says = `The whole image, its ${image.regions.length + image.more} regions boxed`;
  document.getElementById("picture").append(element("img", { class: "overview", src: image.overview, alt: says }));
}

const imageZoom = () => viewer.world.getItemAt(0).viewportToImageZoom(viewer.viewport.getZoom(true));

// A box with its surroundings, in the middle of the stage.
function flyTo(region, atOnce = false) {
  const item = viewer?.world.getItemAt(0);
  if (!item || !stage.classList.contains("deep")) return;
  const [x0, y0, x1, y1] = region.box;
  const wide = Math.max((x1 - x0) * AROUND, AROUND_MIN_PX);
  const high = Math.max((y1 - y0) * AROUND, AROUND_MIN_PX);
  const bounds = item.imageToViewportRectangle((x0 + x1 - wide) / 2, (y0 + y1 - high) / 2, wide, high);
  viewer.viewport.fitBounds(bounds, atOnce || still.matches);
}

function showWhole() {
  viewer?.viewport?.goHome(still.matches);
}

function showNative() {
  const item = viewer?.world.getItemAt(0);
  if (item) viewer.viewport.zoomTo(item.imageToViewportZoom(1), null, still.matches);
}

function zoomBy(factor) {
  if (!viewer?.world.getItemCount()) return;
  viewer.viewport.zoomBy(factor).applyConstraints();
}

function applyHeat() {
  const percent = Number(heat.value);
  document.getElementById("heat-says").textContent = `${percent} %`;
  heatLayer?.setOpacity(percent / 100);
}

// Boxes of all regions in screen px, never smaller than an eye can find; the chosen one last, on top.
function drawBoxes() {
  const item = viewer?.world.getItemAt(0);
  const wanted = item && lookedAt && document.getElementById("show-boxes").checked;
  const order = wanted ? [...lookedAt.regions].sort((a, b) => Number(b.chosen) - Number(a.chosen)) : [];
  const taken = [];
  boxes.replaceChildren(...order.map((region) => drawn(region, taken)).reverse());
}

// `taken`: places of the numbers so far, those of worse regions. A number that would cover one is left out until the
// picture is larger.
function drawn(region, taken) {
  const { left, top, wide, high } = onScreen(region);
  const group = svg("g", { class: `box ${region.verdict}${region.chosen ? " chosen" : ""}`, "data-region": region.n });
  const armX = wide / 4;
  const armY = high / 4;
  const corner = (x, y, toX, toY) => `M${x + toX} ${y}H${x}V${y + toY}`;
  const path =
    region.verdict === "NG"
      ? `M${left} ${top}h${wide}v${high}h${-wide}z`
      : corner(left, top, armX, armY) + corner(left + wide, top, -armX, armY) +
        corner(left, top + high, armX, -armY) + corner(left + wide, top + high, -armX, -armY);
  group.append(svg("path", { class: "rim", d: path }), svg("path", { d: path }));
  const name = String(region.label ?? region.n);
  const [x, y, reach] = [left + wide + 5, top + 12, 9 * name.length + 3];
  if (!taken.some((other) => x < other.x + other.reach && other.x < x + reach && Math.abs(y - other.y) < 15)) {
    taken.push({ x, y, reach });
    const label = svg("text", { x, y });
    label.textContent = name;
    group.append(label);
  }
  return group;
}

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function onScreen(region) {
  const item = viewer.world.getItemAt(0);
  const at = (x, y) => item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
  const first = at(region.box[0], region.box[1]);
  const last = at(region.box[2], region.box[3]);
  const wide = Math.max(last.x - first.x + 6, BOX_MIN_PX);
  const high = Math.max(last.y - first.y + 6, BOX_MIN_PX);
  return { left: (first.x + last.x - wide) / 2, top: (first.y + last.y - high) / 2, wide, high };
}

// The smallest box around a point of the screen: a dot on a stain can be picked.
function regionAt(point) {
  const hit = lookedAt.regions
    .map((region) => ({ region, ...onScreen(region) }))
    .filter((b) => point.x >= b.left && point.x <= b.left + b.wide && point.y >= b.top && point.y <= b.top + b.high);
  return hit.sort((a, b) => a.wide * a.high - b.wide * b.high)[0]?.region;
}

const PICTURE_KEYS = {
  "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: showWhole, 1: showNative,
  h: () => { heat.value = heat.value === "0" ? (heat.dataset.before ?? "60") : ((heat.dataset.before = heat.value), "0"); applyHeat(); },
  b: () => document.getElementById("show-boxes").click(),
};
heat.addEventListener("input", applyHeat);
document.getElementById("show-boxes").addEventListener("change", drawBoxes);
document.getElementById("zoom-in").addEventListener("click", () => zoomBy(1.5));
document.getElementById("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
document.getElementById("zoom-whole").addEventListener("click", showWhole);
document.getElementById("zoom-native").addEventListener("click", showNative);
