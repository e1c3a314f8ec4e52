"""A request as clauses: each a string of letters, one for each word that says something, see `lexicon`."""

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
_Word = tuple[str, int, int]  # kind, start, end


class Clause(NamedTuple):
    """One clause: its letters, where it stands in the text, its sentence, and the kind of separator before it."""

    letters: str
    start: int
    end: int
    sentence: int
    separator: str = ";"


def normalize(text: str) -> str:
    """Compatible forms, quotes and hyphens as one; without escape sequences."""
    plain = unicodedata.normalize("NFKC", text)
    for sign, usual in _SIGNS:
        plain = sign.sub(usual, plain)
    return plain


def _bare(word: str) -> str:
    """Lower case without accents, in British spelling; Japanese keeps its voicing marks."""
    lower = word.casefold()
    if not lower.isascii() and not "\u3040" <= lower[0] <= "\u9fff":
        lower = "".join(sign for sign in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(sign))
    return lower.replace("optimiz", "optimis")


def _phrase(text: str) -> tuple[str, ...]:
    return tuple(_bare(found.group()) for found in _TOKEN.finditer(normalize(text)))


PHRASES: Final = {
    _phrase(phrase): kind
    for table in reversed(LANGUAGES)
    for kind, text in table.items()
    for phrase in text.replace("\n", " ").split(",")
}
_LONGEST: Final = max(map(len, PHRASES))


def _words(text: str) -> Iterator[_Word]:
    """Kind, start and end of each word, the longest phrase first."""
    found = list(_TOKEN.finditer(text))
    bare = [_bare(one.group()) for one in found]
    at = 0
    while at < len(found):
        sizes = range(min(_LONGEST, len(found) - at), 0, -1)
        size = next((size for size in sizes if tuple(bare[at : at + size]) in PHRASES), 1)
        kind = PHRASES.get(tuple(bare[at : at + size])) or _KINDS.get(found[at].lastgroup or "", "u")
        yield "?" if bare[at] == "?" else kind, found[at].start(), found[at + size - 1].end()
        at += size


def split(text: str) -> list[Clause]:
    """The clauses of a normalized text."""
    clauses: list[Clause] = []
    letters, start, end, sentence, separator = "", 0, 0, 0, ";"
    for kind, first, last in [*_joined(list(_words(text))), (";", len(text), len(text))]:
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


def _joined(words: list[_Word]) -> list[_Word]:
    """Words with the commas, line breaks and `and` that begin no clause made silent: "lr, momentum", "no\nAutoML"."""
    kinds = [kind for kind, _, _ in words]
    for at, kind in enumerate(kinds):
        if kind == "/":
            kinds[at] = "." if at and kinds[at - 1] in "NnO.pw" else ";"
    said = [at for at, kind in enumerate(kinds) if kind not in ".p#"]
    for before, at, after in zip(said, said[1:], said[2:], strict=False):
        pair = kinds[before][0] + kinds[after][0]
        if (kinds[at] in ",&" and pair in _LISTS) or (kinds[at] == "o" and pair in ("PP", "PA")):
            kinds[at] = "."
        elif kinds[at] == "&" and kinds[after][0] not in "STg":
            kinds[at] = ","
    return [(kind, start, end) for kind, (_, start, end) in zip(kinds, words, strict=True)]
