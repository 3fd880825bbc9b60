// The page: reads the form, fills the grid, says how long it took.

import { Generator } from "./generate.js";
import { Vocabulary, tokenize } from "./text.js";

const COUNT = 8;
const at = (id) => document.getElementById(id);
let vocabulary, generator, firstSeed = 0, readsWords = true;
let busy = false, wanted = false;

function say(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

// The caption's words, unknown ones marked; for a screen reader the mark is a word too.
function showWords(input, target) {
  const words = tokenize(input.value);
  const unknown = words.filter((word) => !vocabulary.has(word));
  target.replaceChildren();
  if (!readsWords) return; // a sentence encoder knows all words
  if (unknown.length) {
    target.append("Not known: ");
    unknown.forEach((word, place) => {
      const mark = document.createElement("span");
      mark.className = "unknown";
      mark.textContent = word;
      target.append(place ? ", " : "", mark);
    });
  } else if (words.length > vocabulary.length - 2) {
    target.append(`Only the first ${vocabulary.length - 2} words count`);
  }
}

function showSuggestions() {
  const input = at("caption");
  at("suggestions").replaceChildren(...vocabulary.suggestions(input.value).map((word) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = word;
    button.addEventListener("click", () => {
      input.value = `${input.value.replace(/[^\s]*$/u, "")}${word} `;
      input.focus();
      changed();
    });
    return button;
  }));
}

function changed() {
  showWords(at("caption"), at("words"));
  showWords(at("other"), at("otherwords"));
  showSuggestions();
  at("wayvalue").value = `${at("way").value} %`;
  at("noisevalue").value = `${at("noise").value} %`;
  at("truncationvalue").value = Number(at("truncation").value).toFixed(2);
  draw();
}

// One batch at a time; of several that were asked for meanwhile, the last.
async function draw() {
  if (!generator) return;
  if (busy) { wanted = true; return; }
  const caption = at("caption").value;
  if (!tokenize(caption).length) { say("Write a caption."); return; }
  busy = true;
  try {
    const other = at("walk").open && tokenize(at("other").value).length ? at("other").value : caption;
    const start = performance.now();
    const images = await generator.images({
      caption,
      other,
      from: vocabulary.encode(caption),
      to: vocabulary.encode(other),
      share: Number(at("way").value) / 100,
      seeds: Array.from({ length: COUNT }, (_, place) => firstSeed + place),
      noiseShare: Number(at("noise").value) / 100,
      truncation: Number(at("truncation").value),
    });
    const milliseconds = (performance.now() - start) / COUNT;
    images.forEach((image, place) => {
      const canvas = at("grid").children[place];
      canvas.getContext("2d").putImageData(image, 0, 0);
      canvas.setAttribute("aria-label", `${caption}, image ${place + 1}`);
    });
    const way = { webgpu: "WebGPU", wasm: "WebAssembly", server: "the server" }[generator.provider];
    say(`${milliseconds.toFixed(1)} ms an image, by ${way}`);
    document.body.dataset.drawn = caption;
    document.body.dataset.milliseconds = milliseconds.toFixed(2);
  } catch (error) {
    say(`The images could not be generated: ${error.message}`, true);
  } finally {
    busy = false;
  }
  if (wanted) { wanted = false; draw(); }
}

async function main() {
  const about = await (await fetch("about.json")).json();
  vocabulary = new Vocabulary(about.words, about.caption_length);
  readsWords = about.reads_words !== false; // pages of `t2igan serve` do not say
  for (let place = 0; place < COUNT; place += 1) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = about.image_size;
    canvas.setAttribute("role", "listitem");
    at("grid").append(canvas);
  }
  [at("caption").value, at("other").value] = about.examples;
  const asked = new URLSearchParams(location.search).get("caption");
  if (asked) at("caption").value = asked;
  at("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
  at("again").addEventListener("click", () => { firstSeed += COUNT; draw(); });
  for (const id of ["caption", "other", "way", "noise", "truncation"]) at(id).addEventListener("input", changed);
  at("walk").addEventListener("toggle", draw);
  changed();
  generator = await Generator.load(about);
  // A server takes one caption, and seeds one after another.
  for (const id of ["walk", "noisebox"]) at(id).hidden = generator.walks === false;
  say("Ready.");
  await draw();
}

main().catch((error) => say(`The model could not be loaded: ${error.message}`, true));
