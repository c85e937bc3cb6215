"""Words in the names of columns that say what a column is for."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOLD = (
    "gold label labels target truth class category correct answer sentiment "
    "preference preferred winner verdict rating y"
)
GOLD = tuple(_GOLD.split())
"""Labels, the surest name first."""

GOLDEN = frozenset(GOLD)
HUMAN = _words("human annotator annotators annotation rater worker crowd people")
"""Labels that people gave."""

ID = _words("id ids uid uuid guid key index idx nr no number row")
GROUP = _words("group cluster")
GROUPED = _words(
    "topic subject question prompt document doc passage context thread conversation "
    "problem instruction entity query"
)
"""What several items may belong to."""

TEXTS = _words(
    "text claim question sentence review content body comment prompt response solution "
    "choice statement input instruction premise hypothesis answer completion message "
    "document tweet passage output summary query post title"
)
"""What is read."""

ABOUT = _words(
    "url link date time timestamp author user username model split source lang language "
    "file filename path version hash email"
)
"""What is known of an item beside its text."""

SURELY_GOLD = GOLDEN - TEXTS
"""Labels and no texts. An `answer` may be either."""

TELLING = _words(
    "gold label labels truth correct incorrect best rationale explanation reason reasons "
    "reference"
)
"""Texts that may tell the label."""

ANSWERS = _words("answer final result value")
"""A short answer within an item."""

LINKS = _words("implies entails then follows")
"""Ids of other items."""

TRUTH = _words("gold label labels target truth true class correct answer verdict y a an the")
"""Names of truth values that say no more than that an item is true."""

ARTICLES = _words("a an the")
