"""One clause as a statement: what it says of AutoML, how plainly, and of which time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from tao_skill.user_request.clauses import MENTIONS, Clause
from tao_skill.user_request.tokens import Token
from tao_skill.user_request.vocabulary import Kind

K = Kind


class Says(Enum):
    """What a clause says of AutoML."""

    ON = "on"
    OFF = "off"
    DOUBT = "doubt"


class Force(IntEnum):
    """How plainly it says so."""

    MENTION = 0
    REFERENCE = 1
    PLAIN = 2


class Statement(NamedTuple):
    """What one clause says.

    Attributes:
        is_present: of this run, and not of an earlier or a later one. is_correction: takes back what was said.
        sampler: whether only a way to search is refused. clause: where it stands.
    """

    says: Says
    force: Force
    clause: Clause
    is_present: bool = True
    is_correction: bool = False
    sampler: bool = False


class _Mention(NamedTuple):
    is_on: bool
    force: Force
    at: int
    negated: bool = False
    is_part: bool = False
    sampler: bool = False
    plain: bool = False


class _Unsure(Exception):
    """A negation is there, and what it negates cannot be told."""


_TRANSPARENT: Final = (
    *(K.FILL, K.USE, K.WITH, K.OF, K.TRAIN, K.RUN, K.ON, K.IT, K.WHO, K.ALL, K.NOW, K.YES, K.JUST, K.AND, K.OR),
    *(K.POLITE, K.PAST, K.PAST_VERB, K.LATER, K.ONCE, K.HEDGE, K.ADJ, K.BEST, K.FIND, K.CHANGE, K.THAT, K.ALREADY),
    *(K.ASK, K.CORRECT, K.HYPER, K.DIRECTLY, K.EXCEPT, K.RESULT),
)
_OPERATORS: Final = (K.NO, K.NOT, K.OFF)
_WITHOUT: Final = frozenset(
    {
        *("without", "w o", "wo", "w out", "without any", "sans", "ohne", "sin", "minus", "instead of", "rather than", "non"),
        *("in place of", "in lieu of", "statt", "anstatt", "en lugar de", "en vez de", "au lieu de", "plutot que"),
    }
)
_INTERJECTIONS: Final = frozenset({"no", "nope", "nah", "nay", "nein", "non"})
_REASONS: Final = frozenset(
    {"reason", "reason to", "need to", "need", "point in", "reason for", "need for", "need of", "necessity", "excuse"}
)
_STATES: Final = frozenset(
    """off disabled deactivated out turned off switched off excluded skipped omitted aus ausgeschaltet deaktiviert abgeschaltet
    inactive false cancelled canceled suppressed bypassed removed dropped desactivado desactivee left out stopped""".split()
) | {"turned off", "switched off", "left out", "turn off", "switch off"}
_HOLDING: Final = frozenset(
    "turn switch keep leave leaving want wants need have like set shut see turned switched kept quiero veux mochte schalte".split()
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
    "aside": ("leave", "set", "put"),
}
"""Words that turn off or refuse where their verb came before."""

_AS_LAST: Final = frozenset({"aus", "ab", "down"})
_ENDING: Final = frozenset({"off", "disabled"})


def _after_mention(word: str, mentions: Sequence[_Mention]) -> bool:
    return word not in ("to", "than", "over") or bool(mentions)


def read(clause: Clause, has_topic: bool) -> list[Statement]:
    """What a clause says, nothing or one thing.

    Args:
        has_topic: whether a clause before it spoke of AutoML, so that "it" may mean that.
    """
    tokens = clause.tokens
    try:
        mentions, _ = _scan(tokens)
    except _Unsure:
        return [Statement(Says.DOUBT, Force.PLAIN, clause, _is_present(tokens))]
    if not mentions:
        return _refers(tokens, clause) if has_topic else []
    return [_statement(tokens, mentions, clause)]


def _statement(tokens: Sequence[Token], mentions: list[_Mention], clause: Clause) -> Statement:
    mentions = [_judged(tokens, one) for one in mentions]
    on = [one for one in mentions if one.is_on]
    if on:
        mentions = [one for one in mentions if one.is_on or not (one.sampler or (one.plain and one.force < Force.PLAIN))]
    off = [one for one in mentions if not one.is_on]
    force = max(one.force for one in (off or on))
    says = Says.DOUBT if on and off else Says.OFF if off else Says.ON
    hedges = _any(tokens, K.HEDGE) or (_any(tokens, K.OR) and any(one.plain for one in mentions) and len(mentions) > 1)
    is_judged = _any(tokens, K.BAD) and says is Says.ON and force < Force.PLAIN
    if hedges or is_judged or _asks(tokens, clause) or (clause.begins is K.BECAUSE and says is not Says.OFF and is_judged):
        says, force = Says.DOUBT, Force.MENTION
    elif says is Says.ON and force is Force.MENTION and _is_unread_verdict(tokens, on[-1].at):
        says = Says.DOUBT
    elif _any(tokens, K.ALREADY) and says is Says.ON:
        says, force = Says.DOUBT, Force.MENTION
    return Statement(
        says,
        force,
        clause,
        is_present=_is_present(tokens) and clause.begins is None,
        is_correction=_any(tokens, K.CORRECT, K.NOW),
        sampler=all(one.sampler for one in off or on),
    )


def _is_unread_verdict(tokens: Sequence[Token], at: int) -> bool:
    """Whether a word that is not known decides on a mention: "bin the sweep", "I loathe AutoML", "AutoML is evil"."""
    start = at
    while start > 0 and tokens[start - 1].has(K.FILL, K.OF):
        start -= 1
    if start and tokens[start - 1].kinds == {K.WORD} and not _is_number(tokens[start - 1]):
        if start == 1 or (tokens[start - 2].has(K.WHO, K.FILL) and start == 2):
            return True
    after = tokens[at + 1 : at + 5]
    copula = next((i for i, one in enumerate(after) if one.word in _COPULAS or one.word in _SEEMS), None)
    if copula is None:
        return False
    rest = [one for one in after[copula + 1 :] if not one.has(K.FILL)]
    return bool(rest) and rest[0].kinds == {K.WORD}


_SEEMS: Final = frozenset({"seems", "looks", "feels", "sounds", "ist", "es", "est", "sont"})


def _judged(tokens: Sequence[Token], mention: _Mention) -> _Mention:
    """A mention of plain training as turned down where it is called too weak."""
    after = tokens[mention.at + 1 : mention.at + 5]
    place = next((at for at, token in enumerate(after) if token.has(K.BAD)), None)
    if not mention.plain or place is None or not all(token.has(K.FILL, K.PAST) for token in after[:place]):
        return mention
    return mention._replace(is_on=True, force=Force.MENTION)


def _any(tokens: Sequence[Token], *kinds: Kind) -> bool:
    return any(token.has(*kinds) for token in tokens)


def _is_present(tokens: Sequence[Token]) -> bool:
    """Whether no earlier or later time is named, or this one is as well."""
    first = tokens[0]
    is_imperative = first.has(K.USE, K.RUN, K.TRAIN, K.POLITE) and not first.has(K.PAST_VERB) and first.word[-3:] != "ing"
    if is_imperative or _any(tokens, K.NOW):
        return True
    if _describes(tokens):
        return False
    told = any(
        token.has(K.PAST_VERB) and _acts(tokens, at) for at, token in enumerate(tokens)
    )
    return not (told or _any(tokens, K.PAST, K.LATER) or tokens[-1].word == "before")


def _describes(tokens: Sequence[Token]) -> bool:
    """Whether it is told how something is: "the hyperparameters are not tuned yet"."""
    for at, token in enumerate(tokens[:-2]):
        if token.word in _COPULAS and tokens[at + 1].has(K.NOT):
            rest = [one for one in tokens[at + 2 : at + 6] if not one.has(K.FILL) or one.word == "to"]
            return bool(rest) and rest[0].has(K.TUNE) and rest[0].word.endswith("ed")
    return False


_COPULAS: Final = frozenset({"is", "are", "was", "were", "s", "re", "has", "have"})


def _acts(tokens: Sequence[Token], at: int) -> bool:
    """Whether somebody did it: "I disabled", "we have already tuned"; not "should be disabled"."""
    for token in reversed(tokens[max(0, at - 4) : at]):
        if token.has(K.WHO):
            return True
        if token.word not in ("have", "ve", "had", "also", "even", "just", "already", "never") and not token.has(K.NOT):
            return False
    return False


def _asks(tokens: Sequence[Token], clause: Clause) -> bool:
    if _any(tokens, K.POLITE):
        return False
    return clause.is_question or (tokens[0].has(K.ASK) and not tokens[0].has(K.FILL, K.USE, K.PAST))


def _scan(tokens: Sequence[Token]) -> tuple[list[_Mention], bool]:
    """The mentions of AutoML and of plain training with what is said of each; and whether a negation is left over.

    Raises:
        _Unsure: a negation stands in a clause that speaks of tuning, and what it negates cannot be told.
    """
    mentions: list[_Mention] = []
    operators: list[int] = []
    verbs: set[str] = set()
    block, strong, unread = "", False, 0
    for at, token in enumerate(tokens):
        if token.has(K.PLAIN, *MENTIONS):
            if block == "unread" and (unread > 2 or not _adjacent(tokens, operators[-1], at)):
                raise _Unsure
            if block == "thing" and not _absorbed(tokens, operators, at):
                if not _trains_with(tokens, operators[-1], at):
                    raise _Unsure
            elif block == "thing":
                operators = []
            mentions.append(_mention(tokens, at, operators, mentions, strong))
            operators, block, unread = [], "", 0
        elif _operates(tokens, at, verbs, mentions):
            if _part_between(tokens, at):
                continue
            if block:
                operators, block, unread = [], "", 0
            elif operators and mentions and not _doubles(tokens, operators[-1], at):
                mentions[-1] = _closed(tokens, mentions[-1], operators, "")
                operators = []
            operators.append(at)
        elif token.has(K.AFTER_NO):
            if mentions and mentions[-1].at == at - 1:
                mentions[-1] = mentions[-1]._replace(is_on=not mentions[-1].is_on, force=Force.PLAIN, negated=True)
        elif mentions and operators and not block and _ends(tokens, mentions[-1].at, operators[-1], at):
            mentions[-1] = _closed(tokens, mentions[-1], operators, "")
            operators = []
        elif token.has(K.LIMIT):
            operators = []
        elif operators and token.has(K.PARAM):
            operators, block = [], ""
        elif operators and not block and token.has(K.THING):
            block = "thing"
        elif operators and not token.has(*_TRANSPARENT) and not _is_number(token):
            block = block or "unread"
            unread += 1
        strong = strong or token.has(K.USE, K.WITH, K.RUN, K.ON, K.POLITE)
        verbs.add(token.word)
    if operators and mentions:
        mentions[-1] = _closed(tokens, mentions[-1], operators, block)
    return mentions, bool(operators)


def _ends(tokens: Sequence[Token], mention: int, operator: int, at: int) -> bool:
    """Whether what operators say of the mention before them is complete here: "is not needed | for this data"."""
    token = tokens[at]
    holds = token.has(K.PARAM, K.THING, K.AND, K.OF, K.WITH, K.LIMIT) or not token.has(*_TRANSPARENT)
    if not holds and token.word not in _PREPOSITIONS:
        return False
    if not all(one.has(K.FILL, K.NO, K.NOT, K.PAST, K.USE) or one.word == "=" for one in tokens[mention + 1 : operator]):
        return False
    words = tokens[operator + 1 : at]
    return tokens[operator].word in _STATES or (
        not token.has(K.LIMIT) and any(one.word.endswith("ed") or one.word in _ADJECTIVES for one in words if one.has(K.USE))
    )


_ADJECTIVES: Final = frozenset({"necessary", "mandatory", "welcome", "worthwhile", "helpful", "notig", "erforderlich"})
_PREPOSITIONS: Final = frozenset({"in", "at", "by", "as", "from", "here", "auf", "bei", "en", "a"})


def _is_number(token: Token) -> bool:
    return token.word[0].isdigit()


def _adjacent(tokens: Sequence[Token], operator: int, at: int) -> bool:
    """Whether only describing words stand between a negation and what it negates."""
    between = tokens[operator + 1 : at]
    return not any(one.has(K.OF, K.WITH, K.THAT, K.WHO) for one in between) and not any(
        one.has(K.USE, K.RUN, K.TRAIN) for one in between[1:]
    ) and not (tokens[operator].has(K.NOT) and len(between) > 0 and not between[0].has(*_TRANSPARENT))


def _absorbed(tokens: Sequence[Token], operators: Sequence[int], at: int) -> bool:
    """Whether a thing took the negation on itself: "no labels", "don't use the test set for tuning"."""
    between = tokens[operators[-1] + 1 : at]
    if any(one.has(K.TRAIN) for one in between):
        return False
    thing = next(i for i, one in enumerate(between) if one.has(K.THING))
    if not any(tokens[one].has(K.NOT) for one in operators):
        return not any(one.has(K.USE, K.RUN, K.WHO) for one in between[:thing])
    return any(one.word in ("for", "during", "fur", "para", "pour") for one in between[thing:])


def _trains_with(tokens: Sequence[Token], operator: int, at: int) -> bool:
    """Whether a training with AutoML is refused: "don't train on this data with AutoML"."""
    between = tokens[operator + 1 : at]
    return any(one.has(K.TRAIN) for one in between) and any(one.has(K.WITH) or one.word == "using" for one in between[-3:])


def _operates(tokens: Sequence[Token], at: int, verbs: set[str], mentions: Sequence[_Mention]) -> bool:
    token = tokens[at]
    if token.word in _PARTICLES and not verbs.isdisjoint(_PARTICLES[token.word]):
        return _after_mention(token.word, mentions)
    if token.word in _AS_LAST:
        return at == len(tokens) - 1 and bool(mentions)
    if token.word in ("0", "n") and at and tokens[at - 1].word == "=":
        return True
    if token.word == "free":
        return token.joined and bool(mentions)
    return token.has(*_OPERATORS) or (token.word == "0" and at + 1 < len(tokens) and tokens[at + 1].has(K.TRIALS))


def _part_between(tokens: Sequence[Token], at: int) -> bool:
    """Whether a particle belongs to a parameter: "leave dropout out"."""
    verbs = _PARTICLES.get(tokens[at].word, ())
    for token in reversed(tokens[max(0, at - 8) : at]):
        if token.word in verbs or token.has(*MENTIONS):
            return False
        if token.has(K.PARAM):
            return bool(verbs)
    return False


def _mention(
    tokens: Sequence[Token], at: int, operators: Sequence[int], before: Sequence[_Mention], strong: bool
) -> _Mention:
    token = tokens[at]
    is_plain = token.has(K.PLAIN)
    negative = _is_negative(tokens, operators)
    if not operators and before and not is_plain and before[-1].negated and not before[-1].plain:
        between = tokens[before[-1].at + 1 : at]
        if all(one.has(K.FILL, K.OR, K.AND, K.OF, K.TRIALS, K.WITH, K.BEST) or _is_number(one) for one in between):
            negative = not before[-1].is_on
    if is_plain and not operators and before and before[-1].plain:
        negative = before[-1].is_on
    is_part = not is_plain and negative and _is_part(tokens, at)
    force = Force.PLAIN if strong or operators or negative or _is_imperative(tokens, at) else Force.MENTION
    if is_plain:
        force = Force.MENTION if token.has(K.JUST) and not operators else Force.PLAIN
    return _Mention(
        is_on=(is_plain == negative) or is_part,
        force=Force.MENTION if is_part else force,
        at=at,
        negated=bool(operators) or negative,
        is_part=is_part,
        sampler=token.has(K.SAMPLER),
        plain=is_plain,
    )


def _is_imperative(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    if not token.has(K.TUNE):
        return False
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    has_object = after is not None and after.has(K.PARAM, K.HYPER, K.ALL, K.IT)
    return token.has(K.PARAM) or has_object or token.word in ("tune", "optimize", "optimise") or at == 0


def _is_negative(tokens: Sequence[Token], operators: Sequence[int]) -> bool:
    """Whether operators in this order negate; in doubt two negations are one, said twice."""
    negative, last = False, -1
    for one in operators:
        negative = not (negative and _doubles(tokens, last, one))
        last = one
    return negative


def _doubles(tokens: Sequence[Token], first: int, second: int) -> bool:
    """Whether the second of two operators takes the first back: "don't skip", "not without"."""
    one, other = tokens[first], tokens[second]
    between = tokens[first + 1 : second]
    if one.has(K.OFF):
        is_after = other.word in ("pas", "jamais") or not other.word.isascii()
        return (other.has(K.NOT) and is_after) or (other.has(K.OFF) and other.word.endswith("ing"))
    if any(word.word in _REASONS for word in between) and other.has(K.NOT):
        return True
    if one.word in _INTERJECTIONS and first == 0 and not other.has(K.OFF) and not any(
        word.has(K.USE, K.TRAIN, K.RUN) and word.word not in ("do", "does") for word in between
    ):
        return False
    return other.has(K.OFF) or other.word in _WITHOUT


def _is_part(tokens: Sequence[Token], at: int) -> bool:
    """Whether what is refused is a part or a length of the search: "no tuning of dropout", "don't tune too long"."""
    if tokens[at].has(K.PARAM) or _is_passive(tokens, at):
        return not _any(tokens[at + 1 :], K.ALL, K.HYPER)
    if any(token.has(K.LIMIT) for token in _passing(tokens, at, 4)):
        return True
    rest = tokens[at + 1 :]
    if any(token.has(K.EXCEPT) for token in rest):
        return _any(rest, K.PARAM)
    place = at + 1
    direct = tokens[at].has(K.TUNE)
    while place < len(tokens) and place < at + 8:
        token = tokens[place]
        if token.has(K.PARAM):
            after = tokens[place + 1] if place + 1 < len(tokens) else None
            is_set = after is not None and (after.word in ("=", "at", "to") or _is_number(after))
            return direct and not is_set and not _any(tokens[place:], K.ALL, K.HYPER)
        direct = direct or token.has(K.OF, K.CHANGE)
        if token.has(K.ALL, K.HYPER, K.WITH, K.USE, K.NOW) or not token.has(K.OF, K.FILL, K.CHANGE, K.BEST):
            return False
        place += 1
    return False


def _is_passive(tokens: Sequence[Token], at: int) -> bool:
    """Whether a single parameter is what should not be tuned: "momentum should not be tuned"."""
    if not tokens[at].has(K.TUNE) or not tokens[at].word.endswith("ed"):
        return False
    place = at - 1
    while place > max(0, at - 8) and tokens[place].has(K.FILL, K.NOT):
        place -= 1
    return place >= 0 and tokens[place].has(K.PARAM) and not _any(tokens[:place], K.ALL)


def _passing(tokens: Sequence[Token], at: int, most: int) -> Sequence[Token]:
    """The next tokens as far as a limit may be of the search, one further than the words that lead to it."""
    end = at + 1
    while end < min(len(tokens), at + most) and tokens[end].has(K.FILL, K.OF, K.USE, K.RUN) and not tokens[end].has(K.LIMIT):
        end += 1
    return tokens[at + 1 : end + 1]


def _closed(tokens: Sequence[Token], mention: _Mention, operators: Sequence[int], block: str) -> _Mention:
    """The last mention with the operators that follow it: "AutoML is not needed", "AutoML off".

    Raises:
        _Unsure: what they negate cannot be told.
    """
    first, last = tokens[operators[0]], tokens[operators[-1]]
    if block:
        return _despite(tokens, mention, operators, block)
    negative = _is_negative(tokens, operators)
    if mention.negated:
        between = tokens[: mention.at]
        holds = any(one.word in _HOLDING for one in between) and any(one.has(K.NOT) for one in between)
        flips = last.word in _STATES and len(operators) == 1 and holds and not mention.plain
        return mention._replace(is_on=True) if flips else mention
    if mention.plain and not first.has(K.OFF) and not last.has(K.OFF):
        return mention if not negative else mention._replace(is_on=True, force=Force.PLAIN)
    rest = tokens[operators[-1] + 1 :]
    if first.has(K.OFF) and first.word in ("stop", "stopped", "stopping") and _any(rest, K.LIMIT):
        return mention
    return mention._replace(is_on=mention.plain == negative, force=Force.PLAIN, negated=negative)


def _despite(tokens: Sequence[Token], mention: _Mention, operators: Sequence[int], block: str) -> _Mention:
    """The last mention where what follows negates something else."""
    after = tokens[operators[-1] + 1 :]
    if mention.plain:
        is_enough = tokens[operators[-1]].has(K.NOT) and _any(after, K.ENOUGH)
        return mention._replace(is_on=True) if is_enough else mention
    if block == "thing" or mention.negated or not tokens[operators[-1]].has(K.NOT):
        return mention
    if any(token.has(K.THAT) for token in tokens[mention.at : operators[-1]]):
        return mention
    raise _Unsure


def _refers(tokens: Sequence[Token], clause: Clause) -> list[Statement]:
    """What a clause says of AutoML that names it only as "it", or not at all: "turn it off", "this time don't"."""
    operators = [at for at in range(len(tokens)) if tokens[at].has(*_OPERATORS) or _operates(tokens, at, {t.word for t in tokens[:at]}, ())]
    known = (*_TRANSPARENT, *_OPERATORS)
    unread = [at for at, token in enumerate(tokens) if not token.has(*known)]
    place = next((at for at, token in enumerate(tokens) if token.has(K.IT)), None)
    corrects = _any(tokens, K.CORRECT, K.NOW)
    if _any(tokens, K.LIMIT):
        return []
    if not unread and not operators and _any(tokens, K.HEDGE):
        return [Statement(Says.DOUBT, Force.MENTION, clause)]
    if operators:
        until = len(tokens) if place is None else max(place, operators[-1])
        if any(at <= until for at in unread) or _any(tokens[operators[0] :], K.TRAIN):
            return []
        says = Says.OFF if _is_negative(tokens, operators) else Says.ON
        if _asks(tokens, clause) or _any(tokens, K.HEDGE) or (unread and tokens[operators[-1]].has(K.NOT, K.NO)):
            says = Says.DOUBT
        return [Statement(says, Force.PLAIN, clause, _is_present(tokens), corrects)]
    if unread or not _is_present(tokens) or _asks(tokens, clause) or _any(tokens, K.HEDGE):
        return []
    turns_on = _any(tokens, K.ON) or any(one.word == "on" for one in tokens) and tokens[0].word in ("turn", "switch")
    if _any(tokens, K.YES) or (turns_on and place is not None):
        return [Statement(Says.ON, Force.PLAIN, clause, True, corrects)]
    if place is not None and _any(tokens, K.USE, K.RUN):
        return [Statement(Says.ON, Force.REFERENCE, clause, True, corrects)]
    return []
