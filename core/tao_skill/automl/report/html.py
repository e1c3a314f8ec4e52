"""The report as one self-contained HTML page: no network, no script, light and dark, every value escaped."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from tao_skill.automl.format import budget_text, duration, extent, line, number, rungs_text, short_names
from tao_skill.automl.report.report import FailureReport, SearchReport, TrialReport, WinnerReport
from tao_skill.automl.report.svg import Series, bars, curves, points
from tao_skill.automl.search.importance import Importances
from tao_skill.automl.space.summary import SpaceSummary

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6570; --line: #d5dae0; --back: #fff; --panel: #f5f7f9;
  --win: #0b62c4; --base: #b8480a; --other: #8a95a1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a3adb8; --line: #39424c; --back: #14181c;
  --panel: #1d2329; --win: #6fb1ff; --base: #ffa366; --other: #74808c; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.verdict { background: var(--panel); border-left: 4px solid var(--win); padding: .75rem 1rem; margin: 0; }
.verdict p { margin: .25rem 0; } .soft, caption, figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; } .all { max-height: 32rem; overflow-y: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: pre-line; overflow-wrap: anywhere; min-width: 3rem;
  max-width: 40rem; }
thead th { position: sticky; top: 0; background: var(--back); }
tr.winner td, tr.winner th { color: var(--win); font-weight: 600; }
tr.default td, tr.default th { color: var(--base); }
figure { margin: 0; }
.slices { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: var(--soft); }
svg rect, svg circle { fill: var(--win); fill-opacity: .75; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.mark { stroke: var(--soft); stroke-dasharray: 3 4; }
.curve polyline { fill: none; stroke: var(--other); stroke-width: 1; stroke-opacity: .7; }
.curve circle { fill: var(--other); }
.curve.default polyline { stroke: var(--base); stroke-width: 2.5; stroke-dasharray: 7 3; stroke-opacity: 1; }
.curve.default circle { fill: var(--base); }
.curve.winner polyline { stroke: var(--win); stroke-width: 2.5; stroke-opacity: 1; }
.curve.winner circle { fill: var(--win); }
"""


def render(report: SearchReport) -> str:
    """The page of a report."""
    title = f"AutoML report: {report.goal.metric}"
    sections = [f"<h1>{escape(title)}</h1>", _verdict(report)]
    for heading, body in _sections(report):
        sections.append(f"<section><h2>{heading}</h2>{body}</section>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        + "\n".join(sections)
        + "</main></body></html>\n"
    )


def _sections(report: SearchReport) -> Iterator[tuple[str, str]]:
    """Headings and bodies of the sections that have content."""
    if report.baseline is not None:
        yield "Your spec and the winner", _comparison(report.baseline, report.winner)
    if report.finalists:
        yield "Trained in full", _finalists(report)
    if report.curves.trials:
        yield "Learning curves by rung", _curves(report)
    if report.importances is not None:
        yield "Importance of parameters", _importances(report.importances)
    if any(report.slices.values()):
        yield "Parameter by parameter", _slices(report)
    yield "All trials", _trials(report)
    if report.failures:
        yield "Failures", _failures(report.failures)
    yield "Search space", _space(report.space)
    yield "Budget, seeds and versions", _facts(report)


def _verdict(report: SearchReport) -> str:
    winner, ended = report.winner, report.progress.ended
    state = f"Ended: {ended}." if ended else "The search is running."
    caveat = f"<p class='soft'>{escape(winner.caveat)}</p>" if winner.number is not None else ""
    flagged = "".join(f"<p>Look at it before you use it: {escape(flag)}.</p>" for flag in winner.flags)
    own = f"<p class='soft'>NVIDIA TAO lacks: {escape(', '.join(winner.not_in_tao))}.</p>" if winner.not_in_tao else ""
    return (
        f'<div class="verdict"><p><strong>{escape(winner.sentence)}</strong></p>'
        f'<p class="soft">{escape(state)}</p>{flagged}{caveat}{own}</div>'
    )


def _comparison(default: TrialReport, winner: WinnerReport) -> str:
    """Metrics of the best epochs and values of the user's spec beside the winner's."""
    is_known = winner.number is not None
    names = dict.fromkeys((*default.metrics, *winner.metrics))
    metrics = {name: (default.metrics.get(name), winner.metrics.get(name)) for name in names}
    values = {key: (value, winner.values.get(key, "no effect")) for key, value in default.values.items()}
    rows = [(name, *map(number, pair), "") for name, pair in metrics.items()]
    rows += [(name, *map(number, pair), "changed" if pair[0] != pair[1] else "") for name, pair in values.items()]
    if not is_known:
        rows = [(name, value, "-", "") for name, value, _, _ in rows]
    heading = f"winner, trial {winner.number}" if is_known else "winner"
    return _table(("", "your spec, trial 0", heading, ""), rows, caption="Metrics of the best epoch, then parameters.")


