"""Learn from the out-of-fold tables which runs and views to believe, and how sure to be."""

import chajong


def main() -> None:
    blend = chajong.blend(["runs/first", "runs/second"], "blend", budget=2)
    for member in blend.members:
        print(member.run, dict(zip(member.views, member.weights, strict=True)))
    print(f"temperature {blend.temperature:.3f}")
    # Nested: no photo was scored by a fit that knew its answer.
    nested = chajong.evaluate(chajong.out_of_fold("blend"))
    print(f"log loss {nested.log_loss.value:.3f}")


if __name__ == "__main__":
    main()
