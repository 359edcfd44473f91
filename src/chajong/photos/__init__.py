"""From files on disk to pixels, and what is known about them."""
