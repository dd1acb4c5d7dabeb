// Sorting, filtering and opening. Without it the page is complete: worst image first, every image there, each opens.
"use strict";
(() => {
  const list = document.getElementById("list");
  const rows = [...list.children];
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const open = document.getElementById("open");
  const chips = [...document.querySelectorAll("[data-show]")];
  const heads = [...document.querySelectorAll("[data-sort]")];
  const names = new Map(rows.map((row) => [row, row.querySelector("bdi").textContent]));
  const compare = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;
  const rank = (row) => Number(row.dataset.rank); // the order of the page as written: worst first

  const visible = () => rows.filter((row) => !row.hidden);

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    const verdicts = new Set(chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.dataset.show));
    for (const row of rows) {
      row.hidden = !verdicts.has(row.dataset.verdict) || !names.get(row).toLowerCase().includes(wanted);
    }
    const count = visible().length;
    shown.textContent = count === rows.length ? `${count} shown` : `${count} of ${rows.length} shown`;
    document.getElementById("nothing").hidden = count > 0 || rows.length === 0;
    nameOpen();
  }

  function nameOpen() {
    open.textContent = visible().some((row) => !row.open) ? "Open all shown" : "Close all shown";
  }

  function sort(head) {
    const key = head.dataset.sort;
    const again = head.ariaPressed === "true";
    const up = again ? head.dataset.way === "down" : key === "name"; // names begin at A, numbers at the largest
    for (const other of heads) {
      other.ariaPressed = String(other === head);
      delete other.dataset.way;
    }
    head.dataset.way = up ? "up" : "down";
    const rising = {
      name: (a, b) => compare(names.get(a), names.get(b)),
      verdict: (a, b) => rank(b) - rank(a),
    }[key] ?? ((a, b) => Number(a.dataset[key]) - Number(b.dataset[key]));
    rows.sort((a, b) => (up ? rising(a, b) : -rising(a, b)) || rank(a) - rank(b));
    list.append(...rows);
  }

  search.addEventListener("input", filter);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.ariaPressed = String(chip.ariaPressed !== "true");
      filter();
    });
  }
  for (const head of heads) head.addEventListener("click", () => sort(head));
  open.addEventListener("click", () => {
    const all = visible();
    const wanted = all.some((row) => !row.open);
    for (const row of all) row.open = wanted;
  });
  list.addEventListener("toggle", nameOpen, true); // `toggle` does not bubble
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.tagName !== "SUMMARY") return;
    const all = visible();
    const at = all.indexOf(event.target.parentElement); // -1: an image inside a part
    const next = all[at + step];
    if (at >= 0 && next) {
      event.preventDefault();
      next.firstElementChild.focus();
    }
  });
  document.querySelector(".tools").hidden = false;
  filter(); // a reloaded page keeps what was typed
})();
