// The run and its images: what is there, what is still to be reviewed, asked again every few seconds.
const POLL_MS = 3000;
const runChoice = document.getElementById("run");
const imageList = document.getElementById("images");
const filterChoice = document.getElementById("filter");
const says = document.getElementById("says");
let run = null; // id of the run
let version = ""; // of what is shown: the server's ETag
let reports = new Map(); // address of a run's page by its id, null where it has none yet
let images = []; // of the run, in natural order
let at = null; // id of the image looked at

const reviewOf = (id) => `/api/runs/${encodeURIComponent(id)}/review`;
const tell = (text) => (says.textContent = text);

// Several tabs are told apart by what they show.
const nameTab = () => (document.title = [detail?.image, run ? `Review of ${run}` : "Review", "flawmap"].filter(Boolean).join(" – "));

// The answer as JSON; null where nothing has changed. Fails with the server's own sentence.
async function ask(address, options = {}) {
  const answer = await fetch(address, options);
  if (answer.status === 304) return { answer, body: null };
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  const body = await answer.json().catch(() => ({ detail: `the service answered ${answer.status}` }));
  if (!answer.ok) throw new Error(body.detail);
  return { answer, body };
}

const post = (address, body) =>
  ask(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const PASSES = {
  all: () => true,
  open: (image) => image.verdict !== "ERROR" && !image.complete,
  unmarked: (image) => image.unmarked > 0,
  unseen: (image) => image.verdict !== "ERROR" && !image.looked_at,
  defects: (image) => image.defects > 0,
  false_alarms: (image) => image.false_alarms > 0,
  unsure: (image) => image.unsure > 0,
  stale: (image) => image.stale > 0,
  complete: (image) => image.complete,
};
const passes = (image) => (PASSES[filterChoice.value] ?? ((one) => one.verdict === filterChoice.value))(image);

// What the filter shows; the image looked at stays until one goes on.
const shownImages = () => images.filter((image) => image.id === at || passes(image));

const worst = (image) => ["NG", "REVIEW", "OK", "ERROR"].indexOf(image.verdict);
const byVerdict = (a, b) => worst(a) - worst(b) || (b.severity ?? 0) - (a.severity ?? 0);

async function refresh() {
  const asked = run;
  const { answer, body } = await ask(reviewOf(asked), { headers: { "If-None-Match": version } });
  if (body === null || asked !== run) return;
  version = answer.headers.get("ETag") ?? "";
  const before = images.find((image) => image.id === at);
  images = body.images.sort(byVerdict); // stable: names stay in natural order
  drawImages();
  const now = images.find((image) => image.id === at);
  if (!at) await goToImage(1);
  else if (!now || JSON.stringify(now) !== JSON.stringify(before)) await lookAgain();
  await drawFigures();
}

// A while after the last mark: who marks quickly does not wait for figures.
let soon = null;
function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(() => refresh().catch((error) => tell(error.message)), 200);
}

// What the service said of one image, in the list too.
function noteImage({ width, height, regions, drawn, stale_marks, pictures, ...row }) {
  const place = images.findIndex((image) => image.id === row.id);
  if (place < 0) return;
  images[place] = row;
  drawImages();
}

function drawImages() {
  const inspected = images.filter((image) => image.verdict !== "ERROR");
  const regions = inspected.reduce((sum, image) => sum + image.n_regions, 0);
  const unmarked = inspected.reduce((sum, image) => sum + image.unmarked, 0);
  const complete = inspected.filter((image) => image.complete).length;
  document.getElementById("progress").textContent =
    `${regions - unmarked} of ${regions} regions marked, ${complete} of ${inspected.length} images complete`;
  const shown = shownImages();
  document.getElementById("shown").textContent = `${shown.length} of ${images.length}`;
  const focused = imageList.contains(document.activeElement) ? document.activeElement.dataset.image : null;
  imageList.replaceChildren(...shown.map(imageRow));
  const stop = imageList.querySelector("[aria-current]") ?? imageList.querySelector("button"); // for Tab, of them all
  if (stop) stop.tabIndex = 0;
  if (!shown.length) imageList.append(element("li", { class: "none" }, images.length ? "Nothing left here." : "No image yet."));
  if (focused) imageList.querySelector(`[data-image="${CSS.escape(focused)}"]`)?.focus();
}

