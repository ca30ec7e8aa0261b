"""The live model on the page, in a real browser: what-ifs, effects, saved runs, a feature's tokens and ablation."""

# ruff: noqa: E501 (lines of JavaScript)

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from pipeline.graph import subgraph_scores
from pipeline.results import Results
from pipeline.retrace import retrace
from pipeline.store import Output, current_notes, read_notes

ANSWER_MS = 60_000


@pytest.fixture(scope="module")
def feature(live_url) -> str:
    """The most influential feature of a prompt, at its position."""
    layer, number, position = (
        Results(live_url)
        .sql(
            "select layer, feature, position from nodes where kind = 'feature' and id = 'p0' "
            "order by influence desc limit 1"
        )
        .fetchall()[0]
    )
    return f"{layer}/{number}@{position}"


def answered(page):
    """The page once the model has answered."""
    page.wait_for_selector(".whatif table", timeout=ANSWER_MS)
    expect(page.locator(".whatif .busy")).to_have_count(0, timeout=ANSWER_MS)
    return page


def after_of_target(page) -> str:
    return page.locator(".whatif tbody tr").first.locator("td").nth(1).inner_text()


def test_a_feature_is_switched_off_and_the_run_saved_and_opened_again(
    visit, browser, live_server, live_url, feature, tmp_path
) -> None:
    from tests.support.chromium import Visits

    page = visit(live_server, f"#/graph/p0?sel={feature}")
    page.get_by_role("button", name="What if it were off?").click()
    page.get_by_role("button", name="Run", exact=True).click()
    answered(page)
    asked = live_server.ask(
        "/api/live/run",
        "POST",
        {"key": "p0", "changes": [{"node": feature, "kind": "scale", "value": 0}]},
    ).json
    shown = page.locator(".whatif").inner_text()
    assert all(row["label"] in shown for row in asked["tokens"][:3])
    assert "paint=what-if" in page.url
    assert page.locator(".whatif .warned").count() == 0, "the model is the sweep's"
    page.get_by_label("Name of the run").fill("without its strongest")
    page.get_by_role("button", name="Save this run").click()
    page.wait_for_selector(".runs")
    (note,) = current_notes(read_notes(Output(live_url).folder)).values()
    assert (note.kind, note.text, note.run.id) == ("run", "without its strongest", "p0")
    assert [row.after for row in note.run.tokens] == [row["after"] for row in asked["tokens"]]
    other = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    again = Visits(other)(live_server, "#/notes")
    again.get_by_role("link", name="without its strongest").click()
    again.wait_for_selector(".whatif table")
    assert after_of_target(again) == after_of_target(page), "without asking the model"
    assert note.run.printed.strip() in again.locator(".whatif .command pre").text_content().strip()
    other.close()
    assert page.complaints.found == []
    exported_runs_are_shown(browser, live_url, tmp_path, note, after_of_target(page))


def exported_runs_are_shown(browser, url, folder, note, after) -> None:
    """The recorded what-if travels in the exported file, where no model is."""
    from jobs.view import main as view

    assert view([url, "--export", str(folder / "page.html")]) == 0
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((folder / "page.html").as_uri() + "#/graph/p0")
    page.wait_for_selector(".runs")
    page.get_by_role("link", name=note.text).click()
    page.wait_for_selector(".whatif table")
    assert after_of_target(page) == after
    assert page.get_by_role("button", name="Run", exact=True).count() == 0
    assert complaints == []
    context.close()


def test_what_edges_predict_is_the_sum_over_changed_nodes(visit, live_server, feature) -> None:
    page = visit(live_server, f"#/graph/p0?do={feature}*0")
    predicted, expected = page.evaluate(
        """async (name) => {
          const {predictedOf, sharesOf} = await import('viewer/graph/predicted.js');
          const {graph} = viewerGraph.scene;
          const predicted = predictedOf(graph, sharesOf(graph, [{node: name, kind: 'scale', value: 0}]));
          // The same from the other end: what a node gets is what its inputs send it.
          const known = new Map();
          const of = (node) => {
            if (!known.has(node)) {
              let sum = 0;
              for (let edge = 0; edge < graph.edgeCount; edge++) {
                const source = graph.source[edge];
                if (graph.target[edge] !== node || graph.kind[source] !== 0) continue;
                sum += graph.weight[edge] * (graph.names[source] === name ? -1 : of(source) / graph.activation[source]);
              }
              known.set(node, sum);
            }
            return known.get(node);
          };
          return [[...predicted], [...graph.kind.keys()].map(of)];
        }""",
        feature,
    )
    assert predicted == pytest.approx(expected, abs=1e-6)
    assert any(predicted)


