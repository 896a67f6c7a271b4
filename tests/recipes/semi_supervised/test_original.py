"""The preset ``original``: the numbers of each method's paper, and what is said of those that are not.

`PAPERS` is written from the papers and their authors' code, and compared with what a run would have. A method without
an entry fails: whoever adds a method writes down its paper's numbers here, with where they are from.
"""

import dataclasses
import inspect
import math
from collections import Counter

import pytest
import torch

from recipes import algorithms
from recipes.algorithms._papers import common_deviations, list_deviations, paper_of
from recipes.algorithms.base import Algorithm
from recipes.commands.list import list as list_command
from recipes.data.loader import prepare, step_indices
from recipes.data.protocol import read_dataset
from recipes.semi_supervised.run_spec import configure
from recipes.semi_supervised.train import learning_rate, train
from recipes.training.config import PRESETS

# google-research/fixmatch at d4985a1, fixmatch.py: flags and MomentumOptimizer(lr, 0.9, use_nesterov=True), l2_loss of
# 'kernel' variables, lr * cos(7 pi t / 16), ema=0.999. TorchSSL at f26e1d4 has the same for its methods:
# train_utils.get_optimizer, config/*/*_cifar10_40_0.yaml, include_lb_to_ulb.
FIXMATCH = {
    "optimiser": "sgd", "lr": 0.03, "sgd_momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
    "weight_decay_on": "kernels", "decay": "cos7pi16", "warmup": 0, "batch_labelled": 64, "batch_unlabelled": 7 * 64,
    "ema": 0.999, "labelled_view": "weak", "weak_view": "weak", "strong_view": "strong", "reuse_labelled": True,
}  # fmt: skip
# google-research/mixmatch at 1011a1d, mixmatch.py: AdamOptimizer(lr), kernels times 1 - lr wd, batch 64, lr 0.002,
# wd 0.02, ema 0.999; scripts/create_split.py: the unlabelled clips are the others
MIXMATCH = {
    "optimiser": "adamw", "lr": 0.002, "weight_decay": 0.02, "weight_decay_on": "kernels", "decay": "constant",
    "warmup": 0, "batch_labelled": 64, "batch_unlabelled": 64, "ema": 0.999, "labelled_view": "weak",
    "reuse_labelled": False,
}  # fmt: skip
# configuration, options (attributes of the method), weights at the end of the training, and mixer, by method
PAPERS: dict[str, dict] = {
    # the baseline of FixMatch and its successors
    "supervised": {"config": FIXMATCH},
    # paper, table 4: tau 0.95, lambda_u 1
    "fixmatch": {"config": FIXMATCH, "options": {"threshold": 0.95}, "weights": {"weight": 1}},
    # paper, section 4; TorchSSL flexmatch_cifar10_40_0.yaml: p_cutoff 0.95, ulb_loss_ratio 1
    "flexmatch": {
        "config": FIXMATCH, "options": {"threshold": 0.95, "threshold_warmup": True}, "weights": {"weight": 1},
    },
    # paper, section 4.1: m 0.999, 2 sigma, uniform alignment
    "softmatch": {
        "config": FIXMATCH, "options": {"momentum": 0.999, "sigmas": 2, "alignment": "uniform"},
        "weights": {"weight": 1},
    },
    # paper, appendix; TorchSSL freematch_entropy_cifar10_40_0.yaml: ent_loss_ratio 0.01
    "freematch": {
        "config": FIXMATCH, "options": {"momentum": 0.999, "fairness": 0.01, "fair_to": "predictions"},
        "weights": {"weight": 1},
    },
    # google-research/adamatch at 7a0b40c, semi_supervised/adamatch.py: objax.optimizer.Momentum, ScheduleCos(lr, 0.25),
    # wd 0.001, uratio 3, confidence 0.9, p_labeled an average with 0.999, p_unlabeled over 128 batches
    "adamatch": {
        "config": FIXMATCH
        | {"nesterov": False, "weight_decay": 1e-3, "decay": "cos_to_quarter", "batch_unlabelled": 3 * 64},
        "options": {
            "threshold": 0.9, "align.window": 128, "align.momentum": 0.999, "align_to": "predictions",
            "interpolation": True,
        },
        "weights": {"weight": 1},
    },
    # paper, section 3.5: T 0.5, K 2, alpha 0.75, lambda_u 100
    "mixmatch": {
        "config": MIXMATCH, "options": {"temperature": 0.5, "weak_views": 2, "distance": "mse", "quiet_guess": True},
        "weights": {"weight": 100}, "mixer": {"alpha": 0.75, "keep_larger": True, "per": "clip"},
    },
    # google-research/remixmatch at f7061eb, cta/cta_remixmatch.py: w_match 1.5, w_kl 0.5, w_rot 0.5, beta 0.75, dbuf
    # 128; runs/ssl/cifar10.sh: K 8; the labelled clips are augmented as strongly
    "remixmatch": {
        "config": MIXMATCH | {"labelled_view": "strong", "weak_view": "weak", "strong_view": "strong"}
        | {"reuse_labelled": True},
        "options": {
            "weight": 1.5, "weight_strong": 0.5, "weight_turn": 0.5, "temperature": 0.5, "views": 8,
            "align_to": "prior", "quiet_guess": True, "memory": 0, "networks": 1,
        },
        "weights": {"ramp": 1}, "mixer": {"alpha": 0.75, "keep_larger": True, "per": "clip"},
    },
    # CuriousAI/mean-teacher at 546348f, pytorch/experiments/cifar10_test.py, 1,000 labels: base_batch_size 128 with 31
    # labelled, base_lr 0.05, consistency 100, ema_decay 0.97; main.py: SGD of all parameters
    "mean_teacher": {
        "config": {
            "optimiser": "sgd", "lr": 0.05, "sgd_momentum": 0.9, "nesterov": True, "weight_decay": 2e-4,
            "weight_decay_on": "all", "decay": "cosine_6_7", "warmup": 0, "batch_labelled": 31,
            "batch_unlabelled": 128 - 31, "labelled_view": "weak", "weak_view": "weak", "reuse_labelled": False,
        },
        "options": {"teacher_decay": 0.97, "student": "weak", "buffers_mode": "own", "divide_by": "all"},
        "weights": {"weight": 100},
    },
    # AlanChou/Deep-Co-Training-for-Semi-Supervised-Image-Recognition at 1b56dc1, main.py: batchsize 100 (8 and 92),
    # base_lr 0.05 times 1 + cos, momentum 0.9, decay 1e-4, lambda_cot_max 10, lambda_diff_max 0.5, one optimiser of all
    "deep_co_training": {
        "config": {
            "optimiser": "sgd", "lr": 2 * 0.05, "sgd_momentum": 0.9, "nesterov": False, "weight_decay": 1e-4,
            "weight_decay_on": "all", "decay": "cosine_epochs", "warmup": 0, "batch_labelled": 2 * 8,
            "batch_unlabelled": 92, "labelled_view": "weak", "weak_view": "weak", "reuse_labelled": False,
        },
        "options": {"epsilon_db": 0.02 * 100},
        "weights": {"weight_agree": 10, "weight_differ": 0.5},
    },
    # The paper's network fits nothing here: FixMatch's optimiser. Paper, section 3.3: alpha_f 3, T_1 100, T_2 600, no
    # threshold
    "pseudo_label": {
        "config": FIXMATCH, "options": {"threshold": 0, "start": 100 / 1000, "end": 600 / 1000},
        "weights": {"factor": 3},
    },
    # smlaine2/tempens at a32743a, config.py: minibatch_size 100 (8 labelled), learning_rate_max 0.003, rampup_length 80
    # of num_epochs 300; paper: w_max 100 times the share of labelled clips in the batch
    "pi_model": {
        "config": {
            "optimiser": "adam", "lr": 0.003, "weight_decay": 0, "warmup": 0.267, "batch_labelled": 8,
            "batch_unlabelled": 92, "labelled_view": "weak", "weak_view": "weak", "reuse_labelled": False,
        },
        "options": {"second_view": "weak", "both_learn": True}, "weights": {"weight": 100},
    },
    # google-research/uda at 960684e, image/main.py, utils.decay_weights and scripts/run_cifar10_gpu.sh
    "uda": {
        "config": FIXMATCH | {"weight_decay_on": "all"},
        "options": {"threshold": 0.8, "temperature": 0.4, "annealing": "none"}, "weights": {"weight": 1},
    },
    # takerum/vat_tf at c5125d2, train_semisup.py: batch_size 32, ul_batch_size 128, Adam with 0.001; method vatent
    "vat": {
        "config": {
            "optimiser": "adam", "lr": 0.001, "weight_decay": 0, "warmup": 0, "batch_labelled": 32,
            "batch_unlabelled": 128, "labelled_view": "weak", "weak_view": "weak", "reuse_labelled": False,
        },
        "options": {"power_iterations": 1}, "weights": {"weight": 1, "weight_entropy": 1},
    },
    # microsoft/Semi-supervised-learning, config/classic_cv/dash/dash_cifar10_40_0.yaml: C 1.0001, gamma 1.27, rho_min
    # 0.05, T 0.5; paper: a warm-up of 10 of 1,024 epochs, then a period of 9
    "dash": {
        "config": FIXMATCH,
        "options": {
            "scale": 1.0001, "gamma": 1.27, "least_loss": 0.05, "temperature": 0.5, "start": 0.0098, "period": 0.0088,
        },
        "weights": {"weight": 1},
    },
    # paper, section 4; the same repository's simmatch_cifar10_40_0.yaml: T 0.1, proj_size 128, smoothing_alpha 0.9
    "simmatch": {
        "config": FIXMATCH,
        "options": {"threshold": 0.95, "smoothing": 0.9, "temperature": 0.1, "dimensions": 128, "bank_momentum": 0.7},
        "weights": {"weight": 1, "weight_similarity": 1},
    },
    # salesforce/CoMatch at 08b4cce, Train_CoMatch.py: thr 0.95, alpha 0.9, temperature 0.2, contrast-th 0.8, low-dim
    # 64, queue-batch 5, mu 7
    "comatch": {
        "config": FIXMATCH,
        "options": {
            "threshold": 0.95, "smoothing": 0.9, "temperature": 0.2, "graph_threshold": 0.8, "dimensions": 64,
            "memory_size": 5 * (7 + 1) * 64,
        },
        "weights": {"weight": 1, "weight_similarity": 1},
    },
}  # fmt: skip
# t of the training at which a ramp ends, by method and attribute: the papers' steps or epochs
RAMPS = {
    ("mixmatch", "weight"): 2**20 / 2**26,  # images: warmup_kimg 1024 of train_kimg 1 << 16
    ("remixmatch", "ramp"): 2**20 / 2**26,
    ("mean_teacher", "weight"): 5 / 180,  # epochs: consistency_rampup
    ("deep_co_training", "weight_agree"): 80 / 600,  # epochs: warm_up
    ("deep_co_training", "weight_differ"): 80 / 600,
    ("pi_model", "weight"): 80 / 300,  # epochs: rampup_length
    ("pseudo_label", "factor"): 600 / 1000,  # epochs
    ("adamatch", "weight"): 1 / 2,  # ScheduleCosPhases(1, [(0.5, 1), (1, 1)])
}


