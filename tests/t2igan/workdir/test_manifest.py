"""A manifest is what was written, or damage: whatever its file holds."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2igan.workdir import manifest as manifests

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FILES = st.dictionaries(
    st.text(st.sampled_from("a/.\0")), st.tuples(st.integers(-1, 9), st.text(max_size=3)) | VALUES
)
quick = settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@quick
@given(data=st.binary() | st.just(b"[" * 100_000))
def test_any_bytes_are_damage(tmp_path, data):
    (tmp_path / manifests.NAME).write_bytes(data)
    with pytest.raises(manifests.Damaged):
        manifests.read(tmp_path)


@quick
@given(
    fields=st.fixed_dictionaries(
        {}, optional={"step": VALUES, "metrics": VALUES, "best": VALUES, "files": FILES | VALUES}
    )
)
def test_any_values_are_a_manifest_or_damage(tmp_path, fields):
    whole = {"step": 3, "metrics": {"loss": 1.0}, "best": ["loss", "min"], "files": {}}
    (tmp_path / manifests.NAME).write_text(json.dumps(whole | fields))
    with contextlib.suppress(manifests.Damaged):
        manifests.verify(tmp_path, items=["a"])
    with contextlib.suppress(manifests.Damaged):
        assert isinstance(manifests.verify(tmp_path).step, int)


@pytest.mark.parametrize("name", ["/dev/zero", "state/../../other", "..", "a\0b"])
def test_a_manifest_names_nothing_outside_its_checkpoint(tmp_path, name):
    manifest = {"step": 3, "metrics": {}, "best": ["loss", "min"], "files": {name: [0, ""]}}
    (tmp_path / manifests.NAME).write_text(json.dumps(manifest))
    with pytest.raises(manifests.Damaged, match="no file of a checkpoint"):
        manifests.read(tmp_path)
