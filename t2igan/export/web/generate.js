// The model in the browser: word vectors and noise in, images out.

import { WordPieces } from "./wordpiece.js";

// onnxruntime-web's two programs: with WebGPU, and the smaller one without.
const RUNTIMES = {
  webgpu: ["./runtime/ort.webgpu.min.mjs", "runtime/ort-wasm-simd-threaded.asyncify"],
  wasm: ["./runtime/ort.wasm.min.mjs", "runtime/ort-wasm-simd-threaded"],
};

// A file that is stored compressed; a server may have unpacked it on the way.
async function unpacked(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: HTTP ${answer.status}`);
  const data = await answer.arrayBuffer();
  const head = new Uint8Array(data, 0, 2);
  if (head[0] !== 0x1f || head[1] !== 0x8b) return data;
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// Numbers of a seed, standard normal: mulberry32, then Box and Muller.
export function normal(seed, count) {
  let state = (seed * 0x9e3779b1) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const values = new Float32Array(count);
  for (let place = 0; place < count; place += 1) {
    values[place] = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  }
  return values;
}

// Along the great circle: halfway a noise is as long as at its ends.
export function between(first, second, share) {
  let dot = 0, one = 0, two = 0;
  first.forEach((value, place) => {
    dot += value * second[place];
    one += value * value;
    two += second[place] * second[place];
  });
  const angle = Math.acos(Math.max(-1, Math.min(1, dot / Math.sqrt(one * two))));
  const straight = Math.sin(angle) < 1e-4;
  const left = straight ? 1 - share : Math.sin((1 - share) * angle) / Math.sin(angle);
  const right = straight ? share : Math.sin(share * angle) / Math.sin(angle);
  return first.map((value, place) => left * value + right * second[place]);
}

// The sentence encoder: texts in, unit vectors out; the last ones are remembered.
export class Reader {
  static async load(ort, encoder, pieces) {
    // Sentences are short: the processor has them sooner than a graphics card.
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
    const session = await ort.InferenceSession.create(new Uint8Array(encoder), options);
    return new Reader(ort, session, new WordPieces(new TextDecoder().decode(pieces).split("\n")));
  }

  constructor(ort, session, pieces) {
    Object.assign(this, { ort, session, pieces, known: new Map() });
  }

  async read(texts) {
    const found = [];
    for (const text of texts) {
      if (!this.known.has(text)) {
        if (this.known.size > 100) this.known.clear();
        this.known.set(text, await this.embed(text));
      }
      found.push(this.known.get(text));
    }
    return found;
  }

  async embed(text) {
    const pieces = Int32Array.from(this.pieces.encode(text));
    const places = pieces.map((_, place) => place);
    const { Tensor } = this.ort;
    const feeds = {
      pieces: new Tensor("int32", pieces, [pieces.length]),
      places: new Tensor("int32", places, [pieces.length]),
    };
    return (await this.session.run(feeds)).sentence.data;
  }
}

export class Generator {
  static async load(about) {
    const names = ["model.onnx.gz", "words.bin"];
    if (about.reads_sentences) names.push("sentence.onnx.gz", "pieces.txt.gz");
    const files = Promise.all(names.map(unpacked));
    const adapter = navigator.gpu ? await navigator.gpu.requestAdapter().catch(() => null) : null;
    for (const provider of adapter ? ["webgpu", "wasm"] : ["wasm"]) {
      try {
        const [library, program] = RUNTIMES[provider];
        const [ort, binary, [model, table, encoder, pieces]] = await Promise.all(
          [import(library), unpacked(`${program}.wasm.gz`), files],
        );
        const threads = Math.min(4, navigator.hardwareConcurrency || 1);
        ort.env.wasm.wasmPaths = { mjs: new URL(`${program}.mjs`, import.meta.url).href };
        ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads : 1;
        ort.env.wasm.wasmBinary = binary;
        const options = { executionProviders: [provider], logSeverityLevel: 3 };
        const session = await ort.InferenceSession.create(new Uint8Array(model), options);
        const reader = encoder && await Reader.load(ort, encoder, pieces);
        return new Generator(about, ort, session, new Float32Array(table), provider, reader);
      } catch (error) {
        if (provider === "wasm") throw error;
      }
    }
    return null;
  }

  constructor(about, ort, session, table, provider, reader) {
    Object.assign(this, { about, ort, session, table, provider, reader });
  }

  // Word vectors and mask of a way from one caption's codes to another's.
  text(from, to, share) {
    const { width } = this.about;
    const vectors = new Float32Array(from.length * width), mask = new Float32Array(from.length);
    from.forEach((code, place) => {
      mask[place] = (1 - share) * (code ? 1 : 0) + share * (to[place] ? 1 : 0);
      for (let k = 0; k < width; k += 1) {
        const first = this.table[code * width + k], last = this.table[to[place] * width + k];
        vectors[place * width + k] = (1 - share) * first + share * last;
      }
    });
    return { vectors, mask };
  }

  // Images as RGBA bytes, one for each seed.
  async images({ caption, other, from, to, share, seeds, noiseShare, truncation }) {
    const { width, image_size: size, noise } = this.about;
    const { Tensor } = this.ort;
    const count = seeds.length, length = from.length;
    const { vectors, mask } = this.text(from, to, share);
    const repeated = (values) => {
      const all = new Float32Array(count * values.length);
      for (let row = 0; row < count; row += 1) all.set(values, row * values.length);
      return all;
    };
    const feeds = {
      vectors: new Tensor("float32", repeated(vectors), [count, length, width]),
      mask: new Tensor("float32", repeated(mask), [count, length]),
    };
    Object.entries(noise).forEach(([name, dim], kind) => {
      const all = new Float32Array(count * dim);
      seeds.forEach((seed, row) => {
        const ends = [seed, seed + 1].map((end) => normal(end * 16 + kind, dim));
        const values = between(ends[0], ends[1], noiseShare).map((value) => truncation * value);
        all.set(values, row * dim);
      });
      feeds[name] = new Tensor("float32", all, [count, dim]);
    });
    if (this.reader) {
      const [first, last] = await this.reader.read([caption, other]);
      const sentence = first.map((value, place) => (1 - share) * value + share * last[place]);
      feeds.sentence = new Tensor("float32", repeated(sentence), [count, sentence.length]);
    }
    // What a recipe does not read, the converter has left out.
    const read = this.session.inputNames.map((name) => [name, feeds[name]]);
    const found = await this.session.run(Object.fromEntries(read));
    const pixels = found.image.data;
    return seeds.map((_, row) => {
      const bytes = new Uint8ClampedArray(size * size * 4).fill(255);
      const start = row * size * size * 3;
      for (let place = 0; place < size * size; place += 1) {
        for (let color = 0; color < 3; color += 1) bytes[place * 4 + color] = pixels[start + place * 3 + color];
      }
      return new ImageData(bytes, size, size);
    });
  }
}
