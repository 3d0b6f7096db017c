"""The loss equations against formulas on three numbers, timm and each other."""

import math

import pytest
import torch
import torch.nn.functional as F
from timm.loss import SoftTargetCrossEntropy
from timm.task import TokenDistillationTask
from torch import nn

from trainer.losses import DistillationLoss, LDAMLoss, PaCoLoss, weighted_cross_entropy


def log_softmax(row):
    return [value - math.log(sum(math.exp(v) for v in row)) for value in row]


def test_hard_loss_is_the_formula_on_three_numbers():
    cls, dist, teacher = [1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [0.0, 0.1, 3.0]
    loss = DistillationLoss(alpha=0.25)(
        *(torch.tensor([row]) for row in (cls, dist)), torch.tensor([0]), torch.tensor([teacher])
    )
    assert loss.cls_loss.item() == pytest.approx(-log_softmax(cls)[0], abs=1e-6)
    assert loss.dist_loss.item() == pytest.approx(-log_softmax(dist)[2], abs=1e-6)
    assert loss.loss.item() == pytest.approx(-0.75 * log_softmax(cls)[0] - 0.25 * log_softmax(dist)[2], abs=1e-6)


def test_drw_weights_follow_the_teachers_label_and_are_normalised():
    dist = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([1, 0, 0])  # the ground truth says the opposite, and must not matter to the DIST loss
    weights = torch.tensor([0.5, 1.5])
    ce = [-log_softmax([2.0, 0.0])[0], -log_softmax([0.0, 1.0])[1], math.log(2)]
    expected = (0.5 * ce[0] + 1.5 * ce[1] + 1.5 * ce[2]) / 3.5
    loss = DistillationLoss(class_weights=weights)(torch.zeros(3, 2), dist, labels, teacher)
    assert loss.dist_loss.item() == pytest.approx(expected, abs=1e-6)
    assert loss.cls_loss.item() == pytest.approx(math.log(2), abs=1e-6)  # never weighted


def test_soft_weights_act_on_probabilities():
    student, teacher, weights = [0.2, -0.3], [1.0, 0.0], [0.4, 1.6]
    p = [math.exp(v) for v in log_softmax([v / 2 for v in teacher])]
    q = [w * v for w, v in zip(weights, p, strict=True)]
    q = [v / sum(q) for v in q]
    logs = log_softmax([v / 2 for v in student])
    expected = 4 * sum(qi * (math.log(qi) - li) for qi, li in zip(q, logs, strict=True))
    criterion = DistillationLoss(distillation_type="soft", temperature=2.0, class_weights=torch.tensor(weights))
    loss = criterion(torch.zeros(1, 2), torch.tensor([student]), torch.tensor([0]), torch.tensor([teacher]))
    assert loss.dist_loss.item() == pytest.approx(expected, abs=1e-6)
    assert loss.dist_loss.item() > 0  # a divergence; weights on log-probabilities can make it negative


class Distilled(nn.Module):
    """The least that timm's task accepts: both heads' logits are parameters."""

    pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "num_classes": 5}  # noqa: RUF012
    num_classes = 5
    in_chans = 3

    def __init__(self, cls, dist):
        super().__init__()
        self.cls, self.dist = nn.Parameter(cls), nn.Parameter(dist)

    def set_distilled_training(self, enable=True):
        pass

    def forward(self, x):
        return self.cls, self.dist


class Constant(nn.Module):
    pretrained_cfg = Distilled.pretrained_cfg
    num_classes = 5

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_unweighted_loss_equals_timms_task(kind):
    torch.manual_seed(0)
    cls, dist, teacher = torch.randn(3, 8, 5).unbind()
    labels = torch.randint(5, (8,))
    task = TokenDistillationTask(
        Distilled(cls, dist),
        Constant(teacher),
        nn.CrossEntropyLoss(),
        distill_type=kind,
        task_loss_weight=0.7,
        temperature=3.0,
        verbose=False,
    )
    expected = task(torch.zeros(8, 3, 4, 4), labels)["loss"]
    loss = DistillationLoss(alpha=0.3, distillation_type=kind, temperature=3.0)(cls, dist, labels, teacher).loss
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=1e-6)


def test_mixed_labels_equal_timms_soft_target_loss():
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 5), torch.rand(8, 5).softmax(-1)
    loss = DistillationLoss()(logits, logits, labels, logits)
    torch.testing.assert_close(loss.cls_loss, SoftTargetCrossEntropy()(logits, labels))


def test_without_a_teacher_the_ground_truth_takes_its_place():
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 5), torch.rand(8, 5).softmax(-1)
    loss = DistillationLoss()(logits, 2 * logits, labels)
    torch.testing.assert_close(loss.dist_loss, F.cross_entropy(2 * logits, labels))


def test_one_hot_labels_weigh_as_their_indices_do():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(8, 5), torch.randint(5, (8,)), torch.rand(5)
    as_distribution = weighted_cross_entropy(logits, F.one_hot(labels, 5).float(), weights)
    torch.testing.assert_close(as_distribution, weighted_cross_entropy(logits, labels, weights))


def test_loss_of_a_batch_is_the_mean_of_its_halves_before_drw():
    torch.manual_seed(0)
    cls, dist, teacher = torch.randn(3, 8, 5).unbind()
    labels = torch.randint(5, (8,))
    criterion = DistillationLoss()
    halves = [criterion(cls[s], dist[s], labels[s], teacher[s]).loss for s in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, criterion(cls, dist, labels, teacher).loss)


def test_loss_is_computed_in_float32():
    logits = torch.randn(4, 3, dtype=torch.bfloat16)
    assert DistillationLoss()(logits, logits, torch.tensor([0, 1, 2, 0]), logits).loss.dtype == torch.float32


