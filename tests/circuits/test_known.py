"""Known circuits are refused where their roles cannot be told."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.circuits.known import check_subject
from pipeline.errors import ConfigurationError


def test_circuits_with_a_subject_need_its_column():
    nodes = pa.table({"role": ["last", "subject", "subject"]})
    with pytest.raises(ConfigurationError, match=r"2 nodes .* give --subject COLUMN"):
        check_subject("runs/monday", nodes, None)
    check_subject("runs/monday", nodes, "city")
    check_subject("runs/monday", nodes.slice(0, 1), None)