def at_original(name):
    """Return configuration and method of a run at ``original``."""
    kind = algorithms.get(name)
    config, options = configure("original", kind, {})
    mixer = algorithms.mixer_for(None, kind, "original")
    return config, kind(10, algorithms.make_mixer(mixer, kind) if mixer else None, **options)


def test_every_method_has_an_entry_with_the_numbers_of_its_paper():
    missing = set(algorithms.available()) - set(PAPERS)
    assert not missing, f"write the numbers of the papers of {', '.join(sorted(missing))} into PAPERS of this file"


@pytest.mark.parametrize("name", PAPERS)
def test_the_configuration_is_the_papers(name):
    config, _ = at_original(name)
    assert {key: getattr(config, key) for key in PAPERS[name]["config"]} == PAPERS[name]["config"]


@pytest.mark.parametrize("name", PAPERS)
def test_the_options_are_the_papers(name):
    _, method = at_original(name)
    expected = PAPERS[name].get("options", {})
    found = {key: getattr(method.align, key[6:]) if key[:6] == "align." else getattr(method, key) for key in expected}
    assert found == expected
    for key, value in PAPERS[name].get("weights", {}).items():
        assert getattr(method, key)(1.0) == value, key
    for key, value in PAPERS[name].get("mixer", {}).items():
        assert str(getattr(method.mixer, key)) == str(value), key
    assert (method.mixer is None) == ("mixer" not in PAPERS[name])