@pytest.mark.parametrize("bad", [{"alpha": 1.5}, {"distillation_type": "medium"}, {"temperature": 0.0}])
def test_wrong_arguments_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        DistillationLoss(**bad)


def test_the_formula_prints_itself():
    assert DistillationLoss(0.3).formula() == "0.7 * CE(CLS, label) + 0.3 * CE(DIST, teacher's arg max)"
    assert DistillationLoss(0.3).formula(teacher=False) == "0.7 * CE(CLS, label) + 0.3 * CE(DIST, label)"
    soft = DistillationLoss(distillation_type="soft", temperature=3.0)
    assert soft.formula() == "0.5 * CE(CLS, label) + 0.5 * 9 * KL(teacher || DIST) at T = 3"


def test_ldam_is_the_formula_on_three_numbers():
    counts, cosines, scale = [16, 1], [0.5, 0.2], 30.0
    margin = 0.5 * 16**-0.25  # the rarest class has 0.5
    logits = [scale * (cosines[0] - margin), scale * cosines[1]]
    loss = LDAMLoss(counts)(scale * torch.tensor([cosines]), torch.tensor([0]))
    assert loss.item() == pytest.approx(-log_softmax(logits)[0], abs=1e-5)


def test_ldam_takes_drw_weights():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0.1, 0.9, 2.0])
    plain = torch.stack([LDAMLoss([9, 4, 1])(logits[i : i + 1], labels[i : i + 1]) for i in range(6)])
    expected = (plain * weights[labels]).sum() / weights[labels].sum()
    torch.testing.assert_close(LDAMLoss([9, 4, 1])(logits, labels, weights), expected)


def test_a_given_denominator_joins_the_batches_of_a_step():
    """Two batches, each over half the weights of both, add up to the loss of the joined batch."""
    torch.manual_seed(0)
    cls, dist, said = torch.randn(3, 7, 4)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    loss = DistillationLoss(class_weights=torch.tensor([0.1, 0.5, 1.0, 2.4]))
    for teacher_logits in (said, None):
        joined = loss(cls, dist, labels, teacher_logits)
        parts = [slice(0, 3), slice(3, 7)]
        teachers = [None if teacher_logits is None else teacher_logits[part] for part in parts]
        sums = [loss.weight_sum(labels[part], t) for part, t in zip(parts, teachers, strict=True)]
        assert not torch.isclose(*sums)
        mean = torch.stack(sums).mean()
        losses = [
            loss(cls[part], dist[part], labels[part], t, mean).dist_loss
            for part, t in zip(parts, teachers, strict=True)
        ]
        torch.testing.assert_close(torch.stack(losses).mean(), joined.dist_loss)


def test_paco_is_the_formula_on_three_samples():
    """Three anchors, classes 0, 0, 1, with their keys and a queue of one, everything written out for anchor 0."""
    counts, alpha, beta, temperature = [6, 2], 0.05, 1.0, 0.2
    angles = torch.tensor([0.0, 0.3, 1.2, 0.1, 0.5, 1.0, 0.7])  # queries, keys, queue: points on the circle
    contrast = torch.stack([angles.cos(), angles.sin()], dim=1)
    contrast_labels = torch.tensor([0, 0, 1, 0, 0, 1, 0])
    logits = torch.tensor([[0.4, -0.2], [1.0, 0.3], [-0.5, 0.8]])
    labels = torch.tensor([0, 0, 1])
    losses = []
    for i in range(3):
        centres = [logits[i, c].item() + math.log(counts[c] / 8) for c in range(2)]
        others = [j for j in range(7) if j != i]
        features = {j: math.cos((angles[i] - angles[j]).item()) / temperature for j in others}
        total = sum(math.exp(v) for v in [*centres, *features.values()])
        positives = [j for j in others if contrast_labels[j] == labels[i]]
        weighted = beta * (centres[labels[i]] - math.log(total))
        weighted += alpha * sum(features[j] - math.log(total) for j in positives)
        losses.append(-weighted / (beta + alpha * len(positives)))
    assert [len([j for j in range(7) if j != i and contrast_labels[j] == labels[i]]) for i in range(3)] == [4, 4, 1]
    loss = PaCoLoss(counts, alpha, beta, temperature)
    value = loss(logits, contrast[:3], labels, contrast, contrast_labels, torch.arange(3))
    assert value.item() == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_paco_leaves_the_empty_places_of_the_queue_out():
    torch.manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(4, 5))
    labels, logits, own = torch.tensor([0, 1, 1, 2]), torch.randn(4, 3), torch.arange(4)
    loss = PaCoLoss([5, 3, 2])
    without = loss(logits, queries, labels, queries, labels, own)
    contrast, contrast_labels = torch.cat([queries, torch.zeros(9, 5)]), torch.cat([labels, torch.full((9,), -1)])
    torch.testing.assert_close(loss(logits, queries, labels, contrast, contrast_labels, own), without)


def test_paco_without_features_is_cross_entropy_with_the_prior():
    """alpha 0 and no contrast: Balanced Softmax (Ren et al., NeurIPS 2020), which PaCo extends."""
    torch.manual_seed(0)
    logits, labels, counts = torch.randn(4, 3), torch.tensor([0, 1, 1, 2]), torch.tensor([5.0, 3.0, 2.0])
    nothing = torch.zeros(4, 2)
    loss = PaCoLoss(counts, alpha=0.0)(logits, nothing, labels, nothing, torch.full((4,), -1), torch.arange(4))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits + counts.log(), labels))
