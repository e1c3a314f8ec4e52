"""Text as tokens: normalized, looked up in the vocabulary by the longest phrase, with the place each came from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from tao_skill.user_request.languages import SPACED, UNSPACED
from tao_skill.user_request.vocabulary import ENGLISH, Kind


class Token(NamedTuple):
    """A phrase of the vocabulary, another word or a sign.

    Attributes:
        word: lower case, without accents. kinds: all that it may be. start, end: its place in the normalized text.
        joined: a hyphen stands between it and the word before.
    """

    word: str
    kinds: frozenset[Kind]
    start: int
    end: int
    joined: bool = False

    def has(self, *kinds: Kind) -> bool:
        """Whether it may be of one of these kinds."""
        return not self.kinds.isdisjoint(kinds)


class _Piece(NamedTuple):
    word: str
    start: int
    end: int
    joined: bool
    kinds: frozenset[Kind] | None = None


_SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4`\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u00bf\u00a1", '"'),
        **dict.fromkeys("\u2010\u2011\u2212\ufe63", "-"),
        **dict.fromkeys("\u2012\u2013\u2014\u2015", ";"),
        **dict.fromkeys("\u2717\u2718\u274c\U0001f6ab\u26d4\U0001f44e\u274e", " off "),
        **dict.fromkeys("\u2713\u2714\u2705\U0001f44d", " on "),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", None),
    }
)
_CJK: Final = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_PIECE: Final = re.compile(rf"[{_CJK}]+|\d+(?:\.\d+)?%?|[^\W\d_{_CJK}]+|\S|\n")
_CHUNK: Final = re.compile(r"\S+|\n(?=[^\S\n]{0,40}(?:\n|[-*#]|\d{1,3}[.)]|[\w.]{1,40} ?[:=]))")
"""A word; or a line's end where another paragraph, item or key follows, as others only wrap the text."""
_DOTTED: Final = re.compile(r"[a-z][a-z_0-9]*(?:\.[a-z][a-z_0-9]*)+")
_SPACED_HYPHEN: Final = re.compile(r"\b(auto|hyper|fine|grid) - (?=\w)", re.IGNORECASE)
_QUOTES: Final = "\"'()[]{}<>,;:!?."
_NEGATED: Final = {"n": "not"}
_VERBS_OF_NOT: Final = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}
_PATH: Final = re.compile(r"[~.]?/.*|[a-z0-9]+://.*|.*/|.*\.[a-z][a-z0-9]{0,4}", re.IGNORECASE | re.DOTALL)


def _plain(text: str) -> str:
    """Lower case without accents; Chinese and Japanese stay as they are."""
    lower = text.casefold()
    if lower.isascii() or re.match(rf"[{_CJK}]", lower):
        return lower
    return "".join(sign for sign in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(sign))


def _phrases(tables: Iterable[Mapping[Kind, str]]) -> dict[str, frozenset[Kind]]:
    found: dict[str, set[Kind]] = {}
    for table in tables:
        for kind, text in table.items():
            for phrase in text.split(","):
                found.setdefault(" ".join(map(_plain, phrase.split())), set()).add(kind)
    return {phrase: frozenset(kinds) for phrase, kinds in found.items()}


_OTHER_WORD: Final = frozenset({Kind.WORD})
_QUIET: Final = frozenset({Kind.WORD, Kind.PARAM, Kind.THING, Kind.OTHER, Kind.TRAIN})
"""Kinds that a file's name may consist of."""


PHRASES: Final = _phrases((ENGLISH, *SPACED))
UNSPACED_PHRASES: Final = _phrases(UNSPACED)
_MOST_WORDS: Final = max(phrase.count(" ") + 1 for phrase in PHRASES)
_MOST_SIGNS: Final = max(map(len, UNSPACED_PHRASES))
_BEGINS: Final = {
    " ".join(phrase.split(" ")[:count]) for phrase in PHRASES for count in range(1, phrase.count(" ") + 1)
}
"""What longer phrases begin with."""


def normalize(text: str) -> str:
    """Compatible forms, quotes and dashes as one; signs without width are dropped."""
    plain = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    return _SPACED_HYPHEN.sub(r"\1-", plain)


