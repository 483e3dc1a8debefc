"""How good images are: what turns them into features, and figures of the features.

Read ``figures.py`` first (what is computed, and the floor), then ``extractors.py`` (the features
there are: ``general.py`` trains those of any images, ``quality.py`` those of classes) and
``comparison.py`` (the real images that others are compared with).
"""
