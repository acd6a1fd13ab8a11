"""Tokens of a text, by the name of the tokenizer: sacreBLEU's, rouge-score's, NLTK's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from pscli.errors import ConfigError

Tokenize = Callable[[str], Sequence[str]]

SACREBLEU = ("13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "flores200", "none")
TREEBANK, LETTERS, CHARACTERS = "treebank", "rouge-score", "characters"
CHOICES = (*SACREBLEU, TREEBANK)
NEEDS = {  # what some take besides sacreBLEU
    "ja-mecab": 'Install it: pip install "sacrebleu[ja]".',
    "ko-mecab": 'Install it: pip install "sacrebleu[ko]".',
    "flores200": (
        "It takes `pip install sentencepiece`, and once the internet, for its model of 5 MB "
        "(~/.sacrebleu/models)."
    ),
}
SIGNED = {  # as a signature has it, where it is not the name
    "none": "split",
    TREEBANK: "nltk.word_tokenize(preserve_line)",
    LETTERS: "rouge-score(a-z0-9)",
}


@cache
def tokenizer(name: str) -> Tokenize:
    """Cuts a text into tokens.

    Args:
        name: One of `CHOICES`; `none` splits at white space, `treebank` is NLTK's `word_tokenize`
            of a line that is not cut into sentences, which takes no download. Or `rouge-score`:
            runs of a-z and 0-9, in lower case; or `characters`: all but white space.

    Raises:
        ConfigError: if there is no such tokenizer, or what it needs is not installed.
    """
    if name == TREEBANK:
        from nltk.tokenize import word_tokenize

        return lambda text: tuple(word_tokenize(text, preserve_line=True))
    if name == LETTERS:
        from rouge_score.tokenize import tokenize

        return lambda text: tuple(tokenize(text, None))
    if name == CHARACTERS:
        return lambda text: "".join(text.split())
    if name not in SACREBLEU:
        raise ConfigError(f"There is no tokenizer '{name}'.", f"Known: {', '.join(CHOICES)}.")
    try:
        cut = _sacrebleu(name)
        cut("")
    # Each of them fails in its own way where something is not there.
    except (ImportError, RuntimeError, OSError, AssertionError, SystemExit) as error:
        raise ConfigError(f"The tokenizer '{name}' cannot be had.", NEEDS.get(name, "")) from error
    return lambda text: tuple(cut(text.rstrip()).split())


def _sacrebleu(name: str) -> Callable[[str], str]:
    from sacrebleu.metrics.bleu import BLEU

    cut: Callable[[str], str] = BLEU(tokenize=name).tokenizer
    return cut


def signed(name: str) -> str:
    """What a signature calls a tokenizer."""
    return SIGNED.get(name, name)