@pytest.mark.parametrize(("name", "weight"), RAMPS, ids=lambda text: text)
def test_ramps_end_at_the_papers_share_of_the_training(name, weight):
    ramp, end = getattr(at_original(name)[1], weight), RAMPS[name, weight]
    assert ramp(end * 1.01) == ramp(1.0)
    assert ramp(end / 2) < 0.9 * ramp(1.0)


def test_weights_without_a_ramp_are_constant():
    for name in PAPERS:
        for weight in PAPERS[name].get("weights", {}):
            if (name, weight) not in RAMPS:
                factor = getattr(at_original(name)[1], weight)
                assert factor(0.0) == factor(0.3) == factor(1.0), (name, weight)


@pytest.mark.parametrize(
    ("name", "at_end", "halfway"),
    [
        ("fixmatch", math.cos(7 * math.pi / 16), math.cos(7 * math.pi / 32)),
        ("adamatch", 0.25, math.cos(math.acos(0.25) / 2)),
        ("mixmatch", 1.0, 1.0),
        # 90 of 210 epochs, and 180
        ("mean_teacher", (1 + math.cos(math.pi * 180 / 210)) / 2, (1 + math.cos(math.pi * 90 / 210)) / 2),
        ("deep_co_training", 0.0, 0.5),
    ],
)
def test_the_learning_rate_runs_its_papers_course(name, at_end, halfway):
    config, _ = at_original(name)
    for t, factor in (0.0, 1.0), (0.5, halfway), (1.0, at_end):
        assert learning_rate(config, t) == pytest.approx(config.lr * factor, abs=1e-9), t


