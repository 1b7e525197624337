"""Imported once by the process that others are forked from: all that a run imports, nothing that starts a thread."""

import uce.batching.run
import uce.cli
import uce.contrib
import uce.core.work.worker
import uce.plugins.backbones.stable_diffusion
import uce.plugins.optimizers.masked_denoising  # noqa: F401
