"""Predict the test photos and write a submission that the competition accepts."""

from pathlib import Path

import chajong


def main() -> None:
    predictions = chajong.predict("blend", "photos")
    unreadable = [id_ for id_, ok in zip(predictions.ids, predictions.ok, strict=True) if not ok]
    print(f"{len(predictions.ids)} photos, {len(unreadable)} without a prediction")
    predictions.save(Path("predictions.parquet"))
    made = chajong.submit(predictions, "photos/sample_submission.csv", "submission.csv")
    print(made.table.head(3))
    # The demo photos come with answers; a competition scores the file itself.
    score = chajong.evaluate("submission.csv", "photos/test_labels.csv")
    print("\n".join(score.lines()))


if __name__ == "__main__":
    main()
