"""Where the checkout is, the programs of the tests, and the recordings beside the checkout."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL_NETWORKS = REPOSITORY / "tests" / "support" / "small_networks"
PROCESSES = REPOSITORY / "tests" / "support" / "processes"
REAL_DATA = REPOSITORY.parent / "shared" / "data"

needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real recordings are not beside this checkout")
