"""A request as clauses: what stands between stops, and between the conjunctions that begin another thought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tao_skill.user_request.tokens import Token
from tao_skill.user_request.vocabulary import Kind, words

K = Kind
STOPS: Final = frozenset(".!?;\n\u3002")
COMMAS: Final = frozenset(",\u3001()[]-")
MENTIONS: Final = (K.SUBJECT, K.SAMPLER, K.TUNE, K.TRIALS)
MOST_TOKENS: Final = 100
"""Of one clause; a longer one is cut there, as its beginning says little about its end."""

_LIST: Final = (K.PARAM, K.ALL, K.OR, K.AND, K.EXCEPT, K.FILL, K.HYPER, K.BEST)
_LISTED: Final = (K.PARAM, K.ALL)
_PASSED: Final = (K.FILL, K.NOW, K.LATER, K.JUST, K.CORRECT)
_BEGINS: Final = (K.NO, K.NOT, K.OFF, K.ON, K.USE, K.RUN, K.TRAIN, K.FIND, K.IT, K.PAST, K.WHO, K.YES)
_VERBS: Final = words("tune, search, optimize, optimise, sweep")
_OBJECTS: Final = (K.PARAM, K.ALL, K.HYPER, K.FILL, K.IT)
_BEFORE_WHETHER: Final = words("know, ask, asking, see, check, wonder, tell me, say")
_CONCESSIONS: Final = words("even if, even when, even though, although, though, while, whereas")
_WISHES: Final = words(
    """prefer, appreciate, appreciated, nice, great, happy, happier, glad, better, good, best, like, love, grateful,
    cool, fine, perfect, helpful, preferred, preferable, easier, wonderful"""
)
_AFTER_IT: Final = words("is, s, takes, costs, was, took, would, will, has, eats")


class Clause(NamedTuple):
    """A clause and what surrounds it.

    Attributes:
        tokens: without signs but "=".
        begins: the conjunction it begins with, of IF, ONLY_IF and BECAUSE; POLITE for the "if" of a wish, BREAK for
            "although", OR for "otherwise".
        is_question: a question mark ends it. sentence: number of its sentence.
    """

    tokens: Sequence[Token]
    begins: Kind | None
    is_question: bool
    sentence: int

    def has(self, *kinds: Kind) -> bool:
        """Whether a token may be of one of these kinds."""
        return any(token.has(*kinds) for token in self.tokens)

    def only(self, *kinds: Kind) -> bool:
        """Whether every token may be of one of these kinds."""
        return all(token.has(*kinds) for token in self.tokens)


def split(found: Sequence[Token]) -> list[Clause]:
    """The clauses of the tokens, in order; none is empty."""
    clauses: list[Clause] = []
    current: list[Token] = []
    begins, sentence = None, 0

    def close(is_question: bool = False) -> None:
        nonlocal current, begins
        if current:
            clauses.append(Clause(current, begins, is_question, sentence))
            current, begins = [], None

    for at, token in enumerate(found):
        if token.word in STOPS:
            if current:
                close(token.word == "?")
            elif token.word == "?" and clauses and clauses[-1].sentence == sentence:
                clauses[-1] = clauses[-1]._replace(is_question=True)
            sentence += 1
        elif token.word == ":":
            if _gives_value(found, at):
                current.append(token._replace(word="="))
            elif not _refuses(current):
                close()
        elif token.word in COMMAS:
            if not _goes_on(current, found, at):
                close()
        elif token.has(K.IF) and current and (current[-1].has(K.HEDGE) or current[-1].word in _BEFORE_WHETHER):
            current.append(token._replace(kinds=frozenset({K.HEDGE})))
        elif token.has(K.IF) and current and any(one.word in _WISHES for one in current[-2:]):
            close()
            begins = K.POLITE
        elif token.has(K.IF, K.ONLY_IF, K.BECAUSE):
            close()
            begins = next(kind for kind in (K.ONLY_IF, K.IF, K.BECAUSE) if token.has(kind))
        elif token.word == "but" and _is_exception(current, found, at):
            current.append(token._replace(kinds=frozenset({K.EXCEPT})))
        elif token.word == "otherwise":
            close()
            begins = K.OR
        elif token.has(K.BREAK) and token.word in _CONCESSIONS:
            close()
            begins = K.BREAK
        elif token.has(K.BREAK) or (token.has(K.AND) and _is_new(found, at + 1)):
            close()
        elif token.word == "=" or token.word[:1].isalnum():
            if len(current) >= MOST_TOKENS or _is_joined_on(current, found, at):
                close()
            current.append(token)
    close()
    return clauses


def _is_exception(current: Sequence[Token], found: Sequence[Token], at: int) -> bool:
    """Whether "but" takes AutoML from all else: "all features but AutoML"."""
    after = found[at + 1 : at + 2]
    is_all = any(one.has(K.ALL) for one in current) and not any(one.has(*MENTIONS) for one in current)
    return is_all and bool(after) and after[0].has(*MENTIONS)


def _refuses(current: Sequence[Token]) -> bool:
    """Whether the words before a colon refuse what follows it: "not allowed: AutoML"."""
    if not current or not all(token.has(K.NO, K.NOT, K.OFF, K.FILL, K.USE, K.POLITE) for token in current):
        return False
    return len(current) == 1 or current[-1].word.endswith("ed")


def _gives_value(found: Sequence[Token], colon: int) -> bool:
    """Whether on, off or the like stands after a colon, and nothing else."""
    after = found[colon + 1 : colon + 3]
    is_value = bool(after) and (after[0].has(K.OFF, K.ON, K.NO, K.YES) or after[0].word in ("0", "n"))
    return is_value and (len(after) == 1 or after[1].word in STOPS | COMMAS or after[1].has(K.POLITE))


def _goes_on(current: Sequence[Token], found: Sequence[Token], comma: int) -> bool:
    """Whether a list of parameters, or an exception, goes on after a comma."""
    items = []
    for token in found[comma + 1 : comma + 13]:
        if token.word in STOPS | COMMAS or token.has(K.BREAK):
            break
        items.append(token)
    first = next((token for token in items if not token.has(K.FILL, K.OR, K.AND) or token.has(*_LISTED)), None)
    if not current or first is None or not all(token.has(*_LIST) for token in items):
        return False
    return first.has(K.EXCEPT) or (first.has(*_LISTED) and current[-1].has(*_LISTED))


def _is_new(found: Sequence[Token], at: int) -> bool:
    """Whether a new thought begins after "and"."""
    ahead = [token for token in found[at : at + 6] if not token.has(*_PASSED) or token.has(*_OBJECTS)]
    while ahead and ahead[0].has(*_PASSED):
        ahead = ahead[1:]
    if not ahead or not ahead[0].has(K.TUNE):
        return bool(ahead) and ahead[0].has(*_BEGINS)
    return ahead[0].word in _VERBS and len(ahead) > 1 and ahead[1].has(*_OBJECTS)


def _is_joined_on(current: Sequence[Token], found: Sequence[Token], at: int) -> bool:
    """Whether another sentence begins without a stop: "no HPO it takes too long"."""
    token, after = found[at], found[at + 1] if at + 1 < len(found) else None
    if not current or not current[-1].has(*MENTIONS) or current[0].word in ("without", "w o", "with"):
        return False
    return token.has(K.WHO) or (token.has(K.IT) and after is not None and after.word in _AFTER_IT)
