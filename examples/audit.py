"""What is wrong with the photos? Tables to compute with, and a page to open."""

import polars as pl

import chajong


def main() -> None:
    found = chajong.audit("photos", out="audit")  # audit/audit.html is the page
    for line in found.lines():
        print(line)
    manifest = found.manifest
    print(manifest.issues.group_by("issue").len().sort("issue"))
    # Photos of one group show the same picture; no fold boundary runs through a group.
    sizes = manifest.table.group_by("group").len().filter(pl.col("len") > 1)
    print(f"{sizes.height} groups of more than one photo")


if __name__ == "__main__":
    main()
