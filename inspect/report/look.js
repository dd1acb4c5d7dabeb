// Looking at one image: its picture, its regions by severity, from one to the next by mouse or keyboard.
const dialog = document.getElementById("look");
const regionList = document.getElementById("regions");
const ofRun = document.title; // which names the run
let at = null; // key of the image
let chosen = null; // number of the region

async function look(key, region) {
  at = key;
  chosen = null;
  const row = rowOf(key);
  const name = row.querySelector("bdi").textContent;
  document.title = `${name} – ${ofRun}`;
  document.getElementById("look-name").textContent = name;
  const place = shownImages().indexOf(row);
  document.getElementById("look-place").textContent = place < 0 ? "" : `${place + 1} of ${shownImages().length}`;
  if (!dialog.open) {
    dialog.showModal();
    dialog.focus(); // keys work at once, and a screen reader says the name
  }
  remember(key, region);
  let image;
  try {
    image = await imageOf(key);
  } catch (error) {
    image = { error: error.message, regions: [], more: 0, count: 0, dropped: 0, verdict: "ERROR", severity: "", heat: null };
  }
  if (at !== key) return;
  for (const one of image.regions) one.chosen = false;
  tell(image);
  const first = image.regions.find((one) => one.n === region);
  choose(image, first ?? image.regions[0], false);
  if (first) first.chosen = true; // flown to as soon as the picture is there
  await showPicture(image, first, (n) => choose(image, image.regions.find((one) => one.n === n), true));
}

// The address leads back here: #<name of the image>:<number of the region>.
function remember(key, region) {
  const name = rowOf(key).querySelector("bdi").textContent;
  const readable = encodeURIComponent(name).replaceAll("%2F", "/");
  history.replaceState(null, "", `#${readable}${region ? `:${region}` : ""}`);
}

function lookAtAddress() {
  const [, name, region] = /^#(.+?)(?::([0-9]+))?$/.exec(location.hash) ?? [];
  if (!name) return;
  const meant = (one) => encodeURIComponent(one.querySelector("bdi").textContent) === name.replaceAll("/", "%2F");
  const row = [...list.querySelectorAll("tr.image")].find(meant);
  if (row) look(Number(row.dataset.key), region && Number(region));
}

function tell(image) {
  const badge = document.getElementById("look-verdict");
  badge.className = `badge ${image.verdict}`;
  badge.textContent = image.verdict;
  document.getElementById("look-severity").textContent = image.severity && `severity ${image.severity}`;
  for (const mark of document.querySelectorAll("[data-anchor]")) {
    mark.textContent = image.heat?.[Number(mark.dataset.anchor)] ?? "";
  }
  const { count, dropped } = image;
  document.getElementById("regions-title").textContent =
    (count ? `${count} region${count === 1 ? "" : "s"}, the worst first` : "No region reached the threshold") +
    (dropped ? `; ${dropped} dropped by rules` : "") +
    (image.share ? `; ${image.share} of the picture looked at` : "");
  regionList.replaceChildren(...image.regions.map((region) => item(image, region)));
  if (image.more) regionList.append(element("li", { class: "more" }, `${image.more} more are in regions.csv.`));
  if (image.error) document.getElementById("regions-title").textContent = "Could not be inspected";
}

function item(image, region) {
  const button = element(
    "button",
    { type: "button", "data-region": region.n, tabindex: -1 },
    element("b", { class: `tag ${region.verdict}` }, String(region.n)),
    element("span", { class: "verdict" }, region.verdict),
    element("span", {}, `severity ${region.severity}`),
    element("small", {}, region.brief),
  );
  button.addEventListener("click", () => choose(image, region, true));
  return element("li", {}, button);
}

// Shows a region: its row in the list, its strip and what was measured, and the picture flies to it.
function choose(image, region, fly) {
  const strip = document.getElementById("strip");
  strip.hidden = !region?.strip;
  document.getElementById("facts").replaceChildren(...(region?.facts ?? []).map(([what, value]) =>
    element("div", {}, element("dt", {}, what), element("dd", {}, value))));
  if (!region) return;
  for (const one of image.regions) one.chosen = one === region && fly;
  chosen = region.n;
  for (const button of regionList.querySelectorAll("button")) {
    const current = Number(button.dataset.region) === region.n;
    button.ariaCurrent = current ? "true" : null;
    button.tabIndex = current ? 0 : -1;
    if (current) button.scrollIntoView({ block: "nearest" });
  }
  if (region.strip) {
    const picture = document.getElementById("strip-picture");
    picture.width = region.strip.width;
    picture.height = region.strip.height;
    picture.src = region.strip.src;
    picture.alt = `Region ${region.n}: image, heat and reconstruction side by side`;
  }
  if (fly) {
    remember(at, region.n);
    flyTo(region);
    drawBoxes();
  }
}

function step(by) {
  const rows = shownImages();
  const next = rows[rows.indexOf(rowOf(at)) + by];
  if (next) look(Number(next.dataset.key));
}

function stepRegion(by) {
  const buttons = [...regionList.querySelectorAll("button")];
  const here = buttons.findIndex((button) => Number(button.dataset.region) === chosen);
  // The first one is described when an image opens, but not yet flown to.
  const next = buttons[lookedAt?.regions.some((one) => one.chosen) ? here + by : here];
  if (!next) return;
  next.click();
  next.focus();
}

const KEYS = {
  ArrowDown: () => stepRegion(1), j: () => stepRegion(1), ArrowUp: () => stepRegion(-1), k: () => stepRegion(-1),
  ArrowRight: () => step(1), n: () => step(1), ArrowLeft: () => step(-1), p: () => step(-1),
  ...PICTURE_KEYS,
};

dialog.addEventListener("keydown", (event) => {
  const inPicture = event.target.closest("#picture") || event.target === heat; // which have arrows of their own
  if (event.ctrlKey || event.metaKey || event.altKey || (inPicture && event.key.startsWith("Arrow"))) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}, true);
dialog.addEventListener("close", () => {
  const row = rowOf(at);
  at = null;
  document.title = ofRun;
  history.replaceState(null, "", "#");
  const closed = row.closest("tbody.closed"); // a part whose images are folded away
  (closed ? closed.querySelector("button") : row.querySelector("a")).focus();
});
document.getElementById("look-previous").addEventListener("click", () => step(-1));
document.getElementById("look-next").addEventListener("click", () => step(1));
document.getElementById("look-close").addEventListener("click", () => dialog.close());
lookAtAddress();
