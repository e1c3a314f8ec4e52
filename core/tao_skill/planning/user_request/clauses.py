"""Splits a request into clauses: strings of letters, each the class of a word or phrase in `lexicon`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from tao_skill.planning.user_request.lexicon import LANGUAGES

_CJK: Final = "\u3040-\u30ff\u3400-\u9fff"
_TOKEN: Final = re.compile(
    rf"""(?P<path>(?<![\w.~/-])(?:[\w.~-]*/[\w.-]*/[\w./-]*|[\w.-]+/(?=[\s,;:.)]|$)
        |[\w.~/-]*\.(?:npy|pkl|ya?ml|json|pth|onnx|txt|csv)\b)|(?:train|optim|model|dataset)\.(?=\w))
    |(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?(?![^\W_]))
    |(?P<word>[{_CJK}]|n't\b|(?:(?!n't\b)[^\W_{_CJK}])+)
    |(?P<line>\n)|(?P<end>[;!?。]|\.(?=\s|$)|\.{{2,}})
    |(?P<comma>[,、])|(?P<pause>[:(){{}}\[\]]|\s[-/|]+\s)
    |(?P<no>[✗❌🚫👎✘])|(?P<yes>[✓✔👍✅])""",
    re.VERBOSE | re.IGNORECASE,
)
_KINDS: Final = {"path": ".", "number": "#", "end": ";", "line": "/", "comma": ",", "pause": "|", "no": "F", "yes": "Y"}
_SIGNS: Final = (
    (re.compile("[\u2018\u2019\u02bc`]"), "'"),
    (re.compile("(?<=auto) - (?=ml)", re.IGNORECASE), "-"),
    (re.compile("[\u2010-\u2015\u2212]"), "-"),
    (re.compile("\x1b\\[[0-9;]*[a-zA-Z]|[\u200b-\u200f\u202a-\u202e\u2060\ufeff]"), ""),
)
_Word = tuple[str, int, int]
"""Class, start and end of a word or phrase."""


class Clause(NamedTuple):
    """A clause: its letters, its range in the text, the number of its sentence, and the class of its separator."""

    letters: str
    start: int
    end: int
    sentence: int
    separator: str = ";"


def normalize(text: str) -> str:
    """Unify compatible characters, quotes and hyphens (NFKC), and remove escape sequences."""
    plain = unicodedata.normalize("NFKC", text)
    for sign, usual in _SIGNS:
        plain = sign.sub(usual, plain)
    return plain


def _fold(word: str) -> str:
    """Convert to lower case without accents and with `optimis` for `optimiz`; Japanese keeps its voicing marks."""
    lower = word.casefold()
    if not lower.isascii() and not "\u3040" <= lower[0] <= "\u9fff":
        lower = "".join(sign for sign in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(sign))
    return lower.replace("optimiz", "optimis")


def _phrase(text: str) -> tuple[str, ...]:
    return tuple(_fold(token.group()) for token in _TOKEN.finditer(normalize(text)))


PHRASES: Final = {
    _phrase(phrase): kind
    for table in reversed(LANGUAGES)
    for kind, text in table.items()
    for phrase in text.replace("\n", " ").split(",")
}
"""Folded words of each phrase -> class; the first language that has a phrase decides."""

_LONGEST: Final = max(map(len, PHRASES))


def _words(text: str) -> Iterator[_Word]:
    """Classify the words of a text; the longest phrase at a position is used."""
    tokens = list(_TOKEN.finditer(text))
    folded = [_fold(token.group()) for token in tokens]
    index = 0
    while index < len(tokens):
        sizes = range(min(_LONGEST, len(tokens) - index), 0, -1)
        size = next((size for size in sizes if tuple(folded[index : index + size]) in PHRASES), 1)
        kind = PHRASES.get(tuple(folded[index : index + size])) or _KINDS.get(tokens[index].lastgroup or "", "u")
        yield "?" if folded[index] == "?" else kind, tokens[index].start(), tokens[index + size - 1].end()
        index += size


def split(text: str) -> list[Clause]:
    """Split a normalized text into clauses."""
    clauses: list[Clause] = []
    letters, start, end, sentence, separator = "", 0, 0, 0, ";"
    for kind, first, last in [*_silence_joints(list(_words(text))), (";", len(text), len(text))]:
        if kind not in ",|;?Ic":
            start = start if letters else first
            letters, end = letters + kind, last
            continue
        if letters.strip("."):
            clauses.append(Clause(letters, start, end, sentence, separator))
        if kind == "?" and clauses:
            clauses[-1] = clauses[-1]._replace(letters=clauses[-1].letters + "?")
        sentence += kind in ";?"
        letters, start, end, separator = kind if kind in "Ic" else "", first, last, kind
    return clauses


_LISTS: Final = ("PP", "PA", "HP", "PH", "SS", "ST", "TS", "TT", "SA")
"""Classes before and after a comma or `and` inside a list."""


def _silence_joints(words: list[_Word]) -> list[_Word]:
    """Reclassify commas, line breaks and `and` that begin no clause as silent: "lr, momentum", "no\nAutoML"."""
    kinds = [kind for kind, _, _ in words]
    for index, kind in enumerate(kinds):
        if kind == "/":
            kinds[index] = "." if index and kinds[index - 1] in "NnO.pw" else ";"
    significant = [index for index, kind in enumerate(kinds) if kind not in ".p#"]
    for before, index, after in zip(significant, significant[1:], significant[2:], strict=False):
        pair = kinds[before][0] + kinds[after][0]
        if (kinds[index] in ",&" and pair in _LISTS) or (kinds[index] == "o" and pair in ("PP", "PA")):
            kinds[index] = "."
        elif kinds[index] == "&" and kinds[after][0] not in "STg":
            kinds[index] = ","
    return [(kind, start, end) for kind, (_, start, end) in zip(kinds, words, strict=True)]
