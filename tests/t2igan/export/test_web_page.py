"""The page in a real browser: a caption is typed, and the canvases are read by the oracle."""

import contextlib
import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.sources.shapes import oracle
from input_pipeline.sources.shapes.captions import attributes_of
from input_pipeline.text import minilm
from input_pipeline.text.sentence_encoders import Identity
from input_pipeline.text.vocabulary import tokenize
from t2igan.export import web_page
from t2igan.sampling import run as sampling
from tests.t2igan.export.small_run import small_run

CAPTIONS = ("a small red star on the left", "a large blue ring on the right of a black background")
TEXTS = (
    "A T-shirt's D.C.!",
    "it\u2019s  a dog ... (big)",
    "un caf\u00e9",
    "\u8d64\u3044\u72ac a dog",
    "x_y 3d",
)
DRIVER = """<!doctype html><iframe id=page src="index.html" width=900 height=900></iframe>
<script type="module">
import { tokenize } from "./text.js";
const wait = async (test) => { while (!test()) await new Promise((f) => setTimeout(f, 5)); };
const frame = document.getElementById("page");
const begun = performance.now();
const inside = () => frame.contentDocument;
await wait(() => inside()?.body?.dataset?.drawn);
const first = performance.now() - begun;
const provider = inside().getElementById("status").textContent;
const found = { first, tokens: TEXTS.map(tokenize), images: {}, provider };
for (const caption of CAPTIONS) {
  const input = inside().getElementById("caption");
  input.value = caption;
  input.dispatchEvent(new Event("input"));
  await wait(() => inside().body.dataset.drawn === caption);
  found.images[caption] = [...inside().querySelectorAll("canvas")].map((canvas) =>
    [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]);
}
const input = inside().getElementById("caption");
input.value = "a tepid rhinoceros";
input.dispatchEvent(new Event("input"));
found.unknown = inside().getElementById("words").textContent;
found.milliseconds = Number(inside().body.dataset.milliseconds);
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>"""

# A page of a run that reads sentences: what its encoder makes of texts, and one grid.
SENTENCES = """<!doctype html><iframe id=page src="index.html" width=900 height=900></iframe>
<script type="module">
import { Generator } from "./generate.js";
const frame = document.getElementById("page");
const inside = () => frame.contentDocument;
const wait = async (test) => { while (!test()) await new Promise((f) => setTimeout(f, 5)); };
const about = await (await fetch("about.json")).json();
const { reader } = await Generator.load(about);
const found = { tokens: TEXTS.map((text) => reader.pieces.encode(text)) };
found.embeddings = (await reader.read(TEXTS)).map((row) => [...row]);
await wait(() => inside()?.body?.dataset?.drawn || inside()?.querySelector(".error"));
const input = inside().getElementById("caption");
input.value = "a tepid rhinoceros";
input.dispatchEvent(new Event("input"));
await wait(() => inside().body.dataset.drawn === input.value);
found.status = inside().getElementById("status").textContent;
found.words = inside().getElementById("words").textContent;
const canvas = inside().querySelector("canvas");
found.image = [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    found: "queue.Queue[dict]" = queue.Queue()

    def do_GET(self):
        driver = {"/driver.html": DRIVER, "/sentences.html": SENTENCES}.get(self.path)
        if driver is None:
            super().do_GET()
            return
        page = driver.replace("TEXTS", json.dumps(TEXTS)).replace("CAPTIONS", json.dumps(CAPTIONS))
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.found.put(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder):
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("jax2onnx", reason="jax2onnx is not installed")
    if not os.environ.get(web_page.ENVIRONMENT) and shutil.which("npm") is None:
        pytest.skip("npm is not installed: onnxruntime-web cannot be had")
    folder = tmp_path_factory.mktemp("page") / "web"
    try:
        web_page.write(sampling.load_pretrained("shapes"), folder)
    except UserError as error:
        if "npm could not install" not in str(error):
            raise
        pytest.skip(str(error))
    return folder


def visited(folder, driver, profile):
    """What the page's driver has posted after Chromium has opened it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("Chromium is not installed")
    with serving(folder) as address:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        with subprocess.Popen(
            [browser, *flags, f"{address}/{driver}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return Handler.found.get(timeout=120)
            finally:
                process.terminate()
                process.wait(20)


@pytest.fixture(scope="module")
def found(page, tmp_path_factory):
    return visited(page, "driver.html", tmp_path_factory.mktemp("profile"))


def test_a_page_reads_sentences_as_the_run_does(page, tmp_path):
    pytest.importorskip(minilm.PACKAGE, reason="MiniLM's weights are not installed")
    encoder = minilm.load()
    run = small_run("contrastive", "sentence", Identity("minilm", 384, encoder.sha256))
    web_page.write(run, tmp_path / "web")
    found = visited(tmp_path / "web", "sentences.html", tmp_path / "profile")
    assert found["tokens"] == [encoder._pieces.encode(text) for text in TEXTS]
    np.testing.assert_allclose(found["embeddings"], encoder(TEXTS), atol=5e-4)
    assert "ms an image" in found["status"]
    assert found["words"] == ""  # the encoder knows all words
    assert len(set(found["image"])) > 10


def test_an_encoder_of_ones_own_is_refused_in_a_line(tmp_path):
    run = small_run("contrastive", "sentence", Identity("mine", 384))
    with pytest.raises(UserError, match="only minilm runs in a page"):
        web_page.write(run, tmp_path / "web")


def test_what_is_typed_is_drawn_and_right_in_all_attributes(found):
    for caption in CAPTIONS:
        size = 64
        images = np.array(found["images"][caption], np.uint8).reshape(-1, size, size, 4)
        assert len(images) == 8
        assert (images[..., 3] == 255).all()
        asked = attributes_of(caption)
        shown = oracle.read(np.ascontiguousarray(images[..., :3]))
        named = [i for i, value in enumerate(asked) if value is not None]
        right = (shown[:, named] == np.array([asked[i] for i in named])).all(axis=1)
        assert right.mean() >= 0.75, shown
        assert len({image.tobytes() for image in images}) == 8


def test_words_are_split_as_in_python_and_unknown_ones_are_marked(found):
    assert found["tokens"] == [tokenize(text) for text in TEXTS]
    assert "Not known: tepid, rhinoceros" in found["unknown"]


def test_it_is_small_and_needs_no_network(page, found):
    assert sum(path.stat().st_size for path in page.rglob("*") if path.is_file()) < 15e6
    for name in web_page.PAGES:
        text = (page / name).read_text()
        assert "http://" not in text
        assert "https://" not in text
    assert "ms an image, by Web" in found["provider"]
    print(f"first image after {found['first']:.0f} ms, then {found['milliseconds']:.1f} ms each")


def test_where_onnxruntime_web_is_missing_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv(web_page.ENVIRONMENT, str(tmp_path))
    with pytest.raises(UserError, match="has no ort"):
        web_page.find_runtime(tmp_path)
    monkeypatch.delenv(web_page.ENVIRONMENT)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="which npm installs"):
        web_page.find_runtime(tmp_path)
