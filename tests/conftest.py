"""Shared fixtures: a tiny synthesised dataset, configs on it, and the real clips where they are at hand."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_disk import small_disk

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "us8k-real"
REAL_MISSING = "the real UrbanSound8K clips are not beside the checkout (../shared/us8k-real)"


@pytest.fixture(scope="session")
def tiny_outputs(tmp_path_factory) -> Path:
    """Outputs folder whose cache (tiny dataset, feature store) all tests of a session share."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def tiny(tmp_path, tiny_outputs):
    """Factory of RunConfigs of the tiny profile: tiny("pann_10", tau=0.5) writes under the test's own
    folder."""
    from esc_utils import config

    def make(experiment: str = "cnn14_10", **overrides):
        layers = [*config.layers_of("quick", experiment), ROOT / "tests" / "tiny.yaml"]
        own = {"profile": "quick", "outputs": str(tmp_path), "cache_dir": str(tiny_outputs / "cache")}
        return config.from_files(layers, own | overrides)

    return make


@pytest.fixture(scope="session")
def real_clips(tmp_path_factory) -> Path:
    """Folder with the 2,985 real clips in the official layout; skips where they are missing."""
    if not (REAL / "unpack.py").is_file():
        pytest.skip(REAL_MISSING)
    folder = tmp_path_factory.mktemp("us8k")
    subprocess.run([sys.executable, str(REAL / "unpack.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def needs_mount(tmp_path):
    (tmp_path / "try").mkdir()
    try:
        subprocess.run([*small_disk(tmp_path / "try", 64), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no tmpfs can be mounted here (needs unshare and user namespaces)")


@pytest.fixture(scope="module")
def made_outputs(tmp_path_factory) -> Path:
    """Made-up outputs of profile lite, whose dataset lies in a folder with a name of its own."""
    import made_up

    folder = tmp_path_factory.mktemp("made")
    made_up.write(folder, "/tmp/my sounds/UrbanSound8K")
    return folder


@pytest.fixture
def collected(made_outputs, tmp_path, monkeypatch) -> Path:
    """The evidence of the made-up outputs, where the pages look for it."""
    import evidence
    import evidence_pages as pages

    monkeypatch.setattr(pages, "EVIDENCE", tmp_path / "outputs" / "evidence")
    evidence.collect("lite", made_outputs, pages.EVIDENCE / "lite")
    return pages.EVIDENCE / "lite"
