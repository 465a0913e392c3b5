"""What a reader saw: the words of a stream, when each was shown and committed, and what was taken back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from string import punctuation

from sottovoce.benchmark.live.clock import Display
from sottovoce.runtime.live.events import Committed, LiveEvent, Partial, Utterance

LOOK_AHEAD = 2
"""A tail may lack so many words that are final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalWord:
    """A committed word; times are seconds from the start of the recording.

    Attributes:
        seen_s: displays before it was committed that have it at its place.
    """

    text: str
    seen_s: tuple[float, ...]
    committed_s: float

    def shown_s(self, start_s: float) -> float:
        """Return when it was shown first; before the word starts, another one like it was shown."""
        return next((at_s for at_s in self.seen_s if at_s >= start_s), self.committed_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A stream as its reader saw it.

    Attributes:
        words: that were committed.
        n_erased: words of a display that the next one does not begin with, over all displays.
        n_retracted: committed words that the text of their utterance does not have.
    """

    words: tuple[FinalWord, ...]
    n_erased: int
    n_retracted: int

    @property
    def text(self) -> str:
        """The committed text."""
        return "".join(word.text for word in self.words).strip()

    @property
    def erasure(self) -> float:
        """Normalized erasure (Arivazhagan et al. 2020, "Re-translation versus streaming for simultaneous translation")."""
        return self.n_erased / max(1, len(self.words))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    shown_s: float
    n_committed: int
    tail: tuple[str, ...]


def replay(displays: Sequence[Display]) -> Replay:
    """Follow the events of a stream.

    A display has a word if it is at its place among the final words, whatever its case and punctuation.
    """
    texts: list[str] = []
    committed_s: list[float] = []
    screens: list[_Screen] = []
    tail: tuple[str, ...] = ()
    n_retracted = 0
    n_settled = 0
    for display in displays:
        for event in display.events:
            if isinstance(event, Utterance):
                said = [word.text for word in event.segment.words]
                n_retracted += _n_changed(texts[n_settled : n_settled + len(said)], said)
                n_settled += len(said)
            added = [word.text for word in event.words] if isinstance(event, Committed) else []
            texts += added
            committed_s += [display.shown_s] * len(added)
            tail = _tail_after(event, tail)
        screens.append(_Screen(shown_s=display.shown_s, n_committed=len(texts), tail=tail))
    seen_s = _seen(texts, screens)
    return Replay(
        words=tuple(
            FinalWord(text=text, seen_s=tuple(seen), committed_s=last)
            for text, seen, last in zip(texts, seen_s, committed_s, strict=True)
        ),
        n_erased=sum(_erased(texts, screens)),
        n_retracted=n_retracted,
    )


def _tail_after(event: LiveEvent, tail: tuple[str, ...]) -> tuple[str, ...]:
    match event:
        case Partial():
            return tuple(word.text for word in event.words)
        case Committed():
            return tail[len(event.words) :]
        case _:
            return tail


def _n_changed(before: Sequence[str], after: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(before, after, strict=False)) + abs(len(before) - len(after))


def _seen(texts: Sequence[str], screens: Sequence[_Screen]) -> list[list[float]]:
    seen_s: list[list[float]] = [[] for _ in texts]
    plain = [_plain(text) for text in texts]
    for screen in screens:
        if not screen.tail:
            continue
        final = plain[screen.n_committed : screen.n_committed + len(screen.tail) + LOOK_AHEAD]
        tail = [_plain(text) for text in screen.tail]
        for block in SequenceMatcher(None, final, tail, autojunk=False).get_matching_blocks():
            for place in range(screen.n_committed + block.a, screen.n_committed + block.a + block.size):
                seen_s[place].append(screen.shown_s)
    return seen_s


def _erased(texts: Sequence[str], screens: Sequence[_Screen]) -> Iterator[int]:
    for before, after in pairwise(screens):
        shown = (*texts[before.n_committed : after.n_committed], *after.tail)
        n_kept = 0
        for old, new in zip(before.tail, shown, strict=False):
            if old != new:
                break
            n_kept += 1
        yield len(before.tail) - n_kept


def _plain(text: str) -> str:
    return text.strip().strip(punctuation).casefold()
