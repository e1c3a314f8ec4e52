"""All clauses of a request together: off, auto or unclear, with the words that decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from tao_skill.user_request.clauses import MENTIONS, Clause, split
from tao_skill.user_request.mentions import Force
from tao_skill.user_request.patterns import recognize
from tao_skill.user_request.reading import Says, Statement, read
from tao_skill.user_request.tokens import normalize, tokens
from tao_skill.user_request.vocabulary import Kind, words

K = Kind
MOST_CHARACTERS: Final = 50_000
"""Of a request that are read; what goes on after them may hold anything, and is unclear."""

Outcome = Literal["off", "auto", "unclear"]


class Verdict(NamedTuple):
    """What a request says about AutoML, and its words that say so; none for auto."""

    outcome: Outcome
    words: str = ""


def judge(request: str) -> Verdict:
    """What a request says about AutoML; any text is read, in linear time."""
    text = normalize(request[:MOST_CHARACTERS])[:MOST_CHARACTERS]
    clauses = [clause._replace(tokens=recognize(clause.tokens)) for clause in split(tokens(text))]
    statements = _statements(clauses)
    outcome, deciding = _weigh(statements)
    if deciding is not None:
        return Verdict(outcome, _quote(text, deciding.clause))
    return Verdict("unclear", text) if len(request) > MOST_CHARACTERS else Verdict("auto")


def _quote(text: str, clause: Clause) -> str:
    return " ".join(text[clause.tokens[0].start : clause.tokens[-1].end].split())


def _statements(clauses: Sequence[Clause]) -> list[Statement]:
    """What the clauses say one after another; each may refer to those before it, or make one conditional."""
    found: list[Statement] = []
    has_topic = is_corrected = False
    is_elsewhen = -1
    for at, clause in enumerate(clauses):
        before = clauses[at - 1] if at else None
        if clause.only(*_ASIDE) and clause.has(K.CORRECT):
            is_corrected = True
            continue
        if _is_lone_no(clause):
            if has_topic and _answers(before, found):
                was_off = before is not None and before.is_question and found[-1].leaning is Says.OFF
                found.append(Statement(Says.ON if was_off else Says.OFF, Force.PLAIN, clause))
            is_corrected = True
            continue
        said = read(clause, has_topic)
        if not has_topic and before is not None and before.sentence == clause.sentence and _is_refusal(before):
            said = [one._replace(says=Says.DOUBT) if one.force is Force.MENTION else one for one in said]
        if found and before is not None and before.is_question and _is_yes(clause):
            said = [one._replace(says=found[-1].leaning or one.says) for one in said]
        said = [one._replace(is_correction=one.is_correction or is_corrected) for one in said]
        if clause.begins is K.OR:
            said = [one._replace(says=Says.DOUBT, is_present=True) for one in said]
        elif clause.begins in _CONDITIONS:
            if before is not None and before.sentence == clause.sentence and not _is_polite(clause):
                found[-1:] = [_conditional(one, before, clause) for one in found[-1:]]
            said = [one._replace(is_present=False) for one in said if one.says is not Says.ON]
        elif before is not None and before.begins in _CONDITIONS and before.sentence == clause.sentence:
            is_first = at < 2 or clauses[at - 2].sentence != clause.sentence
            if is_first and not _is_polite(before):
                said = [_conditioned(one, before) for one in said]
        if clause.only(K.PAST, K.FILL, K.LATER) and clause.has(K.PAST, K.LATER):
            is_elsewhen = clause.sentence
        elif is_elsewhen == clause.sentence:
            said = [one._replace(is_present=False) for one in said]
        found += said
        if not said and before is not None and _is_all(clause, before):
            found.append(Statement(Says.OFF, Force.MENTION, clause))
        has_topic = has_topic or clause.has(*MENTIONS)
        is_corrected = False
    return found


_NOTHING_ELSE: Final = words("nothing else, nothing more, nothing, more, that is all, thats all")
_ASIDE: Final = (K.CORRECT, K.FILL, K.POLITE, K.NO, K.JUST)
_CONDITIONS: Final = (K.IF, K.ONLY_IF)
_INTERJECTIONS: Final = words("no, nope, nah, nay, nein, non, never")


def _is_yes(clause: Clause) -> bool:
    agrees = clause.has(K.YES) or (clause.has(K.POLITE) and clause.tokens[-1].word == "do")
    return agrees and not clause.has(K.NO, K.NOT, K.OFF, *MENTIONS)


def _is_refusal(clause: Clause) -> bool:
    """Whether something is refused without a name: "not now"."""
    return len(clause.tokens) > 1 and clause.has(K.NOT) and clause.only(K.NOT, K.NOW, K.FILL, K.USE, K.WHO)


def _is_all(clause: Clause, before: Clause) -> bool:
    """Whether nothing but the training before it is asked for: "training, nothing else"."""
    is_end = all(token.word in _NOTHING_ELSE for token in clause.tokens)
    return is_end and before.has(K.TRAIN) and before.only(K.TRAIN, K.FILL, K.IT, K.USE, K.JUST, K.RUN)


def _is_lone_no(clause: Clause) -> bool:
    left = [token.word for token in clause.tokens if not token.has(K.FILL, K.CORRECT)]
    return bool(left) and all(word in _INTERJECTIONS for word in left)


def _answers(before: Clause | None, found: Sequence[Statement]) -> bool:
    """Whether a lone "no" answers the question, or refuses what was only named, before it."""
    if before is None or not found or found[-1].clause is not before:
        return False
    return before.is_question or (found[-1].says is not Says.OFF and found[-1].force is Force.MENTION)


def _is_polite(clause: Clause) -> bool:
    """Whether a condition is a way of speaking: "if you like", "if you want to run a search"."""
    if clause.begins is not K.IF or clause.has(K.BAD):
        return False
    return clause.only(K.FILL, K.WHO, K.IT, K.USE, K.POLITE, K.NOT, K.RUN, K.PAST, K.ON, K.WITH, K.GOOD, *MENTIONS)


def _conditional(statement: Statement, stated: Clause, condition: Clause) -> Statement:
    """A statement with the condition that follows it; a search that is asked for stays so, unless only if."""
    is_only = condition.begins is K.ONLY_IF or stated.has(K.JUST)
    if statement.clause is not stated or (statement.says is Says.ON and not is_only):
        return statement
    return statement._replace(says=Says.DOUBT)


def _conditioned(statement: Statement, condition: Clause) -> Statement:
    """A statement with the condition that stands before it; "if you search, use TPE" has none of its own."""
    if statement.says is Says.ON and condition.has(*MENTIONS):
        return statement
    return statement._replace(says=Says.DOUBT)


def _weigh(statements: Sequence[Statement]) -> tuple[Outcome, Statement | None]:
    """The outcome of all statements, and the one that decided."""
    state: Statement | None = None
    for one in statements:
        if one.is_present:
            state = one if state is None else _after(state, one)
    if state is None:
        state = next((one for one in statements if one.says is not Says.ON or one.clause.has(K.LATER)), None)
        return ("auto", None) if state is None else ("unclear", state)
    outcomes: dict[Says, Outcome] = {Says.OFF: "off", Says.ON: "auto", Says.DOUBT: "unclear"}
    return outcomes[state.says], None if state.says is Says.ON else state


def _after(state: Statement, one: Statement) -> Statement:
    """What holds when another statement follows; against a refusal only a plain correction does."""
    if state.says is one.says:
        return one if one.force > state.force else state
    if one.is_correction and (one.force is Force.PLAIN or one.says is Says.OFF) and one.says is not Says.DOUBT:
        return one
    rule = _RULES[state.says, one.says]
    return rule(state, one)


def _doubt_follows(state: Statement, one: Statement) -> Statement:
    return state if state.says is Says.OFF and state.force is Force.PLAIN else one


def _doubt_goes(state: Statement, one: Statement) -> Statement:
    """A question is answered by what follows; a negation that could not be read stays."""
    is_answer = one.says is Says.OFF or (state.force is Force.MENTION and one.force > Force.MENTION)
    return one if is_answer else state


def _on_after_off(state: Statement, one: Statement) -> Statement:
    return _against(off=state, on=one)


def _off_after_on(state: Statement, one: Statement) -> Statement:
    return _against(off=one, on=state)


def _against(*, off: Statement, on: Statement) -> Statement:
    """What holds of a refusal and a wish for a search in one request."""
    if off.sampler and (on.force is Force.PLAIN or on.sampler):
        return on
    if on.force is not off.force:
        return off if off.force > on.force else on
    first, last = sorted((off, on), key=lambda one: one.clause.tokens[0].start)
    both = first.clause._replace(tokens=[*first.clause.tokens, *last.clause.tokens])
    return Statement(Says.DOUBT, Force.PLAIN, both)


_RULES: Final[dict[tuple[Says, Says], Callable[[Statement, Statement], Statement]]] = {
    (Says.ON, Says.DOUBT): _doubt_follows,
    (Says.OFF, Says.DOUBT): _doubt_follows,
    (Says.DOUBT, Says.ON): _doubt_goes,
    (Says.DOUBT, Says.OFF): _doubt_goes,
    (Says.OFF, Says.ON): _on_after_off,
    (Says.ON, Says.OFF): _off_after_on,
}
