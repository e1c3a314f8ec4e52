from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tao_skill.automl.report.builder import RunFacts
from tao_skill.automl.report.html import render
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.report.svg import points
from tao_skill.automl.search.asha import Trial
from tests.support.searches import BATCH, INIT, LR, MOMENTUM, OVER, RECIPES, make_setup, reported, trained

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = [
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    "</style><img src=http://evil.example/x>",
    "</title></svg><iframe src=javascript:alert(1)>",
    "]]><!-- &amp; \x00 \x1b[2J \u202e",
]


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order; what it holds is kept."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        raise AssertionError(f"{tag} closes itself, which HTML knows of void elements only")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError("the page has no comments of its own")


@pytest.fixture(scope="module")
def report() -> SearchReport:
    setup = make_setup()
    return reported(setup, trained(setup)[-1])


def test_a_page_stands_alone_and_reaches_for_nothing(report: SearchReport) -> None:
    page = render(report)
    found = Page(page)
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page
    assert not {tag for tag, _ in found.elements} & {"script", "link", "img", "iframe", "object", "a", "base", "form"}
    assert not [name for _, attrs in found.elements for name in attrs if name.startswith("on")]
    policy = next(attrs for tag, attrs in found.elements if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_charts_and_tables_can_be_read_aloud(report: SearchReport) -> None:
    found = Page(render(report))
    charts = [attrs for tag, attrs in found.elements if tag == "svg"]
    assert len(charts) == 2 + len(report.slices)
    assert all(one["role"] == "img" and one["aria-label"] for one in charts)
    tags = [tag for tag, _ in found.elements]
    assert tags.count("caption") == tags.count("table") == tags.count("thead")
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in found.elements if tag == "th")
    assert tags.count("h1") == tags.count("main") == 1
    assert ("html", {"lang": "en"}) in found.elements


def test_everything_of_the_report_is_on_the_page(report: SearchReport) -> None:
    found = Page(render(report))
    text = "\n".join(found.text)
    assert report.winner.sentence in text
    assert report.winner.caveat in text
    assert "33 %" in text
    assert "0 (your spec)" not in text
    for one in report.trials:
        assert f"{one.epochs} of {one.full}" in text
        assert one.origin in text
    assert report.importances is not None
    assert report.importances.caveat in text
    for one in report.failures:
        assert one.cause in text
    for key, reason in report.space.left_out.items():
        assert key in text
        assert reason in text
    assert report.versions["numpy"] in text
    curves = [attrs["class"] for _, attrs in found.elements if str(attrs.get("class")).startswith("curve")]
    assert len(curves) == len(report.curves.trials)
    assert curves[-2:] in (["curve default", "curve winner"], ["curve winner", "curve default"])
    assert sum(attrs.get("class") == "mark" for _, attrs in found.elements) == len(report.curves.rungs)


def test_flags_what_tao_lacks_and_the_score_on_the_test_set_are_beside_the_verdict() -> None:
    setup = replace(make_setup(), class_average="avg_acc", validation_size=100)
    history = [({"val_acc": 0.9, "val_loss": 1.0, "avg_acc": average},) * 9 for average in (70.0, 90.0)]
    own = Trial(number=0, values={}, full=9, history=history[1], state="done")
    trials = [own, replace(own, number=1, history=({**history[0][0], "val_loss": 0.9},) * 9, origin="tpe")]
    facts = replace(OVER, test={"accuracy": 87.25}, not_in_tao=("model.center",))
    text = "\n".join(Page(render(reported(setup, trials, facts))).text)
    assert "On the test set, which chose nothing: 87.2 %." in text
    assert "Look at it before you use it: 70.0 % on the average of the classes, your spec, trial 0, has 90.0 %" in text
    assert "NVIDIA TAO lacks: model.center." in text
    plain = "\n".join(Page(render(reported(make_setup(), trials, OVER))).text)
    assert "Look at it" not in plain
    assert "NVIDIA TAO" not in plain


def test_the_winner_stands_beside_the_spec_with_every_value_it_sets() -> None:
    setup = make_setup(recipes=RECIPES)
    spec = {**setup.spec, "model": {**setup.spec["model"], "depth": 3}}
    trials = trained(setup)[-1]
    report = reported(
        replace(setup, spec=spec), [replace(one, history=one.history if one.number == 1 else ()) for one in trials]
    )
    assert report.winner.number == 1
    page = Page(render(report)).text
    row = page.index("model.depth")
    assert page[row + 1 : row + 4] == ["3", "5", "changed"]
    row = page.index(MOMENTUM)
    assert page[row + 1 : row + 3] == ["0.5", "0.5"]  # of the spec, as the recipe does not set it


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_strangers_stays_text(text: str) -> None:
    setup = make_setup()
    trials = [
        replace(one, values={**one.values, INIT: text}, reason=text, failures=(text + "!",), origin=text)
        for one in trained(setup)[-1]
    ]
    facts = RunFacts(versions={text: text}, command=(text,), ended=text, seeds={text: 0})
    space = replace(setup.space, left_out={text: text})
    page = render(reported(replace(setup, space=space), trials, facts))
    found, plain = Page(page), Page(render(reported(setup, trained(setup)[-1])))
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in plain.elements}
    names = {(tag, name) for tag, attrs in found.elements for name in attrs}
    assert names <= {(tag, name) for tag, attrs in plain.elements for name in attrs}
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)
    visible = text.split("\x00")[0].strip()
    assert any(visible in piece for piece in found.text)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_page_is_made_of_no_trial_of_one_and_of_three_hundred(count: int) -> None:
    setup = make_setup(trials=max(1, count))
    history = tuple({"val_acc": epoch / 10, "val_loss": 1.0} for epoch in range(9))
    trials = [
        Trial(
            number=i,
            full=9,
            values={LR: 10 ** (i / 100 - 2), MOMENTUM: 0.5, BATCH: 16, INIT: "zero"},
            history=history[: (9, 1, 3)[i % 3]],
            target=(9, 1, 3)[i % 3],
            state="done" if i % 3 == 0 else "waiting",
        )
        for i in range(count)
    ]
    page = render(reported(setup, trials, OVER))
    found = Page(page)
    assert sum(str(attrs.get("class")).startswith("curve") for _, attrs in found.elements) == count
    assert len(page) < 1_500_000


def test_a_value_that_is_zero_on_a_logarithmic_axis_lies_left_of_the_others() -> None:
    drawn = points([(0.0, 1.0), (0.01, 2.0), (1.0, 3.0)], x_label="x", y_label="y", title="t", log=True)
    at = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert at == sorted(at)
    assert len(set(at)) == 3


def test_one_wild_value_does_not_flatten_the_others() -> None:
    drawn = points([(i, 0.1 * i) for i in range(10)] + [(10, 1e30)], x_label="x", y_label="y", title="t")
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    assert max(heights[:10]) - min(heights[:10]) > 100
