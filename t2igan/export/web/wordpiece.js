// Captions to the codes of word pieces, as input_pipeline/text/wordpiece.py does it.

const IDEOGRAPH = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u;
const CONTROL = /[\p{C}\ufffd]/u;
const MARK = /\p{Mn}/u;
const PUNCTUATION = /[!-/:-@[-`{-~]|\p{P}/u;
const LONGEST_WORD = 100;

function words(text) {
  const spaced = [...text].map((letter) => {
    if ("\t\n\r".includes(letter)) return " ";
    if (CONTROL.test(letter)) return "";
    return IDEOGRAPH.test(letter) ? ` ${letter} ` : letter;
  }).join("");
  return [...spaced.normalize("NFD")]
    .filter((letter) => !MARK.test(letter))
    .flatMap((letter) => [...letter.toLowerCase()])
    .map((letter) => (PUNCTUATION.test(letter) ? ` ${letter} ` : letter))
    .join("")
    .split(/\s+/u)
    .filter(Boolean);
}

export class WordPieces {
  constructor(pieces, most = 256) {
    this.codes = new Map(pieces.map((piece, code) => [piece, code]));
    this.most = most;
  }

  // Codes of a text: start, pieces, end.
  encode(text) {
    const codes = words(text).flatMap((word) => this.cut([...word]));
    return [this.codes.get("[CLS]"), ...codes.slice(0, this.most - 2), this.codes.get("[SEP]")];
  }

  // The longest known piece at the start, then of what is left, and so on.
  cut(letters) {
    const unknown = [this.codes.get("[UNK]")];
    if (letters.length > LONGEST_WORD) return unknown;
    const found = [];
    for (let start = 0; start < letters.length;) {
      let end = letters.length, code;
      for (; end > start; end -= 1) {
        code = this.codes.get((start ? "##" : "") + letters.slice(start, end).join(""));
        if (code !== undefined) break;
      }
      if (code === undefined) return unknown;
      found.push(code);
      start = end;
    }
    return found;
  }
}
