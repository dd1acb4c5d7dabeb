// What is known of an image, loaded when it is first asked for. A page opened from a folder cannot read a file, but it
// can run a script: page/<name>.js hands its data to `flawmapImage`.
const rowOf = (key) => document.getElementById(`m${key}`);
const known = new Map();

window.flawmapImage = (key, data) => known.set(key, data);

function loadScript(address) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = done;
    script.onerror = () => failed(new Error(`${address} is missing`));
    document.head.append(script);
  });
}

// The data of an image; fails where its file is missing or is not what it should be.
async function imageOf(key) {
  if (!known.has(key)) await loadScript(rowOf(key).dataset.file);
  if (!known.has(key)) throw new Error(`${rowOf(key).dataset.file} does not belong to this page`);
  return known.get(key);
}

// An element with its text and children: no text of a record is ever read as markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
