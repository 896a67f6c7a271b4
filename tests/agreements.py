"""What the page for users of other libraries claims of each pair of blocks: checked on the names that they define.

Each function takes the names of their block and of ours after both have run. Where theirs drew partners, weights, SNRs
or impulse responses, ours is asked for the same.
"""

from pathlib import Path

import soundfile
import torch

from audiomix import CutMix, GainPlan, MixUp, Room, SNRMix
from audiomix.audio import level
from audiomix.audio.reverb import direct_path
from audiomix.mixers.cutmix import SpanPlan, cutmix
from audiomix.transforms.room import RoomPlan
from audiomix.transforms.time_shift import ShiftPlan, time_shift

AGREEMENTS = {}


def agreement(library, title):
    """Register a function as what is claimed of a part of the page."""

    def register(function):
        AGREEMENTS[library, title] = function
        return function

    return register


def db(ratio):
    return 20 * torch.log10(torch.as_tensor(ratio).double())


def rms(x):
    return x.double().flatten(1).square().mean(1).sqrt()


def weights_plan(partner, weight):
    """Return the plan of MixUp with these partners and weights."""
    return GainPlan(partner, weight.double(), gain_db=db(torch.stack([weight, 1 - weight], 1)))


def check_noise(mixed, clean, snr_db, *, noise=None):
    """Check that what was added to each clip is at this SNR in rms, and that `SNRMix` makes the same of it."""
    noise = mixed - clean if noise is None else noise
    got = db(rms(clean) / rms(mixed - clean))
    torch.testing.assert_close(got, torch.as_tensor(snr_db).double().expand_as(got), atol=1e-3, rtol=0)
    for i, one in enumerate(torch.as_tensor(snr_db).expand(len(clean)).tolist()):
        ours = SNRMix((one, one), label="keep")(clean[i : i + 1], other=noise[i : i + 1])
        torch.testing.assert_close(ours.x[0], mixed[i], atol=1e-5, rtol=1e-4)


def check_soft_labels(names):
    """Check that each row of our target holds the plan's weight for its own class, and one in all."""
    y, plan = names["y"], names["plans"][0]
    torch.testing.assert_close(y.sum(1), torch.ones(len(y)))
    own = y[torch.arange(len(y)), names["label"][: len(y)]]
    torch.testing.assert_close(own.double(), plan.weight, atol=1e-6, rtol=0)


