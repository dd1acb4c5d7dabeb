// Sorting and filtering. Without it the table is complete: worst image first, every image there, each a link.
const list = document.getElementById("list");
const entries = [...list.tBodies]; // an image each, or a part with its images
const search = document.getElementById("search");
const shown = document.getElementById("shown");
const chips = [...document.querySelectorAll("[data-show]")];
const heads = [...list.querySelectorAll("[data-sort]")];
const names = new Map(entries.map((entry) => [entry, entry.querySelector("bdi").textContent]));
const compareNames = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;
const rank = (entry) => Number(entry.dataset.rank); // the order of the page as written: worst first

const visible = () => entries.filter((entry) => !entry.hidden);

// The images in the order of the table, those of a closed part included.
const shownImages = () => visible().flatMap((entry) => [...entry.querySelectorAll("tr.image")]);

function filter() {
  const wanted = search.value.trim().toLowerCase();
  const verdicts = new Set(chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.dataset.show));
  for (const entry of entries) {
    entry.hidden = !verdicts.has(entry.dataset.verdict) || !names.get(entry).toLowerCase().includes(wanted);
  }
  const count = visible().length;
  shown.textContent = count === entries.length ? `${count} shown` : `${count} of ${entries.length} shown`;
  document.getElementById("nothing").hidden = count > 0 || entries.length === 0;
}

function sort(button) {
  const key = button.dataset.sort;
  const before = button.parentElement.ariaSort;
  const up = before ? before === "descending" : key === "name"; // names begin at A, numbers at the largest
  for (const other of heads) other.parentElement.removeAttribute("aria-sort");
  button.parentElement.ariaSort = up ? "ascending" : "descending";
  const rising = {
    name: (a, b) => compareNames(names.get(a), names.get(b)),
    verdict: (a, b) => rank(b) - rank(a),
  }[key] ?? ((a, b) => Number(a.dataset[key]) - Number(b.dataset[key]));
  entries.sort((a, b) => (up ? rising(a, b) : -rising(a, b)) || rank(a) - rank(b));
  list.append(...entries);
}

function toggle(part, open) {
  part.classList.toggle("closed", !open);
  part.querySelector("[aria-expanded]").ariaExpanded = String(open);
}

search.addEventListener("input", filter);
for (const chip of chips) {
  chip.addEventListener("click", () => {
    chip.ariaPressed = String(chip.ariaPressed !== "true");
    filter();
  });
}
for (const head of heads) head.addEventListener("click", () => sort(head));
for (const part of entries.filter((entry) => entry.classList.contains("part"))) {
  toggle(part, false);
  part.rows[0].addEventListener("click", () => toggle(part, part.classList.contains("closed")));
}
list.addEventListener("click", (event) => {
  const row = event.target.closest("tr.image");
  if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return; // a picture of its own, in a tab of its own
  event.preventDefault();
  look(Number(row.dataset.key));
});
list.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.closest("th.c-name")) return;
  const stops = [...list.querySelectorAll("tbody:not([hidden]) th.c-name > :first-child")].filter((one) => one.offsetParent);
  const next = stops[stops.indexOf(event.target) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});
document.querySelector(".maps").addEventListener("click", (event) => {
  const mark = event.target.closest("[data-key]");
  if (mark) look(Number(mark.dataset.key), Number(mark.dataset.region));
});
document.querySelector(".tools").hidden = false;
filter(); // a reloaded page keeps what was typed
