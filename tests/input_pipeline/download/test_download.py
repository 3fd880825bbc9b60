"""Download: against a server that answers well, badly, slowly, too much and not at all."""

from __future__ import annotations

import argparse
import asyncio
import collections
import csv
import gzip
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from input_pipeline.download import fetch as fetching
from input_pipeline.download import folder as download_folder
from input_pipeline.errors import UserError
from t2igan.cli import download


def _jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = _jpeg()
HTML = b"<!DOCTYPE html><html><body>gone</body></html>"


class _Handler(http.server.BaseHTTPRequestHandler):
    """The first part of the path says how to answer."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.server.asked[self.path] += 1
        getattr(self, f"_{kind}")()

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _ok(self) -> None:
        with self.server.busy:
            time.sleep(self.server.delay)
            self._answer(200, JPEG, Content_Type="image/jpeg")

    def _gone(self) -> None:
        self._answer(404, HTML)

    def _flaky(self) -> None:
        if self.server.asked[self.path] < 3:
            self._answer(500, Retry_After="0")
        else:
            self._answer(200, JPEG)

    def _busy(self) -> None:
        self._answer(429, Retry_After="3600")

    def _page(self) -> None:
        self._answer(200, HTML, Content_Type="text/html; charset=utf-8")

    def _sly(self) -> None:
        self._answer(200, HTML, Content_Type="image/jpeg")

    def _empty(self) -> None:
        self._answer(200, Content_Type="image/jpeg")

    def _broken(self) -> None:
        self._answer(200, JPEG[: len(JPEG) // 2])

    def _cut(self) -> None:
        self.close_connection = True
        self._answer(200, JPEG[:100], Content_Length=str(len(JPEG)))

    def _slow(self) -> None:
        self._answer(200, Content_Length=str(len(JPEG)))
        for byte in JPEG:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def _silent(self) -> None:
        self.close_connection = True
        self.server.closing.wait(5)

    def _huge(self) -> None:
        self.close_connection = True
        self._answer(200, Content_Length=str(10**12))

    def _endless(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(bytes(65536))

    def _moved(self) -> None:
        self._answer(302, Location="/ok/elsewhere")

    def _loop(self) -> None:
        self._answer(302, Location=self.path)

    def _tofile(self) -> None:
        self._answer(302, Location="file:///etc/passwd")

    def _toprivate(self) -> None:
        self._answer(302, Location="http://169.254.169.254/latest/meta-data")

    def _gzipped(self) -> None:
        bomb = gzip.compress(gzip.compress(bytes(1 << 24)))
        self._answer(200, bomb, Content_Encoding="gzip, gzip", Content_Type="image/jpeg")

    def _superscript(self) -> None:
        self._answer(503, Retry_After="\u00b2")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Busy:
    """How many requests are being answered, and the most that ever were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: collections.Counter[str] = collections.Counter()
        self.busy = _Busy()
        self.delay = 0.0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A client that leaves early is what is tested."""


@pytest.fixture
def server(quick_captions: None) -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def _captions(path: Path, urls: list[str]) -> Path:
    """A captions file of the StackGAN baseline's layout with one caption a URL."""
    with h5py.File(path, "w") as file:
        file["train_url"] = np.array([url.encode() for url in urls])
        file["train_imid"] = np.arange(1, len(urls) + 1)
        file["train_cap"] = np.zeros((len(urls), 17), np.int64)
    return path


class _Captions:
    """A captions file read without the process of its own that a damaged one may hang."""

    def __init__(self, path: Path, split: str) -> None:
        with h5py.File(path) as file:
            self._urls = file[f"{split.replace('any', 'train')}_url"].asstr()[()].tolist()

    def __enter__(self) -> _Captions:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def urls(self) -> Iterator[str]:
        return iter(self._urls)


@pytest.fixture
def quick_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_folder, "CaptionFile", _Captions)


