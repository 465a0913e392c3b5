"""How much is encoded, what follows it, and the file that holds it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import HOP_SAMPLES, WINDOW_FRAMES, WINDOW_POSITIONS, WINDOW_SAMPLES
from sottovoce.runtime.model.elastic import (
    COARSE_FRAMES,
    FULL_WINDOW,
    PADDING_STATES_NAME,
    ElasticPlan,
    PaddingStates,
    n_stored,
    plan_window,
)
from sottovoce.terms import ElasticSpec, MemoryUse

SPEC = ElasticSpec(margin_s=0.5, tail_s=2.0, batch_tail_s=1.0, bucket_s=0.5, states_bucket_s=0.02)
WIDTH = 4

SPECS = st.builds(
    ElasticSpec,
    margin_s=st.floats(0, 3),
    tail_s=st.floats(0, 30),
    batch_tail_s=st.floats(0, 30),
    bucket_s=st.floats(0, 10),
    states_bucket_s=st.floats(0, 10),
)


def states() -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    """Name its position in each state."""
    table = np.zeros((WINDOW_POSITIONS, WIDTH), dtype=np.float16)
    table[:, 1] = np.arange(WINDOW_POSITIONS)
    return table


@pytest.fixture
def silence(tmp_path: Path) -> PaddingStates:
    PaddingStates.save(tmp_path, SPEC, states())
    loaded = PaddingStates.load(tmp_path)
    assert loaded is not None
    return loaded


@given(n_samples=st.integers(0, WINDOW_SAMPLES), spec=SPECS)
def test_a_plan_holds_the_clip_and_its_margin_and_never_more_than_a_window(
    n_samples: int, spec: ElasticSpec
) -> None:
    plan = plan_window(n_samples, spec)
    wanted = -(-n_samples // HOP_SAMPLES) + round(100 * spec.margin_s)
    bucket = max(2, 2 * round(50 * spec.bucket_s)) * (2 if wanted > COARSE_FRAMES else 1)
    assert plan.n_frames >= min(wanted, WINDOW_FRAMES)
    assert plan.n_frames % 2 == 0
    assert plan.n_frames % bucket == 0 or plan.n_frames == WINDOW_FRAMES
    assert 0 < plan.n_frames < max(1, wanted) + bucket
    assert plan.n_positions == plan.n_frames // 2
    assert plan.n_padding >= 0
    n_states = plan.n_positions + plan.n_padding
    assert n_states <= WINDOW_POSITIONS
    assert n_states >= min(plan.n_positions + round(50 * spec.tail_s), WINDOW_POSITIONS)
    assert n_states % max(1, round(50 * spec.states_bucket_s)) == 0 or n_states == WINDOW_POSITIONS


@given(spec=SPECS, shorter=st.integers(0, WINDOW_SAMPLES), longer=st.integers(0, WINDOW_SAMPLES))
def test_a_longer_clip_is_never_encoded_in_fewer_frames(spec: ElasticSpec, shorter: int, longer: int) -> None:
    shorter, longer = sorted((shorter, longer))
    assert plan_window(shorter, spec).n_frames <= plan_window(longer, spec).n_frames


def test_a_clip_of_a_window_is_encoded_whole() -> None:
    assert plan_window(WINDOW_SAMPLES, SPEC) == FULL_WINDOW


def test_a_clip_of_three_seconds_has_its_margin_and_its_tail() -> None:
    assert plan_window(48000, SPEC) == ElasticPlan(n_frames=350, n_positions=175, n_padding=100)


def test_clips_of_all_lengths_share_few_lengths() -> None:
    spec = ElasticSpec(margin_s=0.5, tail_s=10.0, batch_tail_s=5.0, bucket_s=1.0, states_bucket_s=5.0)
    plans = [plan_window(16 * ms, spec) for ms in range(0, 30_001, 10)]
    assert len({plan.n_frames for plan in plans}) == 20
    assert {plan.n_positions + plan.n_padding for plan in plans} == {750, 1000, 1250, 1500}


def test_windows_decoded_together_have_another_tail() -> None:
    assert plan_window(48000, SPEC, is_alone=False) == ElasticPlan(
        n_frames=350, n_positions=175, n_padding=50
    )


def test_of_an_empty_clip_the_margin_is_encoded() -> None:
    assert plan_window(0, SPEC) == ElasticPlan(n_frames=50, n_positions=25, n_padding=100)


def test_silence_states_come_back_from_disk(silence: PaddingStates) -> None:
    assert silence.spec == SPEC
    whole = ElasticPlan(n_frames=0, n_positions=0, n_padding=WINDOW_POSITIONS)
    behind = silence.append_to(np.zeros((1, 0, WIDTH), np.float32), whole)
    np.testing.assert_array_equal(behind.states[0], states())


@given(spec=SPECS)
def test_settings_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, spec: ElasticSpec) -> None:
    folder = tmp_path_factory.getbasetemp()
    PaddingStates.save(folder, spec, states())
    loaded = PaddingStates.load(folder)
    assert loaded is not None
    assert loaded.spec == spec


def test_silence_follows_the_speech(silence: PaddingStates) -> None:
    plan = plan_window(48000, SPEC)
    encoded = np.full((1, plan.n_positions, WIDTH), 7, dtype=np.float32)
    padded = silence.append_to(encoded, plan)
    assert padded.log_counts is None
    assert padded.states.shape == (1, plan.n_positions + plan.n_padding, WIDTH)
    assert padded.states.dtype == np.float32
    np.testing.assert_array_equal(padded.states[:, : plan.n_positions], encoded)
    behind = padded.states[0, plan.n_positions :]
    assert behind[:, 1].tolist() == list(range(plan.n_positions, plan.n_positions + plan.n_padding))


@given(n_samples=st.integers(0, WINDOW_SAMPLES), spec=SPECS)
def test_silence_can_be_filled_up_to_a_number_of_positions(n_samples: int, spec: ElasticSpec) -> None:
    filled = plan_window(n_samples, spec).filled_to(WINDOW_POSITIONS)
    assert filled.n_positions + filled.n_padding == WINDOW_POSITIONS
    assert filled.n_frames == plan_window(n_samples, spec).n_frames


CENTROIDS = ElasticSpec(
    margin_s=0.5, tail_s=10.0, batch_tail_s=5.0, bucket_s=1.0, states_bucket_s=5.0, silence_centroids=3
)


def clusters() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Let the first 700 positions be of kind 0 and 2 in turns, the others of kind 1."""
    return np.where(np.arange(WINDOW_POSITIONS) < 700, np.arange(WINDOW_POSITIONS) % 2 * 2, 1).astype(
        np.uint8
    )