function imageRow(image) {
  const button = element(
    "button",
    { type: "button", "data-image": image.id, tabindex: -1, "aria-current": image.id === at ? "true" : null },
    element("b", { class: `badge ${image.verdict}` }, image.verdict),
    element("bdi", {}, image.image),
    element("small", {}, stateOf(image)),
  );
  button.addEventListener("click", () => inTurn(() => look(image.id))); // a key pressed after it is about this image
  return element("li", {}, button);
}

function stateOf(image) {
  if (image.verdict === "ERROR") return "not inspected";
  if (image.complete) return image.defects ? "✓ complete" : "✓ complete, good";
  const open = [];
  if (image.unmarked) open.push(`${image.unmarked} unmarked`);
  if (image.unsure) open.push(`${image.unsure} unsure`);
  if (image.stale) open.push(`${image.stale} stale`);
  return open.join(", ") || "not seen whole";
}

// One image on or back; its first unmarked region is chosen, or its last when one came from behind.
async function goToImage(by) {
  const shown = shownImages();
  const here = shown.findIndex((image) => image.id === at);
  const next = shown[here < 0 ? 0 : here + by];
  if (!next) return tell(images.length ? "That was the last one that is shown." : "");
  await look(next.id, by < 0);
}

async function chooseRun(id) {
  run = id;
  [version, images, at] = ["", [], null];
  runChoice.value = id;
  history.replaceState(null, "", `/review/${encodeURIComponent(id)}`);
  linkReport();
  document.getElementById("used").textContent = "";
  document.getElementById("coco").href = `${reviewOf(id)}/coco`;
  clearLook();
  await refresh();
}

function linkReport() {
  const link = document.getElementById("report");
  link.hidden = !reports.get(run);
  if (!link.hidden) link.href = reports.get(run);
}

async function listRuns() {
  const { body } = await ask("/api/runs");
  const known = [...runChoice.options].map((option) => option.value);
  const found = body.map((one) => one.id);
  reports = new Map(body.map((one) => [one.id, one.report]));
  linkReport();
  if (JSON.stringify(known) !== JSON.stringify(found)) {
    runChoice.replaceChildren(...found.map((id) => element("option", { value: id }, id)));
    if (run) runChoice.value = run;
  }
  return found;
}

function sayNoRun() {
  document.getElementById("progress").textContent = "There is no run here yet.";
  document.getElementById("stage-says").textContent =
    "flawmap inspect IMAGES -m BUNDLE -o RUNS_DIR/NAME makes a run, and so does an image that is sent to the service. It appears here by itself.";
}

async function start() {
  const wanted = decodeURIComponent(location.pathname.split("/")[2] ?? "");
  const found = await listRuns();
  const first = found.includes(wanted) ? wanted : found[0];
  if (first) await chooseRun(first);
  else sayNoRun();
  if (wanted && wanted !== first) tell(`There is no run ${wanted} here.`);
}

async function poll() {
  try {
    if (document.hidden) return;
    const found = await listRuns();
    if (run) await refresh();
    else if (found.length) await chooseRun(found[0]);
    document.body.classList.remove("lost");
  } catch (error) {
    document.body.classList.add("lost");
    tell(`The service does not answer: ${error.message}`);
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

// In the list the arrows lead from image to image; Enter opens one.
imageList.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const stops = [...imageList.querySelectorAll("button")];
  const next = stops[stops.indexOf(event.target) + step];
  if (!step || !next) return;
  event.preventDefault();
  next.focus();
});

runChoice.addEventListener("change", () => inTurn(() => chooseRun(runChoice.value)));
filterChoice.addEventListener("change", drawImages);