def tokens(text: str) -> list[Token]:
    """The tokens of a normalized text."""
    pieces = [piece for chunk in _CHUNK.finditer(text) for piece in _pieces(chunk.group(), chunk.start())]
    found: list[Token] = []
    at = 0
    while at < len(pieces):
        count, kinds = _longest(pieces, at)
        first, last = pieces[at], pieces[at + count - 1]
        word = " ".join(piece.word for piece in pieces[at : at + count])
        found.append(Token(word, kinds, first.start, last.end, first.joined))
        at += count
    return found


def _longest(pieces: list[_Piece], at: int) -> tuple[int, frozenset[Kind]]:
    """How many pieces make the longest phrase that begins here, and its kinds."""
    if (kinds := pieces[at].kinds) is not None:
        return 1, kinds
    phrase, best = "", (1, _OTHER_WORD)
    for count, piece in enumerate(pieces[at : at + _MOST_WORDS], 1):
        phrase = f"{phrase} {piece.word}" if phrase else piece.word
        if phrase in PHRASES:
            best = count, PHRASES[phrase]
        if phrase not in _BEGINS:
            break
    return best


def _pieces(chunk: str, start: int) -> Iterator[_Piece]:
    """The words and signs of what stands between spaces."""
    core = chunk.strip(_QUOTES)
    key, _, _ = core.partition("=")
    if _DOTTED.fullmatch(key) and (name := key.rpartition(".")[2].replace("_", " ")) and _is_name(key):
        at = start + chunk.index(key)
        for sign in chunk[: at - start]:
            yield _Piece(sign, at, at, False)
        yield _Piece(name, at, at + len(key), False, PHRASES[name])
        yield from _words(chunk[at - start + len(key) :], at + len(key))
    elif ("/" in core or "." in core) and _PATH.fullmatch(core + chunk[-1:].replace(".", "")) and _is_path(core):
        at = start + chunk.index(core)
        yield _Piece(core.lower(), at, at + len(core), False, frozenset({Kind.THING, Kind.OTHER}))
        yield from _words(chunk[at - start + len(core) :], at + len(core))
    else:
        yield from _words(chunk, start)


def _speaks(part: str) -> bool:
    return PHRASES.get(_plain(part), _OTHER_WORD).isdisjoint(_QUIET)


def _is_name(key: str) -> bool:
    """Whether it is the dotted name of a parameter, and not two sentences without a space."""
    *_, last = key.split(".")
    return Kind.PARAM in PHRASES.get(last.replace("_", " "), _OTHER_WORD)


def _is_path(core: str) -> bool:
    """Whether it is a file's name or address, and not words with a point or slash between them."""
    if core.startswith(("/", "./", "../", "~")) or "://" in core or core.count("/") > 1:
        return True
    return not any(_speaks(part) for part in re.split(r"[./]", core)) and not re.search(rf"[{_CJK}]", core)


def _words(text: str, start: int) -> Iterator[_Piece]:
    joined = False
    for match in _PIECE.finditer(text):
        word, at = match.group(), start + match.start()
        if word in "-'/_" and match.end() < len(text) and match.start() > 0:
            joined = word == "-"
        elif re.match(rf"[{_CJK}]", word):
            yield from _unspaced(word, at)
        else:
            yield from _uncontracted(text, match, _plain(word), at, joined)
            joined = False


def _uncontracted(text: str, match: re.Match[str], word: str, at: int, joined: bool) -> Iterator[_Piece]:
    """A word; the n't of don't as not."""
    end = at + len(match.group())
    if word.endswith("n") and re.match(r"'t\b", text[match.end() : match.end() + 3], re.IGNORECASE):
        stem = word[:-1]
        yield _Piece(_VERBS_OF_NOT.get(stem, stem if word != "can" else "can"), at, end - 1, joined)
        yield _Piece("not", end - 1, end + 2, False)
    elif word not in PHRASES and word.startswith("no") and _speaks(word[2:]):  # noHPO
        yield _Piece(word[:2], at, at + 2, joined)
        yield _Piece(word[2:], at + 2, end, False)
    elif word != "t" or text[match.start() - 2 : match.start()].lower() != "n'":
        yield _Piece(word, at, end, joined)


def _unspaced(text: str, start: int) -> Iterator[_Piece]:
    at = 0
    while at < len(text):
        for size in range(min(_MOST_SIGNS, len(text) - at), 0, -1):
            if (kinds := UNSPACED_PHRASES.get(text[at : at + size])) is not None:
                break
        else:
            size, kinds = 1, _OTHER_WORD
        yield _Piece(text[at : at + size], start + at, start + at + size, False, kinds)
        at += size
