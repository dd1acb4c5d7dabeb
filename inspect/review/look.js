// One image: its picture, its regions and their marks.
const regionList = document.getElementById("regions");
let detail = null; // the service's answer about the image looked at
let shownPicture = null; // what the stage shows: see picture.js
let chosen = null; // key of the region or drawn mark chosen
const NAMES = { defect: "defect", false_alarm: "false alarm", unsure: "unsure" };

const keyOf = (box) => [box.x_min, box.y_min, box.x_max, box.y_max].join(",");

// Everything that bears a mark or should: regions, then what people drew.
function places() {
  if (!detail) return [];
  const regions = detail.regions.map((region, index) => ({
    ...region,
    key: keyOf(region.box),
    label: String(region.region),
    severity: detail.pictures.regions[index].severity, // as the report words it
  }));
  const drawn = detail.drawn.map((mark, index) => ({ box: mark.box, key: keyOf(mark.box), label: `+${index + 1}`, drawn: true, mark }));
  return [...regions, ...drawn];
}

const place = () => places().find((one) => one.key === chosen);
const needsMark = (one) => !one.mark && !one.dropped;

async function look(id, fromBehind = false) {
  at = id;
  [chosen, detail] = [null, null];
  closeMissed();
  tell(""); // what was said is about the image before
  drawImages();
  imageList.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  let answer;
  try {
    answer = (await ask(`${reviewOf(run)}/images/${encodeURIComponent(id)}`)).body;
  } catch (error) {
    return tell(error.message);
  }
  if (at !== id) return; // the next one was asked for meanwhile
  detail = answer;
  const all = places();
  const first = fromBehind ? all.at(-1) : (all.find(needsMark) ?? all[0]);
  chosen = first?.key ?? null;
  drawLook();
  await showPicture(pictureOf(detail), regionOnStage(), (key) => choose(key));
  attachDragging();
}

// The same image after it was marked, here or elsewhere, or inspected again.
async function lookAgain() {
  const id = at;
  try {
    const answer = (await ask(`${reviewOf(run)}/images/${encodeURIComponent(id)}`)).body;
    if (at !== id) return;
    const again = answer.inspected !== detail?.inspected;
    detail = answer;
    noteImage(answer);
    if (!place()) chosen = places()[0]?.key ?? null;
    drawLook();
    if (again) await showPicture(pictureOf(detail), null, (key) => choose(key));
    else restage();
  } catch (error) {
    tell(error.message);
  }
}

function clearLook() {
  [detail, chosen] = [null, null];
  showPicture({ regions: [], more: 0, error: "No image chosen.", overview: null, zoom: null }, null, () => {});
  drawLook();
}

// What picture.js shows: the report's data of the image, with links to the files of the run, and what people drew.
function pictureOf(answer) {
  const files = `/api/runs/${encodeURIComponent(run)}/files/`;
  const base = new URL(files, location.origin);
  const absolute = (address) => address && new URL(address, base).pathname;
  const data = answer.pictures;
  shownPicture = {
    ...data,
    overview: absolute(data.overview),
    zoom: data.zoom && { ...data.zoom, folder: absolute(data.zoom.folder) },
    regions: [],
  };
  restage();
  return shownPicture;
}

function restage() {
  const verdicts = new Map(detail.regions.map((region) => [keyOf(region.box), region.verdict]));
  shownPicture.regions = places().map((one) => ({
    n: one.key,
    label: one.label,
    box: [one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max],
    verdict: verdicts.get(one.key) ?? "drawn",
    chosen: one.key === chosen,
  }));
  drawBoxes();
}

const regionOnStage = () => shownPicture?.regions.find((one) => one.n === chosen);

function drawLook() {
  nameTab();
  const badge = document.getElementById("look-verdict");
  badge.hidden = !detail;
  badge.className = `badge ${detail?.verdict ?? ""}`;
  badge.textContent = detail?.verdict ?? "";
  document.getElementById("look-name").textContent = detail?.image ?? "No image chosen";
  const all = places();
  document.getElementById("regions-title").textContent = titleOf(all);
  const focused = regionList.contains(document.activeElement);
  regionList.replaceChildren(...all.map(regionRow), ...(detail?.stale_marks ?? []).map(staleRow));
  const complete = document.getElementById("complete");
  complete.disabled = document.getElementById("missed-open").disabled = !detail || detail.verdict === "ERROR";
  complete.ariaPressed = String(Boolean(detail?.looked_at));
  document.getElementById("reopen").disabled = !detail?.looked_at;
  drawChosen();
  if (focused) regionList.querySelector("[aria-current]")?.focus(); // who came by Tab stays there
}

