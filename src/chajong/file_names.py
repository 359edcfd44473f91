"""Files in the folders of runs, blends, manifests and bundles that more than one place names."""

RUN = "run.json"
"""The record of a run, without which a folder is none."""

RECIPE = "recipe.yaml"
"""How a run is trained."""

LABELS = "labels.json"
"""The classes of a manifest, and so of a run, and of a bundle."""

MANIFEST = "manifest.parquet"
"""The photos of a manifest."""

ISSUES = "issues.parquet"
"""What is wrong with them."""

BUNDLE = "bundle.json"
"""How a bundle is asked, without which a folder is none."""

SUMS = "SHA256SUMS"
"""The checksums of its other files."""

SPLIT = "split.parquet"
"""The folds of a run."""

BLEND = "blend.json"
"""The same of a blend."""

DONE = "done.json"
"""What is known of a model that is trained, in its own folder."""

OUT_OF_FOLD = "oof.parquet"
"""What was said of photos that were held out."""

SCORE = "score.json"
"""The score of that."""
