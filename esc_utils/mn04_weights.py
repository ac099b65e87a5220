def load_mn04(model, path):
    import torch
    s = torch.load(path, weights_only=True)
    missing, extra = model.load_state_dict(s, strict=False)
    assert not extra and all(k.startswith("fc_transfer") for k in missing), (missing, extra)
    return model
