"""Where the checkout is, and the recordings beside it."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = REPOSITORY.parent / "shared" / "data"

needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real recordings are not beside this checkout")
