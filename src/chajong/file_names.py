"""Files in the folders of runs and blends: what tells them, and what both have."""

RUN = "run.json"
"""The record of a run, without which a folder is none."""

BLEND = "blend.json"
"""The same of a blend."""

DONE = "done.json"
"""What is known of a model that is trained, in its own folder."""

OUT_OF_FOLD = "oof.parquet"
"""What was said of photos that were held out."""

SCORE = "score.json"
"""The score of that."""
