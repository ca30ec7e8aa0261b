"""A feature's page against counts made by hand from the same tables."""

import pytest

from pipeline.errors import ConfigurationError
from pipeline.export.feature_page import feature_page
from pipeline.features import FeatureName
from pipeline.results import Results
from pipeline.store.output import Output


@pytest.fixture
def demo(demo_output: Output) -> Results:
    return Results(demo_output)


def test_a_page_counts_what_the_tables_hold(demo: Results) -> None:
    rows = demo.sql("select * from activations").to_arrow_table().to_pylist()
    layer, feature = rows[0]["layer"], rows[0]["feature"]
    own = [row for row in rows if (row["layer"], row["feature"]) == (layer, feature)]
    page = feature_page(demo, FeatureName(layer, feature), by="id")
    assert page.tokens == len(own)
    assert page.prompts == len({row["prompt_key"] for row in own}) == page.examples.num_rows
    assert (page.lowest, page.highest) == (
        min(row["activation"] for row in own),
        max(row["activation"] for row in own),
    )
    strongest = max(own, key=lambda row: row["activation"])
    first = page.examples.to_pylist()[0]
    assert (first["position"], first["activation"]) == (strongest["position"], strongest["activation"])
    active = {example["id"] for example in page.examples.to_pylist()}
    assert {share.group: share.active for share in page.groups} == {
        name: int(name in active) for name in ("p0", "p1")
    }


def test_a_feature_promotes_what_its_decoder_row_points_at(demo: Results) -> None:
    # 2/350 stands for Texas; the card of the model says so.
    page = feature_page(demo, FeatureName(2, 350))
    assert page.promotes[0] == "Texas"
    assert not set(page.promotes) & set(page.suppresses)
    assert page.groups == ()


def test_a_silent_feature_is_refused_with_the_way_out(demo: Results) -> None:
    with pytest.raises(ConfigurationError, match=r"0/99999 is active on none of the 2 prompts.*select"):
        feature_page(demo, FeatureName(0, 99999))
