"""Clusters of padding states, and how many positions each stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2

from sottovoce.optimize.openvino.padding_states import cluster, counts_after, speech_frames


def clouds(n_each: int, n_clouds: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Make points near far-away centres, cloud after cloud in turns."""
    random = np.random.default_rng(0)
    centres = 100 * np.eye(n_clouds, 8)
    points = np.tile(centres, (n_each, 1)) + random.standard_normal((n_each * n_clouds, 8))
    return points.astype(np.float32)


@pytest.mark.parametrize("n_clouds", [1, 2, 5])
def test_vectors_that_are_alike_share_a_cluster_wherever_they_lie(n_clouds: int) -> None:
    points = clouds(60, n_clouds)
    found = cluster(points, n_clouds)
    for start in range(n_clouds):
        assert len(set(found.labels[start::n_clouds].tolist())) == 1
    assert len(set(found.labels.tolist())) == n_clouds
    means = found.means(points)
    np.testing.assert_allclose(means[found.labels[0]], points[::n_clouds].mean(axis=0), atol=1e-4)


def test_the_same_vectors_give_the_same_clusters() -> None:
    points = clouds(40, 7)
    np.testing.assert_array_equal(cluster(points, 5).labels, cluster(points, 5).labels)


@pytest.mark.parametrize("n", [1, 3, 24])
def test_clusters_are_those_of_scipy_of_which_the_tightest_is_taken(n: int) -> None:
    points = np.random.default_rng(2).standard_normal((300, 16)).astype(np.float32)
    tries = [
        kmeans2(points.astype(np.float64), n, iter=30, minit="++", rng=np.random.default_rng(seed))
        for seed in range(4)
    ]
    tightest = min(tries, key=lambda tried: np.square(points - tried[0][tried[1]]).sum())
    np.testing.assert_array_equal(cluster(points, n).labels, tightest[1])


def test_the_weighted_mean_of_the_clusters_is_the_mean_of_the_vectors() -> None:
    points = np.random.default_rng(1).standard_normal((1500, 16)).astype(np.float32)
    found = cluster(points, 24)
    counts = np.bincount(found.labels, minlength=24)
    np.testing.assert_allclose(counts @ found.means(points) / 1500, points.mean(axis=0), atol=1e-5)


@given(seed=st.integers(0, 1000), n=st.integers(1, 20))
def test_counts_after_speech_add_up_to_the_rest_of_the_window(seed: int, n: int) -> None:
    labels = np.random.default_rng(seed).integers(0, n, 1500).astype(np.uint8)
    counts = counts_after(labels, n)
    assert counts.shape == (61, n)
    np.testing.assert_array_equal(counts.sum(axis=1), np.arange(1500, -1, -25))


@given(n_frames=st.integers(0, 3000))
def test_speech_ends_where_padding_starts(n_frames: int) -> None:
    features = np.full((1, 80, 3000), -0.7, dtype=np.float32)
    features[0, 5, :n_frames] = 0.3
    assert speech_frames(features) == (max(0, n_frames))
