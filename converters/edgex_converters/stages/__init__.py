"""One file a stage; each stands on one vendor."""
