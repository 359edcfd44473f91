"""What the out-of-fold table says: a score, label suspects, and whether a run is better."""

import chajong


def main() -> None:
    # Every photo, answered by a model that learned neither it nor a near-duplicate of it.
    held_out = chajong.out_of_fold("runs/first")
    score = chajong.evaluate(held_out)
    print(
        f"log loss {score.log_loss.value:.3f} ({score.log_loss.low:.3f}-{score.log_loss.high:.3f})"
    )
    suspects = chajong.find_suspects("runs/first")
    print(suspects.table.select("id", "label", "suggested", "score").head(5))
    comparison = chajong.compare("runs/first", "runs/second")
    print(f"second beside first: {comparison.verdict}")
    chajong.note("runs/second", f"another seed: {comparison.verdict}")
    print(chajong.report("runs/first"))


if __name__ == "__main__":
    main()
