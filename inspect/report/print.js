// For paper: the page, and behind it every image shown that has regions, with its overview and its strips.
const evidence = document.getElementById("evidence");
const printer = document.getElementById("print");

async function layOut(row) {
  const image = await imageOf(Number(row.dataset.key));
  if (image.regions.every((region) => region.verdict === "OK")) return null;
  const sheet = element("article", {}, element("h2", {}, image.image));
  if (image.overview) sheet.append(element("img", { class: "overview", src: image.overview, alt: "" }));
  for (const region of image.regions.filter((one) => one.strip && one.verdict !== "OK")) {
    const facts = region.facts.map(([what, value]) => `${what} ${value}`).join(", ");
    const { src, width, height } = region.strip;
    sheet.append(
      element("figure", {},
        element("figcaption", {}, element("b", { class: `tag ${region.verdict}` }, String(region.n)),
          ` ${region.verdict}, severity ${region.severity}; ${facts}`),
        element("img", { src, width, height, alt: "" })),
    );
  }
  return sheet;
}

async function layOutAll() {
  const sheets = [];
  for (const row of shownImages()) sheets.push(await layOut(row).catch(() => null));
  evidence.replaceChildren(...sheets.filter(Boolean));
  // A picture that has not come would be a white place on the paper.
  await Promise.all([...evidence.querySelectorAll("img")].map((picture) => picture.decode().catch(() => {})));
}

printer.addEventListener("click", async () => {
  printer.disabled = true;
  await layOutAll();
  printer.disabled = false;
  window.print();
});
