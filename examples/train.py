"""Train every fold of a recipe twice, with two seeds, and list the runs."""

import chajong

# As small as it gets; leave all of this out for the recipe as it was measured.
SMALL = ("train.epochs=2", "data.size_px=32", "train.batch_size=16", "folds.num_folds=2")


def main() -> None:
    recipe = chajong.load_recipe("demo", SMALL)
    for name, seed in (("first", 1), ("second", 2)):
        # Stopped or killed, the same call goes on where it was.
        run = chajong.train(
            "photos", recipe, changes=[f"train.seed={seed}"], out=f"runs/{name}", cache="cache"
        )
        print(f"{run.folder}: {run.status}, folds {', '.join(run.done)}")
    listed = chajong.list_runs("runs", sort="log_loss")
    print(listed.select("run", "status", "log_loss", "top1", "seconds"))


if __name__ == "__main__":
    main()
