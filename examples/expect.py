"""What will the score on the test photos be? Their labels are not needed."""

from pathlib import Path

import chajong


def main() -> None:
    expectation = chajong.expect(["runs/first", "runs/second"], "photos", cache="cache")
    for line in expectation.lines():
        print(line)
    expectation.save(Path("expectation.json"))


if __name__ == "__main__":
    main()
