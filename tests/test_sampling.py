import numpy as np
import pytest
import torch

from esc_utils import config, sampling


def test_budget_of_the_paper():
    """Table 2 to 4 at fold 1: 873 labelled, 8732 - 873 - 888 unlabelled, 31 steps an epoch of 2 mu B = 224
    clips."""
    pool = 8732 - 873 - 888
    plan = sampling.budget(config.for_run("paper", "fixmatch_tau075"), 873, pool)
    assert (plan.steps, plan.per_epoch, plan.period) == (70 * 31, 31, 35 * 31)
    for row in ("cnn14_table2", "pann_table2", "fixmatch_tau095", "fixmatch_tau095_nomixup"):
        assert sampling.budget(config.for_run("paper", row), 873, pool).steps == plan.steps, row  # ledger 14
    without = sampling.budget(config.for_run("paper", "fixmatch_tau095_nomixup"), 873, pool)
    assert (without.per_epoch, without.epochs) == (62, 35)  # a pass takes twice as many steps without pairs


def test_supervised_epochs_are_passes_over_the_labelled_clips():
    plan = sampling.budget(config.for_run("paper", "pann_100"), 7844, 0)
    assert plan.per_epoch == 7844 // 64
    assert plan.steps == 70 * plan.per_epoch


def test_batches_of_the_paper():
    knobs = config.for_run("paper", "fixmatch_tau075")
    assert (sampling.labelled_batch(knobs), sampling.unlabelled_batch(knobs)) == (32, 224)
    assert sampling.labelled_batch(config.for_run("paper", "pann_10")) == 64
    knobs = config.for_run("paper", "fixmatch_tau095_nomixup")
    assert (sampling.labelled_batch(knobs), sampling.unlabelled_batch(knobs)) == (16, 112)


@pytest.mark.parametrize(("first", "length"), [(0, 10), (3, 25), (17, 4), (29, 31)])
def test_shuffled_is_one_endless_sequence_of_whole_passes(first, length):
    knobs = config.for_run("quick", "pann_10")
    whole = sampling.shuffled(knobs, 0, 10, 0, 100)
    assert all(sorted(whole[i : i + 10]) == list(range(10)) for i in range(0, 100, 10))
    assert np.array_equal(sampling.shuffled(knobs, 0, 10, first, length), whole[first : first + length])


def draw(knobs, epoch, labelled=40, pool=300):
    plan = sampling.budget(knobs, labelled, pool)
    return sampling.draw_epoch(knobs, plan, epoch, labelled, pool, (129, 64))


def test_epoch_draws_each_unlabelled_clip_at_most_once():
    knobs = config.for_run("quick", "fixmatch_tau075")
    drawn = torch.cat([step.unlabelled for step in draw(knobs, 0)])
    assert len(drawn.unique()) == len(drawn)
    assert len(drawn) > 300 - sampling.unlabelled_batch(knobs)


def test_draws_depend_on_seed_fold_and_epoch_only():
    knobs = config.for_run("quick", "fixmatch_tau075")

    def flat(**change):
        steps = draw(knobs.model_copy(update=change.pop("knobs", {})), **change)
        return torch.cat([torch.cat([s.unlabelled, s.strong_masks.time.flatten()]).float() for s in steps])

    same = flat(epoch=1)
    assert torch.equal(same, flat(epoch=1))
    for change in ({"seed": 1}, {"train_fold": 2}):
        assert not torch.equal(same, flat(epoch=1, knobs=change))
    assert not torch.equal(same, flat(epoch=2))
    torch.manual_seed(5)
    assert torch.equal(same, flat(epoch=1))
    assert torch.equal(same, flat(epoch=1, knobs={"tau": 0.5, "lambda_u": 1.0}))  # rows are paired


def test_pool_smaller_than_a_batch_still_fills_it():
    knobs = config.for_run("paper", "fixmatch_tau075")
    steps = draw(knobs, 0, labelled=20, pool=50)
    assert len(steps) == 1
    assert len(steps[0].unlabelled) == 224
    assert steps[0].unlabelled.unique().numel() == 50


def test_mixmatch_pairs_keep_the_larger_share():
    knobs = config.for_run("quick", "fixmatch_tau075", mixup_pairs="mixmatch", mixup_alpha=0.75)
    step = draw(knobs, 0)[0]
    assert (step.weights >= 0.5).all()
    assert (step.unlabelled_weights >= 0.5).all()
    assert sorted(step.partner.tolist()) == list(range(len(step.labelled) + len(step.unlabelled)))
