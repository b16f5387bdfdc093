"""The bulk move: what a plan finds, how everything is copied, and how both sides are kept equal until cutover."""
