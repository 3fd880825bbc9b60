"""Captions gathered by image on disk, held to a dictionary in memory."""

import gc
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from input_pipeline import scratch
from input_pipeline.errors import UserError
from input_pipeline.readers import caption_groups as grouping
from input_pipeline.readers.caption_groups import CaptionGroups

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


@given(st.lists(st.tuples(KEYS, st.text(st.characters(exclude_categories=["Cs"]), max_size=5))))
def test_captions_alone_make_the_images(pairs):
    expected: dict[str, list[str]] = {}
    for key, caption in pairs:
        expected.setdefault(key, []).append(caption)
    groups = CaptionGroups(None, iter(pairs))
    assert len(groups) == len(expected)
    assert list(groups.read(0, 99)) == [(key, key, texts) for key, texts in expected.items()]
    assert list(groups.captions()) == [text for texts in expected.values() for text in texts]
    assert groups.unknown == 0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.text("abc"))),
    st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=4))),
)
def test_images_keep_their_order_and_may_have_no_caption(images, captions):
    names = dict(reversed(images))
    order = list(dict.fromkeys(key for key, _ in images))
    groups = CaptionGroups(iter(images), iter(captions))
    expected = [(k, names[k], [text for key, text in captions if key == k]) for k in order]
    assert list(groups.read(0, len(groups))) == expected
    assert list(groups.names()) == [names[key] for key in order]
    stray = [key for key, _ in captions if key not in names]
    assert groups.unknown == len(stray)
    assert groups.unknown_key == (stray[0] if stray else None)


def test_ranges_make_up_the_whole_in_threads_and_after_pickling():
    groups = CaptionGroups(None, ((f"{i % 100}", f"{i}") for i in range(300)))
    whole = list(groups.read(0, 100))
    same = pickle.loads(pickle.dumps(groups))
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda at: list(same.read(at, at + 7)), range(0, 100, 7))
    assert [group for part in parts for group in part] == whole


def test_the_temporary_folder_goes_with_its_object(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    groups = CaptionGroups(None, [("a", "b")])
    assert len(list(tmp_path.iterdir())) == 1
    del groups
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_captions():
    """Python's memory; SQLite's own is capped by its cache."""

    def peak(count: int) -> int:
        tracemalloc.start()
        groups = CaptionGroups(enumerate(map(str, range(count))), ((i, b"x") for i in range(count)))
        assert sum(1 for _ in groups.read(0, count)) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(30_000) < peak(300) + 100_000


def test_one_image_cannot_have_all_captions(monkeypatch):
    monkeypatch.setattr(grouping, "MAX_CAPTIONS", 5)
    with pytest.raises(UserError, match="'cat' has 6 captions; at most 5"):
        CaptionGroups(None, [("cat", "meow")] * 6)


def _fill(path: Path, pages: int) -> None:
    with scratch.database(path) as database:
        database.execute(f"PRAGMA max_page_count = {pages}")
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [(bytes(4096),)] * 9)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match="set TMPDIR"):
        _fill(tmp_path, pages=100)


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(UserError, match="full; set TMPDIR"):
        _fill(tmp_path / "full.sqlite", pages=3)


@given(st.lists(st.tuples(st.binary(max_size=1), st.binary(max_size=1))), st.integers(1, 3))
def test_shared_keys(pairs, at_least):
    members: dict[bytes, set[bytes]] = {}
    for key, member in pairs:
        members.setdefault(key, set()).add(member)
    expected = sorted(
        (key for key, found in members.items() if len(found) >= at_least),
        key=lambda key: (-len(members[key]), key),
    )
    assert scratch.shared(iter(pairs), at_least, 5) == expected[:5]
