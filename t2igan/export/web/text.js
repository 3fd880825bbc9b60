// Captions to codes, as input_pipeline/text/vocabulary.py does it.

const BETWEEN = /[\s,;:/\\|!?()[\]{}<>"\u201c\u201d\u2013\u2014_\u0964\u0965\u3001\u3002\u300c\u300d]+|\.{2,}/u;
const NOT_IN_WORDS = /[^\p{L}\p{N}\u0900-\u0dff\u0e00-\u109f\u1780-\u17ff]+/gu;
const UNSPACED = "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
const BY_CHARACTER = new RegExp(`[${UNSPACED}]|[^${UNSPACED}]+`, "gu");
const START = 1, END = 2, UNKNOWN = 3;

export function tokenize(caption) {
  const text = caption.normalize("NFKC").toLowerCase().replace(/['\u2019]s(?![\p{L}\p{N}_])/gu, " s");
  const words = text.split(BETWEEN).map((piece) => piece.replace(NOT_IN_WORDS, ""));
  return words.filter(Boolean).flatMap((word) => word.match(BY_CHARACTER));
}

export class Vocabulary {
  constructor(words, length) {
    this.words = words;
    this.length = length;
    this.codes = new Map(words.map((word, code) => [word, code]));
    this.spoken = words.slice(4);
  }

  has(word) {
    return this.codes.has(word);
  }

  encode(caption) {
    const words = tokenize(caption).slice(0, this.length - 2);
    const codes = new Int32Array(this.length);
    codes[0] = START;
    words.forEach((word, place) => { codes[place + 1] = this.codes.get(word) ?? UNKNOWN; });
    codes[words.length + 1] = END;
    return codes;
  }

  // Words that begin as the last one of a text does; of an empty text the first ones.
  suggestions(text, most = 8) {
    const start = /[^\s]*$/u.exec(text)[0].toLowerCase();
    return this.spoken.filter((word) => word.startsWith(start) && word !== start).slice(0, most);
  }
}
