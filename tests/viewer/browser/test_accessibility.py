"""The page for everybody: other eyes, large letters, no motion, keys; in a real browser."""

# ruff: noqa: E501 (lines of JavaScript)

from __future__ import annotations

import base64
from itertools import combinations

import pytest

PAGES = {
    "overview": "#/",
    "prompts": "#/prompts",
    "graph": "#/graph/prompt-3?sel=y0",
    "features": "#/features",
    "circuit": "#/circuit?label=a&min=0",
    "compare": "#/diff/prompt-3?prompt=prompt-4",
    "trace": "#/trace",
    "sql": "#/sql",
    "notes": "#/notes",
    "help": "#/help",
}

DEFICIENCIES = ["achromatopsia", "deuteranopia", "protanopia", "tritanopia"]

SHOW_MARKS = """
async (marks) => {
  const {mounted, rested} = await import('/scripts/mounted.js');
  const looks = await import('viewer/graph/look.js');
  const made = mounted({edges: 30, nodes: 20, layers: 3, positions: 4});
  await rested(made.view);
  const {view} = made;
  view.labels = [];
  // Far from all else, on a picture of nothing but these.
  const placed = marks.map((mark, i) => ({node: i, r: 14, isPinned: false, isSelected: false, isDim: false, ...mark,
    x: (120 + 90 * i - view.view.x) / view.view.k, y: (300 - view.view.y) / view.view.k}));
  placed.sort((a, b) => a.shade - b.shade);
  const {drawMarks} = await import('viewer/graph/draw.js');
  const ctx = view.canvas.getContext('2d');
  window.stop = setInterval(() => {
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.fillStyle = looks.LIGHT.ground;
    ctx.fillRect(0, 0, view.canvas.width, view.canvas.height);
    drawMarks(ctx, {marks: placed, colors: looks.LIGHT, view: view.view, width: view.width, height: view.height});
  }, 20);
  await new Promise((resolve) => setTimeout(resolve, 200));
}
"""

GREY_CROPS = """
async ([picture, count]) => {
  const image = await createImageBitmap(await (await fetch('data:image/png;base64,' + picture)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const ctx = canvas.getContext('2d', {willReadFrequently: true});
  ctx.drawImage(image, 0, 0);
  return Array.from({length: count}, (_, i) => {
    const {data} = ctx.getImageData(120 + 90 * i - 30, 270, 60, 60);
    return Array.from({length: 3600}, (_, at) => 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2]);
  });
}
"""


def seen(page, marks: list[dict], deficiency: str) -> list[list[float]]:
    """Luminance of the pixels around each mark, as somebody with a deficiency sees it."""
    page.evaluate(SHOW_MARKS, marks)
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
    picture = base64.b64encode(page.screenshot()).decode()
    crops = page.evaluate(GREY_CROPS, [picture, len(marks)])
    page.evaluate("() => clearInterval(window.stop)")
    return crops


def difference(one: list[float], other: list[float]) -> float:
    """Share of pixels that clearly differ."""
    return sum(abs(a - b) > 24 for a, b in zip(one, other, strict=True)) / len(one)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_kinds_and_signs_of_nodes_tell_without_colours(modules, deficiency) -> None:
    kinds = [{"shape": shape, "shade": 0.8} for shape in range(4)]
    crops = seen(modules, kinds, deficiency)
    blank = [crops[0][0]] * len(crops[0])
    assert all(difference(crop, blank) > 0.1 for crop in crops)
    for one, other in combinations(crops, 2):
        assert difference(one, other) > 0.015, "shapes differ"
    # More and less, and where a feature of two graphs is: hollow, full, half, grey.
    fills = [{"shape": 0, "shade": shade} for shade in (-1, -0.3, 0, 0.3, 1, 2, 3)]
    crops = seen(modules, fills, deficiency)
    for (one, a), (other, b) in combinations(zip(fills, crops, strict=True), 2):
        assert difference(a, b) > 0.008, f"{one['shade']} and {other['shade']} look alike"
    assert modules.complaints.found == []


def test_pushing_down_is_dashed_in_the_drawing_the_picture_and_the_legend(modules) -> None:
    dashes = modules.evaluate(
        """async () => { const {penOf} = await import('viewer/graph/scene.js');
          return [penOf({level: 4, isNegative: true}, false).dash.length, penOf({level: 4, isNegative: false}, false).dash.length]; }"""
    )
    assert dashes == [2, 0]


@pytest.mark.parametrize("name", PAGES)
def test_at_200_per_cent_nothing_is_cut_off(browser, random_server, name) -> None:
    """A browser's zoom halves the window in the page's pixels and doubles each of them."""
    from tests.support.chromium import Visits

    context = browser.new_context(
        viewport={"width": 720, "height": 450}, device_scale_factor=2, reduced_motion="reduce"
    )
    page = Visits(context)(random_server, PAGES[name])
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 720
    cut = page.evaluate(
        """() => [...document.querySelectorAll('main button, main a, main input, main select, main th, main h1, main h2')].filter((one) => {
             if (!one.offsetParent || one.closest('.scroll, .rows, .search, .visually-hidden')) return false;
             const box = one.getBoundingClientRect();
             return box.width && (box.right > 721 || box.left < -1);
           }).map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert cut == []
    assert page.complaints.found == []
    context.close()


@pytest.mark.parametrize(("wish", "seconds"), [("reduce", "0s"), ("no-preference", "0.15s")])
def test_nothing_moves_for_whoever_wants_no_motion(browser, random_server, wish, seconds) -> None:
    from tests.support.chromium import Visits

    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion=wish)
    visit = Visits(context)
    page = visit(random_server, "#/graph/prompt-3")
    page.keyboard.press("ArrowUp")
    visit.wait(page)
    assert (
        page.evaluate("() => getComputedStyle(document.querySelector('.said')).transitionDuration") == seconds
    )
    if wish == "reduce":
        assert page.evaluate("() => document.getAnimations().length") == 0
    context.close()


def test_a_save_that_fails_keeps_the_text_in_its_field(visit, random_server) -> None:
    page = visit(random_server, "#/features")
    page.locator("tbody a").first.click()
    page.get_by_role("button", name="label", exact=True).click()
    page.route(
        "**/api/notes", lambda route: route.abort() if route.request.method == "POST" else route.continue_()
    )
    field = page.get_by_role("textbox", name="Label of")
    field.fill("a long thought about Texas")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector("form.label [role=alert]")
    assert "Not saved" in page.inner_text("form.label [role=alert]")
    assert field.input_value() == "a long thought about Texas"
    page.unroute("**/api/notes")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector("h1 .name")
    assert page.inner_text("h1 .name") == "a long thought about Texas"
    server_notes = random_server.ask("/api/notes").json["notes"]
    assert [note["text"] for note in server_notes] == ["a long thought about Texas"]
