// What the marks say, and the thresholds that follow: counted by the service, shown here.
const wishRecall = document.getElementById("wish-recall");
const wishRate = document.getElementById("wish-rate");
const percent = (share) => `${(100 * share).toFixed((share > 0 && share < 0.0995) || (share > 0.9995 && share < 1) ? 1 : 0)} %`;
const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
const digits = (value, count = 3) => Number(value.toPrecision(count)).toString();

async function drawFigures() {
  const asked = run;
  const wishes = new URLSearchParams();
  if (wishRecall.checkValidity() && wishRecall.value) wishes.set("recall", String(Number(wishRecall.value) / 100));
  if (wishRate.checkValidity() && wishRate.value) wishes.set("false_alarms", wishRate.value);
  const { body } = await ask(`${reviewOf(asked)}/figures?${wishes}`);
  if (asked !== run) return;
  const allowed = body[0]?.figures.false_alarms_allowed;
  wishRate.placeholder = allowed ? digits(allowed) : "0.1";
  document.getElementById("numbers").replaceChildren(...body.flatMap(({ figures }) => numbers(figures)));
  document.getElementById("proposals").replaceChildren(
    ...body.flatMap(({ figures, proposals }) => proposals.map((proposal) => proposed(figures.camera, proposal))),
  );
  document.getElementById("notes").replaceChildren(
    ...body.flatMap(({ figures }) => figures.notes.map((note) => element("li", {}, figures.camera ? `${figures.camera}: ${note}` : note))),
  );
}

function numbers(figures) {
  const rows = [
    ["Recall", figures.recall, percent, "of", "in images looked at as a whole: the real recall"],
    ["of recorded regions alone", figures.recall_of_recorded, percent, "of", "NG among regions marked as a defect: what left no region is not among them, so it is too high"],
    ["Alarms a good image", figures.false_alarms, digits, "on", "NG regions, in images looked at as a whole and found good"],
    ["if the rest is good", figures.false_alarms_if_rest_is_good, digits, "on", "the same, if every image without a region that nobody looked at is good"],
  ];
  const list = element("dl", {}, ...rows.map(([what, estimate, shown, of, title]) =>
    element("div", { title }, element("dt", {}, what), element("dd", {}, ...value(estimate, shown, of)))));
  return figures.camera ? [element("h3", {}, `Camera ${figures.camera}`), list] : [list];
}

function value(estimate, shown, of) {
  if (!estimate) return [element("span", { class: "unknown" }, "not known yet")];
  return [
    element("b", {}, shown(estimate.value)),
    element("small", {}, ` ${shown(estimate.low, 2).replace(" %", "")}–${shown(estimate.high, 2)}, ${estimate.count} ${of} ${estimate.of}`),
  ];
}

function proposed(camera, proposal) {
  const wish = `${camera ? `${camera}: ` : ""}To ${proposal.wish}`;
  if (proposal.false_alarms === null) return element("p", {}, `${wish}: `, element("span", { class: "unknown" }, proposal.note));
  const effect = [];
  if (proposal.recall) effect.push(`finds ${proposal.recall.count} of ${many(proposal.recall.of, "defect")}`);
  if (proposal.rate) effect.push(`${many(proposal.rate.count, "alarm")} on ${many(proposal.rate.of, "good image")}`);
  return element("p", {}, `${wish}: `, element("code", {}, `--false-alarms ${proposal.false_alarms}`),
    ` (${[...effect, proposal.note].filter(Boolean).join("; ")})`);
}

for (const field of [wishRecall, wishRate]) {
  field.addEventListener("change", () => run && drawFigures().catch((error) => tell(error.message)));
}
start().catch((error) => tell(error.message)).finally(() => setTimeout(poll, POLL_MS));