def _args(captions: Path, images: Path, /, **flags: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    download.add_flags(parser)
    defaults = vars(parser.parse_args([f"--captions={captions}", f"--images={images}"]))
    given = {"retries": 0, "timeout": 5, "allow_private_hosts": True, **flags}
    return argparse.Namespace(**{**defaults, **given})


def _run(tmp_path: Path, urls: list[str], **flags: object) -> tuple[Path, dict[str, str]]:
    """The images' folder, and the reasons of what failed by URL."""
    images = tmp_path / "images"
    download.main(_args(_captions(tmp_path / "captions.h5", urls), images, **flags))
    return images, _failures(images)


def _failures(images: Path) -> dict[str, str]:
    with open(images / "failed.csv", newline="") as file:
        return {row["url"]: row["reason"] for row in csv.DictReader(file)}


def _pictures(images: Path) -> set[str]:
    return {path.name for path in images.iterdir()} - {"failed.csv"}


def test_good_images_come_and_every_failure_has_its_reason(
    server: _Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {
        "gone": "HTTP 404",
        "busy": "HTTP 429",
        "page": "html",
        "sly": "html",
        "empty": "empty",
        "broken": "truncated",
        "cut": "cut off",
        "huge": "too large",
        "endless": "too large",
        "loop": "too many redirects",
        "tofile": "not an http URL",
    }
    urls = [f"{server.url}/{kind}/{kind}.jpg" for kind in ("ok", "flaky", "moved", *expected)]
    images, failures = _run(tmp_path, urls, retries=2, timeout=60, max_mb=1)
    assert failures == {f"{server.url}/{kind}/{kind}.jpg": why for kind, why in expected.items()}
    assert _pictures(images) == {"ok.jpg", "flaky.jpg", "moved.jpg"}
    assert all((images / name).read_bytes() == JPEG for name in _pictures(images))
    asked = {path.split("/")[1]: times for path, times in server.asked.items()}
    assert asked["flaky"] == asked["cut"] == 3
    assert asked["gone"] == asked["page"] == asked["huge"] == asked["busy"] == 1
    assert f"3 fetched, 0 already there, {len(expected)} failed" in capsys.readouterr().out


def test_what_takes_too_long_is_asked_for_again_and_given_up(
    server: _Server, tmp_path: Path
) -> None:
    urls = [f"{server.url}/{kind}/{kind}.jpg" for kind in ("slow", "silent")]
    with pytest.raises(UserError, match="no URL gave an image"):
        _run(tmp_path, urls, retries=2, timeout=0.5)
    images = tmp_path / "images"
    assert _failures(images) == dict.fromkeys(urls, "timed out")
    assert _pictures(images) == set()
    # On a busy machine a try can end before the server has heard of it.
    assert 1 < server.asked["/slow/slow.jpg"] + server.asked["/silent/silent.jpg"] <= 6


def test_names_that_are_none_and_urls_of_other_kinds_are_listed(
    server: _Server, tmp_path: Path
) -> None:
    expected = {
        f"{server.url}/ok/..": "bad_name",
        f"{server.url}/ok/": "bad_name",
        f"{server.url}/ok/a\\b.jpg": "bad_name",
        f"{server.url}/ok/failed.csv": "bad_name",
        f"{server.url}/ok/one/same.jpg": "ambiguous_name",
        f"{server.url}/ok/two/same.jpg": "ambiguous_name",
        "ftp://127.0.0.1/a.jpg": "not an http URL",
        "file:///etc/passwd": "not an http URL",
        "http:///b.jpg": "not an http URL",
        "http://[::1/c.jpg": "not an http URL",
        "d.jpg": "not an http URL",
        "http://127.0.0.1:1/e.jpg": "no connection",
    }
    images, failures = _run(tmp_path, [*expected, f" {server.url}/ok/good.jpg "])
    assert failures == expected
    assert _pictures(images) == {"good.jpg"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.h5", "images"]


def test_a_second_run_asks_only_for_what_is_missing(server: _Server, tmp_path: Path) -> None:
    urls = [f"{server.url}/ok/{name}.jpg" for name in "abcd"]
    images, _ = _run(tmp_path, urls)
    (images / "b.jpg").unlink()
    (images / "c.jpg").write_bytes(b"")
    (images / "d.jpg").write_bytes(b"\n" + HTML)
    server.asked.clear()
    _run(tmp_path, urls)
    assert server.asked == {f"/ok/{name}.jpg": 1 for name in "bcd"}
    assert all((images / f"{name}.jpg").read_bytes() == JPEG for name in "abcd")


def test_many_are_fetched_at_a_time(server: _Server, tmp_path: Path) -> None:
    server.delay = 0.2
    _run(tmp_path, [f"{server.url}/ok/{index}.jpg" for index in range(24)], parallel=8)
    assert 4 <= server.busy.most <= 8


def test_a_test_file_goes_to_its_own_folder(server: _Server, tmp_path: Path) -> None:
    train = _captions(tmp_path / "captions.h5", [f"{server.url}/ok/a.jpg"])
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["test_url"] = np.array([f"{server.url}/ok/b.jpg".encode()])
        file["test_imid"] = np.array([1])
        file["test_caps"] = np.zeros((1, 17), np.int32)
    flags = {"test_captions": str(tmp_path / "test.h5"), "test_images": str(tmp_path / "other")}
    download.main(_args(train, tmp_path / "images", **flags))
    assert _pictures(tmp_path / "images") == {"a.jpg"}
    assert _pictures(tmp_path / "other") == {"b.jpg"}


@pytest.mark.usefixtures("quick_captions")
def test_an_answer_that_is_compressed_or_says_nonsense_is_its_own_fault(
    server: _Server, tmp_path: Path
) -> None:
    urls = [f"{server.url}/{name}/{name}.jpg" for name in ("gzipped", "superscript", "ok")]
    images, failures = _run(tmp_path, urls)
    assert failures == {urls[0]: "compressed", urls[1]: "HTTP 503"}
    assert _pictures(images) == {"ok.jpg"}


def test_an_unforeseen_error_is_that_of_its_url(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(response: object, most: int) -> None:
        if "bad" in str(response.request.url):
            raise ZeroDivisionError

    monkeypatch.setattr(fetching, "_check_answer", check)
    urls = [f"{server.url}/ok/{name}.jpg" for name in ("bad", "good")]
    images, failures = _run(tmp_path, urls)
    assert failures == {urls[0]: "failed (ZeroDivisionError)"}
    assert _pictures(images) == {"good.jpg"}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("::127.0.0.1", False),
        ("fec0::1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_an_address_that_leads_inside_is_not_public(address: str, public: bool) -> None:
    assert fetching._is_public_address(address) is public


@pytest.mark.usefixtures("quick_captions")
def test_private_hosts_are_refused(tmp_path: Path) -> None:
    numeric = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"]
    others = ["[::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "localhost", "2130706433"]
    hosts = numeric + others
    urls = [f"http://{host}/{index}.jpg" for index, host in enumerate(hosts)]
    with pytest.raises(UserError, match=r"no URL gave an image; why is in .*failed\.csv"):
        _run(tmp_path, urls, allow_private_hosts=False)
    assert _failures(tmp_path / "images") == dict.fromkeys(urls, "private address")


def test_a_redirect_to_a_private_host_is_refused(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_is_public_address", lambda text: text == "127.0.0.1")
    urls = [f"{server.url}/toprivate/a.jpg", f"{server.url}/moved/b.jpg"]
    images, failures = _run(tmp_path, urls, allow_private_hosts=False)
    assert failures == {urls[0]: "private address"}
    assert _pictures(images) == {"b.jpg"}


@pytest.mark.usefixtures("quick_captions")
def test_a_network_that_is_down_stops_the_download(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [f"http://127.0.0.1:1/{index}.jpg" for index in range(300)]
    with pytest.raises(UserError, match="64 URLs one after another"):
        _run(tmp_path, urls, parallel=4)
    assert "not tried: run this again" in capsys.readouterr().out
    assert len(_failures(tmp_path / "images")) < 100


def test_urls_are_not_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many URLs there are, those in memory are those being fetched."""
    read = done = lead = 0

    def urls() -> Iterator[str]:
        nonlocal read, lead
        for read in range(1, 501):
            lead = max(lead, read - done)
            yield f"http://host/{read}.jpg"

    async def fetch(*_: object) -> None:
        nonlocal done
        await asyncio.sleep(0)
        done += 1

    monkeypatch.setattr(fetching.Fetcher, "fetch", fetch)
    bar = download_folder.tqdm(total=500, disable=True)
    state = download_folder._Download(tmp_path, frozenset(), io.StringIO(), bar)
    asyncio.run(state.run(urls(), fetching.Limits(), parallel=7))
    assert state.fetched == done == 500
    assert lead <= 7


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_any_moment_it_leaves_whole_images_and_goes_on(
    server: _Server, tmp_path: Path, end: signal.Signals
) -> None:
    urls = [f"{server.url}/ok/{index}.jpg" for index in range(40)]
    urls.insert(20, f"{server.url}/slow/slow.jpg")
    captions, images = _captions(tmp_path / "captions.h5", urls), tmp_path / "images"
    command = (
        "import sys; from t2igan.cli.main import main; "
        f"sys.exit(main(['download', '--captions={captions}', '--images={images}', "
        "'--parallel=2', '--allow_private_hosts']))"
    )
    child = subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.PIPE, text=True)
    while not server.asked["/slow/slow.jpg"] and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(end)
    _, said = child.communicate(timeout=120)
    assert child.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL), said
    assert "Traceback" not in said
    if end == signal.SIGINT:
        assert not (images / ".partial").exists()
    came = {path.name for path in images.glob("*.jpg")}
    assert came
    assert "slow.jpg" not in came
    assert all((images / name).read_bytes() == JPEG for name in came)
    download.main(_args(captions, images, timeout=4))
    assert len(_pictures(images)) == 40, _failures(images)
    assert list(_failures(images).values()) == ["timed out"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", 0), ("7", 7), (" 120 ", 120), ("-3", 0), ("soon", 0), ("9" * 5000, 999_999_999)],
)
def test_retry_after_is_read(header: str, expected: float) -> None:
    assert fetching._wait_asked(header) == expected


def test_retry_after_is_read_as_a_date() -> None:
    at = time.time() + 100
    assert fetching._wait_asked(formatdate(at, usegmt=True)) == pytest.approx(100, abs=2)
    assert fetching._wait_asked(formatdate(at - 500, usegmt=True)) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"captions": None}, "--captions"),
        ({"images": None}, "--images"),
        ({"captions": "nowhere.h5"}, "nowhere.h5"),
        ({"parallel": 0}, "--parallel=0"),
        ({"timeout": float("nan")}, "--timeout=nan"),
        ({"retries": -1}, "--retries=-1"),
        ({"max_mb": 1000}, "--max_mb=1000"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    tmp_path: Path, flags: dict[str, object], words: str
) -> None:
    captions = _captions(tmp_path / "captions.h5", ["http://host/a.jpg"])
    with pytest.raises(UserError, match=words) as caught:
        download.main(_args(captions, tmp_path / "images", **flags))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "images").exists()


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    captions = _captions(tmp_path / "captions.h5", ["http://host/a.jpg"])
    with pytest.raises(UserError, match="is a file"):
        download.main(_args(captions, captions))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_raises_what_the_command_line_explains(
    tmp_path: Path,
) -> None:
    tmp_path.joinpath("locked").mkdir(mode=0o500)
    captions = _captions(tmp_path / "captions.h5", ["http://host/a.jpg"])
    with pytest.raises(PermissionError):
        download.main(_args(captions, tmp_path / "locked"))
