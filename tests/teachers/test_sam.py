"""SAM: the formula on a quadratic, a published implementation, and what Trainer's accumulation and fp16 do with it."""

import pytest
import torch
from pytorch_optimizer import SAM
from torch import nn

from trainer.teachers import TeacherTrainer
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.sam import ascended

CURVATURES = torch.tensor([1.0, 4.0])


def quadratic(w):
    """1/2 sum_i h_i w_i^2, with gradient h * w."""
    return 0.5 * (CURVATURES * w**2).sum()


def test_ascent_on_a_quadratic():
    """At w = (3, 1) the gradient is (3, 4) of norm 5: w goes to w + rho * (0.6, 0.8); the gradient there is taken."""
    w = nn.Parameter(torch.tensor([3.0, 1.0]))
    quadratic(w).backward()
    with ascended([w], rho=0.5):
        torch.testing.assert_close(w.detach(), torch.tensor([3.3, 1.4]))
        quadratic(w).backward()
    assert torch.equal(w.detach(), torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(w.grad, CURVATURES * torch.tensor([3.3, 1.4]))


def test_one_norm_over_all_weights_whatever_their_shape():
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(2, 3, 1, 1))]
    unused = nn.Parameter(torch.ones(4))
    before = [p.detach().clone() for p in parameters]
    sum((p**3).sum() for p in parameters).backward()
    gradients = [p.grad.clone() for p in parameters]
    with ascended([*parameters, unused], rho=0.1):
        moves = [p.detach() - b for p, b in zip(parameters, before, strict=True)]
        assert torch.equal(unused.detach(), torch.ones(4))
    assert torch.cat([m.flatten() for m in moves]).norm().item() == pytest.approx(0.1, rel=1e-4)
    ratios = torch.cat([(m / g).flatten() for m, g in zip(moves, gradients, strict=True)])
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-3, atol=0)


def test_weights_come_back_bit_by_bit_even_after_an_error():
    w = nn.Parameter(torch.randn(100))
    before = w.detach().clone()
    (w**2).sum().backward()
    with pytest.raises(RuntimeError, match="on purpose"), ascended([w], rho=0.3):
        raise RuntimeError("on purpose")
    assert torch.equal(w.detach(), before)


@pytest.mark.parametrize("overflow", [torch.inf, torch.nan])
def test_an_overflow_moves_nothing(overflow):
    """In fp16 the scaler skips such a step; BatchNorm's statistics must not have seen weights that are no numbers."""
    w = nn.Parameter(torch.randn(3))
    before = w.detach().clone()
    w.grad = torch.tensor([1.0, overflow, 2.0])
    with ascended([w], rho=0.3):
        assert torch.equal(w.detach(), before)


def test_loss_scaling_changes_nothing():
    """fp16's scaler multiplies both passes' gradients; the ascent follows their direction."""
    weights = []
    for scaler in (torch.amp.GradScaler("cpu", enabled=False), torch.amp.GradScaler("cpu", init_scale=2.0**16)):
        w = nn.Parameter(torch.tensor([3.0, 1.0]))
        optimizer = torch.optim.SGD([w], 0.1)
        scaler.scale(quadratic(w)).backward()
        with ascended([w], rho=0.5):
            scaler.scale(quadratic(w)).backward()
        scaler.step(optimizer)
        weights.append(w.detach())
    torch.testing.assert_close(weights[0], torch.tensor([3.0, 1.0]) - 0.1 * CURVATURES * torch.tensor([3.3, 1.4]))
    torch.testing.assert_close(weights[1], weights[0])


def test_a_vanished_gradient_moves_nothing():
    w = nn.Parameter(torch.ones(3))
    w.grad = torch.zeros(3)
    with ascended([w], rho=0.3):
        assert torch.equal(w.detach(), torch.ones(3))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def batches(count, size=6):
    torch.manual_seed(1)
    return [{"pixel_values": torch.randn(size, 3, 8, 8), "labels": torch.randint(0, 3, (size,))} for _ in range(count)]


def trainer_of(model, folder, **settings):
    args = TeacherArguments(
        output_dir=str(folder),
        loss="cross_entropy",
        num_train_epochs=10,
        warmup_epochs=0,
        lr_milestones=[9],
        use_cpu=True,
        **settings,
    )
    trainer = TeacherTrainer(model, args, [5, 4, 3])
    trainer.create_optimizer()
    trainer.state.epoch = 0.0
    return trainer


def step_of(trainer, micro_batches):
    """One optimiser step, as Trainer's loop does it."""
    trainer.current_gradient_accumulation_steps = len(micro_batches)
    for i, batch in enumerate(micro_batches):
        trainer.accelerator.gradient_state._set_sync_gradients(i == len(micro_batches) - 1)
        trainer.training_step(trainer.model, dict(batch))
    trainer.optimizer.step()
    trainer.model.zero_grad()


def test_steps_are_those_of_a_published_implementation(tmp_path):
    """pytorch_optimizer's SAM around the same SGD, momentum and weight decay, for five steps."""
    ours, theirs = network(), network()
    trainer = trainer_of(ours, tmp_path, sam_rho=[0.3], weight_decay=0.01)
    optimizer = SAM(theirs.parameters(), torch.optim.SGD, rho=0.3, lr=0.1, momentum=0.9, weight_decay=0.01)
    for batch in batches(5):
        step_of(trainer, [batch])
        for step in (optimizer.first_step, optimizer.second_step):
            nn.functional.cross_entropy(theirs(batch["pixel_values"]), batch["labels"]).backward()
            step(zero_grad=True)
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)  # BatchNorm's statistics too: both passes update them
    assert ours[1].num_batches_tracked == 10


def without_batchnorm():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 3))


def test_accumulated_batches_ascend_together(tmp_path):
    """Four batches of 6 give the step of one batch of 24; four separate ascents would not."""
    alone, together = without_batchnorm(), without_batchnorm()
    parts = batches(4)
    joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    step_of(trainer_of(together, tmp_path, sam_rho=[0.5]), [joined])
    step_of(trainer_of(alone, tmp_path, sam_rho=[0.5], gradient_accumulation_steps=4), parts)
    for a, b in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_rho_follows_its_milestones(tmp_path):
    """ImageNet-LT's steps: 0.05 in epochs 1 to 5, 0.1 to 60, 0.5 from there (counted from 1; ours from 0)."""
    args = TeacherArguments(
        output_dir=str(tmp_path), sam_rho=[0.05, 0.1, 0.5, 0.5], sam_milestones=[5, 60, 75], use_cpu=True
    )
    rhos = [args.sam_rho_in(epoch) for epoch in (0, 4.9, 5, 59.9, 60, 74, 75, 89)]
    assert rhos == [0.05, 0.05, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5]
    assert TeacherArguments(output_dir=str(tmp_path), use_cpu=True).sam_rho_in(3) == 0


@pytest.mark.parametrize("rhos", [[0.1, 0.2], [-0.1], [float("nan")]])
def test_rhos_that_do_not_fit_are_refused(tmp_path, rhos):
    with pytest.raises(ValueError, match="sam_rho"):
        TeacherArguments(output_dir=str(tmp_path), sam_rho=rhos, use_cpu=True)


def test_no_rho_is_plain_sgd(tmp_path):
    ours, plain = network(), network()
    trainer = trainer_of(ours, tmp_path, sam_rho=[0.0], weight_decay=0.0)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for batch in batches(3):
        step_of(trainer, [batch])
        nn.functional.cross_entropy(plain(batch["pixel_values"]), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    for a, b in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
