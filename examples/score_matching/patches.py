"""An energy of 8x8 patches of photographs, learned by denoising score matching.

It is judged by denoising held-out photographs with one step along the score, x~ + sigma^2 s(x~),
the best estimate of x if s is the score of the noisy patches (Robbins 1956; Vincent 2011). The best
linear estimate, that of Wiener, uses only the covariance of the patches. Langevin samples show what
else the energy has learned.

    bash examples/score_matching/run.sh
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import torch_ebm

#: From scikit-image; all are in its wheel.
TRAIN_IMAGES = ("camera", "coins", "astronaut", "chelsea", "rocket", "brick")
TEST_IMAGES = ("coffee", "moon", "grass")
SIDE = 8
SIGMA = 0.3  # of the noise; the patches have standard deviation 1
N_UPDATES = 6000
BATCH = 256
LEARNING_RATE = 1e-3


def patches(images: tuple[str, ...]) -> Tensor:
    """All patches of a grid, (N, 64), each with its mean subtracted and its contrast set to 1."""
    import skimage.color
    import skimage.data

    rows = []
    for name in images:
        image = getattr(skimage.data, name)()
        gray = skimage.color.rgb2gray(image) if image.ndim == 3 else image / 255.0
        tiles = torch.as_tensor(gray, dtype=torch.float32).unfold(0, SIDE, 4).unfold(1, SIDE, 4)
        rows.append(tiles.reshape(-1, SIDE * SIDE))
    x = torch.cat(rows)
    x = x - x.mean(1, keepdim=True)
    contrast = x.square().mean(1, keepdim=True).sqrt()
    return (x / contrast)[contrast[:, 0] > 0.02]  # without flat patches, such as sky


def train(data: Tensor) -> torch_ebm.MLP:
    energy = torch_ebm.MLP([SIDE * SIDE, 256, 256, 1], confinement=1 / (1 + SIGMA**2))
    optimizer = torch.optim.Adam(energy.parameters(), lr=LEARNING_RATE)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, N_UPDATES)
    for _ in range(N_UPDATES):
        x = data[torch.randint(len(data), (BATCH,))]
        optimizer.zero_grad()
        torch_ebm.denoising_score_matching(
            energy, x, sigma=SIGMA, weighting="sigma_squared"
        ).backward()
        optimizer.step()
        falling.step()
    return energy


@torch.no_grad()
def denoised(energy: torch_ebm.MLP, noisy: Tensor) -> Tensor:
    return noisy + SIGMA**2 * energy.value_and_score(noisy)[1]


def wiener(data: Tensor, noisy: Tensor) -> Tensor:
    """The best linear estimate for patches of mean 0 and the covariance of `data`."""
    covariance = data.T @ data / len(data)
    gain = torch.linalg.solve(covariance + SIGMA**2 * torch.eye(len(covariance)), covariance)
    return noisy @ gain


def sample(energy: torch_ebm.MLP, n: int) -> Tensor:
    warm = torch_ebm.langevin(energy, torch.randn(n, SIDE * SIDE), step_size=0.01, n_steps=3000).x
    return torch_ebm.mala(energy, warm, step_size=0.02, n_steps=3000).x


def picture(rows: dict[str, Tensor], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n = 16
    figure, axes = plt.subplots(len(rows), n, figsize=(n * 0.7, len(rows) * 0.85))
    for line, (name, x) in zip(axes, rows.items()):
        for axis, patch in zip(line, x):
            axis.imshow(patch.view(SIDE, SIDE), cmap="gray", vmin=-3, vmax=3)
            axis.set(xticks=[], yticks=[])
        line[0].set_title(name, loc="left", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/score_matching"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    data, test = patches(TRAIN_IMAGES), patches(TEST_IMAGES)
    energy = train(data)
    noisy = test + SIGMA * torch.randn_like(test)
    estimates = {"noisy": noisy, "Wiener": wiener(data, noisy), "energy": denoised(energy, noisy)}
    print(f"\ndenoising patches of held-out photographs, noise {SIGMA}: mean squared error")
    for name, x in estimates.items():
        print(f"{name:28}{(x - test).square().mean().item():18.4f}")
    samples = sample(energy, 500)
    noisy_data = data + SIGMA * torch.randn_like(data)
    for name, x in (("noisy patches", noisy_data), ("samples of the model", samples)):
        x = x.view(-1, SIDE, SIDE)
        neighbours = (x[:, :, 1:] * x[:, :, :-1]).mean() / x.square().mean()
        print(
            f"{name:28}standard deviation {x.std():.3f}, neighbours' correlation {neighbours:.3f}"
        )
    some = torch.randperm(len(test))[:16]
    rows = {name: x[some] for name, x in {"patches": test, **estimates}.items()}
    picture({**rows, "samples": samples[:16]}, out / "patches.png")
    print(f"wrote {out / 'patches.png'}")


if __name__ == "__main__":
    main()