@pytest.fixture
def centroids(tmp_path: Path) -> PaddingStates:
    table = np.arange(3 * WIDTH, dtype=np.float16).reshape(3, WIDTH)
    PaddingStates.save(tmp_path, CENTROIDS, table, clusters())
    loaded = PaddingStates.load(tmp_path)
    assert loaded is not None
    return loaded


def test_the_same_states_give_the_same_file(tmp_path: Path) -> None:
    files = set()
    for _ in range(8):  # the library writes settings in an order by chance
        PaddingStates.save(tmp_path, CENTROIDS, np.ones((3, WIDTH), dtype=np.float16), clusters())
        files.add((tmp_path / PADDING_STATES_NAME).read_bytes())
    (content,) = files
    assert load(content)["kinds"].tolist() == clusters().tolist()


@pytest.mark.parametrize("n_samples", [0, 48_000, 160_000, 300_000, WINDOW_SAMPLES])
@pytest.mark.parametrize("n_padded", [0, 1, 200])
def test_with_centroids_a_window_weighs_thirty_seconds(
    centroids: PaddingStates, n_samples: int, n_padded: int
) -> None:
    plan = plan_window(n_samples, CENTROIDS)
    plan = plan.filled_to(plan.n_positions + n_padded)
    encoded = np.ones((1, plan.n_positions, WIDTH), dtype=np.float32)
    padded = centroids.append_to(encoded, plan)
    assert padded.log_counts is not None
    assert padded.log_counts.shape == padded.states.shape[:2]
    assert padded.states.shape[1] == plan.n_positions + n_padded + n_stored(CENTROIDS)
    counts = np.exp(padded.log_counts[0])
    assert counts.sum() == pytest.approx(WINDOW_POSITIONS)
    np.testing.assert_array_equal(counts[: plan.n_positions], 1)
    assert counts[plan.n_positions : plan.n_positions + n_padded].sum() < 1e-20


