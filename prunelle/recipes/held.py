"""Is the network that an experiment ships the masked one, as far as it was only cut?"""

from __future__ import annotations

import time
from typing import Any

from prunelle.errors import WorkError
from prunelle.models.open import open_model
from prunelle.models.save import load, read_folder
from prunelle.prune.channel_steps import PruneChannels
from prunelle.recipes.channels import figures
from prunelle.recipes.execute import MODEL, open_run, task_of
from prunelle.recipes.experiment import Finished
from prunelle.recipes.plan import Place
from prunelle.recipes.settings import ChannelsStage
from prunelle.recipes.slimming import Slimmed
from prunelle.recipes.verify import verify
from prunelle.recipes.words import step


def verdict_of_run(finished: Finished, place: Place) -> dict[str, Any]:
    """As recipes.channels.cut_channels with `verified`, for the chosen run, whose first stage cuts channels: the plan
    is made anew and held, and must be the one that was saved. Repairs and training come after what is held.

    Raises WorkError where the run cuts no channels.
    """
    chosen = finished.chosen
    stage = chosen.cell.stages[0] if chosen.cell.stages else None
    if not isinstance(stage, ChannelsStage) or chosen.dense is None:
        raise WorkError(f"{chosen.cell.label}: cuts no channels first, so there is nothing to verify.")
    run, folder = open_run(chosen, place), open_run(chosen.dense, place).folder / MODEL
    task = task_of(chosen.cell.data, place.data_dir, place.device)
    opened = open_model(str(folder), trust=place.trust)
    cut = step(stage, f"0-{stage.kind}", opened.model, place.checkpoint_seconds)
    assert isinstance(cut, PruneChannels)
    begun = time.monotonic()
    plan = cut.plan(opened.model.to(run.device), task, run)
    dense = opened.model.cpu()
    plan.apply(dense)
    seconds = time.monotonic() - begun
    small = load(run.folder / MODEL, trust=place.trust)
    found = Slimmed(opened, task.input_shape, plan, small, seconds)
    verdict = verify(dense, plan, small, task.input_shape, lambda: load(place.out, trust=place.trust), chosen.seed)
    told = verdict.to_json() | figures(found, place.out, str(folder)) | {"model": chosen.cell.model}
    if read_folder(place.out)[0].cuts != opened.cuts.then(plan.cuts):
        told["ok"] = False
        told["problems"] = [*verdict.problems, "the saved network was cut otherwise than planned"]
    return told
