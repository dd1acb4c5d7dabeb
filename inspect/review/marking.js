// Marking, taking back, the whole picture, and the keys for all of it.
const done = []; // what can be undone, the last first
const reviewer = document.getElementById("reviewer");
const noteField = document.getElementById("note");
const keysOn = document.getElementById("keys-on");
const missed = document.getElementById("missed");

const TWICE_MS = 300; // two presses of one mark within it are one: nobody has looked at the next region by then
const lastPress = { says: null, when: -TWICE_MS };

// One after the other: whoever marks faster than the service answers means the next region by the next key.
let turn = Promise.resolve();
const inTurn = (what) => (turn = turn.then(what).catch((error) => tell(error.message)));

const here = () => `${reviewOf(run)}/images/${encodeURIComponent(at)}`;

async function act(what) {
  try {
    await what();
    refreshSoon();
  } catch (error) {
    tell(error.message);
  }
}

async function mark(says) {
  const one = place();
  if (!one) return tell("Choose a region first.");
  const note = noteField.value;
  noteField.value = "";
  const known = one.mark?.mark === says && !note && [one.mark.reviewer, ""].includes(reviewer.value.trim());
  if (known) goOn(`Is marked as ${NAMES[says]} already`); // a second press changes nothing
  else await setMark(one, says, note);
}

async function takeBack() {
  const one = place();
  if (!one) return tell("Choose a region first.");
  if (!one.mark) return tell("It bears no mark.");
  await setMark(one, null);
}

// `one`: a place as `places` gives it, or a stale mark. The next unmarked region of the image is chosen then.
async function setMark(one, says, note = "") {
  const where = { image: at, box: one.box, region: one.region ?? null };
  const stale = typeof one.mark === "string"; // what it was about is gone: taking it back cannot be undone
  await act(async () => {
    await post(`${here()}/marks`, { mark: says, region: where.region, box: where.box, reviewer: reviewer.value, note });
    if (!stale) done.unshift({ ...where, run, says: one.mark?.mark ?? null });
    await lookAgain();
    if (says) goOn(`Marked as ${NAMES[says]}`);
    else tell("Taken back.");
  });
}

// To the next region that needs a mark; says what was done, and where there is none what comes next.
function goOn(what) {
  const next = places().find(needsMark);
  if (next) choose(next.key);
  if (next || !detail) return tell(`${what}.`);
  tell(`${what}; all are marked. ${detail.looked_at ? "N goes on." : "C says that the whole picture was looked at, N goes on."}`);
}

// A hand that presses twice means it once.
function pressMark(says, event) {
  const twice = lastPress.says === says && event.timeStamp - lastPress.when < TWICE_MS;
  Object.assign(lastPress, { says, when: event.timeStamp });
  if (!twice) inTurn(() => mark(says));
}

async function undo() {
  const last = done.shift();
  if (!last) return tell("Nothing to undo.");
  if (last.run !== run) await chooseRun(last.run);
  if (last.image !== at) await look(last.image);
  await act(async () => {
    if (last.complete !== undefined) {
      await post(`${here()}/look`, { complete: last.complete, reviewer: reviewer.value });
    } else {
      await post(`${here()}/marks`, { mark: last.says, region: last.region, box: last.box, reviewer: reviewer.value });
    }
    await lookAgain();
    if (last.box) choose(keyOf(last.box));
    tell("Undone.");
  });
}

// Whether the picture was looked at as a whole: `C` says so, `O` opens it again.
async function lookedAtWhole(whole) {
  if (!detail || detail.verdict === "ERROR") return;
  const before = detail.looked_at;
  await act(async () => {
    if (whole !== before) {
      await post(`${here()}/look`, { complete: whole, reviewer: reviewer.value });
      done.unshift({ run, image: at, complete: before });
      await lookAgain();
    }
    tell(!detail.looked_at ? "Not looked at as a whole." : detail.complete ? "Complete. N goes on to the next image." : "Looked at as a whole; it counts once every region is marked and none is unsure.");
  });
}

// A defect that no region shows: its box by numbers, or by dragging with Shift.
function openMissed(box) {
  if (!detail || detail.verdict === "ERROR") return;
  const side = Math.max(8, Math.round(Math.min(detail.width, detail.height) / 100));
  const middle = middleOfView();
  const [x, y, width, height] = box ?? [Math.max(0, middle.x - side / 2), Math.max(0, middle.y - side / 2), side, side];
  for (const [name, value, most] of [["x", x, detail.width - 1], ["y", y, detail.height - 1], ["width", width, detail.width], ["height", height, detail.height]]) {
    missed.elements[name].value = Math.round(Math.min(value, most));
    missed.elements[name].max = most;
  }
  missed.hidden = false;
  previewMissed();
  if (!box) missed.elements.x.focus();
}

