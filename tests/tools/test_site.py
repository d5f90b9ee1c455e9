"""The documentation is built once, with warnings as errors; its pages are made of the catalogue."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import browser
from rectifier.catalogue import ALL, CATALOGUE
from rectifier.tools.site import curves, mathml, reference, svg

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason="the extra docs brings it")
    output = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", output / "doctrees"]
    run = subprocess.run([*command, ROOT / "docs", output / "html"], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return output / "html"


def pages(site):
    found = sorted(site.rglob("*.html"))
    assert len(found) > len(ALL)
    return found


def test_every_function_has_a_page_with_formula_plot_values_accuracy_and_calls(site):
    assert {*ALL, "softmax_cross_entropy"} <= set(reference.functions())
    for name, function in reference.functions().items():
        text = (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        assert f'id="rectifier.{name}"' in text, name
        for method in reference.methods_of(function):
            assert f'id="rectifier.{name}.{method}"' in text, (name, method)
        if hasattr(function, "packed"):
            assert f'id="rectifier.{name}.packed.backward"' in text, name
        for words in ("Accuracy", "Speed", "Calls"):
            assert f">{words}<" in text, (name, words)
        if name in CATALOGUE:
            assert '<svg class="chart"' in text, name
            assert '<math display="block">' in text, name
            assert "Values to know" in text, name


def test_pages_load_nothing_from_outside_and_the_first_is_small(site):
    loaded = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=["']([^"']+)["'][^>]*>""")
    for page in pages(site):
        for address in loaded.findall(page.read_text(encoding="utf-8")):
            assert not re.match(r"(https?:)?//", address), (page.name, address)
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style
    first = (site / "index.html").read_text(encoding="utf-8")
    files = {address.partition("?")[0] for address in loaded.findall(first)}
    local = [site / address for address in files if (site / address).is_file()]
    assert len(local) > 5
    assert (site / "index.html").stat().st_size + sum(path.stat().st_size for path in local) < 300_000


def test_a_search_needs_no_server(site):
    """The index is a script that the page of the search loads, which works from files, too."""
    assert 'src="searchindex.js"' in (site / "search.html").read_text(encoding="utf-8")
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for name in ("reference/gelu", "guide/numba", "design"):
        assert f'"{name}"' in index


