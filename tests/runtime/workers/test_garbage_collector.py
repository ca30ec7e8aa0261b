from __future__ import annotations

import gc

import pytest

from pipeline.runtime.workers.garbage_collector import collector_resting


@pytest.mark.parametrize("at_work", [True, False])
def test_the_collector_rests_and_is_then_as_before(at_work: bool) -> None:
    (gc.enable if at_work else gc.disable)()
    try:
        with collector_resting():
            assert not gc.isenabled()
        assert gc.isenabled() == at_work
        with pytest.raises(ImportError), collector_resting():
            raise ImportError
        assert gc.isenabled() == at_work
    finally:
        gc.enable()
