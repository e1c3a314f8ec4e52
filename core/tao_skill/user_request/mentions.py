"""Where a clause speaks of AutoML or of plain training, and whether it is for or against a search there."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Literal, NamedTuple

from tao_skill.user_request.clauses import MENTIONS
from tao_skill.user_request.operators import (
    TRANSPARENT,
    WITHOUT,
    absorbed,
    adjacent,
    doubles,
    is_negative,
    is_state,
    operates,
    part_between,
    trains_with,
)
from tao_skill.user_request.tokens import Token
from tao_skill.user_request.vocabulary import Kind, words

K = Kind


class Force(IntEnum):
    """How plainly something is said."""

    PART = -1
    MENTION = 0
    REFERENCE = 1
    PLAIN = 2


class Mention(NamedTuple):
    """AutoML, a search or a plain training in a clause.

    Attributes:
        is_on: whether a search is asked for, or a plain training refused. at: place of its token.
        negated: whether a negation was read for it. sampler: one way to search. plain: a plain training.
    """

    is_on: bool
    force: Force
    at: int
    negated: bool = False
    sampler: bool = False
    plain: bool = False


class Unsure(Exception):
    """A negation stands in a clause that speaks of tuning, and what it negates cannot be told."""


def any_of(tokens: Sequence[Token], *kinds: Kind) -> bool:
    """Whether a token may be of one of these kinds."""
    return any(token.has(*kinds) for token in tokens)


def is_number(token: Token) -> bool:
    """Whether it begins with a digit."""
    return token.word[:1].isdigit()


def find(tokens: Sequence[Token]) -> list[Mention]:
    """The mentions of a clause, in order.

    Raises:
        Unsure: see there.
    """
    scan = _Scan(tokens)
    for at, token in enumerate(tokens):
        if token.has(K.PLAIN, *MENTIONS):
            scan.meet(at)
        elif operates(tokens, at, scan.verbs, bool(scan.mentions)):
            scan.operate(at)
        else:
            scan.go_on(at)
        scan.verbs.add(token.word)
        turns_on = token.word == "on" and not _TURNING.isdisjoint(scan.verbs)
        is_wish = turns_on or token.word in _LIMITING or token.has(K.USE, K.WITH, K.RUN, K.ON, K.POLITE)
        scan.is_strong = scan.is_strong or is_wish
    scan.close()
    if scan.mentions and tokens[-1].word == "on" and not _TURNING.isdisjoint(scan.verbs):
        scan.mentions[-1] = scan.mentions[-1]._replace(force=Force.PLAIN)
    return scan.mentions


class _Scan:
    """A clause read from left to right.

    Attributes:
        operators: negations that have not met what they negate. block: what came in between, if anything did.
        unread: how many unknown words did. verbs: all words so far. is_strong: whether a verb of using was among them.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.mentions: list[Mention] = []
        self.operators: list[int] = []
        self.block: Literal["", "thing", "unread"] = ""
        self.unread = 0
        self.verbs: set[str] = set()
        self.is_strong = False

    def meet(self, at: int) -> None:
        """A mention takes the operators before it."""
        if self.block == "unread" and (self.unread > 2 or not adjacent(self.tokens, self.operators[-1], at)):
            raise Unsure
        if self.block == "thing":
            if absorbed(self.tokens, self.operators, at):
                self._forget()
            elif not trains_with(self.tokens, self.operators[-1], at):
                raise Unsure
        self.mentions.append(_mention(self.tokens, at, self.operators, self.mentions[-1:], self.is_strong))
        self._forget()

    def operate(self, at: int) -> None:
        """An operator waits for what it negates; those before it that it does not double are done."""
        if part_between(self.tokens, at):
            return
        if self.block:
            self._forget()
        elif self.operators and (self._is_said(at) or not doubles(self.tokens, self.operators[-1], at)):
            self.close(keep=True)
        self.operators.append(at)

    def go_on(self, at: int) -> None:
        """Another word may end what an operator says, or come between it and what it negates."""
        token, mention = self.tokens[at], self.mentions[-1] if self.mentions else None
        if token.has(K.AFTER_NO) and mention is not None and mention.at == at - 1:
            self.mentions[-1] = mention._replace(is_on=not mention.is_on, force=Force.PLAIN, negated=True)
        elif not self.operators:
            return
        elif mention is not None and not self.block and _ends(self.tokens, mention.at, self.operators[-1], at):
            self.close()
        elif token.has(K.LIMIT, K.PARAM):
            self._forget()
            self.is_strong = self.is_strong and not token.word.startswith("wait")
        elif token.has(K.THING) and self._is_resource(at + 1):
            return
        elif token.has(K.THING):
            self.block = self.block or "thing"
        elif not token.has(*TRANSPARENT) and not is_number(token):
            self.block = self.block or "unread"
            self.unread += 1

    def _is_said(self, at: int) -> bool:
        """Whether a mention has its negation, so that another is of something else: "is not needed without ..."."""
        return bool(self.mentions) and self.tokens[at].word in WITHOUT

    def _is_resource(self, at: int) -> bool:
        """Whether a means to search is named there: "no GPU budget for tuning"."""
        return at < len(self.tokens) and self.tokens[at].word.partition(" ")[0] in _RESOURCES

    def close(self, *, keep: bool = False) -> None:
        """The last mention takes the operators that follow it; without one they are kept if wanted."""
        if self.operators and self.mentions:
            self.mentions[-1] = _closed(self.tokens, self.mentions[-1], self.operators, self.block)
            self._forget()
        elif not keep:
            self._forget()

    def _forget(self) -> None:
        self.operators, self.block, self.unread = [], "", 0


