"""What several words of a clause are together: a plain training, fixed settings, a search of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tao_skill.user_request.clauses import MENTIONS
from tao_skill.user_request.tokens import Token
from tao_skill.user_request.vocabulary import Kind, words

K = Kind
WINDOW: Final = 8
"""Tokens between the parts of a pattern, at most."""

STRONG_PLAIN: Final = frozenset({K.PLAIN})
WEAK_PLAIN: Final = frozenset({K.PLAIN, K.JUST})
"""A plain training that may also be a way of speaking: "just train it", "a normal training"."""

_STRONG_WORDS: Final = words(
    """plain, simple, direct, vanilla, bare, untuned, unsearched, straight, straightforward, pure, schlichtes,
    direktes, reines, directo, sencillo, 普通, 直接, 单纯, 単純, シンプル"""
)
_SHAPES: Final = words(
    """model, network, st, gcn, stgcn, pose, classification, classifier, skeleton, に, 的, supervised, old, good,
    baseline, の"""
)
_ROMANCE: Final = ("entren", "entrain", "apprentissage")
_UNTUNED: Final = words("un tuned, un searched, untuned, unsearched, unoptimized, unoptimised")
_NOUNS: Final = words(
    """training run, 训练, 学習, トレーニング, 訓練, training, trainings, run, runs, train, job, session, fit,
    pass, lernlauf, trainingslauf"""
)
_MANUAL: Final = words("manual, manually, hand, myself, ourselves, handisch, manuell")
_OTHERS: Final = words("others, alternatives, other ones, better, better ones, more, another")
_SOURCES: Final = words("from, of, per, than")
_BEFORE_OBJECT: Final = words(
    """the, a, an, my, your, our, their, its, this, that, these, all, any, some, of, for, in, on, through, up, to, by,
    and, de, del, la, el, los, las, le, les, des, du, den, die, der, das, dem, im, it, whole, entire, each, every,
    right, wrong, same"""
)
_STUFF: Final = words("stuff, things, business, magic, nonsense, step, part, thing")
_SEVERAL: Final = words("multiple, several, many, various, different, a few")
_RUNS: Final = words("runs, trainings, experiments, jobs, variants, models")
_TIMES: Final = (K.PAST, K.PAST_VERB, K.LATER)
_FIXING: Final = words("these, my, the following, given, default, own, following, below, those")
_ENDS: Final = (
    *(K.FILL, K.OF, K.WITH, K.USE, K.RUN, K.JUST, K.ONCE, K.NO, K.NOT, K.OFF, K.OR, K.AND, K.THAT, K.NOW, K.IT, K.PAST),
    *(
        K.LATER,
        K.HEDGE,
        K.YES,
        K.ENOUGH,
        K.CORRECT,
        K.POLITE,
        K.DIRECTLY,
        K.EXACT,
        K.BAD,
        K.AFTER_NO,
        K.WHO,
        K.ON,
        K.ADJ,
    ),
    *(K.PAST_VERB, K.SETTING, K.ALREADY),
)
"""Kinds that leave "training" an activity; before another noun it only describes: training data."""


def recognize(tokens: Sequence[Token]) -> list[Token]:
    """The tokens, those of a pattern put together or given another kind."""
    found = list(tokens)
    for pattern in _PATTERNS:
        found = pattern(found)
    return found


def _join(tokens: Sequence[Token], kinds: Iterable[Kind]) -> Token:
    word = " ".join(token.word for token in tokens)
    return Token(word, frozenset(kinds), tokens[0].start, tokens[-1].end)


def _ahead(tokens: Sequence[Token], at: int, skip: tuple[Kind, ...], most: int = WINDOW) -> int:
    """Place of the first token from `at` on that is of none of these kinds; the length where there is none."""
    end = min(at + most, len(tokens))
    while at < end and tokens[at].has(*skip):
        at += 1
    return at if at < end else len(tokens)


def _fine_tuning(tokens: list[Token]) -> list[Token]:
    """Fine-tuning of hyperparameters is tuning; of weights it is training."""
    found = []
    for at, token in enumerate(tokens):
        if token.has(K.FINE):
            after = _ahead(tokens, at + 1, (K.OF, K.FILL))
            is_search = after < len(tokens) and tokens[after].has(K.HYPER, K.PARAM, K.ALL)
            token = token._replace(kinds=frozenset({K.TUNE if is_search else K.THING}))
        found.append(token)
    return found


def _hyperparameter_search(tokens: list[Token]) -> list[Token]:
    """Hyperparameters directly before a search name what it searches."""
    found: list[Token] = []
    for token in tokens:
        if found and found[-1].has(K.HYPER) and (token.has(K.TUNE) or token.word in _STUFF):
            found[-1] = _join([found[-1], token], {K.SUBJECT})
        elif found and token.has(K.TUNE, K.SUBJECT, K.SAMPLER) and found[-1].has(K.SUBJECT, K.SAMPLER):
            found[-1] = _join([found[-1], token], found[-1].kinds)
        else:
            found.append(token)
    return found


def _other_search(tokens: list[Token]) -> list[Token]:
    """A search of the web or of files, an optimization of memory, a tuned checkpoint: not of hyperparameters."""
    found = list(tokens)
    for at, token in enumerate(tokens):
        if token.has(K.TUNE) and not token.has(K.PARAM):
            after = next((i for i in range(at + 1, len(tokens)) if tokens[i].word not in _BEFORE_OBJECT), len(tokens))
            if after < len(tokens) and tokens[after].has(K.OTHER):
                found[at] = token._replace(kinds=frozenset({K.THING}))
    return found


def _several_runs(tokens: list[Token]) -> list[Token]:
    """Several runs are trials."""
    found = list(tokens)
    for at, token in enumerate(tokens[:-1]):
        if token.word in _SEVERAL and tokens[at + 1].word in _RUNS:
            found[at] = token._replace(kinds=frozenset({K.TRIALS}))
    return found


def _by_hand(tokens: list[Token]) -> list[Token]:
    """Tuning by hand is no search: who does so trains plainly, who does not says nothing."""
    if not any(token.word in _MANUAL for token in tokens):
        return tokens
    refused = any(token.has(K.NO, K.NOT, K.OFF) for token in tokens)
    kinds = frozenset({K.THING}) if refused else WEAK_PLAIN
    tunes = any(token.has(K.TUNE) for token in tokens)
    done = (K.TUNE,) if tunes or refused else (K.HYPER, K.SETTING)
    return [
        token._replace(kinds=kinds | (token.kinds & {K.PAST_VERB})) if token.has(*done) else token for token in tokens
    ]


def _finding(tokens: list[Token]) -> list[Token]:
    """To find the best settings, to try several learning rates: a search."""
    found = list(tokens)
    seeks = False
    for at, token in enumerate(tokens):
        nouns = tokens[at + 1 : at + 4]
        if token.has(K.BEST) and nouns and any(one.has(K.PARAM, K.HYPER, K.SETTING) for one in nouns):
            has_no = at > 0 and tokens[at - 1].has(K.NO, K.NOT, K.FILL) and tokens[max(0, at - 2)].has(K.NO, K.NOT)
            if seeks or has_no:
                found[at] = token._replace(kinds=frozenset({K.TUNE}))
        elif token.has(K.FIND) and _seeks_others(nouns) and any(one.has(K.NOT) for one in tokens[:at]):
            found[at] = token._replace(kinds=frozenset({K.TUNE}))
        seeks = seeks or token.has(K.FIND)
    return found


def _seeks_others(after: Sequence[Token]) -> bool:
    """Whether others, or a better one, is what is sought."""
    left = [token for token in after if not token.has(K.FILL) or token.has(K.ADJ)]
    is_one = len(left) > 1 and left[0].has(K.BEST) and left[1].word in ("one", "ones")
    return bool(left) and (left[0].word in _OTHERS or is_one)


def _single_parameter(tokens: list[Token]) -> list[Token]:
    """A search of one parameter that is named before it: "lr search"."""
    found: list[Token] = []
    for token in tokens:
        particle = bool(found) and found[-1].has(K.FILL) and not found[-1].word.isascii()
        before = found[-2:-1] if particle else found[-1:]
        if token.has(K.TUNE) and before and before[0].has(K.PARAM) and not before[0].has(K.TUNE):
            count = 2 if particle else 1
            found[-count:] = [_join([*found[-count:], token], {K.TUNE, K.PARAM})]
        else:
            found.append(token)
    return found


def _plain_training(tokens: list[Token]) -> list[Token]:
    """A plain training, one training run; not plain training data."""
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        end = _end_of_plain(tokens, at) or (at + 1 if tokens[at].word in _UNTUNED else 0)
        if end:
            is_strong = not _STRONG_WORDS.isdisjoint(token.word for token in tokens[at:end])
            found.append(_join(tokens[at:end], STRONG_PLAIN if is_strong else WEAK_PLAIN))
        else:
            found.append(tokens[at])
        at = end or at + 1
    return found


def _end_of_plain(tokens: Sequence[Token], at: int) -> int:
    """Where a plain training that begins here ends; 0 if none does."""
    first = tokens[at]
    if first.word.startswith(_ROMANCE) and at + 1 < len(tokens) and tokens[at + 1].has(K.ADJ):
        return at + 2
    if not first.has(K.ADJ) or (first.has(K.FILL) and at and tokens[at - 1].word in _SOURCES):
        return 0
    noun = at + 1
    while noun < min(at + 5, len(tokens)) and (tokens[noun].has(K.ADJ, K.AND) or tokens[noun].word in _SHAPES):
        noun += 1
    if noun >= len(tokens) or not (tokens[noun].word in _NOUNS or tokens[noun].word.startswith(_ROMANCE)):
        return 0
    end = noun + 1
    while end < len(tokens) and tokens[end].word in _NOUNS:
        end += 1
    if end == len(tokens) or tokens[end].has(*_ENDS, *MENTIONS) or _is_setting(tokens, end):
        return end
    is_strong = any(token.word in _STRONG_WORDS for token in tokens[at:noun])
    return end if is_strong and tokens[end].kinds == {K.WORD} and end + 1 == len(tokens) else 0


def _is_setting(tokens: Sequence[Token], at: int) -> bool:
    """Whether a number, or a parameter with its value, follows: "plain training lr 0.1"."""
    after = tokens[at + 1 : at + 2]
    is_value = bool(after) and (after[0].word == "=" or after[0].word[:1].isdigit())
    return tokens[at].word[:1].isdigit() or (tokens[at].has(K.PARAM) and is_value)


def _just_train(tokens: list[Token]) -> list[Token]:
    """Just train, train once, train directly."""
    found = list(tokens)
    trained, just = -WINDOW * 2, -WINDOW
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        is_activity = after is None or not after.has(K.THING, K.OTHER)
        if token.has(K.RUN) and token.word in ("fit", "run") and not any(one.has(*MENTIONS) for one in tokens):
            trained = at
        if token.has(K.TRAIN) and is_activity:
            trained = at
            if just >= at - 4 and not token.word.endswith("ed"):
                found[at] = token._replace(kinds=WEAK_PLAIN)
        elif token.has(K.PLAIN):
            trained = at
        if token.has(K.TRAIN, K.RUN) and after is None and any(one.has(K.EXACT) for one in tokens[max(0, at - 3) : at]):
            found[at] = token._replace(kinds=WEAK_PLAIN)
        if token.has(K.JUST) and after is None and trained >= 0 and _is_near(tokens, trained, at):
            found[trained] = tokens[trained]._replace(kinds=WEAK_PLAIN)
        if token.has(K.JUST):
            just = at
        elif not token.has(K.FILL, K.USE, K.IT, K.WHO, K.ONCE, K.DIRECTLY, K.OF, K.ADJ):
            just = -WINDOW
        if token.has(K.ONCE, K.DIRECTLY) and _modifies(tokens, at):
            ahead = _ahead(tokens, at + 1, (K.FILL,), 4)
            follows = ahead < len(tokens) and tokens[ahead].has(K.TRAIN)
            if follows or at - trained <= 2 * WINDOW or (token.has(K.ONCE) and _alone(tokens)):
                found[at] = token._replace(kinds=STRONG_PLAIN)
    return found


def _is_near(tokens: Sequence[Token], trained: int, at: int) -> bool:
    return all(token.has(K.FILL, K.IT, K.JUST) for token in tokens[trained + 1 : at])


def _all_but_training(tokens: list[Token]) -> list[Token]:
    """To skip everything but the training: that is a plain one."""
    for at, token in enumerate(tokens):
        after = _ahead(tokens, at + 1, (K.FILL,))
        is_alone = token.has(K.EXCEPT) and after == len(tokens) - 1 and tokens[after].has(K.TRAIN)
        if is_alone and any(one.has(K.OFF, K.NO, K.NOT) for one in tokens[:at]):
            return [*(_silent(one) for one in tokens[:at]), token, tokens[after]._replace(kinds=WEAK_PLAIN)]
    return tokens


def _alone(tokens: Sequence[Token]) -> bool:
    return all(token.has(K.ONCE, K.FILL, K.JUST, K.POLITE, K.IT, K.RUN) for token in tokens)


def _modifies(tokens: Sequence[Token], at: int) -> bool:
    """Whether "once" says how often, and does not begin a clause ("once the data is there")."""
    if tokens[at].word != "once" or at + 1 == len(tokens):
        return True
    after = tokens[at + 1]
    if after.word in ("more", "again", "per", "a", "the", "this", "these", "it", "that", "all", "you", "we", "i", "my"):
        return False
    return after.has(K.WITH, K.OF, K.AND, K.JUST, K.POLITE, K.NO, K.USE, K.TRAIN, K.FILL, K.OR, K.NOT, K.NOW, K.EXACT)


def _fixed_settings(tokens: list[Token]) -> list[Token]:
    """Exactly my settings, fixed hyperparameters, what a search found: nothing is left to search."""
    found = list(tokens)
    for at, token in enumerate(tokens):
        if token.has(K.ALL) and any(one.has(K.EXACT) for one in tokens[at : at + 5]) and not _searched(tokens):
            found[at] = token._replace(kinds=WEAK_PLAIN)
        if not token.has(K.SETTING, K.HYPER):
            continue
        near = tokens[max(0, at - 5) : at + 6]
        before, after = tokens[max(0, at - 4) : at], tokens[at + 1 : at + 2 * WINDOW]
        is_only = tokens[-1].has(K.JUST) or any(one.has(K.JUST) for one in tokens[max(0, at - 2) : at])
        is_fixed = any(one.has(K.EXACT) for one in near) or (is_only and not _searched(tokens))
        has_source = bool(after) and (after[0].word in ("from", "in") or after[0].has(K.OF)) and _is_used(before)
        is_given = token.has(K.HYPER) and (
            has_source or any(one.word in _FIXING or one.has(K.PAST_VERB) for one in before)
        )
        is_found = any(one.has(K.RESULT, K.OF) or one.word == "from" for one in after[:3]) and _past_search(after)
        is_kept = any(one.has(K.NO, K.NOT) for one in tokens[max(0, at - 7) : at]) and any(
            one.has(K.CHANGE) for one in before
        )
        if is_kept:
            found = [_silent(one) if _is_near_no(i, at, one) else one for i, one in enumerate(found)]
        if is_fixed or is_kept or is_found or (is_given and not _searched(tokens)):
            is_strong = is_found or ((is_fixed or is_kept) and not any(one.has(*MENTIONS) for one in tokens))
            kinds = STRONG_PLAIN if is_strong else WEAK_PLAIN
            found[at] = token._replace(kinds=kinds)
        if is_found:
            found[at + 1 :] = [_silent(one) if one.has(*MENTIONS, *_TIMES) else one for one in found[at + 1 :]]
    return found


def _is_used(before: Sequence[Token]) -> bool:
    return any(token.has(K.USE, K.WITH) for token in before)


def _silent(token: Token) -> Token:
    return token._replace(kinds=frozenset({K.FILL}))


def _past_search(after: Sequence[Token]) -> bool:
    return any(
        one.has(*MENTIONS) or (one.has(K.PAST) and one.word.endswith(("search", "sweep", "hpo", "automl", "tuning")))
        for one in after
    )


def _is_near_no(place: int, at: int, token: Token) -> bool:
    return at - 7 <= place < at and token.has(K.NO, K.NOT)


def _searched(tokens: Sequence[Token]) -> bool:
    return any(one.has(*MENTIONS, K.FIND, K.CHANGE) for one in tokens)


_PATTERNS: Final[tuple[Callable[[list[Token]], list[Token]], ...]] = (
    _fine_tuning,
    _hyperparameter_search,
    _other_search,
    _several_runs,
    _by_hand,
    _finding,
    _single_parameter,
    _plain_training,
    _just_train,
    _all_but_training,
    _fixed_settings,
)
