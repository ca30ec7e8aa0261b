"""Every page in a real browser: silent, accessible, inert to hostile text, with all its state in the address."""

# ruff: noqa: E501 (lines of JavaScript)

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.hostile import IDS

PAGES = {
    "overview": "#/",
    "prompts": "#/prompts",
    "graph": "#/graph/prompt-3?sel=y0&n=0.9",
    "graph as a table": "#/graph/prompt-3?table=1",
    "features": "#/features",
    "circuits": "#/circuit",
    "circuit of a group": "#/circuit?label=a&min=0",
    "compare": "#/diff/prompt-3?prompt=prompt-4",
    "compare, to choose": "#/diff",
    "trace": "#/trace",
    "sql": "#/sql",
    "notes": "#/notes",
    "failures": "#/failures",
    "help": "#/help",
}


def inaccessible(page) -> list[tuple[str, list[str]]]:
    """Rules that axe finds broken, each with a few of the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"][:150] for node in rule["nodes"][:3]]) for rule in found]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_silent_and_accessible(visit, random_server, name) -> None:
    page = visit(random_server, PAGES[name])
    assert inaccessible(page) == []
    assert page.complaints.found == []
    assert page.locator(".trouble").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_page_fits_in_both_themes(browser, random_server, theme) -> None:
    from tests.support.chromium import Visits

    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=theme, reduced_motion="reduce"
    )
    visit = Visits(context)
    for name in ("overview", "prompts", "graph", "circuit of a group", "compare"):
        page = visit(random_server, PAGES[name])
        width = page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 390, f"{name} is {width} pixels wide"
        assert inaccessible(page) == [], name
    context.close()


def test_a_feature_page_is_silent_and_accessible(visit, random_server) -> None:
    page = visit(random_server, "#/graph/prompt-3")
    feature = page.evaluate("() => viewerGraph.scene.graph.names[0].split('@')[0]")
    visit(random_server, f"#/feature/{feature}")
    assert feature in page.inner_text("h1")
    assert inaccessible(page) == []
    assert page.complaints.found == []


HOSTILE_PAGES = [
    "#/",
    "#/prompts",
    "#/features",
    "#/circuit",
    "#/notes",
    "#/sql?q=select%20*%20from%20graphs",
]


@pytest.mark.parametrize("address", [*HOSTILE_PAGES, *(f"#/graph/{quote(name, safe='')}" for name in IDS)])
def test_hostile_text_is_inert(visit, hostile_server, address) -> None:
    page = visit(hostile_server, address)
    for node in ("y0", "t0", "t4"):
        if "graph" in address:
            visit(hostile_server, f"{address}?sel={node}&table={'1' if node == 't4' else '0'}")
    assert page.evaluate("() => window.stung") is None
    assert page.locator("#app img, #app script").count() == 0
    assert page.locator(".trouble").count() == 0
    shown = page.inner_text("#app")
    assert not set(shown) & {"\x00", "\x07", "\u202e", "\u2066", "\u200b"}, (
        "an invisible character is shown as such"
    )
    assert page.complaints.found == []


def test_hostile_text_in_an_address_is_inert(visit, hostile_server) -> None:
    for address in (
        "#/graph/%3Cimg%20src=x%20onerror=window.stung=1%3E?sel=%3Cimg%20src=x%3E&pin=1/2@3,%%%",
        "#/nowhere/<script>window.stung=1</script>?x=%",
        "#/prompts?q=%3Cscript%3Ewindow.stung=1%3C/script%3E",
        "#/feature/%3Cimg%3E",
    ):
        page = visit(hostile_server, address)
        assert page.evaluate("() => window.stung") is None
    assert page.locator("#app img, #app script").count() == 0


def test_hostile_text_in_pictures_is_inert(visit, hostile_server) -> None:
    from xml.etree import ElementTree

    page = visit(hostile_server, f"#/graph/{quote(IDS[1], safe='')}")
    svg = page.evaluate(
        """async () => { const {svgOf} = await import('viewer/graph/svg.js');
           return svgOf(viewerGraph, [viewerGraph.scene.graph.prompt.id, 'nul\\u0000 \\u202e <b>']); }"""
    )
    root = ElementTree.fromstring(svg)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "title", "rect", "image", "path", "circle", "polygon", "text"}
    assert any("onerror" in (element.text or "") for element in root.iter()), "the text is there, as text"


def test_state_goes_to_the_address_and_back(modules) -> None:
    """Over generated states of every page."""
    wrong = modules.evaluate(
        """async () => {
          const {PAGES, parse, spell} = await import('viewer/state.js');
          const {seeded} = await import('/scripts/generated.js');
          const random = seeded(11);
          const texts = ['', 'a', '1/484@8', 'a/b#c?d%e&f=g', '%', '%2', '&=,:+', 'x,y', '😀 ü', '\\u202e', '<img>', ' ', "'\\"", '0', 'true', '\\n'];
          const pick = (list) => list[Math.floor(random() * list.length)];
          const wrong = [];
          for (let i = 0; i < 4000; i++) {
            const page = pick(Object.keys(PAGES));
            const base = parse('#/' + page);
            const state = {...base, page, key: page === 'overview' ? '' : pick(texts)};
            for (const [field, value] of Object.entries(base)) {
              if (['page', 'key'].includes(field) || random() < 0.5) continue;
              if (Array.isArray(value)) state[field] = Array.from({length: Math.floor(random() * 4)}, () => pick(texts.filter(Boolean)));
              else if (typeof value === 'boolean') state[field] = random() < 0.5;
              else if (typeof value === 'number') state[field] = field === 'more' ? 1 + Math.floor(random() * 100) : random();
              else if (!['theme', 'paint'].includes(field) && !(field === 'sort' && page === 'features')) state[field] = pick(texts);
            }
            const again = parse(spell(state));
            if (JSON.stringify(again) !== JSON.stringify(state) || spell(again) !== spell(state)) wrong.push([spell(state), JSON.stringify(state), JSON.stringify(again)]);
          }
          return wrong.slice(0, 3);
        }"""
    )
    assert wrong == []


def test_a_permalink_shows_the_same_in_a_new_browser(browser, visit, random_server) -> None:
    from tests.support.chromium import Visits

    seen = """() => ({hash: location.hash, text: document.querySelector('.panel').innerText,
                      box: viewerGraph.boxNow(), sliders: document.querySelector('.sliders').innerText})"""
    page = visit(random_server, "#/graph/prompt-3")
    names = page.evaluate("() => viewerGraph.scene.graph.names.slice(2, 5)")
    page.evaluate("() => viewerGraph.zoomBy(2)")
    page.locator("input[type=range]").first.fill("0.7")
    page.get_by_role("button", name="Table").focus()
    visit.wait(page)
    page.wait_for_timeout(500)
    visit(random_server, page.evaluate("() => location.hash") + f"&sel={names[0]}&pin={names[1]}")
    page.wait_for_timeout(500)
    first = page.evaluate(seen)
    other = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    again = Visits(other)(random_server, first["hash"])
    again.wait_for_timeout(500)
    assert again.evaluate(seen) == first
    assert "n=0.7" in first["hash"]
    assert "box=" in first["hash"]
    other.close()


def test_back_and_forward_work(visit, random_server) -> None:
    page = visit(random_server, "#/prompts")
    page.locator(".rows tbody a").first.click()
    visit.wait(page)
    page.locator(".panel button.link").first.click()
    visit.wait(page)
    assert "sel=" in page.url
    selected = page.inner_text(".panel h2")
    page.go_back()
    visit.wait(page)
    assert "sel=" not in page.url
    assert "Strongest" in page.inner_text(".panel h2")
    page.go_back()
    visit.wait(page)
    assert "#/prompts" in page.url
    assert page.locator(".rows").count() == 1
    page.go_forward()
    page.go_forward()
    visit.wait(page)
    assert page.inner_text(".panel h2") == selected


def test_a_link_to_a_node_that_is_gone_says_so(visit, random_server) -> None:
    page = visit(random_server, "#/graph/prompt-3?sel=3/99999@2")
    assert "not a node of this graph" in page.inner_text(".panel")
    visit(random_server, "#/graph/no-such-prompt")
    assert "no-such-prompt" in page.inner_text(".trouble")


def test_the_keyboard_is_enough(visit, random_server) -> None:
    """From the table to a graph, through its nodes, to a pin, a subgraph, a feature and back."""
    page = visit(random_server, "#/prompts")
    page.locator(".rows tbody a").first.focus()
    page.keyboard.press("Enter")
    visit.wait(page)
    names = set()
    for key in ["ArrowUp"] * 2 + ["ArrowRight"] * 3 + ["ArrowDown"] + ["ArrowLeft"] * 2 + ["["]:
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        names.add(page.evaluate("() => viewerGraph.scene.graph.names[viewerGraph.scene.selected]"))
    assert len(names) >= 4
    assert page.inner_text(".said"), "each step is said to screen readers"
    feature = page.evaluate("() => viewerGraph.scene.graph.names[0]")
    visit(random_server, f"{page.evaluate('() => location.hash').split('?')[0]}?sel={feature}")
    page.keyboard.press("p")
    visit.wait(page)
    assert f"pin={feature}" in page.url
    assert page.locator(".subgraph").count() == 1
    page.keyboard.press("z")
    visit.wait(page)
    assert "pin=" not in page.url
    page.keyboard.press("t")
    visit.wait(page)
    assert page.locator(".graph-table").count() == 1
    page.keyboard.press("f")
    visit.wait(page)
    assert "#/feature/" in page.url
    page.keyboard.press("/")
    page.keyboard.type("prompt-3")
    page.wait_for_selector("[role=option]:has-text('prompt-3')")
    page.keyboard.press("Enter")
    visit.wait(page)
    assert "#/graph/prompt-3" in page.url


def test_no_key_acts_in_a_field_or_with_a_modifier(visit, random_server) -> None:
    page = visit(random_server, "#/graph/prompt-3")
    before = page.evaluate("() => location.hash")
    page.locator("#search").focus()
    page.keyboard.type("tepfgz")
    page.locator("#search").fill("")
    page.keyboard.press("Escape")
    for key in ("Control+e", "Meta+e", "Control+p"):
        page.locator("canvas").focus()
        page.keyboard.press(key)
    visit.wait(page)
    assert page.evaluate("() => location.hash") == before


def test_every_number_of_the_drawing_is_that_of_the_tables(visit, random_server) -> None:
    """Shares of an input's list and what the sliders count, against SQL."""
    from pipeline.results import Results

    results = Results(random_server.server.viewer.url)
    page = visit(random_server, "#/graph/prompt-3?n=0.5")
    counts = page.evaluate("() => viewerGraph.scene.shown.counts")
    nodes, shown = results.sql(
        "select count(*), count(*) filter (cumulative_influence <= 0.5) from nodes "
        "where id = 'prompt-3' and kind in ('feature', 'error')"
    ).fetchall()[0]
    assert (counts["allNodes"], counts["nodes"]) == (nodes, shown)
    (edges,) = results.sql("select count(*) from edges where id = 'prompt-3'").fetchall()[0]
    assert counts["allEdges"] == edges
    listed = page.evaluate(
        """async () => { const {edgesAt, shareOf} = await import('viewer/graph/graph.js');
          const {graph} = viewerGraph.scene; const node = graph.byName.get('y0');
          return [...edgesAt(graph.inputs, node)].map((edge) => shareOf(graph, edge)).sort((a, b) => a - b); }"""
    )
    expected = results.sql(
        "select e.weight / n.total_input from edges e join nodes n on n.prompt_key = e.prompt_key "
        "and n.kind = 'logit' and n.target_index = e.target_index "
        "where e.id = 'prompt-3' and e.target_kind = 'logit' and e.target_index = 0 order by 1"
    ).fetchall()
    assert listed == pytest.approx([share for (share,) in expected], rel=1e-5)


def test_pictures_have_text_prompt_and_link_and_are_small(visit, random_server) -> None:
    page = visit(random_server, "#/graph/prompt-3?theme=dark")
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").click()
    svg = download.value.path().read_text()
    assert "prompt-3" in svg
    assert "#/graph/prompt-3" in svg
    assert "<text" in svg
    assert 'fill="#ffffff"' in svg
    assert len(svg) < 2_000_000
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    png = download.value.path().read_bytes()
    width = int.from_bytes(png[16:20], "big")
    assert width == 2 * page.evaluate("() => viewerGraph.width")


def test_the_page_stays_within_its_size(modules) -> None:
    from tests.support.chromium import PAGE_FILES

    files = [path for path in PAGE_FILES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 285_000
    assert all(len(path.read_text().splitlines()) <= 300 for path in files)
    assert not any("innerHTML" in path.read_text() for path in files)
