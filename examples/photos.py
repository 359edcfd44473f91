"""Draw photos of cars for the other examples; with photos of your own there is nothing to do."""

import chajong


def main() -> None:
    folder = chajong.demo_photos("photos", models=4, per_model=24)
    print(f"{folder}: train/<model>/, test/, test.csv, sample_submission.csv, test_labels.csv")


if __name__ == "__main__":
    main()
