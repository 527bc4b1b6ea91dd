"""The page: one file, the same every time, that no text of a corpus can break, and that a real browser shows."""

import re
import shutil

import pytest

from triaxis.explorer.page import page
from triaxis.explorer.rows import notes
from unit.explorer.stages import EXPLORER

CHROMIUM = shutil.which("chromium")


def test_the_same_run_gives_the_same_bytes(data, html):
    assert page(data, "Triaxis explorer", notes(data, EXPLORER)) == html


def test_a_text_cannot_end_the_script(html):
    assert "\\u003c/script>\\u003cb>" in html and "</script><b>" not in html
    assert html.startswith("<!DOCTYPE html>") and html.rstrip().endswith("</html>")


def test_the_page_names_no_address_to_load(html):
    """Scripts are inside; what a browser asks for is tested below."""
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", html.partition("<body>")[0].partition("<script")[0])
    assert not re.search(r"<script[^>]*src=", html)


@pytest.fixture
def opened(html, tmp_path):
    """The page in a browser without a network, what it asked for, and what it complained of."""
    driving = pytest.importorskip("playwright.sync_api", reason="make test installs tests/requirements.lock")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    (tmp_path / "explorer.html").write_text(html, encoding="utf-8")
    asked, complaints = [], []
    with driving.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(offline=True, viewport={"width": 1280, "height": 800}).new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto((tmp_path / "explorer.html").as_uri())
        tab.wait_for_selector("svg image")
        yield tab, asked, complaints
        browser.close()


def shown(tab) -> tuple[list[str], str]:
    """The pictures, and all texts, of what is shown."""
    images = tab.evaluate("[...document.querySelectorAll('svg image')].map(image => image.getAttribute('href'))")
    return images, "\n".join(tab.locator("svg text").all_text_contents())


def colours(tab) -> list[str]:
    """Those of all heads, in both kinds of map."""
    cells = "[...document.querySelectorAll('path[aria-label*=\"; head: \"]')]"
    return tab.evaluate(f"{cells}.map(cell => cell.getAttribute('fill'))")


def choose(tab, head: int, model: str = "m") -> None:
    tab.locator(f'path[aria-label^="layer: 0; head: {head};"][aria-label*="model: {model};"]').first.click()
    tab.wait_for_function(
        "name => [...document.querySelectorAll('svg text')].some(text => text.textContent == name)",
        arg=f"{model}, layer 0, head {head}",
    )


def test_a_browser_shows_the_head_that_is_clicked_and_the_measure_that_is_chosen(opened, data):
    tab, asked, complaints = opened
    texts = []
    for head in (3, 4):
        choose(tab, head)
        images, text = shown(tab)
        (details,) = [row for row in data["details"] if (row["model"], row["head"]) == ("m", head)]
        assert images == [details[name] for name in ("logits", "fit", "residual")]
        for told in (details["cells"]["query"][0], details["cells"]["key"][-1], details["keys"]["least"][-1]):
            assert told in text
        texts.append(text)
    assert texts[0] != texts[1]
    before = colours(tab)
    tab.locator("select").select_option(label="entropy of attention, nats")
    tab.wait_for_timeout(500)
    assert colours(tab) != before and shown(tab)[0] == images
    assert complaints == []
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []


def test_the_least_additive_heads_are_a_list_to_click_on(opened, data):
    tab, _, complaints = opened
    additive = data["measures"].index("r_additive")
    own = [row for row in data["heads"] if row["model"] == "m" and row["values"][additive] is not None]
    ranked = sorted(own, key=lambda row: row["values"][additive])
    _, text = shown(tab)
    (listed, *_) = re.findall(r"(?:layer \d+, head \d+\n)+", text)
    assert listed.splitlines() == [f"layer {row['layer']}, head {row['head']}" for row in ranked][:10]
    tab.locator('path[aria-label="rank: 2"]').first.click()
    tab.get_by_text(f"m, layer 0, head {ranked[1]['head']}", exact=True).wait_for()
    assert complaints == []


@pytest.mark.parametrize("width", [1600, 1280])
def test_the_page_is_no_wider_than_a_screen(opened, width):
    tab, *_ = opened
    tab.set_viewport_size({"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_a_head_without_details_says_so_in_the_browser(opened, data):
    tab, _, complaints = opened
    head, *_ = [row["head"] for row in data["heads"] if "measures alone" in row["noted"]]
    choose(tab, head, "m-random")
    images, text = shown(tab)
    assert images == [] and "measures alone" in text and complaints == []