def _finalists(report: SearchReport) -> str:
    names = short_names(report.slices)
    rows, styles = [], []
    for rank, trial in enumerate(report.finalists, start=1):
        gain = "" if trial.gain is None else f"{trial.gain:+.4g}"
        values = [number(trial.values.get(key)) for key in names]
        results = map(number, (trial.metric, trial.tie, trial.best_epoch))
        rows.append((f"{rank}", f"{trial.number}", *results, gain, *values))
        styles.append(_style(trial.number, report))
    header = ("rank", "trial", report.goal.metric, report.goal.tie, "best epoch", "gain", *names.values())
    caption = "Compared on validation at full training; gain is over your spec."
    return _table(header, rows, caption=caption, styles=styles)


def _curves(report: SearchReport) -> str:
    metric, rungs, trials = report.curves.metric, report.curves.rungs, report.curves.trials
    series = [
        Series(label=f"trial {trial}, {len(y)} epochs", y=y, style=_style(int(trial), report) or "other")
        for trial, y in trials.items()
    ]
    series.sort(key=lambda curve: curve.style != "other")  # winner and default are drawn over the rest
    reached = ", ".join(f"{sum(len(y) >= rung for y in trials.values())} reached {rung} epochs" for rung in rungs)
    caption = (
        f"{metric} by epoch: your spec dashed in orange, the winner in blue, the others grey. "
        f"Dashed verticals are rungs of the longest trial: {reached}. Values far from the others are drawn at the edge."
    )
    title = f"{metric} by epoch of {len(series)} trials"
    chart = curves(series, marks=rungs, x_label="epoch", y_label=metric, title=title)
    return _figure(chart, caption)


def _importances(importances: Importances) -> str:
    shares = importances.shares
    title = "Importance of parameters: " + ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
    return _figure(bars(shares, title=title), f"{importances.method}. {importances.caveat}")


def _slices(report: SearchReport) -> str:
    metric = report.goal.metric
    names = short_names(report.slices)
    charts = [
        points(
            [(value, score) for value, score in pairs],
            x_label=names[key],
            y_label=metric,
            title=f"{metric} by {key}, {len(pairs)} trials",
            log=bool(report.space.search[key].log),
        )
        for key, pairs in report.slices.items()
        if pairs
    ]
    caption = (
        f"A dot is a trial: the value of a parameter, and the best {metric}; for a trial trained in part, plus the "
        "median gain of fully trained trials beyond its rung."
    )
    return _figure(f'<div class="slices">{"".join(charts)}</div>', caption)


def _trials(report: SearchReport) -> str:
    names = short_names(report.slices)
    rows, styles = [], []
    for trial in report.trials:
        state = f"{trial.state}: {line(trial.reason)}" if trial.reason else trial.state
        best = number(trial.metric) + (f" @{trial.best_epoch}" if trial.best_epoch else "")
        values = [number(trial.values.get(key)) for key in names]
        epochs = f"{trial.epochs} of {trial.full}"
        row = (f"{trial.number}", trial.origin, state, epochs, best, *values, duration(trial.seconds or None))
        rows.append(row)
        styles.append(_style(trial.number, report))
    header = ("trial", "origin", "state", "epochs", f"best {report.goal.metric}", *names.values(), "trained")
    table = _table(header, rows, caption="The best value is shown with its epoch.", styles=styles)
    return f'<div class="all">{table}</div>'


def _failures(failures: Sequence[FailureReport]) -> str:
    rows = [(failure.cause, f"{failure.times}", ", ".join(map(str, failure.trials))) for failure in failures]
    return _table(("cause", "times", "trials"), rows, caption="Failures and divergences, repeated attempts included.")


def _space(space: SpaceSummary) -> str:
    rows = [(key, dimension.kind, extent(dimension)) for key, dimension in space.search.items()]
    searched = _table(("parameter", "kind", "searched over"), rows, caption="Searched.")
    if not space.left_out:
        return searched
    return searched + _table(("parameter", "reason"), list(space.left_out.items()), caption="Not searched.")


def _facts(report: SearchReport) -> str:
    budget, progress = report.budget, report.progress
    rows = [
        ("budget", budget_text(budget)),
        ("rungs", rungs_text(budget)),
        ("spent", f"{progress.trials} trials, {progress.epochs} epochs, {duration(progress.seconds)} of training"),
        ("elapsed", duration(progress.elapsed_s)),
        ("validation", report.validation),
        ("sampler", report.sampler),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in report.seeds.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("command", shlex.join(report.command)),
    ]
    return _table(("fact", "value"), rows, caption="How to repeat the search.")


def _style(trial: int, report: SearchReport) -> str:
    if trial == report.winner.number:
        return "winner"
    return "default" if trial == 0 else ""


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, styles: Sequence[str] = ()) -> str:
    """A table whose first column names its rows."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = []
    for i, row in enumerate(rows):
        style = f' class="{styles[i]}"' if styles and styles[i] else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        body.append(f'<tr{style}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