def test_every_method_takes_about_as_many_steps_as_the_study():
    for labelled, unlabelled in (30, 290), (900, 8000):
        study = 300 * (unlabelled // 30)
        for name in algorithms.available():
            config, _ = at_original(name)
            clips = unlabelled + (labelled if config.reuse_labelled else 0)
            assert 0.9 * study <= config.count_steps(labelled, clips) <= 1.2 * study, name


def test_a_batch_larger_than_its_set_holds_every_clip_and_a_pass_every_clip_once():
    # 64 of 30 labels: the rest of a pass, one or two whole passes, and the beginning of another
    for step in range(5):
        counts = Counter(step_indices(torch.arange(30), 64, step, 0, "labelled").tolist())
        assert len(counts) == 30
        assert set(counts.values()) <= {1, 2, 3}
    assert sum(step_indices(torch.arange(30), 64, s, 0, "labelled").bincount() for s in range(15)).tolist() == [32] * 30


@pytest.mark.parametrize("name", ["fixmatch", "mean_teacher"])
def test_a_run_at_original_trains_on_fewer_clips_than_a_batch(name, tone_folder, tmp_path):
    # 6 labelled clips and 48 unlabelled ones, or all 54; the network, the front end and one of the batches are small
    small: dict = {"model": "resnet_small", "model_options": ("width=4",), "rate": 8000, "window": 256, "hop": 200}
    small |= {"n_mels": 16, "steps": 2, "every": 2, "labelled": "2", "threads": 1, "device": "cpu"}
    config, options = configure("original", algorithms.get(name), {}, batch_unlabelled=64, **small)
    data = prepare(config, read_dataset("folder", tone_folder), tmp_path / "stores", quiet=True)
    assert config.batch_labelled > 6
    result = train(config, data, name, out=tmp_path / "run", options=options, quiet=True)
    assert result.history[-1]["step"] == 2
    terms = [value for column, value in result.history[-1].items() if column.startswith("loss_")]
    assert len(terms) == 2
    assert all(map(math.isfinite, terms))


def test_the_study_is_not_changed_by_the_papers_numbers():
    # what the founding study has in common for all methods, see recipes.training.config
    study = PRESETS["study"]
    assert (study.optimiser, study.lr, study.weight_decay, study.decay) == ("adam", 1e-3, 0, "cosine_epochs")
    for name in algorithms.available():
        kind = algorithms.get(name)
        config, options = configure("study", kind, {})
        own = ("batch_labelled", "batch_unlabelled", "epochs", "lr", "labelled_view")
        assert dataclasses.replace(config, **{field: getattr(study, field) for field in own}) == study, name
        assert not {"window_batches", "divide_by", "epsilon_db"} & set(options), name


@pytest.mark.parametrize("name", algorithms.available())
def test_every_method_names_its_paper_and_what_is_not_as_there(name):
    kind = algorithms.get(name)
    doc = inspect.cleandoc(kind.__doc__)
    assert "References\n----------\n" in doc
    assert "Deviations\n----------\n" in doc
    assert any(char.isdigit() for char in paper_of(kind)), "the paper's year"
    assert list_deviations(kind)
    assert all(text.endswith(".") for text in [*list_deviations(kind), *common_deviations()])


def test_deviations_are_a_methods_own_and_its_familys_but_not_those_of_all():
    class Family(Algorithm):
        """A family.

        Deviations
        ----------
        - Shared by
          the family.
        """

    class Method(Family):
        """A method.

        References
        ----------
        Someone, "A paper",
        2024.

        Deviations
        ----------
        - One.
        - Another - with a dash.

        Notes
        -----
        - No deviation.
        """

    class Silent(Family):
        pass

    assert list_deviations(Method) == ["One.", "Another - with a dash.", "Shared by the family."]
    assert list_deviations(Silent) == ["Shared by the family."]
    assert (paper_of(Method), paper_of(Silent)) == ('Someone, "A paper", 2024.', "")
    assert len(common_deviations()) >= 5
    Silent.__doc__ = "Silent.\n\nDeviations\n----------\nNone.\n"
    with pytest.raises(ValueError, match=r"the section Deviations of Silent must be a list"):
        list_deviations(Silent)


def test_the_list_shows_papers_and_deviations_of_every_method(capsys):
    facts = list_command(methods=True).facts["methods"]
    shown = " ".join(capsys.readouterr().out.split())
    assert set(facts) == {"all", *algorithms.available()}
    for name in algorithms.available():
        kind = algorithms.get(name)
        assert facts[name] == {"paper": paper_of(kind), "deviations": list_deviations(kind)}
        for text in [paper_of(kind), *list_deviations(kind), *common_deviations()]:
            assert text in shown, name
