"""Draws the pictures of the README from real runs: `python tools/pictures.py`, about five minutes on two cores.

`session.svg` has commands of the README and their output in a terminal, `report.svg` the charts of a search's report.
The working directory is shown as ~/pose. With `--work DIR`, the sample and the search of an earlier call are reused.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from checkout import ROOT
from rich.console import Console
from rich.text import Text

from tao_skill.io.atomic import write_text

OUT: Final = ROOT / "docs" / "pictures"
SHOWN_DIRECTORY: Final = "~/pose"
COLUMNS: Final = 108
SAMPLE: Final = "tao-skill data sample --out data"
SEARCH: Final = "tao-skill run train -e data/spec.yaml --time-budget 150s --key search"
SESSION: Final = (
    "tao-skill run train -e data/spec.yaml --automl off epochs=30 model_type=ST-GCN++ center=true batch_size=16 "
    "dropout=0 optimizer=torch.optim.AdamW lr=0.001 lr_scheduler=Cosine random_rotate=20 temporal_crop=0.7",
    "tao-skill run evaluate --parent latest:train",
    "tao-skill run inference --parent latest:train inference.test_dataset.data_path=data/test_data.npy",
)
WEB_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
CHART: Final = re.compile(r'<svg viewBox="0 0 (\d+) (\d+)" style="[^"]*"(.*?</svg>)', re.DOTALL)
MARGIN: Final = 20
LINE: Final = 20
"""Pixels in the picture of a report."""


def run(command: str, folder: Path) -> str:
    """Standard output and standard error of a command, in their order."""
    words = [sys.executable, "-m", "tao_skill", *shlex.split(command)[1:]]
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TAO_SKILL_RESULTS": "results"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(words, cwd=folder, env=environment, check=True, text=True, **pipes)  # noqa: S603
    return done.stdout.replace(str(folder), SHOWN_DIRECTORY)


def terminal(outputs: Sequence[tuple[str, str]]) -> str:
    """An SVG of a terminal with commands and their output. It loads no web fonts, unlike the template of rich."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    for command, output in outputs:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(output))
    return WEB_FONT.sub("", console.export_svg(title="tao-skill", unique_id="session"))


def report(page: str) -> str:
    """An SVG of the verdict, the learning curves with their caption, and the points of each parameter in a report."""
    tags = ("h1", "strong", "figcaption", "style")
    title, sentence, caption, style = (re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[0] for tag in tags)
    curves, *others = ((int(chart[1]), int(chart[2]), chart[3]) for chart in CHART.finditer(page))
    points = [chart for chart in others if chart[0] < curves[0]]
    lines = [(title, "font-size:20px;font-weight:bold")]
    lines += [(line, "font-size:14px") for line in textwrap.wrap(sentence, 100)]
    lines += [(line, "font-size:12px") for line in textwrap.wrap(caption, 120)]
    width, top = curves[0] + 2 * MARGIN, 2 * MARGIN + LINE * len(lines)
    parts = [_text(words, MARGIN + LINE * n, css) for n, (words, css) in enumerate(lines, start=1)]
    parts.append(_placed(curves, MARGIN, top))
    top += curves[1]
    for number, chart in enumerate(points):
        row, column = divmod(number, 2)
        parts.append(_placed(chart, (width - MARGIN) // 2 * column + MARGIN, top + row * chart[1]))
    height = top + sum(chart[1] for chart in points[::2]) + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {_size(width, height)} role="img">',
            f"<title>{title}</title><style>{style}</style>",
            f'<rect width="{width}" height="{height}" style="fill:var(--back);fill-opacity:1"></rect>',
            *parts,
            "</svg>\n",
        ]
    )


def _placed(chart: tuple[int, int, str], x: int, y: int) -> str:
    width, height, body = chart
    return f'<svg x="{x}" y="{y}" {_size(width, height)}{body}'


def _size(width: int, height: int) -> str:
    """Attributes of an svg element, also as a style: the style sheet of a report stretches charts to the page."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'{size} style="width:{width}px;height:{height}px"'


def _text(words: str, y: int, style: str) -> str:
    return f'<text x="{MARGIN}" y="{y}" style="{style};fill:var(--ink)">{words}</text>'


def draw(folder: Path) -> None:
    """Run the commands in a folder and write the pictures."""
    if not (folder / "data").exists():
        run(SAMPLE, folder)
    run(SEARCH, folder)
    (page,) = (folder / "results").glob("*/report.html")
    write_text(OUT / "report.svg", report(page.read_text("utf-8")))
    write_text(OUT / "session.svg", terminal([(command, run(command, folder)) for command in SESSION]))


def main() -> None:
    """Draw in the given or in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="directory of the runs, a temporary one by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder)


if __name__ == "__main__":
    main()