def test_a_slider_dragged_for_seconds_ends_on_its_last_value(visit, live_server, feature) -> None:
    page = visit(live_server, f"#/graph/p0?do={feature}*0")
    page.get_by_role("button", name="Run", exact=True).click()
    answered(page)
    slider = page.get_by_label(f"Strength of {feature}")
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    for step in range(250):  # 5 s and more
        page.mouse.move(box["x"] + 8 + (box["width"] - 16) * (step % 50) / 50, middle)
        page.wait_for_timeout(20)
    page.mouse.move(box["x"] + box["width"] * 0.62, middle)
    page.mouse.up()
    value = float(slider.input_value())
    assert 0 < value < 4
    answered(page)
    page.wait_for_timeout(300)
    answered(page)
    assert f"{feature}*{value:g}" in page.evaluate("() => decodeURIComponent(location.hash)")
    asked = live_server.ask(
        "/api/live/run",
        "POST",
        {"key": "p0", "changes": [{"node": feature, "kind": "scale", "value": value}]},
    ).json
    held = page.locator(".whatif details pre").text_content()
    assert f"factor={value!r}" in held
    target = asked["tokens"][0]
    assert after_of_target(page) == f"{target['after']:.3f}".removeprefix("0")
    assert page.complaints.found == []


def test_a_feature_is_taken_from_another_prompt(visit, live_server, feature) -> None:
    page = visit(live_server, f"#/graph/p0?do={feature}*0")
    page.get_by_label(f"Operation on {feature}").select_option("take")
    page.get_by_label(f"Prompt that {feature} is taken from").fill("p1")
    page.get_by_label(f"Prompt that {feature} is taken from").press("Tab")
    page.get_by_role("button", name="Run", exact=True).click()
    answered(page)
    assert " of p1'" in page.locator(".whatif details pre").text_content()
    page.get_by_label("What is held").select_option("full")
    expect(page.locator(".whatif")).to_contain_text("of the changes before")
    assert page.get_by_role("button", name="Save this run").count() == 0
    visit(live_server, f"#/graph/p0?do={feature}%3C%3Cp1")
    assert page.get_by_label(f"Prompt that {feature} is taken from").input_value() == "p1"
    page.get_by_label("Position there").fill("99")
    page.get_by_label("Position there").press("Tab")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector(".whatif [role=alert]", timeout=ANSWER_MS)
    assert "prompt 'p1' has positions 0 to 4" in page.locator(".whatif").inner_text()


def test_effects_of_all_nodes_are_listed_painted_and_set_against_influence(visit, live_server) -> None:
    page = visit(live_server, "#/graph/p0")
    page.get_by_role("button", name="Effect of every kept node").click()
    page.wait_for_selector(".scatter", timeout=ANSWER_MS)
    found = live_server.ask("/api/live/effects", "POST", {"key": "p0"}).json["effects"]
    assert page.locator(".scatter circle").count() == len(found)
    assert "paint=effect" in page.url
    by_size = sorted(found, key=lambda row: -abs(row["logit"]))
    listed = page.locator(".effects tbody tr th button").evaluate_all("all => all.map((one) => one.title)")
    assert listed == [row["node"] for row in by_size][: len(listed)]
    painted = page.evaluate(
        """() => Object.fromEntries(viewerGraph.scene.marks.filter((mark) => mark.shape === 0)
             .map((mark) => [viewerGraph.scene.graph.names[mark.node], Math.sign(mark.shade)]))"""
    )
    for row in by_size[:3]:
        assert painted[row["node"]] == (1 if row["logit"] > 0 else -1)


