"""The site and the page of benchmarks in a browser, from files and without a network.

Skipped without mkdocs (``make docs`` installs it), playwright or a Chromium.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed: make docs")
pytest.importorskip("material", reason="mkdocs-material is not installed: make docs")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ROOT = Path(__file__).parent.parent
ACCESSIBLE = (Path(__file__).parent / "accessible.js").read_text().split("\n", 2)[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as ``make docs`` builds it: a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A page that fails the test for what it says on the console, throws, or fetches."""
    faults = []
    opened = browser.new_page()
    opened.on("console", lambda said: said.type == "error" and faults.append(said.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda sent: sent.url.startswith("http") and faults.append(sent.url))
    yield opened
    opened.close()
    assert not faults


def _pages(site):
    return sorted(p for p in site.rglob("*.html") if p.name != "404.html")


def test_links_and_anchors_hold(site):
    ids = {p: set(re.findall(r'\b(?:id|name)="([^"]+)"', p.read_text())) for p in _pages(site)}
    links = 0
    for here, text in ((p, p.read_text()) for p in ids):
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//") or link == "#":
                continue
            there = (here.parent / unquote(parts.path)).resolve() if parts.path else here
            if there.name == "report.html":  # made by the next command of make docs
                continue
            assert there.exists(), f"{here.name}: {link}"
            if parts.fragment and there in ids and not parts.fragment.startswith("__"):
                assert unquote(parts.fragment) in ids[there], f"{here.name}: {link}"
            links += 1
    assert links > 500


def test_every_page_opens_without_a_fault(site, page):
    for path in _pages(site):
        page.goto(path.as_uri())
        assert page.locator("h1").first.inner_text().strip(), path.name
        broken = page.eval_on_selector_all(
            "img", "all => all.filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        assert not broken, path.name
        assert page.evaluate(ACCESSIBLE) == [], path.name


def test_formulas_are_drawn(site, page):
    page.goto((site / "mathematics.html").as_uri())
    sizes = page.eval_on_selector_all(
        "math",
        "all => all.map(m => [m.getBoundingClientRect().width, m.querySelectorAll('mi').length])",
    )
    assert len(sizes) > 50
    assert all(width > 2 and symbols > 0 for width, symbols in sizes)
    for path in _pages(site):
        text = re.sub(r"<(script|pre|code).*?</\1>", "", path.read_text(), flags=re.DOTALL)
        assert "arithmatex" not in text and "merror" not in text, path.name
        assert not re.search(r"\\(?:alpha|sigma|frac|int)\b", re.sub("<[^>]*>", "", text)), (
            path.name
        )


def test_the_questionnaire_answers(site, page):
    page.goto((site / "choosing.html").as_uri())
    code = page.locator("form.choose output code")
    assert "ss.sample(process, score, shape, nfe=8)" in code.inner_text()
    page.check("input[value=many] >> nth=0")
    assert "AdaptiveODE" in code.inner_text()
    page.check("input[name=task][value=equation]")
    assert not page.locator("fieldset[data-question=calls]").is_visible()
    page.check("input[name=noise][value=general]")
    page.check("input[name=want][value=averages]")
    assert "DRI1" in code.inner_text()
    page.check("input[name=calculus][value=stratonovich]")
    assert "stratonovich" in code.inner_text()
    page.locator("input[name=noise][value=general]").focus()
    page.keyboard.press("ArrowUp")  # by keyboard alone
    assert "commutative" in code.inner_text()


def test_search_finds_without_a_server(site, page):
    page.goto((site / "index.html").as_uri())
    # Keys, as a reader presses them: Material answers to these, not to a value that is set.
    page.locator("[data-md-component=search-query]").first.press_sequentially("log_likelihood")
    page.wait_for_selector(".md-search-result__item", timeout=20_000)
    assert "likelihood" in page.locator(".md-search-result__list").inner_text().lower()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
def test_pages_are_accessible_in_the_dark_and_on_a_telephone(site, browser, scheme, width):
    opened = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    for name in ("index", "choosing", "how-do-i", "mathematics", "zoo", "api/sampling"):
        opened.goto((site / f"{name}.html").as_uri())
        assert opened.evaluate(ACCESSIBLE) == [], name
    opened.close()


def test_what_cannot_be_read_is_noticed(browser):
    page = browser.new_page()
    page.set_content(
        "<h1>a</h1><h3 id=x>b</h3><p id=x style='color: #999'>c</p><img src=''><input>"
    )
    said = " ".join(page.evaluate(ACCESSIBLE))
    page.close()
    for fault in ("no alt", "h1, then h3", "no language", "no label", "twice: #x", "contrast 2.85"):
        assert fault in said, fault


def test_the_menu_is_walked_by_keyboard(site, page):
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert "skip" in page.evaluate("document.activeElement.className")  # past the menu
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('href')"))
        outlined = page.evaluate(
            "(s => s.outlineStyle !== 'none' || s.boxShadow !== 'none')"
            "(getComputedStyle(document.activeElement))"
        )
        assert outlined or page.evaluate("document.activeElement.tagName") != "A"
    assert {"choosing.html", "how-do-i.html", "zoo.html"} <= reached


def test_the_report_filters(tmp_path, page):
    pytest.importorskip("plotly", reason="plotly is not installed: make docs")
    from benchmarks import report

    path = tmp_path / "report.html"
    path.write_text(report.page())
    page.goto(path.as_uri())
    assert page.evaluate(ACCESSIBLE) == []
    for scheme, width in (("dark", 1280), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        page.reload()
        assert page.evaluate(ACCESSIBLE) == [], scheme
    page.set_viewport_size({"width": 1280, "height": 800})
    page.reload()

    def curves(plot="quality-plot"):
        return page.evaluate(f"document.getElementById('{plot}').data.map(t => t.name)")

    everyone = curves()
    assert {"ours default", "ours tuned"} <= set(everyone)
    assert any(name.startswith("diffusers") for name in everyone)
    page.uncheck("input[value=diffusers]")
    assert not any(name.startswith("diffusers") for name in curves())
    page.select_option("#quality-form select[name=problem]", "lr64")
    page.select_option("#quality-form select[name=curves]", "all")
    assert len(curves()) > 15
    page.select_option("#quality-form select[name=problem]", "fashion-mnist")
    page.select_option("#quality-form select[name=metric]", "deterministic frechet")
    assert page.evaluate("document.getElementById('quality-plot').layout.shapes.length") == 1
    axes = page.evaluate(
        "['xaxis', 'yaxis'].map(a => document.getElementById('quality-plot').layout[a].type)"
    )
    assert axes == ["log", "log"]
    page.locator("#pictures-form input").press("End")
    assert page.locator("#pictures-form output").inner_text() == "20"
    widths = page.eval_on_selector_all(".strip img", "all => all.map(i => i.naturalWidth)")
    assert len(widths) > 5 and all(width > 400 for width in widths)
    assert any("declared" in name and "measured" in name for name in curves("convergence-plot"))
    page.select_option("#speed-form select", "1")
    assert "H200" in page.locator("#speed-made").inner_text()
    page.evaluate("""Plotly.Fx.hover('quality-plot', [{curveNumber: 0, pointNumber: 0}])""")
    page.wait_for_selector("#quality-plot .hoverlayer text")
    assert "calls" in page.locator("#quality-plot .hoverlayer").text_content()