def box_of(changed):
    """Return (bins, frames) of the smallest rectangle around what is changed, and whether all of it is."""
    rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
    if not len(rows):
        return (0, 0), (0, 0)
    band, span = (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
    assert changed[band[0] : band[1], span[0] : span[1]].all()
    return band, span


def check_box(x, clean, partner, weight):
    """Check that a box of each clip is its partner's, that its area is the label's share, and that ours is the same."""
    bins, frames = clean.shape[-2:]
    found = [box_of((x[i] != clean[i])[0]) for i in range(len(x))]
    area = torch.tensor([(b - a) * (d - c) for (a, b), (c, d) in found]) / (bins * frames)
    torch.testing.assert_close(1 - area.double(), weight.double(), atol=1e-5, rtol=0)
    band = torch.tensor([band for band, _ in found]).double() / bins
    span = torch.tensor([span for _, span in found]).double() / frames
    plan = SpanPlan(partner, weight.double(), span=span, band=band, kind="box")
    torch.testing.assert_close(cutmix(clean, plan), x)


@agreement("torchvision", "One of two mixers")
def torchvision_choice(theirs, ours):
    check_soft_labels(ours)
    assert {type(mixer) for mixer in ours["mix"].mixers} == {MixUp, CutMix}
    clean, label, own = theirs["spectrogram"], theirs["label"], torch.arange(8)
    partner = own.roll(1)
    x, y = theirs["v2"].MixUp(alpha=0.4, num_classes=10)(clean, label)
    assert len(y[own, label].unique()) == 1  # one weight a batch
    mixed = MixUp(0.4, num_classes=10)(clean, label, plan=weights_plan(partner, y[own, label]))
    torch.testing.assert_close(mixed.x, x, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.target, y)
    for _ in range(5):
        x, y = theirs["v2"].CutMix(alpha=1.0, num_classes=10)(clean, label)
        check_box(x, clean, partner, y[own, label])


@agreement("torchvision", "In a DataLoader")
def torchvision_loader(theirs, ours):
    check_soft_labels(ours)
    x, y = theirs["x"], theirs["y"]
    assert x.shape == ours["x"].shape
    assert y.shape == ours["y"].shape
    mixed = MixUp(0.4, num_classes=10)(
        theirs["spectrogram"][:4], torch.arange(4), plan=weights_plan(torch.arange(4).roll(1), y.diagonal())
    )
    torch.testing.assert_close(mixed.x, x, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.target, y)


@agreement("timm", "Mixup, CutMix and smoothing")
def timm_mixup(theirs, ours):
    check_soft_labels(ours)
    clean, x, own, partner = theirs["spectrogram"], theirs["x"], torch.arange(8), torch.arange(8).flip(0)
    plain = (theirs["y"] - 0.01) / 0.9  # without smoothing by 0.1 over 10 classes
    weight = plain[own, theirs["label"]]
    same = (x == clean).flatten(1).double().mean(1)
    cut = (same > 0) | (weight == 1)
    assert cut.any()
    assert not cut.all()
    check_box(torch.where(cut[:, None, None, None], x, clean), clean, partner, torch.where(cut, weight, 1.0))
    mixed = MixUp(num_classes=10)(clean, theirs["label"], plan=weights_plan(partner, weight))
    torch.testing.assert_close(mixed.x[~cut], x[~cut], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed.target, plain, atol=1e-6, rtol=0)
    logits = torch.randn(8, 10)
    smooth = torch.nn.functional.cross_entropy(logits, mixed.target, label_smoothing=0.1)
    torch.testing.assert_close(smooth, -(theirs["y"] * logits.log_softmax(1)).sum(1).mean())
    torch.testing.assert_close(theirs["loss"], ours["loss"])


@agreement("torch-audiomentations", "Noise from a folder")
def audiomentations_noise(theirs, ours):
    drawn = theirs["add"].transform_parameters
    assert ((drawn["snr_in_db"] >= 5) & (drawn["snr_in_db"] <= 20)).all()
    check_noise(theirs["x"], theirs["wave"], drawn["snr_in_db"], noise=drawn["background"].view(8, 1, -1))
    check_our_noise(ours, 5, 20)


def check_our_noise(ours, low, high):
    """Check that our noise has the SNR that the plan says, in the range."""
    plan = ours["plans"][0]
    assert ((plan.snr_db >= low) & (plan.snr_db <= high)).all()
    got = db(rms(ours["wave"]) / rms(ours["x"] - ours["wave"]))
    torch.testing.assert_close(got, plan.snr_db, atol=1e-3, rtol=0)


def read(path):
    return torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T.copy())


def in_rooms(clean, responses, normalise):
    """Return each of our clips in the response of its number."""
    plan = RoomPlan.of(len(clean), room=torch.arange(len(clean)))
    return Room(responses, normalise=normalise)(clean, plan=plan).x


def check_our_rooms(ours, normalise):
    """Check that each of our clips is in one of the rooms of the folder."""
    rooms = [read(path) for path in sorted(Path("rooms").iterdir())]
    chosen = [rooms[i] for i in ours["plans"][0].room.tolist()]
    torch.testing.assert_close(ours["x"], in_rooms(ours["wave"], chosen, normalise), atol=1e-5, rtol=1e-4)


@agreement("torch-audiomentations", "Impulse responses")
def audiomentations_rooms(theirs, ours):
    responses = list(theirs["add"].transform_parameters["ir"])
    torch.testing.assert_close(in_rooms(theirs["wave"], responses, None), theirs["x"], atol=1e-4, rtol=1e-4)
    check_our_rooms(ours, None)


