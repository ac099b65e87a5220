"""The average of a network's weights against torch's own AveragedModel."""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from esc_utils.model import Cnn14
from esc_utils.optim import Average


def test_average_is_torchs_own():
    torch.manual_seed(0)
    model = Cnn14(10, width=1).train()
    ours = Average(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for step in range(4):
        model(torch.randn(2, 1, 32, 64))  # moves the statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        ours.update(model, first=step == 0)
        theirs.update_parameters(model)
    for (name, left), right in zip(
        ours.module.state_dict().items(), theirs.module.state_dict().values(), strict=True
    ):
        if left.is_floating_point():
            assert torch.equal(left, right), name
        else:
            assert left == model.state_dict()[name]  # a count is no average