def test_a_model_that_says_something_else_than_the_tables_is_told(visit, live_server) -> None:
    page = visit(live_server, "#/graph/p0")

    def answer(route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"differs": 0.0123})

    page.route("**/api/live/effects", answer)
    page.get_by_role("button", name="Effect of every kept node").click()
    page.wait_for_selector(".effects .warned", timeout=ANSWER_MS)
    assert "differ from the table's by 0.0123" in page.inner_text(".effects .warned")


def test_scores_of_a_part_are_bounds_until_the_model_is_asked_and_follow_the_pins(
    visit, live_server, live_url
) -> None:
    page = visit(live_server, "#/graph/p0")
    names = page.evaluate("() => viewerGraph.scene.graph.names.filter((name) => name.includes('/'))")
    row = Results(live_url).sql("select * from graphs where id = 'p0'").to_arrow_table().to_pylist()[0]
    whole = retrace(Output(live_url), row)

    def exact(chosen):
        cells = [
            (int(n.split("/")[0]), int(n.split("@")[1]), int(n.split("/")[1].split("@")[0])) for n in chosen
        ]
        return subgraph_scores(whole, cells)

    for chosen in (names[:1], names[::2], names):
        bounds = page.evaluate(
            """async (chosen) => { const {scoresOf} = await import('viewer/graph/groups.js');
              const {graph} = viewerGraph.scene;
              return scoresOf(graph, chosen.map((name) => graph.byName.get(name))); }""",
            chosen,
        )
        replacement, completeness = exact(chosen)
        assert bounds["replacement"] <= replacement + 1e-6
        assert bounds["completeness"] <= completeness + 1e-6

    def line(scores):
        return "replacement {} · completeness {}".format(
            *(f"{score:.3f}".removeprefix("0") for score in scores)
        )

    visit(live_server, f"#/graph/p0?pin={','.join(names[:2])}")
    assert "replacement ≥" in page.locator(".subgraph h2").inner_text()
    page.get_by_role("button", name="exact, by the model").click()
    expect(page.locator(".subgraph h2")).to_contain_text(line(exact(names[:2])), timeout=ANSWER_MS)
    visit(live_server, f"#/graph/p0?pin={','.join(names[:2])}&sel={names[4]}")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator(".subgraph h2")).to_contain_text(
        line(exact([*names[:2], names[4]])), timeout=ANSWER_MS
    )


def test_a_features_tokens_and_ablation_come_from_the_model(visit, live_server, feature) -> None:
    name = feature.split("@")[0]
    page = visit(live_server, f"#/feature/{name}")
    page.get_by_role("button", name="Tokens that it promotes").click()
    page.wait_for_selector(".promoted", timeout=ANSWER_MS)
    promoted = live_server.ask("/api/live/promoted", "POST", {"feature": name}).json
    assert page.locator(".promoted").first.locator("bdi").all_inner_texts() == promoted["promotes"]
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector("text=median effect", timeout=ANSWER_MS)
    found = live_server.ask("/api/live/ablate", "POST", {"feature": name}).json
    assert page.locator("section", has_text="Ablate it").locator("tbody tr").count() == len(found["rows"])
    assert page.complaints.found == []


def test_an_edge_says_which_heads_carry_it(visit, random_server) -> None:
    results = Results(random_server.server.viewer.url)
    page = visit(random_server, "#/graph/prompt-3")
    edges = random_server.ask("/api/loadings/prompt-3").json["edges"]
    assert len(edges) == 3
    for name, paths in edges.items():
        visit(random_server, f"#/graph/prompt-3?edge={name.replace('>', '%3E')}")
        page.wait_for_selector("text=Carried by")
        rows = page.locator(".panel section").first.locator("tbody tr")
        assert rows.count() == len(paths) + 1
        weight = page.evaluate(
            """(name) => { const {graph} = viewerGraph.scene; const [from, to] = name.split('>');
              for (let edge = 0; edge < graph.edgeCount; edge++)
                if (graph.names[graph.source[edge]] === from && graph.names[graph.target[edge]] === to) return graph.weight[edge]; }""",
            name,
        )
        assert sum(row["loading"] for row in paths) == pytest.approx(weight, rel=1e-4)
    stored = results.sql("select count(*) from head_loadings where id = 'prompt-3'").fetchall()[0][0]
    assert sum(map(len, edges.values())) == stored