@agreement("torch-audiomentations", "Shifts in time")
def audiomentations_shift(theirs, ours):
    steps = theirs["shift"].transform_parameters["num_samples_to_shift"]
    plan = ShiftPlan.of(8, offset=steps.double() / 16000, valid=torch.ones(8).double())
    assert torch.equal(time_shift(theirs["wave"], plan), theirs["x"])
    assert torch.equal(time_shift(ours["wave"], ours["plans"][0]), ours["x"])
    assert (ours["plans"][0].offset.abs() <= 0.5).all()


@agreement("torch-audiomentations", "What is not here")
def audiomentations_chain(theirs, ours):
    ratio = theirs["x"] / theirs["wave"]  # a gain within 6 dB, half of them negative
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio), atol=1e-4, rtol=1e-4)
    assert (db(ratio.abs()).abs() < 6.01).all()
    check_soft_labels(ours)
    chain, wave = ours["chain"].eval(), ours["wave"]
    assert torch.equal(chain(wave, ours["label"]).x, wave)


@agreement("audiomentations", "A chain")
def audiomentations_single(theirs, ours):
    room, noise = theirs["chain"].transforms
    clean = theirs["wave"][-1:]
    reverberant = torch.from_numpy(room.apply(clean[0, 0].numpy(), 16000))  # as for the last clip
    response = read(room.parameters["ir_file_path"])
    first = direct_path(response)
    ours_alone = in_rooms(clean, [response], None)[0, 0]
    gain = 0.5 / torch.nn.functional.conv1d(
        torch.nn.functional.pad(clean, (response.shape[-1] - 1,) * 2), response.flip(-1)[None]
    ).abs().max()
    torch.testing.assert_close(reverberant[first:], gain * ours_alone[: 16000 - first], atol=1e-5, rtol=1e-3)
    assert noise.parameters["snr_db"] == 10
    check_noise(theirs["x"][-1:, None], reverberant[None, None], 10)
    plans = ours["plans"]
    assert (plans[0].room >= 0).all()
    assert (plans[1].snr_db == 10).all()
    rooms = [read(path) for path in sorted(Path("rooms").iterdir())]
    before = in_rooms(ours["wave"], [rooms[i] for i in plans[0].room.tolist()], "power")
    got = db(rms(before) / rms(ours["x"] - before))
    torch.testing.assert_close(got, torch.full((8,), 10.0).double(), atol=1e-2, rtol=0)


@agreement("torch-audiomentations", "Mixing within the batch")
def audiomentations_mix(theirs, ours):
    drawn = theirs["mix"].transform_parameters
    wave, label = theirs["wave"], theirs["label"]
    for i, (j, snr) in enumerate(zip(drawn["sample_idx"].tolist(), drawn["snr_in_db"].tolist())):
        mixer = SNRMix((snr, snr), label="union", num_classes=10)
        given = {"other": wave[j : j + 1], "other_target": label[j : j + 1]}
        mixed = mixer(wave[i : i + 1], label[i : i + 1], **given)
        torch.testing.assert_close(mixed.x[0], theirs["x"][i], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mixed.target[0], theirs["y"][i])
    plan = ours["plans"][0]
    assert (plan.partner != torch.arange(8)).all()
    assert (ours["y"].sum(1) == 2).all()


@agreement("lhotse", "Noise at an SNR")
def lhotse_noise(theirs, ours):
    for cut, x in zip(theirs["noisy"], theirs["x"]):
        clean, *noises = (torch.from_numpy(track) for track in cut.load_audio(mixed=False))
        assert len(noises) == 1
        snr = cut.tracks[1].snr
        assert 10 <= snr <= 20
        check_noise(torch.from_numpy(x)[None], clean[None], snr)
    check_our_noise(ours, 10, 20)


