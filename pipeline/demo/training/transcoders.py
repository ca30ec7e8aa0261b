"""Train the built-in model's transcoders, one layer after the other, on its MLPs' inputs and outputs.

BatchTopK (Bussmann et al. 2024): keep the k x rows largest activations of a batch, wherever they fall, so
that hard tokens may use more features than easy ones; at export the batch-wide cut becomes a JumpReLU
threshold, the running mean of the smallest activation kept. k starts high and narrows, which halves the
number of features that die; those that have gone silent are trained to explain what is left over (the
auxiliary loss of Gao et al. 2024). Targets are scaled to unit mean norm and decoder rows held at unit norm,
so that one threshold is fair to all features; scales are folded back in. ReLU with an L1 penalty needs a
weight to be tuned for each layer, and shrinks the activations that it keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.demo.training.activations import LayerActivations
from pipeline.transcoders import JumpReLU, TranscoderLayer


@dataclass(frozen=True)
class TranscoderTraining:
    """Hyperparameters of a transcoder's training."""

    features: int = 1024
    """Features of a layer."""

    k: int = 9
    """Mean number of active features a token at the end of training."""

    first_k: int = 36
    """The same at its start: more features learn something before they have to compete for few places."""

    narrowing: float = 0.5
    """Share of the steps in which the number falls from `first_k` to `k`."""

    steps: int = 400
    """Optimiser steps a layer."""

    rows: int = 2048
    """Tokens a step."""

    prompts: int = 12_000
    """Training prompts whose tokens are drawn from."""

    start: float = 0.1
    """Size of the first readings against the targets; at 1 a third of the variance stayed unexplained."""

    learning_rate: float = 4e-3
    """Highest learning rate; falls linearly to zero over the last third."""

    silent_after: int = 20
    """Steps without an activation after which a feature counts as dead."""

    revived: int = 64
    """Dead features that the auxiliary loss uses for each token."""

    auxiliary_weight: float = 1 / 32
    """Weight of the auxiliary loss."""

    threshold_memory: float = 0.95
    """Share of the old threshold that a step keeps."""

    def active(self, step: int) -> int:
        """Return the mean number of active features a token at a step: falling in equal ratios, then `k`."""
        progress = min(1.0, step / (self.narrowing * self.steps))
        return round(self.first_k ** (1 - progress) * self.k**progress)


class _Trainee:
    """A transcoder in training, on scaled inputs and targets."""

    def __init__(
        self, mean_target: Float[Tensor, " d_model"], training: TranscoderTraining, generator: torch.Generator
    ) -> None:
        width = len(mean_target)
        decoder = torch.randn(training.features, width, generator=generator)
        self.decoder = (decoder / decoder.norm(dim=1, keepdim=True)).requires_grad_()
        encoder = torch.randn(training.features, width, generator=generator)
        encoder = encoder * training.start / width**0.5
        self.encoder = encoder.requires_grad_()
        self.encoder_bias = torch.zeros(training.features, requires_grad=True)
        self.decoder_bias = mean_target.clone().requires_grad_()
        self.threshold = 0.0
        self.silent = torch.zeros(training.features, dtype=torch.long)
        self.training = training

    @property
    def parameters(self) -> list[Tensor]:
        """Tensors that the optimiser updates."""
        return [self.encoder, self.encoder_bias, self.decoder, self.decoder_bias]

    def loss(
        self, inputs: Float[Tensor, "rows d_model"], targets: Float[Tensor, "rows d_model"], k: int
    ) -> Float[Tensor, ""]:
        """Return the squared error with k features a row and the auxiliary loss; update the threshold."""
        activations = torch.relu(inputs @ self.encoder.T + self.encoder_bias)
        cut = activations.detach().flatten().topk(k * len(inputs)).values[-1]
        kept = activations * (activations >= cut)
        self._observe(float(cut), (kept > 0).any(0))
        residual = targets - (kept @ self.decoder + self.decoder_bias)
        return residual.square().sum(1).mean() + self._auxiliary_loss(activations, residual.detach())

    def _observe(self, cut: float, was_active: Tensor) -> None:
        memory = self.training.threshold_memory if self.threshold else 0.0
        self.threshold = memory * self.threshold + (1 - memory) * cut
        self.silent = torch.where(was_active, 0, self.silent + 1)

    def _auxiliary_loss(self, activations: Tensor, residual: Tensor) -> Tensor:
        dead = (self.silent >= self.training.silent_after).nonzero().squeeze(1)
        if not len(dead):
            return residual.new_zeros(())
        best = activations[:, dead].topk(min(self.training.revived, len(dead)), dim=1)
        revived = torch.zeros_like(activations[:, dead]).scatter(1, best.indices, best.values)
        error = (residual - revived @ self.decoder[dead]).square().sum(1).mean()
        return self.training.auxiliary_weight * error

    def normalise(self) -> None:
        """Bring decoder rows back to unit norm."""
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)

    def export(self, input_scale: float, target_scale: float) -> TranscoderLayer:
        """Fold the scales in, freeze the threshold, and round to what the files hold."""
        bias = self.encoder_bias.detach()
        return TranscoderLayer(
            encoder=_rounded(self.encoder.detach() / input_scale),
            encoder_bias=_rounded(bias),
            decoder=_rounded(self.decoder.detach() * target_scale)[:, None],
            decoder_bias=_rounded(self.decoder_bias.detach() * target_scale),
            activation=JumpReLU(_rounded(torch.full_like(bias, self.threshold))),
        )


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.half().float()


def train_transcoder(
    layer: LayerActivations,
    training: TranscoderTraining,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> TranscoderLayer:
    """Train one layer's transcoder from a seed; `advance` is called once a step."""
    generator = torch.Generator().manual_seed(seed)
    input_scale = float(layer.inputs.square().mean().sqrt())
    target_scale = float(layer.outputs.norm(dim=1).mean())
    inputs, targets = layer.inputs / input_scale, layer.outputs / target_scale
    trainee = _Trainee(targets.mean(0), training, generator)
    optimiser = torch.optim.Adam(trainee.parameters, lr=training.learning_rate)
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, 3 * (training.steps - step) / training.steps)
    )
    for step in range(training.steps):
        rows = _draw_rows(len(inputs), training.rows, generator)
        loss = trainee.loss(inputs[rows], targets[rows], training.active(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
        trainee.normalise()
        advance()
    return trainee.export(input_scale, target_scale)


def _draw_rows(available: int, wanted: int, generator: torch.Generator) -> Int[Tensor, " rows"]:
    return torch.randint(available, (wanted,), generator=generator)
