"""One rank of test_paco.py: trains a tiny PaCo teacher without BatchNorm, with SAM, and writes down what it saw."""

import json
import sys
from pathlib import Path

import torch
from helpers import picture_dataset
from torch import nn

from trainer.augmentation import collate
from trainer.data import RGB
from trainer.teachers import PaCo, PaCoTrainer
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.training import training_images


class Classifier(nn.Module):
    """What PaCo asks of a timm model, without statistics of the batch."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.Tanh())
        self.fc = nn.Linear(12, 3)

    def get_classifier(self):
        return self.fc

    def reset_classifier(self, num_classes):
        self.fc = nn.Linear(12, num_classes)

    def forward_features(self, x):
        return self.features(x)

    def forward_head(self, x, pre_logits=False):
        return x if pre_logits else self.fc(x)


def tiny_paco(queue_size=24):
    torch.manual_seed(0)
    model = PaCo(Classifier(), dim=4, queue_size=queue_size, momentum=0.9)
    model.head[1] = model.key_head[1] = nn.Identity()  # BatchNorm's statistics are each rank's own
    return model


def main(folder: str, batch_size: str) -> None:
    args = TeacherArguments(
        output_dir=folder,
        loss="paco",
        sam_rho=[0.2],
        image_size=8,
        image_pipeline="device",
        num_train_epochs=3,
        learning_rate=0.02,
        warmup_epochs=0,
        per_device_train_batch_size=int(batch_size),
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    images = training_images(args, picture_dataset((20, 8, 4)), RGB)
    trainer = PaCoTrainer(tiny_paco(), args, [20, 8, 4], train_dataset=images, data_collator=collate)
    trainer.train()
    result = {
        "world_size": args.world_size,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "weights": torch.cat([p.detach().flatten() for p in trainer.model.parameters()]).tolist(),
        "queue": trainer.model.queue.sum(dim=1).tolist(),
        "queue_labels": trainer.model.queue_labels.tolist(),
        "queue_place": trainer.model.queue_place.item(),
    }
    Path(folder, f"rank{args.process_index}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
