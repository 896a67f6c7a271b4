"""Trainings one after another in one run's folder, each on the guesses of the one before (`--rounds`)."""

from pathlib import Path

from torch import Tensor

from ..data.loader import Data
from ..training.run_folder import Split
from .heads import align_to_prior
from .inference import load_headline
from .refit import predict_features

__all__ = ["earlier_folder", "guess_again"]


def earlier_folder(out: Path, rounds: int) -> Path:
    """Return the folder of the round before, inside that of a run with so many rounds.

    >>> earlier_folder(Path("runs/x"), 2).as_posix()
    'runs/x/round1'
    """
    return out / f"round{rounds - 1}"


def guess_again(folder: Path, head: str, data: Data, split: Split, prior: Tensor) -> Tensor:
    """Return the guesses (U, K), float32, of a finished run on the unlabelled clips of a split.

    They are of the network that the method reports, not of its average (EMA), whatever the headline of a benchmark is.

    Parameters
    ----------
    folder : Path
        The run's folder.
    head : str
        The head that predicts.
    data : Data
        The clips, with fitted views.
    split : Split
        Which of them are unlabelled.
    prior : Tensor, shape (K,)
        The class frequencies that the guesses are aligned to.
    """
    network = load_headline(folder, head).to(data.kept.device)
    shares = predict_features(network, data.views, data.kept, split.unlabelled)[1]
    return align_to_prior(shares, prior.cpu().double()).float()