function middleOfView() {
  const item = stage.classList.contains("deep") ? viewer?.world.getItemAt(0) : null;
  return item ? item.viewportToImageCoordinates(viewer.viewport.getCenter(true)) : { x: detail.width / 2, y: detail.height / 2 };
}

const missedBox = () => ["x", "y", "width", "height"].map((name) => Math.round(Number(missed.elements[name].value)));

function previewMissed() {
  restage();
  const [x, y, width, height] = missedBox();
  shownPicture.regions.push({ n: "new", label: "new", box: [x, y, x + width, y + height], verdict: "drawn", chosen: true });
  drawBoxes();
}

function closeMissed() {
  if (missed.hidden) return;
  missed.hidden = true;
  if (detail) restage();
}

async function markMissed() {
  const [x, y, width, height] = missedBox();
  closeMissed();
  await setMark({ box: { x_min: x, y_min: y, x_max: x + width, y_max: y + height } }, "defect", noteField.value);
  noteField.value = "";
}

let dragging = false; // whether the viewer has been told of it

function attachDragging() {
  if (dragging || !viewer) return;
  dragging = true;
  let from = null;
  const pixel = (event) => viewer.world.getItemAt(0)?.viewerElementToImageCoordinates(event.position);
  viewer.addHandler("canvas-press", (event) => (from = pixel(event)));
  viewer.addHandler("canvas-drag", (event) => {
    if (!event.shift || !from) return;
    event.preventDefaultAction = true; // the picture stays where it is
    const to = pixel(event);
    const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)].map((x) => Math.min(Math.max(x, 0), detail.width));
    const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)].map((y) => Math.min(Math.max(y, 0), detail.height));
    openMissed([Math.floor(left), Math.floor(top), Math.max(1, Math.ceil(right - left)), Math.max(1, Math.ceil(bottom - top))]);
  });
}

const MARKS = { d: "defect", f: "false_alarm", u: "unsure" };
const KEYS = {
  x: takeBack, Delete: takeBack, z: undo,
  c: () => lookedAtWhole(true), o: () => lookedAtWhole(false), m: () => openMissed(),
  n: () => step(1), ArrowRight: () => step(1), ArrowDown: () => step(1),
  p: () => step(-1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
  ...PICTURE_KEYS,
};
const REPEATED = ["n", "p", "+", "=", "-", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]; // while they are held

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return closeMissed();
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  const arrow = event.key.startsWith("Arrow");
  const ownArrows = arrow && event.target.closest(/Up|Down/.test(event.key) ? "#picture, #images" : "#picture");
  if (typing || ownArrows || event.ctrlKey || event.metaKey || event.altKey) return;
  const letter = event.key.length === 1;
  if (letter && !keysOn.checked) return;
  const key = letter ? event.key.toLowerCase() : event.key;
  const [says, does] = [MARKS[key], KEYS[key]];
  if (!says && !does) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.repeat && !REPEATED.includes(key)) return; // a key that lies under a hand marks one region, not all
  if (says) return pressMark(says, event);
  lastPress.says = null;
  inTurn(does);
}, true);

for (const button of document.querySelectorAll("[data-mark]")) button.addEventListener("click", (event) => pressMark(button.dataset.mark, event));
document.getElementById("take-back").addEventListener("click", () => inTurn(takeBack));
document.getElementById("complete").addEventListener("click", () => inTurn(() => lookedAtWhole(true)));
document.getElementById("reopen").addEventListener("click", () => inTurn(() => lookedAtWhole(false)));
document.getElementById("missed-open").addEventListener("click", () => openMissed());
document.getElementById("missed-cancel").addEventListener("click", closeMissed);
missed.addEventListener("input", previewMissed);
missed.addEventListener("submit", (event) => {
  event.preventDefault();
  inTurn(markMissed);
});
for (const [field, name] of [[reviewer, "flawmap reviewer"], [keysOn, "flawmap keys"]]) {
  const what = field === keysOn ? "checked" : "value";
  const kept = localStorage.getItem(name);
  if (kept !== null) field[what] = field === keysOn ? kept === "true" : kept;
  field.addEventListener("change", () => localStorage.setItem(name, String(field[what])));
}
