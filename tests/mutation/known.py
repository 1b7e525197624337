"""Mistakes that once went unnoticed, each the member of a kind: `tests/mutation/run.py --known` makes them again."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """`before` stands once in `module`; `after` is the mistake."""

    module: str
    before: str
    after: str
    what: str


KNOWN = (
    Known("uce/core/training/alignment.py", "kl(target_Pn, attention_Pn) * (REG * self.iterations)",
          "kl(target_Pn, attention_Pn) * REG", "the alignment of kl weighs 200 times too little"),
    Known("uce/core/training/objective.py", "whole = [pair for pair in pairs if seen[pair[0]] == 0]",
          "whole = list(pairs)", "enlarged views are aligned, too"),
    Known("uce/core/training/objective.py", "(contrastive * (self.options.contrastive_weight * self.scale)).backward()",
          "(contrastive * self.options.contrastive_weight).backward()", "half precision: contrastive unscaled"),
    Known("uce/core/training/rows.py", "self.first[encoder][: self.num_concepts]",
          "self.first[encoder][-self.num_concepts :]", "the last split's first moment lives on"),
    Known("uce/core/training/rows.py", "self.second[encoder][: self.num_concepts]",
          "self.second[encoder][-self.num_concepts :]", "the last split's second moment lives on"),
    Known("uce/core/training/updates.py", '        self.micro_batch = values["micro_batch"]\n', "",
          "a checkpoint's micro-batch is forgotten"),
    Known("uce/core/training/updates.py", " and bool(torch.isfinite(found).all())", "", "a checkpoint of NaN is taken"),
    Known("uce/plugins/optimizers/lora.py", "learning_rate=rate or first.learning_rate",
          "learning_rate=first.learning_rate", "tokens learn as fast in the second phase"),
    Known("uce/plugins/optimizers/lora.py", "train_tokens=rate > 0", "train_tokens=True", "token_rate 0 trains tokens"),
    Known("uce/ui/guard.py", 'if scope["type"] != "http":', "if True:", "the guard lets everything through"),
    Known("uce/ui/guard.py", "received += len(", "received = len(", "only the last part of a body counts"),
    Known("uce/ui/guard.py", "unquote(unquote(path))", "unquote(path)", "a door quoted twice is open"),
    Known("uce/ui/guard.py", "length.isdigit() or", "length or", "a length of letters is no length"),
    Known("uce/ui/launch.py", '"middleware": [Middleware(Guard)]', '"middleware": []', "the guard is not there"),
    Known("uce/ui/uploads.py", "path.resolve().is_relative_to(cache.resolve())", "path.is_relative_to(cache)",
          "what a link or dots lead to counts as uploaded"),
    Known("uce/core/files/writing.py", "        descriptor, aside = open_aside(path)",
          "        descriptor, aside = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), path", "written in place"),
    Known("uce/core/files/writing.py", "aside = path.with_name(f", "aside = Path(tempfile.gettempdir(), f",
          "written aside in another folder"),
    Known("uce/core/files/writing.py", "            os.fsync(file.fileno())\n", "", "bytes not on the disk yet"),
    Known("uce/core/model/tuning.py", 'PREFIX, LORA_DOWN, LORA_UP = "unet."', 'PREFIX, LORA_DOWN, LORA_UP = "unett."',
          "LoRA names that diffusers does not know"),
    Known("uce/plugins/exporters/diffusers.py", 'else "unet"', 'else "unett"', "the printed hint loads nothing"),
    Known("uce/batching/run.py", '{"run.threads": 1} if', '{"run.threads": 2} if', "a batch has threads of its own"),
    Known("uce/batching/run.py", 'if key.removeprefix("run.") not in (run or {})', "if True",
          "a batch's threads outrank a configuration file's"),
    Known("uce/ablation/table.py", "towards = -1 if name in LOWER_IS_BETTER else 1", "towards = 1",
          "ablation: the highest is best, always"),
    Known("uce/benchmarking/table.py", "(min if metric in LOWER_IS_BETTER else max)(values)", "max(values)",
          "benchmark: the highest is best, always"),
    Known("uce/many/statistics.py", "self.units < LEAST", "self.units <= LEAST", "so few say nothing: one more"),
    Known("uce/evaluation/scores.py", "len(prototypes) >= LEAST_PROTOTYPES", "len(prototypes) > LEAST_PROTOTYPES",
          "accuracy of so few prototypes: one more"),
    Known("uce/core/model/words.py", "len(word) >= SHORTEST}", "len(word) > SHORTEST}", "three letters are few"),
    Known("uce/plugins/clusterers/normalized_cuts.py",
          "        for number, cells in enumerate(kept):\n            labels[cells] = number\n",
          "        labels[:] = 0\n", "one cluster of everything"),
)  # fmt: skip