def test_a_centroid_counts_as_often_as_its_kind_lies_behind_the_speech(centroids: PaddingStates) -> None:
    plan = plan_window(144_000, CENTROIDS)
    assert plan.n_positions == 500
    padded = centroids.append_to(np.ones((1, 500, WIDTH), dtype=np.float32), plan)
    assert padded.log_counts is not None
    np.testing.assert_allclose(np.exp(padded.log_counts[0, 500:]), [100, 800, 100], rtol=1e-5)
    assert padded.states[0, 501].tolist() == [4, 5, 6, 7]


def test_a_file_of_tails_is_none_of_centroids(tmp_path: Path, centroids: PaddingStates) -> None:
    assert centroids.spec == CENTROIDS
    PaddingStates.save(tmp_path, CENTROIDS, states(), clusters())
    with pytest.raises(InputError, match="make the variant again"):
        PaddingStates.load(tmp_path)


@pytest.mark.parametrize("kinds_of", [clusters() + 1, clusters()[:100]])
def test_kinds_that_no_centroid_stands_for_are_refused(
    tmp_path: Path, kinds_of: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    PaddingStates.save(tmp_path, CENTROIDS, np.ones((3, WIDTH), dtype=np.float16), kinds_of)
    with pytest.raises(InputError, match=r"cluster without a state.*make the variant again"):
        PaddingStates.load(tmp_path)


def test_a_variant_without_silence_states_is_not_elastic(tmp_path: Path) -> None:
    assert PaddingStates.load(tmp_path) is None


@pytest.mark.parametrize("kept_bytes", [0, 7, 40, 400])
def test_a_file_cut_short_is_refused(tmp_path: Path, silence: PaddingStates, kept_bytes: int) -> None:
    assert silence.spec == SPEC
    path = tmp_path / PADDING_STATES_NAME
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(InputError, match=r"padding states.*make the variant again"):
        PaddingStates.load(tmp_path)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        {},
        {"margin_s": "0.5", "tail_s": "2.0"},
        {"margin_s": "0.5", "tail_s": "2.0", "bucket_s": "0.5"},
        {
            "margin_s": "0.5",
            "tail_s": "long",
            "batch_tail_s": "5.0",
            "bucket_s": "0.5",
            "states_bucket_s": "5.0",
        },
    ],
)
def test_a_file_without_its_settings_is_refused(tmp_path: Path, facts: dict[str, str] | None) -> None:
    from safetensors.numpy import save_file

    save_file({"states": states()}, tmp_path / PADDING_STATES_NAME, metadata=facts)
    with pytest.raises(InputError, match="make the variant again"):
        PaddingStates.load(tmp_path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"floors": np.zeros(3, dtype=np.float32)},
        {"states": states()[:100].copy()},
        {"states": states()[None].copy()},
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    facts = {
        "margin_s": "0.5",
        "tail_s": "2.0",
        "batch_tail_s": "5.0",
        "bucket_s": "0.5",
        "states_bucket_s": "5.0",
    }
    save_file(tensors, tmp_path / PADDING_STATES_NAME, metadata=facts)
    with pytest.raises(InputError, match="make the variant again"):
        PaddingStates.load(tmp_path)


@given(n_samples=st.integers(0, WINDOW_SAMPLES), spec=SPECS)
def test_low_memory_encodes_at_most_half_more_than_is_wanted(n_samples: int, spec: ElasticSpec) -> None:
    plan = plan_window(n_samples, spec, memory=MemoryUse.LOW)
    wanted = min(WINDOW_FRAMES, -(-n_samples // HOP_SAMPLES) + round(100 * spec.margin_s))
    assert wanted <= plan.n_frames <= max(300, 1.5 * wanted + 2)
    assert plan.n_frames % 2 == 0


def test_low_memory_takes_few_lengths() -> None:
    samples = range(0, WINDOW_SAMPLES + 1, 800)
    lengths = {plan_window(n, ElasticSpec(), memory=MemoryUse.LOW).n_frames for n in samples}
    assert len(lengths) <= 7
    assert max(lengths) == WINDOW_FRAMES


def test_with_centroids_decoders_get_few_numbers_of_states() -> None:
    samples = range(0, WINDOW_SAMPLES + 1, 800)
    normal = [plan_window(n, CENTROIDS) for n in samples]
    low = [plan_window(n, CENTROIDS, memory=MemoryUse.LOW) for n in samples]
    assert {plan.n_positions + plan.n_padding for plan in normal} == {250, 500, 750, 1000, 1250, 1500}
    assert {plan.n_positions + plan.n_padding for plan in low} == {500, 1000, 1500}
