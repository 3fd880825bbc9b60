"""The StackGAN baseline's networks and step in PyTorch, as its experts write them.

One generator pass serves both updates, the discriminator's trunk sees a real image once, and,
where nothing is compiled, one pass over the fakes serves both losses (a compiled backward pass
always computes all its gradients, so there the passes are two). Settings: device, channels_last,
compile, autocast.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

VERSIONS = {"torch": torch.__version__}
WIDTH, LEAK = 1024, 0.2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Generator(nn.Module):
    """[B, text], [B, 100], [B, 128] -> image [B, 3, 64, 64], mu, log_sigma."""

    def __init__(self, text: int) -> None:
        super().__init__()
        self.condition = nn.Linear(text, 256)
        self.project = nn.Linear(228, 16 * WIDTH, bias=False)
        widths = [WIDTH >> step for step in range(5)]
        pairs = list(itertools.pairwise(widths))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(_norm(b) for _, b in pairs)
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1, bias=False)

    def forward(self, text, z, eps):
        mu, log_sigma = F.leaky_relu(self.condition(text), LEAK).float().chunk(2, dim=1)
        x = torch.cat([mu + log_sigma.exp() * eps, z], dim=1)
        x = F.relu(self.project(x)).view(-1, 4, 4, WIDTH).permute(0, 3, 1, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(F.interpolate(x, scale_factor=2, mode="nearest"))))
        return torch.tanh(self.last(x).float()), mu, log_sigma


class Discriminator(nn.Module):
    """A trunk over the image, and a judgment of its features with a text."""

    def __init__(self, text: int) -> None:
        super().__init__()
        widths = [3, 64, 128, 256, 512]
        pairs = list(itertools.pairwise(widths))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(_norm(b) for b in widths[2:])
        self.compress = nn.Linear(text, 128)
        self.joint = nn.Conv2d(640, 512, 1)
        self.joint_norm = _norm(512)
        self.logit = nn.Linear(8192, 1)

    def trunk(self, image):
        x = F.leaky_relu(self.convs[0](image), LEAK)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), LEAK)
        return x

    def judge(self, features, text):
        text = F.relu(self.compress(text))[:, :, None, None].expand(-1, -1, 4, 4)
        x = self.joint(torch.cat([features, text.to(features.dtype)], dim=1))
        x = F.leaky_relu(self.joint_norm(x), LEAK)
        return self.logit(x.permute(0, 2, 3, 1).flatten(1))[:, 0].float()


def _cross_entropy(logits: torch.Tensor, target: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class Competitor:
    """What child.py drives."""

    def __init__(self, problem: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.device = torch.device(settings["device"])
        if settings["device"] == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
        self.format = (
            torch.channels_last if settings.get("channels_last") else torch.contiguous_format
        )
        self.autocast = (
            (lambda: torch.autocast(settings["device"], torch.bfloat16))
            if settings.get("autocast")
            else contextlib.nullcontext
        )
        self._load(problem)
        self.compiled = settings.get("compile", False)
        wrap = torch.compile if self.compiled else lambda function: function
        self.draw, self.trunk, self.judge = wrap(self.g), wrap(self.d.trunk), wrap(self.d.judge)
        options = {"lr": 1e-3, "betas": (0.5, 0.999), "eps": 1e-7, "fused": True}
        self.g_adam = torch.optim.Adam(self.g.parameters(), **options)
        self.d_adam = torch.optim.Adam(self.d.parameters(), **options)

    def _load(self, problem: dict[str, np.ndarray]) -> None:
        put = lambda name: torch.from_numpy(np.array(problem[name])).to(self.device)  # noqa: E731
        self.table, self.codes, self.image = put("table"), put("codes").long(), put("image")
        self.noise = {"z": put("z"), "eps": put("eps")}
        text = self.codes.shape[1] * self.table.shape[1]
        self.g, self.d = Generator(text), Discriminator(text)
        with torch.no_grad():
            for prefix, network, names in (("g", self.g, G_NAMES), ("d", self.d, D_NAMES)):
                parameters = dict(network.named_parameters())
                for ours, theirs in names.items():
                    value = torch.from_numpy(np.array(problem[f"{prefix}/{ours}"]))
                    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
                    parameters.pop(theirs).copy_(value.permute(order))
                assert not parameters, f"no weights for {sorted(parameters)}"
        self.g = self.g.to(self.device, memory_format=self.format)
        self.d = self.d.to(self.device, memory_format=self.format)

    def check_sample(self) -> dict[str, np.ndarray]:
        """Returns the images of the problem's noise."""
        return {"sample": self._sample(**self.noise).permute(0, 2, 3, 1).float().cpu().numpy()}

    def check_train(self) -> dict[str, np.ndarray]:
        """Losses, gradients' norms, fakes and logits of the first step."""
        d_loss, g_loss, fake, logits = self._losses(**self.noise)
        d_grads, g_grads = self._gradients(d_loss, g_loss)
        out = {"loss/d": d_loss, "loss/g": g_loss, "fake": fake.permute(0, 2, 3, 1)}
        out |= {f"logits/{n}": x for n, x in zip(("real", "wrong", "fake"), logits, strict=True)}
        for name, grads in (("d", d_grads), ("g", g_grads)):
            out[f"grad_norm/{name}"] = torch.stack([x.square().sum() for x in grads]).sum().sqrt()
        return {name: value.detach().float().cpu().numpy() for name, value in out.items()}

    def _losses(self, z, eps):
        text = self.table[self.codes].flatten(1)
        image = (self.image.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(
            memory_format=self.format
        )
        with self.autocast():
            fake, mu, log_sigma = self.draw(text, z, eps)
            features = self.trunk(image)
            logits = [self.judge(features, text), self.judge(features, text.roll(1, 0))]
            seen = fake.detach() if self.compiled else fake
            logits.append(self.judge(self.trunk(seen), text))
            fooled = logits[-1]
            if self.compiled:
                self.d.requires_grad_(False)
                fooled = self.judge(self.trunk(fake), text)
                self.d.requires_grad_(True)
        kl = torch.mean(-log_sigma + 0.5 * (-1 + torch.exp(2 * log_sigma) + mu**2))
        g_loss = _cross_entropy(fooled, 1.0) + 2.0 * kl
        real, wrong, made = map(_cross_entropy, logits, (0.9, 0.0, 0.0))
        return 0.5 * (real + 0.5 * (wrong + made)), g_loss, fake, logits

    def _gradients(self, d_loss, g_loss):
        shared = not self.compiled
        d_grads = torch.autograd.grad(d_loss, list(self.d.parameters()), retain_graph=shared)
        return d_grads, torch.autograd.grad(g_loss, list(self.g.parameters()))

    def _draw_noise(self) -> dict[str, torch.Tensor]:
        return {name: torch.randn_like(value) for name, value in self.noise.items()}

    def step(self) -> None:
        """One training step."""
        self.g.train(), self.d.train()
        d_loss, g_loss, _, _ = self._losses(**self._draw_noise())
        for network, adam, grads in zip(
            (self.d, self.g),
            (self.d_adam, self.g_adam),
            self._gradients(d_loss, g_loss),
            strict=True,
        ):
            for parameter, grad in zip(network.parameters(), grads, strict=True):
                parameter.grad = grad
            adam.step()

    @torch.inference_mode()
    def _sample(self, z, eps) -> torch.Tensor:
        self.g.eval()
        with self.autocast():
            return self.draw(self.table[self.codes].flatten(1), z, eps)[0]

    def sample(self) -> None:
        """One batch of images."""
        self._sample(**self._draw_noise())

    def wait(self) -> None:
        """Returns when all is computed."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def device_memory(self) -> int | None:
        """Peak bytes on the GPU, None without one."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


def _norm_names(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}/scale": f"{theirs}.weight", f"{ours}/bias": f"{theirs}.bias"}


G_NAMES = {
    "conditioning/Dense_0/kernel": "condition.weight",
    "conditioning/Dense_0/bias": "condition.bias",
    "Dense_0/kernel": "project.weight",
    "Conv_4/kernel": "last.weight",
}
D_NAMES = {
    "text_compressor/kernel": "compress.weight",
    "text_compressor/bias": "compress.bias",
    "joint/kernel": "joint.weight",
    "joint/bias": "joint.bias",
    "logit/kernel": "logit.weight",
    "logit/bias": "logit.bias",
    **_norm_names("joint_norm", "joint_norm"),
}
for _layer in range(4):
    G_NAMES |= {f"Conv_{_layer}/kernel": f"convs.{_layer}.weight"}
    G_NAMES |= _norm_names(f"BatchNorm_{_layer}", f"norms.{_layer}")
    D_NAMES |= {f"convs_{_layer}/kernel": f"convs.{_layer}.weight"}
for _layer in range(3):
    D_NAMES |= _norm_names(f"norms_{_layer}", f"norms.{_layer}")
