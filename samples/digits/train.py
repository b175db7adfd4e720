"""Trains DigitsNet in less than a minute and writes digits.pt, the weights that are committed beside this file.

Run: python samples/digits/train.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from net import DigitsNet, load_split
from torch import nn

EPOCHS = 30
BATCH = 64


def main() -> None:
    torch.manual_seed(7)
    x, y, x_test, y_test = (torch.from_numpy(a) for a in load_split())
    model = DigitsNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * -(-len(x) // BATCH))
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(EPOCHS):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(BATCH):
            # Shifting by up to one pixel keeps 1,347 images from being learned by heart.
            dx, dy = (int(v) for v in torch.randint(-1, 2, (2,)))
            loss = loss_of(model(torch.roll(x[rows], (dy, dx), (2, 3))), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        if epoch % 5 == 4:
            model.eval()
            with torch.no_grad():
                correct = (model(x_test).argmax(1) == y_test).float().mean().item()
            print(f"epoch {epoch + 1:2d}   loss {total / len(x):.4f}   test accuracy {correct:.2%}")
    path = Path(__file__).with_name("digits.pt")
    torch.save(model.eval().state_dict(), path)
    print(f"wrote {path} ({path.stat().st_size / 1024:.0f} KB)")


if __name__ == "__main__":
    main()
