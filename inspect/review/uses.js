// What the service writes of the marks, and where it went.
const used = document.getElementById("used");

async function use(what) {
  used.textContent = "…";
  try {
    used.textContent = await what();
  } catch (error) {
    used.textContent = error.message;
  }
}

async function exportMarks(to) {
  const { body } = await post(`${reviewOf(run)}/exports`, { to });
  return [`${body.path}: ${many(body.files, "file")}`, ...body.notes].join("; ");
}

async function calibrate() {
  let { body } = await post(`${reviewOf(run)}/calibrations`, {});
  while (body.state === "running") {
    used.textContent = `calibrating, ${body.done} of ${body.of} images …`;
    await new Promise((done) => setTimeout(done, 500));
    body = (await ask(`${reviewOf(body.run)}/calibrations`)).body;
  }
  return body.state === "failed" ? body.problem : [`calibrated: ${body.path}`, ...body.notes].join("; ");
}

for (const button of document.querySelectorAll("[data-export]")) {
  button.addEventListener("click", () => use(() => exportMarks(button.dataset.export)));
}
const uses = document.getElementById("uses");
uses.addEventListener("toggle", () => uses.open && uses.scrollIntoView({ block: "end" })); // it opens below what is seen
document.getElementById("calibrate").addEventListener("click", () => use(calibrate));
