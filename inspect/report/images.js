// What is known of an image, loaded when it is first asked for. A page opened from a folder cannot read a file, but it
// can run a script: page/<name>.js hands its data to `flawmapImage`.
const rowOf = (key) => document.getElementById(`m${key}`);
const known = new Map();

window.flawmapImage = (key, data) => known.set(key, data);

// The data of an image; fails where its file is missing or is not what it should be.
async function imageOf(key) {
  if (!known.has(key)) await loadScript(rowOf(key).dataset.file);
  if (!known.has(key)) throw new Error(`${rowOf(key).dataset.file} does not belong to this page`);
  return known.get(key);
}
