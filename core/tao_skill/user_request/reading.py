"""One clause as a statement: what it says of AutoML, how plainly, and of which time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import Final, NamedTuple

from tao_skill.user_request.clauses import Clause
from tao_skill.user_request.mentions import Force, Mention, Unsure, any_of, find, is_number
from tao_skill.user_request.operators import OPERATORS, is_negative, operates
from tao_skill.user_request.tokens import Token
from tao_skill.user_request.vocabulary import Kind, words

K = Kind


class Says(Enum):
    """What a clause says of AutoML."""

    ON = "on"
    OFF = "off"
    DOUBT = "doubt"


class Statement(NamedTuple):
    """What one clause says.

    Attributes:
        is_present: of this run, and not of an earlier or a later one. is_correction: takes back what was said.
        sampler: whether only a way to search is refused. clause: where it stands.
        leaning: what "yes" to it means, where it is a question.
    """

    says: Says
    force: Force
    clause: Clause
    is_present: bool = True
    is_correction: bool = False
    sampler: bool = False
    leaning: Says | None = None


def read(clause: Clause, has_topic: bool) -> list[Statement]:
    """What a clause says, nothing or one thing.

    Args:
        has_topic: whether a clause before it spoke of AutoML, so that "it" may mean that.
    """
    tokens = clause.tokens
    try:
        mentions = find(tokens)
    except Unsure:
        return [Statement(Says.DOUBT, Force.PLAIN, clause, _is_present(tokens))]
    if not mentions:
        return _refers(tokens, clause) if has_topic else []
    return [_statement(tokens, mentions, clause)]


def _statement(tokens: Sequence[Token], mentions: list[Mention], clause: Clause) -> Statement:
    mentions = [_judged(tokens, one) for one in mentions]
    on = [one for one in mentions if one.is_on]
    if on:
        mentions = [
            one for one in mentions if one.is_on or not (one.sampler or (one.plain and one.force < Force.PLAIN))
        ]
    off = [one for one in mentions if not one.is_on]
    force = max(one.force for one in (off or on))
    says = Says.DOUBT if on and off else Says.OFF if off else Says.ON
    leaning, last = says, tokens[-1]
    if clause.begins is K.BREAK:
        force = Force.MENTION
    hedges = (
        any_of(tokens, K.HEDGE)
        or (any_of(tokens, K.OR) and last.has(K.ADJ) and not last.has(K.FILL))
        or (any_of(tokens, K.OR) and any(one.plain for one in mentions) and len(mentions) > 1)
    )
    is_judged = any_of(tokens, K.BAD) and says is Says.ON and force < Force.PLAIN
    if (
        hedges
        or is_judged
        or _asks(tokens, clause, says)
        or (clause.begins is K.BECAUSE and says is not Says.OFF and is_judged)
    ):
        says, force = Says.DOUBT, Force.MENTION
    elif says is Says.ON and force is Force.MENTION and _is_unread_verdict(tokens, on[-1].at):
        says = Says.DOUBT
    elif any_of(tokens, K.ALREADY) and says is Says.ON:
        says, force = Says.DOUBT, Force.MENTION
    return Statement(
        says,
        force,
        clause,
        is_present=clause.begins is K.POLITE
        or (_is_present(tokens) and (clause.begins in (None, K.BREAK) or says is Says.OFF)),
        is_correction=any_of(tokens, K.CORRECT, K.NOW),
        leaning=leaning,
        sampler=all(one.sampler for one in off or on),
    )


def _is_unread_verdict(tokens: Sequence[Token], at: int) -> bool:
    """Whether a word that is not known decides on a mention: "bin the sweep", "I loathe AutoML", "AutoML is evil"."""
    start = at
    while start > 0 and tokens[start - 1].has(K.FILL, K.OF):
        start -= 1
    is_object = start == 1 or (start == 2 and tokens[0].has(K.WHO, K.FILL))
    if is_object and tokens[start - 1].kinds == {K.WORD} and not is_number(tokens[start - 1]):
        return True
    described = 1 if at > 1 and tokens[at - 2].has(K.FILL) else 0
    unread = [one for one in tokens[: at - described] if one.kinds == {K.WORD} and not is_number(one)]
    if unread and tokens[at].has(K.SUBJECT):
        return True
    after = tokens[at + 1 : at + 5]
    if len(after) > 1 and after[0].word == "=" and after[1].kinds == {K.WORD} and not is_number(after[1]):
        return True
    if after and after[0].word != "=" and tokens[at].has(K.SUBJECT, K.TUNE) and at <= 1 and tokens[0].word != "let":
        rest = [one for one in after if not one.has(K.FILL)]
        acts = after[0].kinds == {K.WORD} or (after[0].word in _MODALS and bool(rest) and _is_unknown(rest[0]))
        if acts and not is_number(after[0]):
            return True
    copula = next((i for i, one in enumerate(after) if one.word in _COPULAS or one.word in _SEEMS), None)
    if copula is None:
        return False
    rest = [one for one in after[copula + 1 :] if not one.has(K.FILL)]
    return bool(rest) and rest[0].kinds == {K.WORD}


def _is_unknown(token: Token) -> bool:
    return token.kinds == {K.WORD} or token.word == "wait" or token.has(K.BAD)


_MAY: Final = words("can, could, may, might")
_ELLIPTIC: Final = (
    *(K.FILL, K.USE, K.WITH, K.OF, K.RUN, K.ON, K.IT, K.WHO, K.ALL, K.NOW, K.YES, K.JUST, K.AND, K.OR, K.POLITE),
    *(K.PAST, K.PAST_VERB, K.LATER, K.HEDGE, K.THAT, K.ALREADY, K.ASK, K.CORRECT, K.TRAIN),
)
"""Kinds of words in a clause that leaves out what it is about; it holds nothing else that it might be about."""

_NEVER_MIND: Final = words("never mind, nevermind")
_MODALS: Final = words("stay, stays, remain, remains, would, must, has, have, can, could, should, will, may, shall")
_SEEMS: Final = words("seems, looks, feels, sounds, ist, es, est, sont")


def _judged(tokens: Sequence[Token], mention: Mention) -> Mention:
    """A mention of plain training as turned down where it is called too weak."""
    after = tokens[mention.at + 1 : mention.at + 5]
    place = next((at for at, token in enumerate(after) if token.has(K.BAD)), None)
    if not mention.plain or place is None or not all(token.has(K.FILL, K.PAST) for token in after[:place]):
        return mention
    return mention._replace(is_on=True, force=Force.MENTION)


def _is_present(tokens: Sequence[Token]) -> bool:
    """Whether no earlier or later time is named, or this one is as well."""
    first, last = tokens[0], tokens[-1]
    is_imperative = (
        first.has(K.USE, K.RUN, K.TRAIN, K.POLITE) and not first.has(K.PAST_VERB) and first.word[-3:] != "ing"
    )
    if is_imperative or any_of(tokens, K.NOW):
        return True
    if _describes(tokens):
        return False
    told = any(token.has(K.PAST_VERB) and _acts(tokens, at) for at, token in enumerate(tokens))
    is_before = last.word == "before" or (first.word == "before" and len(tokens) > 1 and tokens[1].has(K.NO, K.WITH))
    return not (told or is_before or any_of(tokens, K.PAST, K.LATER))


def _describes(tokens: Sequence[Token]) -> bool:
    """Whether it is told how something is: "the hyperparameters are not tuned yet"."""
    for at, token in enumerate(tokens[:-2]):
        if token.word in _COPULAS and tokens[at + 1].has(K.NOT):
            rest = [one for one in tokens[at + 2 : at + 6] if not one.has(K.FILL) or one.word == "to"]
            return bool(rest) and rest[0].has(K.TUNE) and rest[0].word.endswith("ed")
    return False


_COPULAS: Final = words("is, are, was, were, s, re, has, have")


def _acts(tokens: Sequence[Token], at: int) -> bool:
    """Whether somebody did it: "I disabled", "we have already tuned"; not "should be disabled"."""
    for token in reversed(tokens[max(0, at - 4) : at]):
        if token.has(K.WHO):
            return True
        if token.word not in ("have", "ve", "had", "also", "even", "just", "already", "never") and not token.has(K.NOT):
            return False
    return False


def _asks(tokens: Sequence[Token], clause: Clause, says: Says = Says.ON) -> bool:
    """Whether a clause is a question, and no request in the form of one: "can AutoML be off?"."""
    if any_of(tokens, K.POLITE) or (says is Says.OFF and tokens[0].word in _MAY):
        return False
    if tokens[0].word == "what" and len(tokens) > 1 and tokens[1].has(K.WHO) and not clause.is_question:
        return False
    return clause.is_question or (tokens[0].has(K.ASK) and not tokens[0].has(K.FILL, K.USE, K.PAST))


def _refers(tokens: Sequence[Token], clause: Clause) -> list[Statement]:
    """What a clause says of AutoML that names it only as "it", or not at all: "turn it off", "this time don't"."""
    written = [token.word for token in tokens]
    operators = [at for at in range(len(tokens)) if operates(tokens, at, written[:at], False)]
    known = (*_ELLIPTIC, *OPERATORS)
    unread = [at for at, token in enumerate(tokens) if not token.has(*known) or token.word == "wait"]
    place = next((at for at, token in enumerate(tokens) if token.has(K.IT)), None)
    corrects = any_of(tokens, K.CORRECT, K.NOW)
    is_without = len(tokens) > 1 and tokens[-2].has(K.NO) and tokens[-1].has(K.IT)
    is_more = any(token.has(K.NOT) and after.has(K.JUST) for token, after in pairwise(tokens))  # not only ...
    if is_more or (tokens[0].word in _NEVER_MIND and len(tokens) > 1):
        return []
    if (
        any_of(tokens, K.LIMIT)
        or (any_of(tokens, K.TRAIN) and not is_without)
        or all(token.word in _LENGTHS for token in tokens)
    ):
        return []
    if not unread and not operators and any_of(tokens, K.HEDGE):
        return [Statement(Says.DOUBT, Force.MENTION, clause)]
    if operators:
        until = len(tokens) if place is None else max(place, operators[-1])
        if any(at <= until for at in unread):
            return []
        says = Says.OFF if is_negative(tokens, operators) else Says.ON
        if _asks(tokens, clause) or any_of(tokens, K.HEDGE) or (unread and tokens[operators[-1]].has(K.NOT, K.NO)):
            says = Says.DOUBT
        return [Statement(says, Force.PLAIN, clause, _is_present(tokens), corrects)]
    if unread or not _is_present(tokens) or _asks(tokens, clause) or any_of(tokens, K.HEDGE):
        return []
    turns_on = any_of(tokens, K.ON) or (
        any(one.word == "on" for one in tokens) and tokens[0].word in ("turn", "switch")
    )
    has_with = tokens[-1].has(K.WITH) and any_of(tokens, K.NOW)
    is_answer = any_of(tokens, K.YES) or (any_of(tokens, K.POLITE) and tokens[-1].word == "do")
    if is_answer or has_with or (turns_on and place is not None):
        return [Statement(Says.ON, Force.PLAIN, clause, True, corrects)]
    if place is not None and any_of(tokens, K.USE, K.RUN):
        return [Statement(Says.ON, Force.REFERENCE, clause, True, corrects)]
    return []


_LENGTHS: Final = words("no longer, not longer, no more, not more")
