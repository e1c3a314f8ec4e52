"""What a request says about AutoML: off, auto or unclear, with the words that decided.

Each clause is a string of letters (see `lexicon`). `_REDUCTIONS` put together what belongs together, the first of
`_RULES` that fits says what the clause says, and `judge` weighs the clauses. A negation near a search that no rule
resolves is a doubt, never a wish.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Final, Literal, NamedTuple

from tao_skill.planning.user_request.clauses import Clause, normalize, split

MOST_CHARACTERS: Final = 20_000
"""Of a request that are read; a longer one is unclear unless it is off."""

Outcome = Literal["off", "auto", "unclear"]
Says = Literal["off", "weak off", "plain", "on", "named", "part", "doubt", "ask", "ask off", ""]
"""weak off: one sampler is refused; plain: a plain training is asked for; part: only a part of the search is refused;
named: AutoML is named, no more; ask: a question or a judgement that a later clause answers."""

_REFUSALS: Final[tuple[Says, ...]] = ("off", "weak off", "plain")
_QUESTIONS: Final[tuple[Says, ...]] = ("ask", "ask off")


class Verdict(NamedTuple):
    """What a request says about AutoML, and its words that say so; none for auto."""

    outcome: Outcome
    words: str = ""


class _Statement(NamedTuple):
    says: Says
    clause: Clause
    is_correction: bool = False


_REDUCTIONS: Final = [
    (re.compile(pattern), letters)
    for pattern, letters in (
        (r"RD", "D"),  # training data
        (r"P[.pO]*#|(?<!^)q|[.#]", ""),  # lr 0.1 is no parameter to search
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
        (r"(?<![STg])[Fs]U?[DX]|[DX][Fs]", "f"),  # another matter is disabled
        (r"[Nnkl]u?u?[DX]|(?<![STg])[Nnk]O[pu]?[DX]", "d"),  # or refused
        (r"[DX]", "D"),
        (r"NF(?=[STg])|[Nn][OrR]?[ORr]?k(?=[STg])|^FN(?=[STg])", "+"),  # don't skip, don't train without
        (r"NO?([STg])s|([STg])O*N[sF]", r"+\1\2"),  # don't turn AutoML off, AutoML must not be off
        (r"p(?![STg])|(?<![df])p|w(?![STg])", ""),
        (r"[nkj]", "N"),
        (r"s", "F"),
    )
]

_TABLE: Final[tuple[tuple[str, Says], ...]] = (
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
    # whatever else holds a negation, or judges
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
_RULES: Final = [(re.compile(pattern), says) for pattern, says in _TABLE]

_SUBJECT: Final = re.compile("[STgVG]|J[Rr]|UR")
_ELLIPSIS: Final = re.compile(r"[NFOrYWKUAMqcQo]*[NFYOrQ][NFOrYWKUAM]*\??|[NFOYWKUAMRrc]*[NF]")
"""Says something of a subject named before: "turn it off", "maybe not", "yes please"."""
_MOST_LETTERS: Final = 300
"""Of a clause that the rules are tried on; a longer one that speaks of a search is a doubt."""


def judge(request: str) -> Verdict:
    """What a request says about AutoML; any text is read, in linear time."""
    text = normalize(request[:MOST_CHARACTERS])[:MOST_CHARACTERS]
    reader = _Reader()
    for clause in split(text):
        reader.read(clause)
    found = reader.verdict()
    if found is not None and found.says != "on":
        words = " ".join(text[found.clause.start : found.clause.end].split())
        return Verdict("off" if found.says in _REFUSALS else "unclear", words)
    return Verdict("unclear", text) if len(request) > MOST_CHARACTERS else Verdict("auto")


def _reduce(letters: str) -> str:
    if len(letters) > _MOST_LETTERS:
        return "QS" if _SUBJECT.search(letters) else ""
    for pattern, short in _REDUCTIONS:
        letters = pattern.sub(short, letters)
    return letters


def _says(letters: str) -> Says:
    return next((says for pattern, says in _RULES if pattern.search(letters)), "")


class _Reader:
    """The clauses of one request, one after another: those before decide what an ellipsis or a condition means."""

    def __init__(self) -> None:
        self._present: list[_Statement] = []
        self._past: list[_Statement] = []
        self._before = Clause("", 0, 0, -1)
        self._last: Says = ""
        self._has_subject = self._corrects = False
        self._dangles = -1

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
            self._add(self._in_context(_says(letters), clause, before if is_same else Clause("", 0, 0, -1)), clause)
        if not self._has_subject and re.fullmatch("O*N[OW]+|O+N", letters):
            self._dangles = clause.sentence
        self._has_subject = self._has_subject or bool(_SUBJECT.search(letters))

    def verdict(self) -> _Statement | None:
        """What holds in the end; refused at another time and not mentioned since, it is unclear."""
        past = next((one for one in self._past if one.says in (*_REFUSALS, "doubt", "ask off")), None)
        present = [one for one in self._present if one.says != "named"]
        if not present:
            return past._replace(says="doubt") if past else None
        return reduce(_weigh, present)

    def _add(self, says: Says, clause: Clause) -> None:
        letters = clause.letters
        if says not in ("", "part"):
            is_past = "L" in letters and "W" not in letters
            is_correction = self._corrects or "K" in letters or letters == "N"
            (self._past if is_past else self._present).append(_Statement(says, clause, is_correction))
            self._last = self._last if is_past or says == "named" else says
        self._corrects = False

    def _condition(self, clause: Clause, before: Clause | None) -> None:
        """One of tuning asks; any other makes what it follows a doubt."""
        if _SUBJECT.search(clause.letters):
            self._add("ask", clause)
        elif before and self._present and self._present[-1].clause == before:
            self._present[-1] = self._present[-1]._replace(says="doubt")

    def _ellipsis(self, clause: Clause, before: Clause) -> None:
        """What is said of a subject that a clause before names; one that does no more than that gives way."""
        if self._present and self._present[-1].clause == before and re.fullmatch(r"[STgPHrR]+O?\??", before.letters):
            clause = clause._replace(start=self._present.pop().clause.start)
        self._add(_says("S" + clause.letters), clause)

    def _in_context(self, says: Says, clause: Clause, before: Clause) -> Says:
        """Reasons and concessions ask for nothing; what follows a condition, "not now" or a refused list is a doubt."""
        if clause.letters.startswith("c") and says not in ("off", "weak off", "doubt"):
            return "named" if says in ("on", "named") else ""
        if before.letters.startswith("I") and not re.search("[STgV]", before.letters) and says not in ("", "part"):
            return "doubt"
        if self._dangles == clause.sentence and says in ("on", "named"):
            return "doubt"
        is_listed = clause.separator == "," and re.fullmatch("fT|[df][Sg]", before.letters[-1:] + clause.letters)
        return "doubt" if is_listed else says


def _weigh(state: _Statement, new: _Statement) -> _Statement:
    """What holds when one more clause is read; a refusal and a wish contradict unless the later one corrects."""
    is_refused, refuses = state.says in _REFUSALS, new.says in _REFUSALS
    if new.says in ("doubt", *_QUESTIONS):
        return state if is_refused or state.says == "doubt" else new
    if state.says in ("weak off", *_QUESTIONS) or new.is_correction or (refuses and state.says == "doubt"):
        return new
    if state.says in (new.says, "doubt") or is_refused is refuses or new.says == "weak off":
        return state
    return _Statement("doubt", new.clause._replace(start=state.clause.start))