class Links(HTMLParser):
    """The addresses that a page has, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        self.addresses |= {found[key] for key in ("href", "src") if found.get(key)}


def test_no_link_and_no_anchor_is_broken(site):
    read = {page: Links(page.read_text(encoding="utf-8")) for page in pages(site)}
    checked = 0
    for page, links in read.items():
        for address in links.addresses:
            if re.match(r"(https?|mailto|data):", address):
                continue
            path, _, anchor = unquote(address).partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            assert target.is_file(), (page.name, address)
            drawn = target.name == "draw.html"  # whose script reads what stands behind the sign
            assert not anchor or drawn or anchor in read[target].anchors, (page.name, address)
            checked += 1
    assert checked > 1000


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.find() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with browser.Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def test_pages_are_legible_and_fit_a_phone_in_chromium(site, chromium):
    scripts = [(ROOT / "tests" / f"{name}.js").read_text(encoding="utf-8") for name in ("wide", "legible")]
    found = {}
    for number, page in enumerate(pages(site)):
        for scheme in ("light", "dark") if number % 6 == 0 else ("light",):
            chromium.open(page.as_uri(), width=390, height=844, scheme=scheme)
            wrong = [json.loads(chromium.evaluate(script)) for script in scripts]
            if any(wrong):
                found[page.name, scheme] = wrong
    assert found == {}
    assert chromium.complaints == []
    # What is wrong is seen.
    chromium.evaluate("document.querySelector('article').innerHTML = '<div style=width:900px;color:#ccc>x</div>'")
    wide, pale = (json.loads(chromium.evaluate(script)) for script in scripts)
    assert len(wide) == 1
    assert pale[-1]["ratio"] < 4.5
    chromium.evaluate("console.error('seen')")
    assert "seen" in str(chromium.complaints)
    chromium.complaints.clear()


def test_a_search_finds_pages_of_files(site, chromium):
    chromium.open((site / "search.html").as_uri() + "?q=subnormal")
    chromium.wait("document.querySelectorAll('#search-results li a').length > 0")
    assert chromium.complaints == []


@pytest.mark.parametrize(
    ("name", "slider", "moved"),
    [
        ("leaky_relu", 0, {"negative_slope": 0.04}),  # one parameter
        ("hard_tanh", 0, {"min_value": -4.0}),  # two, on a grid
        ("hard_tanh", 1, {"max_value": 4.0}),
        ("xielu", 1, {"alpha_n": 3.2}),  # more, each alone
        ("xielu", 2, {"beta": 2.0}),
        ("swiglu", 0, {"held": 4.0}),  # an argument
    ],
)
def test_moving_a_slider_shows_what_the_library_computes(site, chromium, name, slider, moved):
    read, move = "document.getElementById('draw-read').textContent", "s.dispatchEvent(new Event('input')); })"
    chromium.open("about:blank")  # else what is behind the sign is all that changes
    chromium.open((site / "draw.html").as_uri() + f"#{name}")
    chromium.wait(f"document.getElementById('draw-page').textContent.includes('{name}')")
    chromium.evaluate(
        f"(s => {{ s.value = s.max; {move}(document.querySelectorAll('#draw-parameters input')[{slider}])"
    )
    chromium.evaluate(f"(s => {{ s.value = 0; {move}(document.getElementById('draw-x'))")
    text = chromium.evaluate(read).replace("\u2212", "-")
    shown = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]
    expected = curves.curve(ALL[name], **moved)
    np.testing.assert_allclose(shown, [expected.x[0], expected.y[0], expected.d[0]], rtol=1e-5)
    assert chromium.complaints == []


def test_a_plot_has_the_librarys_numbers():
    found = curves.curve(ALL["relu"])
    assert found.x[200] == 0
    assert np.isnan(found.d[200])
    assert found.y.tolist() == np.maximum(found.x, 0).tolist()
    assert curves.curve(ALL["leaky_relu"], negative_slope=0.5).y[0] == -2.5
    gated = curves.curve(ALL["swiglu"])
    np.testing.assert_allclose(gated.y, ALL["silu"](gated.x), rtol=1e-14)
    rows = curves.curve(ALL["softmax"])
    np.testing.assert_allclose(rows.y, ALL["sigmoid"](rows.x), rtol=1e-14)
    np.testing.assert_allclose(rows.d, ALL["sigmoid"].derivative(rows.x), rtol=1e-12, atol=1e-16)


def numbers_of(found, k):
    values = np.frombuffer(base64.b64decode(found["numbers"]), "<f4").reshape(-1, 2, found["points"])
    return values[k]


@pytest.mark.parametrize("name", ["relu", "elu", "hard_tanh", "swiglu", "prelu", "softmax"])
def test_the_interactive_page_has_numbers_at_every_step_of_its_sliders(name):
    function = ALL[name]
    found = curves.drawn(function)
    counts = [len(parameter["values"]) for parameter in found["parameters"]]
    start = np.ravel_multi_index([parameter["start"] for parameter in found["parameters"]], counts) if counts else 0
    for parameter in found["parameters"]:
        expected = getattr(function.spec, "parameters", {}).get(parameter["name"])
        assert expected in (None, parameter["values"][parameter["start"]])
    shown = curves.curve(function, points=found["points"])
    np.testing.assert_allclose(numbers_of(found, start)[0], shown.y, rtol=1e-6)
    if counts:
        last = {parameter["name"]: parameter["values"][-1] for parameter in found["parameters"]}
        held = last.pop(curves.along(function)[1], None)
        other = curves.curve(function, points=found["points"], held=held, **last)
        np.testing.assert_allclose(numbers_of(found, -1)[0], other.y, rtol=1e-6)
        assert not np.array_equal(other.y, shown.y)


def test_a_function_with_many_parameters_moves_each_alone():
    places = list(curves._alone([[0.0, 1.0, 2.0], [5.0, 6.0], [7.0, 8.0]], [1.0, 5.0, 8.0]))
    assert places[:3] == [(0.0, 5.0, 8.0), (1.0, 5.0, 8.0), (2.0, 5.0, 8.0)]
    assert places[3:5] == [(1.0, 5.0, 8.0), (1.0, 6.0, 8.0)]


def test_a_line_is_broken_where_there_is_no_number_and_where_it_leaves_the_frame():
    line = svg.Line("f", [0, 1, 2, 3, 4], [0, 1, np.nan, 1, 99], "line-0")
    text = svg.chart("f", svg.Axis("x", 0, 4), svg.Axis("", 0, 2), [line])
    path = re.search(r'class="line line-0" d="([^"]*)"', text)[1]
    assert (path.count("M"), path.count("L")) == (2, 1)


@pytest.mark.parametrize(
    ("exact", "words"),
    [
        (lambda m, x: m.where(x > 0, x, 0), ("otherwise", "&gt;")),
        (lambda m, x: x / (1 + m.exp(-x)), ("<mfrac>", "<msup><mi>e</mi>")),
        (lambda m, x: (x + 1) * x, ("<mo>(</mo>",)),
        (lambda m, x: 2.5 * x + 1e-17 * x, ("2.5",)),
        (lambda m, x: x - (x - 1), ("<mo>(</mo>",)),
        (lambda m, x: 2 * x * x * x / 7, ("<msup><mrow><mi>x</mi></mrow><mrow><mn>3</mn></mrow></msup>",)),
    ],
)
def test_formulas_are_written_as_textbooks_do(exact, words):
    text = mathml.formula("f", exact, ("x",))
    for word in words:
        assert word in text
    assert "1e-17" not in text
    if "otherwise" in text:
        nested = mathml.formula("f", lambda m, x: m.where(x > 0, m.where(x < 6, x, 6), 0), ("x",))
        assert (nested.count("<mtr>"), nested.count("otherwise")) == (3, 1)
    assert text.count("<mrow>") == text.count("</mrow>")
