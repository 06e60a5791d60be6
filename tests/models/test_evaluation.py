import json

import numpy as np
import pandas as pd
import pytest

from nightsift.models.classify import Classifier
from nightsift.models.evaluation import bootstrap_average_precision, evaluate_scores, threshold_at
from nightsift.models.figures import average_precision
from nightsift.models.judging import SIMULATED, judge, simulated_set, truth_of
from nightsift.models.package import ModelPackage
from nightsift.models.shown import Shown


def scored(negatives=4000, meteors=100, seed=0):
    """Meteors of score 0.5 to 1, others below 0.5 but for two."""
    rng = np.random.default_rng(seed)
    label = np.r_[np.ones(meteors, int), np.zeros(negatives, int)]
    score = np.where(label == 1, rng.uniform(0.5, 1, len(label)), rng.uniform(0, 0.5, len(label)))
    score[meteors : meteors + 2] = 0.99, 0.75
    frames = pd.DataFrame(
        {
            "station": "A",
            "night": rng.integers(0, 20, len(label)),
            "label": label,
            "content": np.where(label == 1, "meteor", np.where(score < 0.25, "no-meteor", "satellite")),
            "length_px": np.where(label == 1, rng.uniform(5, 100, len(label)), np.nan),
            "snr": np.where(label == 1, 8.0, np.nan),
            **{f"{axis}_{end}_px": np.nan for axis in "xy" for end in ("begin", "end")},
        }
    )
    return frames, score.astype(np.float32), np.full((len(label), 2), np.nan)


def evaluated(*arrays, threshold=0.5):
    return evaluate_scores(*arrays, threshold, name="a set", real=False)


def test_recall_at_one_false_frame_in_a_thousand():
    frames, score, position = scored()
    found = evaluated(frames, score, position)
    assert found.recommended.recall.value == 1
    assert found.recommended.false_frames.count == 2
    assert found.recommended.precision.count, found.recommended.precision.of == (100, 102)
    at = found.at_false_rate
    assert at.false_frames.count <= 4
    assert at.recall.count == (score[:100] >= np.float32(at.threshold)).sum()
    assert found.supported
    assert found.caveat() is None


def test_few_frames_without_a_meteor_do_not_support_the_figure():
    found = evaluated(*scored(negatives=500))
    assert found.at_false_rate.false_frames.count == 0
    assert "500 frames without a meteor" in found.caveat()
    assert found.as_dict()["at_1_false_in_1000"]["supported"] is False


def test_a_threshold_lets_through_no_more_than_its_share_even_of_ties():
    score = np.r_[np.full(50, 0.9), np.full(950, 0.1)].astype(np.float32)
    at = threshold_at(score, 0.01)
    assert (score >= np.float32(at)).sum() == 0
    assert at > 0.9
    assert np.isnan(threshold_at(score[:0], 0.01))


def test_bins_and_contents_add_up():
    found = evaluated(*scored())
    lengths = [share for name, share in found.recommended.found.items() if name.startswith("length")]
    assert sum(share.of for share in lengths) == 100
    assert sum(share.count for share in found.recommended.false_by_content.values()) == 2
    assert sum(called + not_called for called, not_called in found.confusion.values()) == 4100


def test_the_bootstrap_draws_groups_and_agrees_with_the_plain_figure():
    frames, score, _ = scored(negatives=300)
    truth, rng = frames["label"].to_numpy() == 1, np.random.default_rng(1)
    score = score + rng.normal(0, 0.2, len(score))
    group = frames["night"].to_numpy()
    value, (low, high) = bootstrap_average_precision(truth, score, group)
    assert value == pytest.approx(average_precision(truth, score))
    assert low < value < high
    assert all(np.isnan(bootstrap_average_precision(truth, score, np.zeros(len(score), int))[1]))
    # Copies of each frame in its own group are no new witnesses.
    twice = [np.repeat(each, 4) for each in (truth, score, group)]
    again = bootstrap_average_precision(*twice)[1]
    assert again == pytest.approx((low, high), abs=0.02)


def test_no_meteors_and_no_others_are_said_and_not_invented():
    frames, score, position = scored(negatives=20)
    for rows in (frames["label"] == 1, frames["label"] == 0):
        kept = rows.to_numpy()
        said = evaluated(frames[kept], score[kept], position[kept]).as_dict()
        assert "NaN" not in json.dumps(said)


def test_only_simulated_meteors_too_faint_do_not_count():
    def shown(simulated, **row):
        frame = {"station": "A", "night": 1, "frame_key": "k", "simulated": simulated}
        return Shown(np.zeros((2, 2), bool), frame, "meteor", [{"kind": "meteor", **row}])

    assert truth_of(shown(True, snr=6.0, length_px=15.0))["label"] == 1
    assert truth_of(shown(True, snr=5.9, length_px=15.0))["label"] == -1
    assert truth_of(shown(False, snr=1.0, length_px=15.0))["label"] == 1
    assert truth_of(Shown(np.zeros((2, 2), bool), {"station": "A", "night": 1}, "meteor"))["label"] == 1


@pytest.fixture(scope="module")
def drawn():
    small = {"test_stations": 2, "nights": 1, "runs": 2, "frames": 8, "meteors": 1.0, "small": True}
    return list(simulated_set(SIMULATED.model_copy(update=small), 3.5))


def test_the_simulated_set_is_judged_as_it_comes(drawn, package):
    classifier = Classifier(ModelPackage.load(str(package)))
    judged = judge(classifier, iter(drawn), 5)
    assert len(judged.frames) == len(judged.score) == len(drawn) == 28
    assert judged.frames["night"].nunique() == 1
    assert judged.frames["frame_key"].is_unique
    one_by_one = [classifier.classify(item.picture[None]).meteor[0] for item in drawn]
    assert np.array_equal(judged.score, np.array(one_by_one))
    losses = [mistake.loss for mistake in judged.worst]
    labels = judged.frames["label"].to_numpy()
    known = np.where(labels == 1, judged.score, 1 - judged.score)[labels >= 0].astype(float)
    assert losses == pytest.approx(sorted(-np.log(known), reverse=True)[:5], rel=1e-4)
