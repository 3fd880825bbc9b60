"""The server: the images of `sample`, requests drawn together, and one line for each mistake."""

import base64
import concurrent.futures
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from t2igan.cli import main as cli
from t2igan.sampling import run as sampling

testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the test client's own
CAPTION = "a small red star on the left"


@pytest.fixture(scope="module")
def run():
    return sampling.load_pretrained("shapes")


@pytest.fixture(scope="module")
def client(run):
    from t2igan.serving.app import make_app

    with testclient.TestClient(make_app(run, most_waiting=40)) as client:
        yield client


def images_of(answer):
    data = (base64.b64decode(text) for text in answer.json()["images"])
    return np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in data])


def test_the_images_are_those_of_sample_whoever_asks_at_the_same_time(client, run):
    asked = [
        {"caption": caption, "num": num, "seed": seed, "truncation": truncation}
        for caption, num, seed, truncation in [
            (CAPTION, 3, 0, 1.0),
            (CAPTION, 1, 7, 0.5),
            ("a large blue ring", 5, 2**32 - 1, 1.0),
            ("a large blue ring", 2, 7, 0.0),
        ]
    ]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: client.post("/generate", json=one), asked * 2))
    for one, answer in zip(asked * 2, answers, strict=True):
        assert answer.status_code == 200
        expected = run.sample(
            [one["caption"]], one["num"], seed=one["seed"], truncation=one["truncation"]
        )
        np.testing.assert_array_equal(images_of(answer), expected[0])


def test_unknown_words_are_named_and_defaults_hold(client):
    answer = client.post("/generate", json={"caption": "a red rhinoceros"}).json()
    assert answer["unknown_words"] == ["rhinoceros"]
    assert len(answer["images"]) == 1
    assert (answer["seed"], answer["truncation"]) == (0, 1.0)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "is not JSON"),
        (b"[" * 5000, 400, "is not JSON"),
        (b"[1]", 400, "no object"),
        (b"\xff\xfe", 400, "is not JSON"),
        (b'{"caption": "' + b"a" * 70_000 + b'"}', 413, "at most 65536 bytes"),
        (b"{}", 422, '"caption" must be a text'),
        (b'{"caption": " ?! "}', 422, '"caption" must be a text'),
        (b'{"caption": 3}', 422, '"caption" must be a text'),
        (b'{"caption": "a \\ud800"}', 422, "is not UTF-8"),
        (json.dumps({"caption": "a" * 1001}).encode(), 422, "at most 1000 letters"),
        (b'{"caption": "a", "num": 0}', 422, '"num" must be a whole number from 1 to 16'),
        (b'{"caption": "a", "num": true}', 422, '"num" must be'),
        (b'{"caption": "a", "num": 1.5}', 422, '"num" must be'),
        (b'{"caption": "a", "seed": -1}', 422, '"seed" must be'),
        (b'{"caption": "a", "seed": 4294967296}', 422, '"seed" must be'),
        (b'{"caption": "a", "truncation": NaN}', 422, '"truncation" must be'),
        (b'{"caption": "a", "truncation": 1e999}', 422, '"truncation" must be'),
        (b'{"caption": "a", "out": "/etc/x"}', 422, "no field 'out'; there are caption"),
    ],
)
def test_a_mistake_gets_a_status_and_one_line(client, body, status, told):
    answer = client.post("/generate", content=body)
    assert answer.status_code == status
    line = answer.json()["error"]
    assert told in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/app.py", "/package.json", "//etc/passwd"],
)
def test_nothing_of_the_file_system_is_served(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no such page"}
    assert client.get("/generate").status_code == 405


def test_beyond_its_limit_it_turns_callers_away(run):
    from t2igan.serving.app import make_app

    with testclient.TestClient(make_app(run, most_waiting=16)) as client:
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            one = {"caption": CAPTION, "num": 8}
            answers = list(pool.map(lambda _: client.post("/generate", json=one), range(12)))
        assert {answer.status_code for answer in answers} == {200, 429}
        turned = next(answer for answer in answers if answer.status_code == 429)
        assert "are waiting: try again later" in turned.json()["error"]
        assert client.get("/health").json() == {"status": "ok", "waiting": 0, "step": 40000}
        assert client.post("/generate", json=one).status_code == 200


def test_the_page_and_the_api_document_are_there(client):
    page = client.get("/").text
    assert '<label for="caption">' in page
    for name in ("style.css", "app.js", "text.js", "generate.js"):
        assert client.get(f"/{name}").status_code == 200
    assert "WebGPU" not in client.get("/generate.js").text  # this one asks the server
    document = client.get("/openapi.json").json()
    schema = document["paths"]["/generate"]["post"]["requestBody"]["content"]["application/json"]
    assert set(schema["schema"]["properties"]) == {"caption", "num", "seed", "truncation"}
    assert {"200", "400", "413", "422", "429"} <= set(
        document["paths"]["/generate"]["post"]["responses"]
    )


def test_it_listens_on_this_machine_alone_and_mistakes_are_one_line(capsys):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    words = ["-P", "-m", "t2igan", "serve", "--pretrained=shapes", "--port=0"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            assert " at http://127.0.0.1:" in line
            port = line.split("127.0.0.1:")[1].split()[0]
            assert cli.main(["serve", "--pretrained=shapes", f"--port={port}"]) == 2
        finally:
            server.terminate()
    assert "cannot be listened on: Address already in use" in capsys.readouterr().err
    for flags, told in [
        ([], "give either --workdir=RUN or --pretrained"),
        (["--pretrained=shapes", "--port=70000"], "--port=70000: must be 0 to 65535"),
        (["--pretrained=shapes", "--max_waiting=0"], "must be 1 or more"),
    ]:
        assert cli.main(["serve", *flags]) == 2
        assert told in capsys.readouterr().err