def _ends(tokens: Sequence[Token], mention: int, operator: int, at: int) -> bool:
    """Whether what operators say of the mention before them is complete here: "is not needed | for this data"."""
    token = tokens[at]
    holds = token.has(K.PARAM, K.THING, K.AND, K.OF, K.WITH, K.LIMIT) or not token.has(*TRANSPARENT)
    if not holds and token.word not in _PREPOSITIONS:
        return False
    if not all(
        one.has(K.FILL, K.NO, K.NOT, K.PAST, K.USE) or one.word == "=" for one in tokens[mention + 1 : operator]
    ):
        return False
    after = tokens[operator + 1 : at]
    is_value = operator > 0 and tokens[operator - 1].word == "="
    return (
        is_value
        or is_state(tokens[operator])
        or (
            not token.has(K.LIMIT)
            and any(one.word.endswith("ed") or one.word in _ADJECTIVES for one in after if one.has(K.USE))
        )
    )


_ADJECTIVES: Final = words("necessary, mandatory, welcome, worthwhile, helpful, notig, erforderlich")
_PREPOSITIONS: Final = words("in, at, by, as, from, here, auf, bei, en, a")


def _mention(
    tokens: Sequence[Token], at: int, operators: Sequence[int], before: Sequence[Mention], strong: bool
) -> Mention:
    token = tokens[at]
    is_plain = token.has(K.PLAIN)
    negative = is_negative(tokens, operators)
    if not operators and before and not is_plain and before[-1].negated and not before[-1].plain:
        between = tokens[before[-1].at + 1 : at]
        if all(
            one.has(K.FILL, K.OR, K.AND, K.OF, K.TRIALS, K.WITH, K.BEST, K.ALL) or is_number(one) for one in between
        ):
            negative = not before[-1].is_on
    if is_plain and not operators and before and before[-1].plain:
        negative = before[-1].is_on
    is_part = not is_plain and negative and (_is_part(tokens, at) or _stops_later(tokens, operators, at))
    force = Force.PLAIN if strong or operators or negative or _is_imperative(tokens, at) else Force.MENTION
    if is_plain:
        force = Force.MENTION if token.has(K.JUST) and not operators else Force.PLAIN
    return Mention(
        is_on=(is_plain == negative) or is_part,
        force=Force.PART if is_part else force,
        at=at,
        negated=bool(operators) or negative,
        sampler=token.has(K.SAMPLER),
        plain=is_plain,
    )