@agreement("lhotse", "Rooms")
def lhotse_rooms(theirs, ours):
    rooms = [read(path) for path in sorted(Path("rooms").iterdir())]
    for cut, x in zip(theirs["clean"], theirs["x"]):
        clean = torch.from_numpy(cut.load_audio())[None]
        errors = [(in_rooms(clean, [room], "power") - torch.from_numpy(x)).abs().max() for room in rooms]
        assert min(errors) < 1e-5
    check_our_rooms(ours, "power")
    # a negative direct sound at 50 and an echo at 700: lhotse takes the echo for it
    Path("negative").mkdir()
    response = torch.zeros(800)
    response[50], response[700] = -1.0, 0.4
    soundfile.write("negative/r.wav", response.numpy(), 16000, "FLOAT")
    moved = theirs["ReverbWithImpulseResponse"](theirs["RecordingSet"].from_dir("negative", "*.wav"), p=1.0)
    cut = next(iter(moved(theirs["clean"])))
    clean = torch.from_numpy(next(iter(theirs["clean"])).load_audio())[None]
    right = in_rooms(clean, [response], None)[0, 0]
    x = torch.from_numpy(cut.load_audio())[0]
    gain = x[:15000].norm() / right[650:15650].norm()
    torch.testing.assert_close(x[:15350], gain * right[650:], atol=1e-3, rtol=0.02)


@agreement("lhotse", "Masks on features")
def lhotse_masks(theirs, ours):
    for names in (theirs, ours):
        clean = names["spectrogram"][:, 0].transpose(1, 2)
        changed = names["x"] != clean  # (B, N, F)
        frames, bins = changed.all(2), changed.all(1)
        assert torch.equal(changed, frames[:, :, None] | bins[:, None, :])
        assert changed.any()
        assert (bins.sum(1) <= 2 * 10).all()
        assert (frames.sum(1) <= 2 * 15).all()


@agreement("Scaper", "An event over a background")
def scaper_event(theirs, ours):
    names = ("x", "background", "event")
    mixed, background, event = (torch.from_numpy(theirs[name].T.copy()).float()[None] for name in names)
    levels = [level.level(sound, "lufs", rate=16000) for sound in (event, background)]
    torch.testing.assert_close(db(levels[0] / levels[1]), torch.tensor([6.0]).double(), atol=0.1, rtol=0)
    torch.testing.assert_close(mixed, background + event)
    clean = ours["event"]
    levels = [level.level(sound, "lufs", rate=16000) for sound in (clean, ours["x"] - clean)]
    torch.testing.assert_close(db(levels[0] / levels[1]), torch.tensor([6.0]).double(), atol=0.1, rtol=0)


@agreement("SpeechBrain", "Noise")
def speechbrain_noise(theirs, ours):
    torch.manual_seed(0)  # their first draw of the call
    snr = 5 + 15 * torch.rand(8, 1)
    share = 1 / (10 ** (snr / 20) + 1)
    clean = theirs["wave"][:, 0]
    scaled = (1 - share) * clean
    noise = theirs["x"] - scaled
    torch.testing.assert_close(db(rms(scaled) / rms(noise)), snr[:, 0].double(), atol=1e-3, rtol=0)
    check_noise((theirs["x"] / (1 - share))[:, None], clean[:, None], snr[:, 0])
    check_our_noise(ours, 5, 20)


@agreement("SpeechBrain", "Reverberation")
def speechbrain_reverb(theirs, ours):
    rooms = [read(path) for path in sorted(Path("rooms").iterdir())]
    clean = theirs["wave"][:, 0].clone()
    clean[:, 12000:] = 0  # their convolution is circular: only where the tail ends within the clip is it ours
    x = theirs["add"](clean)
    found = [in_rooms(clean[:, None], [room] * 8, None)[:, 0] for room in rooms]
    scaled = [y * clean.abs().mean(1, keepdim=True) / y.abs().mean(1, keepdim=True) for y in found]
    assert min((x - y).abs().max() for y in scaled) < 1e-4
    whole = [in_rooms(theirs["wave"], [room] * 8, None)[:, 0] for room in rooms]
    whole = [y * theirs["x"].abs().mean(1, keepdim=True) / y.abs().mean(1, keepdim=True) for y in whole]
    assert min((theirs["x"] - y)[:, :1000].abs().max() for y in whole) > 0.1  # the end is heard at the start
    check_our_rooms(ours, "power")
