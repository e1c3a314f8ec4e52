"""Negations and what they negate: operators are tokens that negate or turn off, given by their places in a clause."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tao_skill.user_request.clauses import MENTIONS
from tao_skill.user_request.tokens import Token
from tao_skill.user_request.vocabulary import Kind, words

K = Kind

TRANSPARENT: Final = (
    *(K.FILL, K.USE, K.WITH, K.OF, K.TRAIN, K.RUN, K.ON, K.IT, K.WHO, K.ALL, K.NOW, K.YES, K.JUST, K.AND, K.OR),
    *(K.POLITE, K.PAST, K.PAST_VERB, K.LATER, K.ONCE, K.HEDGE, K.ADJ, K.BEST, K.FIND, K.CHANGE, K.THAT, K.ALREADY),
    *(K.ASK, K.CORRECT, K.HYPER, K.DIRECTLY, K.EXCEPT, K.RESULT),
)
"""Kinds of words over which a negation reaches what follows them."""

OPERATORS: Final = (K.NO, K.NOT, K.OFF)
WITHOUT: Final = words(
    """without, w o, wo, w out, without any, sans, ohne, sin, minus, instead of, rather than, non, in place of,
    in lieu of, statt, anstatt, en lugar de, en vez de, au lieu de, plutot que"""
)
_INTERJECTIONS: Final = words("no, nope, nah, nay, nein, non")
_REASONS: Final = words(
    """reason, reason to, need to, need, point in, reason for, need for, need of, necessity, excuse"""
)
STATES: Final = words(
    """turned off, switched off, left out, turn off, switch off, off, disabled, deactivated, out, turned,
    switched, excluded, skipped, omitted, aus, ausgeschaltet, deaktiviert, abgeschaltet, inactive, false,
    cancelled, canceled, suppressed, bypassed, removed, dropped, desactivado, desactivee, left, stopped"""
)
_PARTICLES: Final = {
    "off": ("turn", "switch", "shut", "leave", "keep", "set"),
    "out": ("leave", "leaving", "left", "cut", "keep", "take"),
    "down": ("shut",),
    "aus": ("schalte", "schalten", "mach", "mache", "stell", "stelle"),
    "ab": ("schalte", "schalten", "stell", "stelle"),
    "weg": ("lass", "lasse"),
    "over": ("prefer", "preferred"),
    "to": ("prefer", "preferred"),
    "from": ("switch", "change", "move", "go", "switching", "moving", "keep", "keeping"),
    "than": ("rather", "better", "sooner"),
    "away": ("go", "make", "take", "put", "keep"),
    "aside": ("leave", "set", "put"),
}
"""Words that turn off or refuse where their verb came before."""

_AFTER_MENTION: Final = words("to, than, over")
_OFF_VERBS: Final = words("lassen, machen, bleiben, stellen")
_AS_LAST: Final = words("aus, ab, down")


def operates(tokens: Sequence[Token], at: int, verbs: Collection[str], has_mention: bool) -> bool:
    """Whether a token negates or turns off.

    Args:
        verbs: words of the clause before it, of which a particle may be a part: "turn ... off".
        has_mention: whether AutoML was spoken of before it in the clause.
    """
    token = tokens[at]
    if any(verb in verbs for verb in _PARTICLES.get(token.word, ())):
        return has_mention or token.word not in _AFTER_MENTION
    if token.word in _AS_LAST:
        is_last = all(one.has(K.FILL, K.POLITE) or one.word in _OFF_VERBS for one in tokens[at + 1 :])
        return is_last and has_mention
    if token.word in ("0", "n") and at and tokens[at - 1].word == "=":
        return True
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if token.word in ("free", "less"):
        is_run = token.word == "free" and after is not None and after.has(K.TRAIN, K.RUN)
        return has_mention and (token.joined or is_run) and tokens[at - 1].has(*MENTIONS)
    if token.has(K.ENOUGH, K.EXCEPT) and not has_mention and not (at and tokens[at - 1].has(K.NOT)):
        return after is not None and _is_named(tokens, at + 1)
    return token.has(*OPERATORS) or (token.word == "0" and after is not None and after.has(K.TRIALS))


def _is_named(tokens: Sequence[Token], at: int) -> bool:
    """Whether AutoML is the next thing named: "enough AutoML", "anything but the sweep"."""
    named = next((token for token in tokens[at : at + 3] if not token.has(K.FILL, K.OF, K.WITH)), None)
    return named is not None and named.has(*MENTIONS)


def part_between(tokens: Sequence[Token], at: int) -> bool:
    """Whether a particle belongs to a parameter: "leave dropout out"."""
    verbs = _PARTICLES.get(tokens[at].word, ())
    for token in reversed(tokens[max(0, at - 8) : at]):
        if token.word in verbs or token.has(*MENTIONS):
            return False
        if token.has(K.PARAM):
            return bool(verbs)
    return False


def is_negative(tokens: Sequence[Token], operators: Sequence[int]) -> bool:
    """Whether operators in this order negate; in doubt two negations are one, said twice."""
    negative, last = False, -1
    for one in operators:
        negative = not (negative and doubles(tokens, last, one))
        last = one
    return negative


def doubles(tokens: Sequence[Token], first: int, second: int) -> bool:
    """Whether the second of two operators takes the first back: "don't skip", "not without"."""
    one, other = tokens[first], tokens[second]
    between = tokens[first + 1 : second]
    if one.has(K.OFF):
        is_after = other.word in ("pas", "jamais") or not other.word.isascii()
        return (other.has(K.NOT) and is_after) or (other.has(K.OFF) and other.word.endswith("ing"))
    if any(word.word in _REASONS for word in between) and other.has(K.NOT):
        return True
    if (
        one.word in _INTERJECTIONS
        and first == 0
        and not other.has(K.OFF)
        and not any(word.has(K.USE, K.TRAIN, K.RUN) and word.word not in ("do", "does") for word in between)
    ):
        return False
    return other.has(K.OFF) or other.word in WITHOUT


def adjacent(tokens: Sequence[Token], operator: int, at: int) -> bool:
    """Whether only describing words stand between a negation and what it negates."""
    between = tokens[operator + 1 : at]
    return (
        not any(one.has(K.OF, K.WITH, K.THAT, K.WHO) for one in between)
        and not any(one.has(K.USE, K.RUN, K.TRAIN) for one in between[1:])
        and not (tokens[operator].has(K.NOT) and len(between) > 0 and not between[0].has(*TRANSPARENT))
    )


def absorbed(tokens: Sequence[Token], operators: Sequence[int], at: int) -> bool:
    """Whether a thing took the negation on itself: "no labels", "don't use the test set for tuning"."""
    between = tokens[operators[-1] + 1 : at]
    if any(one.has(K.TRAIN) for one in between):
        return False
    thing = next(i for i, one in enumerate(between) if one.has(K.THING))
    if not any(tokens[one].has(K.NOT) for one in operators):
        return not any(one.has(K.USE, K.RUN, K.WHO) for one in between[:thing])
    return any(one.word in ("for", "during", "fur", "para", "pour") for one in between[thing:])


def is_state(token: Token) -> bool:
    """Whether a token says that something is off."""
    return token.word in STATES or token.word.partition(" ")[0] in STATES


def trains_with(tokens: Sequence[Token], operator: int, at: int) -> bool:
    """Whether a training with AutoML is refused: "don't train on this data with AutoML"."""
    between = tokens[operator + 1 : at]
    return any(one.has(K.TRAIN) for one in between) and any(
        one.has(K.WITH) or one.word == "using" for one in between[-3:]
    )
