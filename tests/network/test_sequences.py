"""Manifold mixup of sequences: lengths, attention masks, cuts, and transformers as others build them."""

import pytest
import torch
from network.transformer import Transformer
from sounds import noise, seeded
from torch import nn

from audiomix import CutMix, FreqMixStyle, MixUp, manifold_mixup
from audiomix.clips import behind

LENGTHS = torch.tensor([40, 17, 31, 8, 40, 25])
WAVE = noise(6, 1, 40)


class Frames(nn.Module):
    """Frames of four samples; tokens (B, N, D) or maps (B, D, N)."""

    def __init__(self, tokens=False):
        super().__init__()
        self.front = nn.Conv1d(1, 5, 4, stride=4, bias=False)
        self.tokens = tokens
        self.turn = nn.Identity()

    def forward(self, x):
        h = self.front(x)
        return self.turn(h.transpose(1, 2) if self.tokens else h)


@pytest.mark.parametrize("tokens", [False, True])
def test_of_hidden_states_as_much_is_valid_as_of_the_input(tokens):
    net, frames = Frames(tokens), torch.tensor([10, 5, 8, 2, 10, 7])  # rounded up
    layer, axis = ("turn", 1) if tokens else ("front", -1)
    loud = WAVE.masked_fill(behind(WAVE, LENGTHS), 1e3)
    got = []
    for x in (WAVE, loud):
        with manifold_mixup(
            net, layer, MixUp(2.0, num_classes=6), target=torch.arange(6), lengths=LENGTHS, time_axis=axis,
            generator=seeded(),
        ) as hidden:  # fmt: skip
            out = net(x)
        got.append(out.transpose(1, 2) if tokens else out)
    h, plan = net.front(WAVE), hidden.plan
    assert torch.equal(plan.mixed_lengths(frames, 10), frames)
    for i, j in enumerate(plan.partner.tolist()):
        r, both = float(plan.ratio[i]), min(int(frames[i]), int(frames[j]))
        wanted = r * h[i, :, : int(frames[i])]
        wanted[:, :both] += (1 - r) * h[j, :, :both]
        end = int(LENGTHS[i]) // 4  # the last frame may hold padding of the input
        torch.testing.assert_close(got[0][i, :, :end], wanted[:, :end])
        whole = min(end, int(LENGTHS[j]) // 4)
        torch.testing.assert_close(got[1][i, :, :whole], wanted[:, :whole], atol=1e-5, rtol=1e-5)
        # the share of what is heard, at the rate of the hidden frames
        share = r * int(frames[i]) / (r * int(frames[i]) + (1 - r) * both)
        assert float(plan.weight[i]) == pytest.approx(share)
        assert float(hidden.target[i, i]) == pytest.approx(share, abs=1e-6)


def test_lengths_mean_nothing_to_states_without_time():
    net = nn.Sequential(nn.Conv1d(1, 5, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    with manifold_mixup(net, "2", lengths=LENGTHS, generator=seeded()) as hidden:
        got = net(WAVE)
    w, j = hidden.plan.weight[:, None].float(), hidden.plan.partner
    torch.testing.assert_close(got, w * net(WAVE) + (1 - w) * net(WAVE)[j])


@pytest.mark.parametrize("tokens", [False, True])
def test_cutmix_of_hidden_frames_keeps_the_share_of_whole_frames(tokens):
    net = Frames(tokens)
    layer, axis = ("turn", {"turn": 1}) if tokens else ("front", -1)
    with manifold_mixup(net, layer, CutMix(num_classes=6), target=torch.arange(6), lengths=LENGTHS, time_axis=axis,
                        generator=seeded(3)) as hidden:  # fmt: skip
        got = net(WAVE)
    h, frames = net.front(WAVE), [10, 5, 8, 2, 10, 7]
    got = got.transpose(1, 2) if tokens else got
    for i, j in enumerate(hidden.plan.partner.tolist()):
        cut = (got[i] != h[i]).any(0)
        assert torch.equal(got[i][:, cut], h[j][:, cut])
        assert not cut[min(frames[i], frames[j]) :].any()
        assert 1 - int(cut.sum()) / frames[i] == pytest.approx(float(hidden.plan.weight[i]))
        assert float(hidden.target[i, i]) == pytest.approx(float(hidden.plan.weight[i]), abs=1e-6)


# Attention masks


class Attentive(nn.Module):
    """A transformer that is told which tokens are valid, and their mean over what is valid."""

    def __init__(self):
        super().__init__()
        self.front = nn.Linear(6, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, x, mask):
        h = self.block(self.front(x), src_key_padding_mask=~mask)
        return (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def test_the_mask_of_a_mix_is_the_product_and_padding_never_counts():
    net, x = Attentive(), noise(6, 9, 6)
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 2, 9, 5])[:, None]
    loud = x.masked_fill(~mask[..., None], 1e4)
    found = []
    for given in (x, loud):
        with manifold_mixup(net, "front", MixUp(2.0), mask=mask, target=torch.eye(6), generator=seeded()) as hidden:
            found.append(net(given, hidden.mask))
    torch.testing.assert_close(found[0], found[1])
    w, j = hidden.plan.weight, hidden.plan.partner
    assert torch.equal(hidden.mask, mask & mask[j])
    # where both are valid the shares are those that were drawn, and so is the label's
    h = net.front(x)
    mixed = w[:, None, None].float() * h + (1 - w[:, None, None].float()) * h[j]
    out = net.block(mixed, src_key_padding_mask=~hidden.mask)
    wanted = (out * hidden.mask[..., None]).sum(1) / hidden.mask.sum(1, keepdim=True)
    torch.testing.assert_close(found[0], wanted)
    torch.testing.assert_close(hidden.target.diagonal().double(), w, atol=1e-6, rtol=0)


def test_clips_whose_masks_have_nothing_in_common_never_meet():
    mask = torch.zeros(5, 8, dtype=torch.bool)
    mask[:2, :3] = mask[2:4, 3:] = mask[4, 5] = True
    net = nn.Linear(2, 2)
    for seed in range(20):
        with manifold_mixup(net, mask=mask, generator=seeded(seed)) as hidden:
            net(torch.zeros(5, 8, 2))
            assert hidden.mask.any(1).all()
            assert torch.equal(hidden.mask, mask & mask[hidden.plan.partner])
    alone = torch.eye(3, dtype=torch.bool)
    with manifold_mixup(net, mask=alone) as hidden:
        net(torch.zeros(3, 3, 2))
        assert torch.equal(hidden.mask, alone)
    assert not hidden.plan.mixed.any()
    assert all("without a partner" in why for why in hidden.plan.why)


def test_of_several_sources_all_are_valid_where_the_mix_is():
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 2, 9, 5])[:, None]
    net = nn.Linear(2, 2)
    with manifold_mixup(net, mixer=MixUp(sources=3), mask=mask.long(), generator=seeded()) as hidden:
        net(torch.zeros(6, 9, 2))
    for i in range(6):
        wanted = mask[i].clone()
        for j in hidden.plan.sources(i):
            wanted &= mask[j]
        assert torch.equal(hidden.mask[i], wanted)


