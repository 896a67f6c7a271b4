"""From where on something is wrong with a mix, and what was found wrong: `Limits`, `Verdict`."""

from dataclasses import dataclass, field

from ..captions.audible import MIN_BANDS, MIN_SHARE

__all__ = ["Limits", "Verdict"]

_LOSSY_LABEL = 0.1


@dataclass(frozen=True)
class Limits:
    """From where on something is wrong; see `audiomix.audit.run.audit`."""

    level_db: float = 0.1
    offset_samples: float = 2.0
    onset_samples: float = 1024.0
    residual_db: float = -40.0
    lossy_residual_db: float = -10.0
    lossy_level_db: float = 1.0
    label: float = 0.01
    min_bands: int = MIN_BANDS
    min_share: float = MIN_SHARE
    templates: str | None = None

    def of(self, name: str, lossy: bool) -> float:
        """Return the limit of a check."""
        if name in ("residual", "parts"):
            return self.lossy_residual_db if lossy else self.residual_db
        if lossy and name in ("gain", "snr", "label"):
            return {"gain": self.lossy_level_db, "snr": 2 * self.lossy_level_db, "label": _LOSSY_LABEL}[name]
        known = {"gain": self.level_db, "snr": self.level_db, "offset": self.offset_samples}
        return (known | {"onset": self.onset_samples, "label": self.label}).get(name, 0.0)


@dataclass
class Verdict:
    """The numbers of every check, what is wrong in sentences, what cannot be checked, and how far off the worst is."""

    numbers: dict[str, list[float]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    badness: float = 0.0

    def add(self, name: str, number: float, limit: float, sentence: str) -> None:
        """Note a number, and a failure where it exceeds its limit."""
        self.numbers.setdefault(name, []).append(number)
        if number > limit:
            self.failures.append((name, sentence))
            self.badness += 1 + min(9.0, abs(number) / max(abs(limit), 1.0))
