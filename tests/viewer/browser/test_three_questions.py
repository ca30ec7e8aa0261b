"""The three questions of `docs/viewer.md`, answered by clicking alone: a small sweep, with its live model."""

from __future__ import annotations

from playwright.sync_api import expect

from pipeline.results import Results

ANSWER_MS = 60_000


def test_which_features_carry_a_prompt_and_is_that_causal(visit, live_server, live_url) -> None:
    """Search, feature, a prompt that keeps it, the effect of every kept node; and the feature on a family."""
    layer, number = (
        Results(live_url)
        .sql(
            "select layer, feature from nodes where kind = 'feature' group by all "
            "order by count(distinct prompt_key) desc, sum(influence) desc limit 1"
        )
        .fetchall()[0]
    )
    name = f"{layer}/{number}"
    page = visit(live_server, "#/")
    page.get_by_role("combobox", name="Search").click()
    page.keyboard.type(name)
    page.get_by_role("option", name=name).first.click()
    page.wait_for_selector("text=Prompts that keep it")
    page.locator("section", has_text="Prompts that keep it").get_by_role("link", name="p0").click()
    page.wait_for_selector(".canvas")
    visit.wait(page)
    assert page.inner_text(".panel h2").startswith(name), "the feature is selected"
    page.get_by_role("button", name="Effect of every kept node").click()
    page.wait_for_selector(".scatter", timeout=ANSWER_MS)
    selected = page.evaluate("() => viewerGraph.scene.graph.names[viewerGraph.scene.selected]")
    effects = {
        row["node"]: row["logit"]
        for row in live_server.ask("/api/live/effects", "POST", {"key": "p0"}).json["effects"]
    }
    dot = page.locator(f".scatter circle:has(title:text-matches('^{selected}:'))")
    assert dot.get_attribute("class") == ("minus" if effects[selected] < 0 else "plus")
    assert "Ranked alike with influence" in page.inner_text(".effects")
    page.get_by_role("link", name="all about it").click()
    page.wait_for_selector("text=Ablate it")
    page.get_by_label("Group of prompts").select_option("long")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector("text=a random active feature of its layer", timeout=ANSWER_MS)
    listed = page.locator("section", has_text="Ablate it").locator("tbody th").all_inner_texts()
    assert set(listed) <= {"p0", "p1"}
    assert page.complaints.found == []


def test_what_differs_between_right_and_wrong(visit, live_server, live_url) -> None:
    """Facet, two ticks, compare; the table says what the drawing shows."""
    page = visit(live_server, "#/")
    page.get_by_role("link", name="Prompts", exact=True).click()
    page.wait_for_selector(".facets")
    page.locator(".facets fieldset", has_text="correct").get_by_label("false").check()
    visit.wait(page)
    expect(page.locator(".rows tbody tr:not(.gap)")).to_have_count(2)
    page.get_by_role("checkbox", name="Choose p1").check()
    page.locator(".facets fieldset", has_text="correct").get_by_label("false").uncheck()
    visit.wait(page)
    page.get_by_role("checkbox", name="Choose p0").check()
    page.get_by_role("link", name="compare the two").click()
    page.wait_for_selector(".canvas")
    visit.wait(page)
    features = {
        id: {
            tuple(row)
            for row in Results(live_url)
            .sql(
                "select layer, feature, positions - position from nodes join graphs using (prompt_key, id) "
                f"where kind = 'feature' and id = '{id}'"
            )
            .fetchall()
        }
        for id in ("p1", "p0")
    }
    shown = page.inner_text("main")
    assert f"only in A {len(features['p1'] - features['p0'])}" in shown
    assert f"only in B {len(features['p0'] - features['p1'])}" in shown
    assert page.locator(".panel tbody tr").count() > 0
    assert page.complaints.found == []


def test_the_circuit_that_prompts_of_a_kind_share(visit, live_server, live_url) -> None:
    """Circuits, a family, an edge, and the prompts that have it."""
    page = visit(live_server, "#/")
    page.get_by_role("link", name="Circuits", exact=True).click()
    page.get_by_role("link", name="long", exact=True).click()
    page.wait_for_selector(".canvas")
    visit.wait(page)
    assert page.evaluate("() => viewerGraph.scene.shown.edges.length") > 0
    page.locator(".panel tbody button.link").nth(2).click()
    page.wait_for_selector("text=Prompts that have it")
    said = page.inner_text(".panel .facts")
    page.get_by_role("link", name="Prompts that have it").click()
    visit.wait(page)
    listed = page.locator(".rows tbody tr:not(.gap)").count()
    assert f"({listed} prompt{'s' * (listed > 1)})" in said
    page.locator(".rows tbody a").first.click()
    page.wait_for_selector(".canvas")
    visit.wait(page)
    assert page.complaints.found == []