def _is_imperative(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    if not token.has(K.TUNE):
        return False
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    has_object = after is not None and after.has(K.PARAM, K.HYPER, K.ALL, K.IT)
    return token.has(K.PARAM) or has_object or token.word in _COMMANDS or (at == 0 and token.word[-3:] != "ing")


def _is_part(tokens: Sequence[Token], at: int) -> bool:
    """Whether what is refused is a part or a length of the search: "no tuning of dropout", "don't tune too long"."""
    if tokens[at].has(K.PARAM) or _is_passive(tokens, at):
        return not any_of(tokens[at + 1 :], K.ALL, K.HYPER)
    if any(token.has(K.LIMIT) for token in _passing(tokens, at, 4)):
        return True
    rest = tokens[at + 1 :]
    if any(token.has(K.EXCEPT) for token in rest):
        return any_of(rest, K.PARAM)
    place = at + 1
    direct = tokens[at].has(K.TUNE)
    while place < len(tokens) and place < at + 8:
        token = tokens[place]
        if token.has(K.PARAM):
            after = tokens[place + 1] if place + 1 < len(tokens) else None
            is_set = after is not None and (after.word in ("=", "at", "to") or is_number(after))
            return direct and not is_set and not any_of(tokens[place:], K.ALL, K.HYPER)
        direct = direct or token.has(K.OF, K.CHANGE)
        if token.has(K.ALL, K.HYPER, K.WITH, K.USE, K.NOW) or not token.has(K.OF, K.FILL, K.CHANGE, K.BEST):
            return False
        place += 1
    return False


def _stops_later(tokens: Sequence[Token], operators: Sequence[int], at: int) -> bool:
    """Whether a search is only to stop some time: "stop the search after 10 trials"."""
    stops = any(tokens[one].word in _STOPPING for one in operators)
    return stops and any(token.word in _EARLY for token in tokens[at + 1 : at + 3])


def _is_passive(tokens: Sequence[Token], at: int) -> bool:
    """Whether a single parameter is what should not be tuned: "momentum should not be tuned"."""
    if not tokens[at].has(K.TUNE) or not tokens[at].word.endswith("ed"):
        return False
    place = at - 1
    while place > max(0, at - 8) and tokens[place].has(K.FILL, K.NOT):
        place -= 1
    return place >= 0 and tokens[place].has(K.PARAM) and not any_of(tokens[:place], K.ALL)


def _passing(tokens: Sequence[Token], at: int, most: int) -> Sequence[Token]:
    """The next tokens as far as a limit may be of the search, one further than the words that lead to it."""
    end = at + 1
    while (
        end < min(len(tokens), at + most)
        and tokens[end].has(K.FILL, K.OF, K.USE, K.RUN)
        and not tokens[end].has(K.LIMIT)
    ):
        end += 1
    return tokens[at + 1 : end + 1]


def _closed(tokens: Sequence[Token], mention: Mention, operators: Sequence[int], block: str) -> Mention:
    """The last mention with the operators that follow it: "AutoML is not needed", "AutoML off".

    Raises:
        Unsure: what they negate cannot be told.
    """
    first, last = tokens[operators[0]], tokens[operators[-1]]
    if block:
        return _despite(tokens, mention, operators, block)
    negative = is_negative(tokens, operators)
    if mention.negated:
        between = tokens[: mention.at]
        holds = any(one.word in _HOLDING for one in between) and any(one.has(K.NOT) for one in between)
        flips = is_state(last) and len(operators) == 1 and holds and not mention.plain
        return mention._replace(is_on=True) if flips else mention
    if mention.plain:
        is_its = all(token.has(K.FILL, K.PAST) for token in tokens[mention.at + 1 : operators[0]])
        flips = negative and is_its and (first.has(K.NOT) or last.has(K.OFF))
        return mention._replace(is_on=True, force=Force.PLAIN) if flips else mention
    return mention._replace(is_on=mention.plain == negative, force=Force.PLAIN, negated=negative)


def _despite(tokens: Sequence[Token], mention: Mention, operators: Sequence[int], block: str) -> Mention:
    """The last mention where what follows negates something else."""
    after = tokens[operators[-1] + 1 :]
    if mention.plain:
        is_enough = tokens[operators[-1]].has(K.NOT) and any_of(after, K.ENOUGH)
        return mention._replace(is_on=True) if is_enough else mention
    if block == "thing" or mention.negated or not tokens[operators[-1]].has(K.NOT):
        return mention
    is_aside = tokens[0].word in _FRONTED and mention.at <= 3
    if is_aside or any(token.has(K.THAT) for token in tokens[mention.at : operators[-1]]):
        return mention
    raise Unsure


_HOLDING: Final = words(
    """turn, switch, keep, leave, leaving, want, wants, need, have, like, set, shut, see, turned, switched,
    kept, quiero, veux, mochte, schalte"""
)
_STOPPING: Final = words("stop, stopped, stopping")
_EARLY: Final = words("early, after, once, at, when")
_RESOURCES: Final = words("budget, time, compute, resources, capacity, hardware, power, hours, need, reason")
_COMMANDS: Final = words("tune, optimize, optimise")
_TURNING: Final = words("turn, switch, keep, leave, put, set")
_LIMITING: Final = words("limit, restrict, constrain, narrow, cap, shorten")
_FRONTED: Final = words("during, for, in, while, with")
