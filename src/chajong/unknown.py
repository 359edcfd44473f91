"""How well a bundle may tell cars of models that it was never taught, foretold without any."""

from dataclasses import dataclass

import numpy as np

from chajong.gallery import STRANGE_FROM, Gallery
from chajong.labels import Labels
from chajong.metrics import Estimate
from chajong.photos.two_sample import auc


@dataclass(frozen=True)
class Unknown:
    """Held-out photos against the same photos as if the class of each had not been learned.

    Attributes:
        num_photos: Held-out photos.
        auc: The probability that a photo of an unknown model is the stranger one of two, the
            other being of a known model; the interval is over classes.
        strange: The share of photos of unknown models that will be called strange, in [0, 1].
    """

    num_photos: int
    auc: Estimate
    strange: float

    @classmethod
    def of(cls, gallery: Gallery, labels: Labels) -> "Unknown | None":
        """Foretell it (`Gallery.scores_untaught`).

        Args:
            gallery: Of the bundle.
            labels: The bundle's classes when it was trained.

        Returns:
            What is foretold; none without held-out photos of two classes.
        """
        kinds = labels.canonical[labels.indices(gallery.names)]
        own = kinds[gallery.held_out]
        if not len(gallery.usual) or len(np.unique(own)) < 2:
            return None
        embeddings = gallery.embeddings[gallery.held_out].astype(np.float32)
        usual = gallery.scores(embeddings, gallery.log_probs)
        untaught = gallery.scores_untaught(labels)
        is_untaught = np.arange(2 * len(own)) >= len(own)
        area = auc(np.concatenate([usual, untaught]), is_untaught, np.tile(own, 2))
        return cls(len(own), area, float((gallery.ranks(untaught) >= STRANGE_FROM).mean()))
