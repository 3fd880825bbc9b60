"""The page: whole, self-contained, and never more than text where a caption is hostile."""

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from t2igan.cli.main import main
from t2igan.report import curves, svg
from t2igan.report.images import sheets, to_png
from t2igan.report.markup import Markup, element, joined

HOSTILE = ("<script>alert(1)</script>", "\"'><img/src=x/onerror=alert(2)>", "</style>", "&amp;")


class Page(HTMLParser):
    """Elements, texts and images of a page; refuses one that is not well-formed."""

    EMPTY = ("img", "input", "meta")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """Attributes of the elements with that tag and these attributes."""
        found = [attributes for name, attributes in self.elements if name == tag]
        return [one for one in found if wanted.items() <= one.items()]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def report(workdir, *flags):
    assert main(["report", f"--workdir={workdir}", f"--out={workdir}/page.html", *flags]) == 0
    return Page((workdir / "page.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_words):
    """A run with hostile words in its captions, metrics, config and results."""
    folder = tmp_path_factory.mktemp("hostile")
    words = (*HOSTILE, *(f"word{i}" for i in range(8)))
    config = make_words.config(make_words.dataset(folder / "set", words=words))
    config.checkpoint.best_metric = "validation/loss/g"
    config.data.test_split = "test"
    config.train.mapper = "</code><script>alert(3)</script>"
    workdir = make_words.run(folder / "run", config)
    Image.new("RGB", (20, 10), "red").save(workdir / "samples/step_00000010.png")
    Image.new("RGB", (20, 10), "blue").save(workdir / "samples/step_00000020.png")
    (workdir / "samples/step_00000030.png").write_bytes(b"cut short")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "<script>/x": 1.0, "validation/loss/d": 0.5, "loss/kl": null}\n')
        file.write('{"step": 22, "loss/d"')  # being written
    result = {
        "metric": "kid_<b>",
        "estimate": {"value": 0.0125, "interval": [0.01, 0.02]},
        "split": "test",
        "step": 20,
        "better": "lower",
        "references": {"blurred": {"value": 7.5}},
        "provenance": {"weights": "<i>abc</i>", "pictures": {"fake": 9}},
    }
    (workdir / "evaluation.jsonl").write_text(json.dumps(result) + '\n{"metric": "bare"}\n[1]\n')
    return workdir


@pytest.fixture(scope="module")
def page(run):
    return report(run, "--num=5")


def test_nothing_is_loaded_from_elsewhere(page, run):
    for _, attributes in page.elements:
        assert not attributes.keys() & {"href", "srcset", "action", "data", "background"}
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "url(" not in (run / "page.html").read_text()
    assert "@import" not in (run / "page.html").read_text()
    assert page.all("meta", **{"http-equiv": "Content-Security-Policy"})


def test_hostile_texts_are_texts(page):
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    for word in (HOSTILE[0], "alert(3)", "<script>", "kid_<b>", "<i>abc</i>"):
        assert word in page.text
    for tag, attributes in page.elements:
        assert tag not in ("b", "i") or not attributes.keys() & {"onerror", "onload"}
        assert not [name for name in attributes if name.startswith("on")]


def test_each_caption_has_generated_and_actual_images(page):
    assert len(page.all("article")) == 5
    generated = [one for one in page.all("img") if one["alt"].startswith("generated, noise")]
    actual = [one for one in page.all("img") if one["alt"].startswith("actual: ")]
    assert len(generated) == 20
    assert len({one["src"] for one in generated}) == 20
    assert len(actual) == 5
    assert all(one["src"].startswith("data:image/png;base64,iVBOR") for one in generated + actual)
    assert "split “test”" in page.text


def test_sheets_curves_config_and_results_are_there(page):
    labels = [one["data-label"] for one in page.all("div", **{"class": "sheet"})]
    assert labels == ["step 10", "step 20"]
    for title in ("Discriminator loss", "Generator loss", "Config", "Evaluation"):
        assert title in page.texts
    assert "batch_size" in page.texts
    assert {"0.0125", "0.01 to 0.02", "7.5", "bare"} <= set(page.texts)
    assert any("stackgan at step 20" in text for text in page.texts)


def test_without_the_data_set_the_page_says_so(run, tmp_path, word_dataset):
    gone = report(run, f"--dataset={tmp_path}/gone")
    assert not gone.all("article")
    assert "The figures are left out: there is no data set at" in gone.text
    assert len(gone.all("div", **{"class": "sheet"})) == 2
    other = report(run, f"--dataset={word_dataset}")
    assert "has other words than the run was trained with" in other.text


def test_a_run_without_a_checkpoint_or_a_metric(run, tmp_path):
    shutil.copy(run / "config.json", tmp_path)
    young = report(tmp_path)
    assert "has no checkpoint yet" in young.text
    assert "There are no metrics yet." in young.text
    assert "stackgan at step 0" in young.texts


def test_the_validation_split_stands_in_for_a_missing_test_split(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["test_split"] = "absent"
    (copy / "config.json").write_text(json.dumps(config))
    assert "split “validation”" in report(copy, "--num=200").text


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--num=0"], "--num=0: must be 1 to 200"),
        (["--num=x"], "invalid int value"),
        (["--workdir={tmp}/absent"], "holds no run"),
        (["--out={tmp}"], "is a folder"),
        (["--out={run}/config.json/page.html"], "is not a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(run, tmp_path, capsys, flags, told):
    given = [flag.format(tmp=tmp_path, run=run) for flag in flags]
    assert main(["report", f"--workdir={run}", *given]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("t2igan: error: ")
    assert error.count("\n") == 1


def test_a_damaged_config_is_a_mistake_too(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"recipe": ')
    assert main(["report", f"--workdir={tmp_path}"]) == 2
    assert "config.json is damaged" in capsys.readouterr().err


def test_a_config_of_another_version_is_one_line(run, tmp_path, capsys):
    config = json.loads((run / "config.json").read_text())
    del config["recipe"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["report", f"--workdir={tmp_path}"]) == 2
    assert "the config has no field 'recipe'" in capsys.readouterr().err


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), put=st.binary(max_size=6), cut=st.booleans())
def test_a_damaged_sheet_is_shown_or_left_out(tmp_path, place, put, cut):
    (tmp_path / "samples").mkdir(exist_ok=True)
    whole = to_png(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    rest = b"" if cut else whole[place + len(put) :]
    (tmp_path / "samples/step_00000001.png").write_bytes(whole[:place] + put + rest)
    found, total = sheets(tmp_path)
    assert total == 1
    assert len(found) <= 1


def test_the_default_place_is_in_the_run(run, capsys):
    assert main(["report", f"--workdir={run}", "--num=1"]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "report.html").is_file()


def test_long_curves_keep_their_means_and_extremes():
    values = [(step, float(step % 10)) for step in range(1, 100_001)]
    points = curves.shortened(values, 100)
    assert len(points) == 100
    assert {(p.mean, p.low, p.high) for p in points} == {(4.5, 0.0, 9.0)}
    assert [p.step for p in points] == list(range(1000, 100_001, 1000))


def test_what_is_no_number_is_no_point():
    values = [None, True, "1", [1], float("nan"), float("inf"), 10**400, 2.0]
    lines = [{"step": step, "loss/d": value} for step, value in enumerate(values)]
    (chart,), more = curves.charts([*lines, {"loss/d": 1.0}, {"step": "x", "loss/d": 1.0}])
    assert not more
    assert chart.curves == {"training": [curves.Point(7, 2.0, 2.0, 2.0)]}


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [1e-12, 2e-12], [-1e200, 1e200, 3.0]])
def test_any_curve_is_drawn_within_its_frame(values):
    points = curves.shortened([(step * 10, value) for step, value in enumerate(values)])
    page = Page(svg.chart(curves.Chart("a", {"b": points})))
    (line,) = page.all("polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line["points"].split()]
    assert all(0 <= x <= svg.WIDTH for x, _ in places)
    assert all(abs(y) <= 1e4 for _, y in places)


def test_a_single_outlier_does_not_flatten_the_rest():
    values = [(step, 1.0 + step % 2) for step in range(100)]
    values[0] = (0, 1e6)
    page = Page(svg.chart(curves.Chart("a", {"b": curves.shortened(values)})))
    (line,) = page.all("polyline")
    heights = [float(pair.split(",")[1]) for pair in line["points"].split()]
    assert max(heights[1:]) - min(heights[1:]) > 100


def test_markup_escapes_all_but_markup():
    made = element("p", "<&", [Markup("<b>"), '"'], title='"<', hidden=True, open=False)
    assert made == '<p title="&quot;&lt;" hidden>&lt;&amp;<b>&quot;</p>'
    assert joined(["a", element("img", src="x")]) == 'a<img src="x">'


def test_many_sheets_are_thinned_evenly_and_large_ones_shrunk(tmp_path):
    (tmp_path / "samples").mkdir()
    for step in range(1, 41):
        width = 2000 if step == 40 else 4
        Image.new("RGB", (width, 2)).save(tmp_path / f"samples/step_{step:08d}.png")
    (tmp_path / "samples/other.png").write_bytes(b"")
    found, total = sheets(tmp_path)
    assert total == 40
    assert len(found) == 16
    assert (found[0][0], found[-1][0]) == (1, 40)
    assert int.from_bytes(found[-1][1][16:20], "big") == 900  # a PNG's width
