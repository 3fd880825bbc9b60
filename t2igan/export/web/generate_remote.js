// The generator of a page of `t2igan serve`: the server generates.

export class Generator {
  static async load(about) {
    const answer = await fetch("health");
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    return new Generator(about);
  }

  constructor(about) {
    this.about = about;
    this.provider = "server";
    this.walks = false;
  }

  async images({ caption, seeds, truncation }) {
    const body = JSON.stringify({ caption, num: seeds.length, seed: seeds[0], truncation });
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("generate", { method: "POST", headers, body });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return Promise.all(found.images.map(async (data) => {
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, bitmap.width, bitmap.height);
    }));
  }
}
