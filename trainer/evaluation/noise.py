"""How far test figures can be trusted: what the number of test images leaves to chance. Classes count equally.

The figures are balanced accuracies, in percent: means of the classes' accuracies. With the same number of test images
in each class that is plain accuracy. Chance is what other test images would have changed, not another seed.
"""

import numpy as np


def effective_images(labels):
    """Test images of a balanced split that would leave as much to chance as these.

    A class with few images makes the mean of the classes' accuracies as uncertain as a small split would.

    Args:
        labels: (N,) class indices of the test images, at least one.

    Returns:
        float, N where all classes that occur have equally many images and less otherwise.
    """
    return float(1 / (_shares(np.asarray(labels)) ** 2).sum())


def margin(percent, images):
    """Half the width of the 95 % interval around an accuracy.

    Of Agresti and Coull (1998), which adds two right and two wrong images: it holds for a handful of images and at 0
    and 100 % too, where the textbook's interval has no width.

    Args:
        percent: the accuracy.
        images: it was measured on.

    Returns:
        float, in points.
    """
    share = (percent / 100 * images + 2) / (images + 4)
    return 100 * 2 * float(np.sqrt(share * (1 - share) / (images + 4)))


def paired_difference(first, second, labels):
    """How much more accurate one classifier is than another on the same images.

    Only images that one of the two gets right count, so that far smaller differences can be seen than between
    classifiers of which only the accuracies are known. On a balanced split this is McNemar's test.

    Args:
        first, second: (N,) predicted classes.
        labels: (N,) true ones.

    Returns:
        The difference in points, and its standard error if there were none in truth.
    """
    labels = np.asarray(labels)
    ahead = (np.asarray(first) == labels).astype(float) - (np.asarray(second) == labels)
    terms = ahead * _shares(labels)
    return 100 * float(terms.sum()), 100 * float(np.sqrt((terms**2).sum()))


def _shares(labels):
    """What each image contributes to the mean of the classes' accuracies."""
    images = np.bincount(labels)
    return 1 / (np.count_nonzero(images) * images[labels])
