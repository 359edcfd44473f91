"""What each kind of issue means, why it matters, and what to do about it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Call = Literal["act", "look", "handled"]
"""Whether something must be done, somebody should look, or nothing is to be done."""


@dataclass(frozen=True)
class Advice:
    """What to say of one kind of issue.

    Attributes:
        issue: Its name in `issues.parquet`.
        heading: Its name for people.
        call: What it calls for.
        meaning: What is wrong with such a photo.
        reason: Why that matters.
        remedy: What to do.
        high_is_worse: Whether a higher score is worse.
        side_by_side: Whether photos of one group are shown side by side.
    """

    issue: str
    heading: str
    call: Call
    meaning: str
    reason: str
    remedy: str
    high_is_worse: bool = False
    side_by_side: bool = False


ADVICE = (
    Advice(
        "duplicate_train_test",
        "Duplicates across train and test",
        "look",
        "A train photo has a copy among the test photos, or the other way round.",
        "Such test photos are answered by heart: a score on them says little about new photos.",
        "Look first: below a score of 1 photos are only alike. If the test set is yours,"
        " take the copies out of it, or out of train. If it is a competition's, leave them; do"
        " not expect the same score on other photos, and mind the rules before using what the"
        " copies tell.",
        high_is_worse=True,
        side_by_side=True,
    ),
    Advice(
        "duplicate_other_label",
        "Duplicates with different labels",
        "act",
        "The same picture lies in two classes.",
        "One of the labels is wrong, and training pulls both ways.",
        "Look first: below a score of 1 photos are only alike. Decide which label is right;"
        " relabel or exclude the other with a correction. If both classes are the same car, give"
        " them one name.",
        high_is_worse=True,
        side_by_side=True,
    ),
    Advice(
        "unreadable",
        "Not readable",
        "act",
        "The file is empty, cut off, damaged, too large, or no picture.",
        "It is left out of training. A test photo that cannot be read gets no answer.",
        "Fetch the file again from where it came. If that is not possible, nothing: it is left"
        " out, and never replaced by another photo.",
    ),
    Advice(
        "not_like_class",
        "Unlike the others of their class",
        "look",
        "A network finds the photo more like those of another class than like its own.",
        "Some of these are labelled wrong; many are only seen from a rare side.",
        "Look through them; relabel or exclude what is wrong with a correction. It is a list to"
        " look through, not a list of mistakes: out-of-fold predictions of a trained run judge"
        " better (chajong suspects).",
        high_is_worse=True,
    ),
    Advice(
        "not_whole_car",
        "Perhaps no whole car",
        "look",
        "Few photos are like it: perhaps an interior, a wheel, a lamp, a document.",
        "What cannot be told from the photo teaches a model to guess.",
        "Exclude train photos that do not show the car, with a correction. If test photos are"
        " like that too, keep them: the model has to answer those.",
        high_is_worse=True,
    ),
    Advice(
        "small_class",
        "Classes with few different photos",
        "act",
        "The class has fewer than 5 different photos that can be read.",
        "Some of the usual five folds have none of it: its score is chance.",
        "Add photos of it, or train with fewer folds. Copies of a photo do not count.",
    ),
    Advice(
        "exact_duplicate",
        "Exact duplicates",
        "handled",
        "The same bytes, or the same pixels, as another photo.",
        "Copies in two folds would make a score too good.",
        "Nothing: copies share a group, and a group is in one fold.",
        high_is_worse=True,
        side_by_side=True,
    ),
    Advice(
        "near_duplicate",
        "Near-duplicates",
        "handled",
        "The same picture as another: encoded again, scaled, cropped, lit or mirrored.",
        "Copies in two folds would make a score too good.",
        "Nothing: they share a group, and a group is in one fold. If two photos were joined by"
        " mistake, that costs next to nothing.",
        high_is_worse=True,
        side_by_side=True,
    ),
    Advice(
        "low_information",
        "Next to nothing to see",
        "act",
        "The photo is nearly one flat colour.",
        "No car can be told from it.",
        "Exclude it with a correction.",
    ),
    Advice(
        "dark",
        "Dark",
        "look",
        "Nearly all of the photo is dark.",
        "Badges and lamps drown in it.",
        "Keep it if the car can be told; else exclude it. If test photos are dark as well, train"
        " with darkened photos (see the shift).",
    ),
    Advice(
        "over_exposed",
        "Over-exposed",
        "look",
        "At least half of the photo is white.",
        "Outlines vanish. Cut-out cars in front of white are listed too, and are fine.",
        "Keep it if the car can be told; else exclude it with a correction.",
        high_is_worse=True,
    ),
    Advice(
        "blurred",
        "Blurred",
        "look",
        "Fine detail is missing: out of focus, moved, or enlarged.",
        "Facelifts and grades differ in fine detail.",
        "Keep what test photos look like too. Exclude what you could not label yourself.",
    ),
    Advice(
        "tiny",
        "Tiny",
        "look",
        "The short side is below 64 pixels.",
        "Badges and lamps are gone.",
        "Fetch a larger version; else exclude it if the car cannot be told.",
    ),
    Advice(
        "grey",
        "Without colour",
        "look",
        "The photo has no colour.",
        "Few do; a model may take colour for granted.",
        "Usually nothing. If many test photos are grey, train with changes of colour"
        " (color_jitter in the recipe).",
    ),
    Advice(
        "odd_aspect",
        "Very long or tall",
        "look",
        "One side is at least 4 times as long as the other.",
        "Made square, the car is squeezed out of shape; often these are banners or collages.",
        "Exclude what is no photo of a car. Otherwise letterbox instead of squash"
        " (data.aspect=letterbox) may help.",
        high_is_worse=True,
    ),
    Advice(
        "wrong_suffix",
        "Another format than the name says",
        "handled",
        "The content is of another format than the name says.",
        "Other programs may refuse it.",
        "Nothing: the content is what counts here.",
    ),
    Advice(
        "huge",
        "Huge",
        "handled",
        "50 megapixels or more.",
        "Each opening takes half a second and 150 MB.",
        "Nothing: resized photos are kept for training. A smaller copy makes audits faster.",
        high_is_worse=True,
    ),
    Advice(
        "exif_rotated",
        "Turned by EXIF",
        "handled",
        "The file says that the photo has to be turned.",
        "Programs that overlook that see the car on its side.",
        "Nothing: it is turned upright when it is opened.",
    ),
    Advice(
        "cmyk",
        "CMYK",
        "handled",
        "Made for print.",
        "Programs that overlook that see inverted colours.",
        "Nothing: it is turned into RGB when it is opened.",
    ),
    Advice(
        "animated",
        "Animated",
        "handled",
        "The file holds several pictures.",
        "Only one of them can be learnt from.",
        "Nothing: the first picture is used.",
    ),
)
"""Advice by kind, the most important first."""


def all_advice(issues: Collection[str]) -> tuple[Advice, ...]:
    """Give the advice on some kinds of issues, the most important first.

    Args:
        issues: Their names, perhaps some that a later version added.

    Returns:
        The advice on each.
    """
    known = [advice for advice in ADVICE if advice.issue in issues]
    strange = sorted(set(issues) - {advice.issue for advice in known})
    return (*known, *map(advice_on, strange))


def advice_on(issue: str) -> Advice:
    """Give the advice on a kind of issue.

    Args:
        issue: Its name, perhaps one that a later version added.

    Returns:
        The advice; for an unknown kind, to look at it.
    """
    unknown = Advice(issue, issue.replace("_", " ").capitalize(), "look", "", "", "Look at them.")
    return next((advice for advice in ADVICE if advice.issue == issue), unknown)