function titleOf(all) {
  if (!detail) return "";
  if (detail.verdict === "ERROR") return `Could not be inspected: ${detail.error}`;
  const left = all.filter(needsMark).length;
  if (!all.length) return "No region reached the threshold";
  if (left) return `${left} of ${all.length} still to be marked`;
  return all.length === 1 ? "Marked" : `All ${all.length} marked`;
}

function regionRow(one) {
  const button = element(
    "button",
    { type: "button", "data-key": one.key, tabindex: one.key === chosen ? 0 : -1, "aria-current": one.key === chosen ? "true" : null },
    element("b", { class: `tag ${one.verdict ?? "drawn"}` }, one.label),
    element("span", {}, one.drawn ? "drawn by hand" : `${one.verdict}, severity ${one.severity}`),
    element("small", { class: `mark ${one.mark?.mark ?? "none"}` }, one.mark ? NAMES[one.mark.mark] : one.dropped ? "dropped by a rule" : "unmarked"),
  );
  button.addEventListener("click", () => choose(one.key));
  return element("li", {}, button);
}

function staleRow(mark) {
  const text = `${NAMES[mark.mark]} at x ${mark.box.x_min}, y ${mark.box.y_min}: ${mark.stale}`;
  const remove = element("button", { type: "button", class: "remove" }, "Take back");
  remove.addEventListener("click", () => inTurn(() => setMark({ box: mark.box, mark: mark.mark }, null)));
  return element("li", { class: "stale" }, element("b", {}, "stale "), text, " ", remove);
}

function choose(key, fly = true) {
  if (!detail) return; // the rows are still those of the image before
  chosen = key;
  restage();
  drawChosen();
  if (regionList.contains(document.activeElement)) regionList.querySelector("[aria-current]")?.focus();
  const region = regionOnStage();
  if (fly && region) flyTo(region);
}

function drawChosen() {
  const one = place();
  for (const button of regionList.querySelectorAll("[data-key]")) {
    const current = button.dataset.key === chosen;
    button.ariaCurrent = current ? "true" : null;
    button.tabIndex = current ? 0 : -1;
    if (current) button.scrollIntoView({ block: "nearest" });
  }
  const known = detail?.pictures.regions.find((region) => region.box.join(",") === chosen); // none of what was drawn
  const strip = document.getElementById("strip");
  strip.hidden = !known?.strip;
  if (known?.strip) {
    const picture = document.getElementById("strip-picture");
    [picture.width, picture.height] = [known.strip.width, known.strip.height];
    picture.src = new URL(known.strip.src, new URL(`/api/runs/${encodeURIComponent(run)}/files/`, location.origin)).pathname;
    picture.alt = `Region ${known.n}: image, heat and reconstruction side by side`;
  }
  const facts = [...(known?.facts ?? [])];
  if (one?.mark) facts.push(["marked", `${NAMES[one.mark.mark]}${one.mark.reviewer ? ` by ${one.mark.reviewer}` : ""}, ${one.mark.at.slice(0, 16).replace("T", " ")} UTC`]);
  if (one?.mark?.note) facts.push(["note", one.mark.note]);
  document.getElementById("facts").replaceChildren(
    ...facts.map(([what, value]) => element("div", {}, element("dt", {}, what), element("dd", {}, value))),
  );
  for (const button of document.querySelectorAll("[data-mark]")) {
    button.disabled = !one;
    button.ariaPressed = String(one?.mark?.mark === button.dataset.mark);
  }
  document.getElementById("take-back").disabled = !one?.mark;
}

// From region to region, and on to the next image at the end.
async function step(by) {
  const all = places();
  const next = all[all.findIndex((one) => one.key === chosen) + by];
  if (next) choose(next.key);
  else await goToImage(by);
}
