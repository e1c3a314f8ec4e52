"""Judges a request: off, auto or unclear about AutoML, with the words that decided.

Each clause is a string of letters (see `lexicon`). `_REDUCTIONS` merge letters that belong together, the first matching
rule of `_RULES` gives the meaning of the clause, and `judge` combines the clauses. A negation near a search that no
rule resolves is a doubt, never a wish.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Final, Literal, NamedTuple

from tao_skill.planning.user_request.clauses import Clause, normalize, split

MAX_CHARACTERS: Final = 20_000
"""Characters of a request that are read; a longer request is unclear unless it is off."""

Outcome = Literal["off", "auto", "unclear"]
Meaning = Literal["off", "weak off", "plain", "on", "named", "part", "doubt", "ask", "ask off", ""]
"""Meaning of a clause; empty if it is not about AutoML.

weak off: a particular sampler is refused; plain: a plain training is requested; named: AutoML is only mentioned;
part: a part of the search is refused; ask, ask off: a question or judgement that a later clause may answer.
"""

_REFUSALS: Final[tuple[Meaning, ...]] = ("off", "weak off", "plain")
_QUESTIONS: Final[tuple[Meaning, ...]] = ("ask", "ask off")


class Verdict(NamedTuple):
    """The outcome of a request, and the words that decided; empty for auto."""

    outcome: Outcome
    words: str = ""


class _Statement(NamedTuple):
    meaning: Meaning
    clause: Clause
    is_correction: bool = False


_REDUCTIONS: Final = [
    (re.compile(pattern), letters)
    for pattern, letters in (
        (r"RD", "D"),  # training data
        (r"P[.pO]*#|(?<!^)q|[.#]", ""),  # lr 0.1 sets a value and is not searched
        (r"^n(?=O?N)|(?<=[nN])n|n(?=N)", ""),  # "no, don't"; "don't want no"
        (r"XpH|HX", "T"),  # fine-tuning of the hyperparameters
        (r"Tp*f", "X"),  # search the folder
        (r"[vO]?B*H[STgL]?y[STgL]*", "h"),  # the hyperparameters found by the last search
        (r"[vONnk]B+[HP]+|v+p?[HP]+|TpB+[HP]+", "T"),  # find the best lr
        (r"H+T|Tp*H|TU?p*P+[po]*A(?!C)|T[Ap]+(?!C)", "T"),  # hyperparameter tuning, tuning of lr or anything
        (r"[Fs]?A?CR", "G"),  # nothing but training
        (r"G[pO]*D|RED", "D"),  # train only on class 3, train once the data is there
        (r"((?<![STg])[nkNFl]O?|t)(J+[Rr]|G|U[Rr]|R[EU])(?![pw]*[STg])", "D"),  # not a plain training
        (r"[Nnk]e(?!p*[O]*[STg])", "d"),  # no time; "no time for AutoML" stays
        (r"t", "n"),
        (r"(?<=[nkNF])O*P+p[STg]|(?<=[nNkF]O)P+p[STg]", "V"),  # momentum in the search
        (r"^P+O?NO*T", "NV"),  # momentum must not be tuned
        (r"j[STg][^NFkns]*([lPV]|Z(?!A))|NTp*l", "V"),  # don't let the search take longer
        (r"^[OrRv]*[STg]k[Pl]+$", "V"),  # a search without momentum
        (r"P+U?x[STg]|P+T|[TS]U?p[Up]*P+|TU?P+|ZP+", "V"),  # tune lr: V is a search of some parameters
        (r"(?<![STg])[Fs]U?[DX]|[DX][Fs]", "f"),  # something else is disabled
        (r"[Nnkl]u?u?[DX]|(?<![STg])[Nnk]O[pu]?[DX]", "d"),  # something else is refused
        (r"[DX]", "D"),
        (r"NF(?=[STg])|[Nn][OrR]?[ORr]?k(?=[STg])|^FN(?=[STg])", "+"),  # don't skip, don't train without
        (r"NO?([STg])s|([STg])O*N[sF]", r"+\1\2"),  # don't turn AutoML off, AutoML must not be off
        (r"p(?![STg])|(?<![df])p|w(?![STg])", ""),
        (r"[nkj]", "N"),
        (r"s", "F"),
    )
]

_TABLE: Final[tuple[tuple[str, Meaning], ...]] = (
    (r"^[^STgVJEGRHAUhma]*$", ""),
    # double negations, parts and limits of a search
    (r"\+.*[NF]|[NF].*\+|[NF].*[STg]&?V|V.*[NF].*[STg]|[df][wp]+[STg]", "doubt"),
    (r"\+", "on"),
    (r"[NF][^STg]*V|V.*[NF]|[NF].*[STg].*C.*P|T.*[NA].*C.*P|N[^STg]*[TH]m", "part"),
    (r"N[^STgNF]*l[^NF]*[STg]|^[^N]*gNg", "on"),
    (r"[NF].*[STg].*l|[OrR].*[STg].*N.*[ST]|(J[Rr]|G)wT", "doubt"),
    # questions and doubts
    (r"^[^NF]*i[^NF]*[STgV][^NF]*$", "named"),
    (r"^q.*[NF].*[STgV]\?|^[^M]*[NF].*[STgV].*\?|^[^M]*[STgV][^M]*[NF].*\?", "ask off"),
    (r"^[^M]*[STgV].*\?|^q.*[STgV]|^M[STg]u", "ask"),
    (r"Q.*([STgV]|J[Rr]|RE|G)|[STgV].*Q|[STg]o[JRGNFm]|[JRG]o[STg]|[df]&[STg]", "doubt"),
    # refusals
    (r"[NF][^STg]*g[^ST]*$", "weak off"),
    (r"[NF][^STg]*[STg]|A?C.*[STg]|[STg][^STg]*[Fx]", "off"),
    (r"[STg][^STg]*N([AWYRrUHe]*$|u?u?O)", "off"),
    (r"O?(J[Rr]|G)u?[STg]|Tm", "off"),
    # any other negation, and judgements
    (r"[NF].*[STg]|[STg].*[NF]", "doubt"),
    (r"^[STg].*b", "ask"),
    (r"^[^N]*h", "plain"),
    (r"[OrRvwW].*[STgV]|[STgV].*[OYr]|[TVg]|aY", "on"),
    (r"^u+[STg]$", "ask"),
    (r"[STg]", "named"),
    # a plain training
    (r"(J[Rr]|G|UR).*(b|N[OF]|N$)|N.*(J+[Rr]|RJ|UR|RU|G)", ""),
    (r"[JUE]O?R|Jr|Ur?R|R[^dD]*[EU]|rE|rR[^dD]*E|RJ$|(?<!D)G", "plain"),
    (r"E.*[AaH]|[HAa].*E|UH|HU|N.*ZH|mH|Hm", "plain"),
)
_RULES: Final = [(re.compile(pattern), meaning) for pattern, meaning in _TABLE]

_SUBJECT: Final = re.compile("[STgVG]|J[Rr]|UR")
_ELLIPSIS: Final = re.compile(r"[NFOrYWKUAMqcQo]*[NFYOrQ][NFOrYWKUAM]*\??|[NFOYWKUAMRrc]*[NF]")
"""A clause about a subject named before: "turn it off", "maybe not", "yes please"."""

_MAX_LETTERS: Final = 300
"""Letters of a clause that the rules are matched on; a longer clause about a search is a doubt."""


def judge(request: str) -> Verdict:
    """Judge a request. Accepts any text and takes linear time."""
    text = normalize(request[:MAX_CHARACTERS])[:MAX_CHARACTERS]
    reader = _Reader()
    for clause in split(text):
        reader.read(clause)
    statement = reader.conclusion()
    if statement is not None and statement.meaning != "on":
        words = " ".join(text[statement.clause.start : statement.clause.end].split())
        return Verdict("off" if statement.meaning in _REFUSALS else "unclear", words)
    return Verdict("unclear", text) if len(request) > MAX_CHARACTERS else Verdict("auto")


def _reduce(letters: str) -> str:
    if len(letters) > _MAX_LETTERS:
        return "QS" if _SUBJECT.search(letters) else ""
    for pattern, short in _REDUCTIONS:
        letters = pattern.sub(short, letters)
    return letters


def _meaning(letters: str) -> Meaning:
    return next((meaning for pattern, meaning in _RULES if pattern.search(letters)), "")


_NO_CLAUSE: Final = Clause("", 0, 0, -1)


class _Reader:
    """Reads the clauses of a request in order: earlier clauses decide the meaning of an ellipsis or a condition."""

    def __init__(self) -> None:
        self._present: list[_Statement] = []
        self._past: list[_Statement] = []
        self._before = _NO_CLAUSE
        self._last: Meaning = ""
        self._has_subject = self._corrects = False
        self._dangling_sentence = -1

    def read(self, clause: Clause) -> None:
        before, clause = self._before, clause._replace(letters=_reduce(clause.letters))
        is_same = before.sentence == clause.sentence
        if is_same and re.fullmatch("L+", before.letters) and re.search("[STg]", clause.letters):
            clause = clause._replace(letters=clause.letters + "L")  # "last week: no HPO"
        letters, self._before = clause.letters, clause
        is_answer = self._last in _QUESTIONS and re.fullmatch("[OY]+", letters)
        is_echo = self._last in _REFUSALS and not self._corrects and re.fullmatch(r"[OrWcMUY]+\??", letters)
        if letters.startswith("I"):
            self._condition(clause, before if is_same else None)
        elif re.fullmatch("K+|Nu?", letters) and (
            letters[0] == "K" or not self._has_subject or self._last in _REFUSALS
        ):
            self._corrects = True
        elif is_answer:
            self._add("off" if self._last == "ask off" else "on", clause)
        elif letters == "NA":  # "training, nothing else"
            self._add("" if self._has_subject else "plain", clause)
        elif self._has_subject and not is_echo and _ELLIPSIS.fullmatch(letters):
            self._ellipsis(clause, before)
        elif not is_echo:
            self._add(self._in_context(_meaning(letters), clause, before if is_same else _NO_CLAUSE), clause)
        if not self._has_subject and re.fullmatch("O*N[OW]+|O+N", letters):
            self._dangling_sentence = clause.sentence
        self._has_subject = self._has_subject or bool(_SUBJECT.search(letters))

    def conclusion(self) -> _Statement | None:
        """Combine the statements; a refusal at another time alone is a doubt."""
        refusals = (*_REFUSALS, "doubt", "ask off")
        past = next((statement for statement in self._past if statement.meaning in refusals), None)
        present = [statement for statement in self._present if statement.meaning != "named"]
        if not present:
            return past._replace(meaning="doubt") if past else None
        return reduce(_combine, present)

    def _add(self, meaning: Meaning, clause: Clause) -> None:
        letters = clause.letters
        if meaning not in ("", "part"):
            is_past = "L" in letters and "W" not in letters
            is_correction = self._corrects or "K" in letters or letters == "N"
            (self._past if is_past else self._present).append(_Statement(meaning, clause, is_correction))
            self._last = self._last if is_past or meaning == "named" else meaning
        self._corrects = False

    def _condition(self, clause: Clause, before: Clause | None) -> None:
        """A condition about tuning is a question; any other makes the statement before it a doubt."""
        if _SUBJECT.search(clause.letters):
            self._add("ask", clause)
        elif before and self._present and self._present[-1].clause == before:
            self._present[-1] = self._present[-1]._replace(meaning="doubt")

    def _ellipsis(self, clause: Clause, before: Clause) -> None:
        """Add a statement about the subject named before; it replaces a clause that only names the subject."""
        if self._present and self._present[-1].clause == before and re.fullmatch(r"[STgPHrR]+O?\??", before.letters):
            clause = clause._replace(start=self._present.pop().clause.start)
        self._add(_meaning("S" + clause.letters), clause)

    def _in_context(self, meaning: Meaning, clause: Clause, before: Clause) -> Meaning:
        """Weaken a reason or concession, and make a clause after a condition, "not now" or a refused list a doubt."""
        if clause.letters.startswith("c") and meaning not in ("off", "weak off", "doubt"):
            return "named" if meaning in ("on", "named") else ""
        if before.letters.startswith("I") and not re.search("[STgV]", before.letters) and meaning not in ("", "part"):
            return "doubt"
        if self._dangling_sentence == clause.sentence and meaning in ("on", "named"):
            return "doubt"
        is_listed = clause.separator == "," and re.fullmatch("fT|[df][Sg]", before.letters[-1:] + clause.letters)
        return "doubt" if is_listed else meaning


def _combine(state: _Statement, new: _Statement) -> _Statement:
    """Update the state by a new statement; a refusal and a wish contradict each other unless the later corrects."""
    is_refused, refuses = state.meaning in _REFUSALS, new.meaning in _REFUSALS
    if new.meaning in ("doubt", *_QUESTIONS):
        return state if is_refused or state.meaning == "doubt" else new
    if state.meaning in ("weak off", *_QUESTIONS) or new.is_correction or (refuses and state.meaning == "doubt"):
        return new
    if state.meaning in (new.meaning, "doubt") or is_refused is refuses or new.meaning == "weak off":
        return state
    return _Statement("doubt", new.clause._replace(start=state.clause.start))
