"""What the tokens of runs are worth: pictures drawn once and kept, and what each encoder sees in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from uce.core.config.devices import resolve_device
from uce.core.model.encoder import Encoder
from uce.core.work.held import Run
from uce.evaluation.drawing import Progress, tell_nobody
from uce.evaluation.pictures import draw_pictures, gather, prompts_for
from uce.evaluation.prompts import Prompt, read_prompts
from uce.evaluation.scores import RunFeatures, encode_run
from uce.evaluation.settings import Chosen, EvaluationSettings
from uce.evaluation.word_scores import reads_texts

NO_READER = (
    "prompt_following needs an encoder that reads texts; give --encoder clip or siglip with the whole model, or leave "
    "it out with --prompts none"
)


@dataclass(frozen=True)
class Judging:
    """What is drawn of every run, and who compares it.

    Attributes:
        encoders: by name, loaded.
        device, plugin: for drawing, as `uce.run`.
        prompts: what tokens are asked for, where somebody can judge it.
        progress: hears how far the drawing of a run is.
        notes: what is to be said about the numbers; grows.
    """

    settings: EvaluationSettings
    encoders: Mapping[str, Encoder]
    device: str | None = None
    plugin: Sequence[str] = ()
    prompts: tuple[Prompt, ...] = ()
    progress: Progress = tell_nobody
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        chosen: Sequence[Chosen],
        settings: EvaluationSettings,
        device: str | None,
        plugin: Sequence[str],
        progress: Progress = tell_nobody,
    ) -> Judging:
        """Read the prompts and load the encoders.

        Raises:
            UceError: one of them is at fault.
        """
        prompts, where = read_prompts(settings.prompts), resolve_device(device or "auto")
        encoders = {choice.name: choice.load(where) for choice in chosen}
        notes = [] if not prompts or any(map(reads_texts, encoders.values())) else [NO_READER]
        return cls(settings, encoders, device, tuple(plugin), prompts, progress, notes)

    def draw(self, run: Run) -> None:
        """Draw what is missing in the run's folder."""
        draw_pictures(run, self.settings, self.device, self.plugin, self._asked(run), self.progress)

    def see(self, run: Run) -> dict[str, RunFeatures]:
        """Encoder -> what it sees of a run."""
        if not self.encoders:
            return {}
        pictures = gather(run, self.settings, self.device, self.plugin, self._asked(run))
        if pictures.note is not None and pictures.note not in self.notes:
            self.notes.append(pictures.note)
        return {name: encode_run(encoder, pictures) for name, encoder in self.encoders.items()}

    def _asked(self, run: Run) -> tuple[Prompt, ...]:
        return prompts_for(run, self.prompts, any(reads_texts(encoder) for encoder in self.encoders.values()))
