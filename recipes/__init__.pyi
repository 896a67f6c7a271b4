from .api import (
    Prediction as Prediction,
    TrainedRun as TrainedRun,
    bench as bench,
    train as train,
)