def test_in_eval_the_mask_is_that_of_the_clips():
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    net = nn.Linear(2, 2).eval()
    with manifold_mixup(net, mask=mask) as hidden:
        net(torch.zeros(2, 9, 2))
        assert torch.equal(hidden.mask, mask)


# Networks as others build them


def test_an_audio_transformer():
    """After the patches, within a block and before the network."""
    net, spec = Transformer().train(), noise(4, 1, 16, 24)
    plain = net(spec)
    for layer in ("input", "patches", "blocks.0.mlp", "blocks.1"):
        with manifold_mixup(net, layer, MixUp(2.0, num_classes=3), target=torch.arange(4) % 3, output=0,
                            generator=seeded()) as hidden:  # fmt: skip
            logits = net(spec)
        assert not torch.allclose(logits, plain)
        nn.functional.cross_entropy(logits, hidden.target).backward()
    assert torch.equal(net(spec), plain)


def test_style_is_mixed_by_a_hook_too():
    net, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), noise(6, 1, 12, 30)
    with manifold_mixup(net, "0", FreqMixStyle(1.0, p=1.0), target=torch.arange(6), generator=seeded()) as hidden:
        got = net(x)
    torch.testing.assert_close(got, FreqMixStyle(1.0)(net[0](x), plan=hidden.plan).x.relu())
    assert torch.equal(hidden.target, torch.arange(6))
