"""One rank of test_two_ranks.py: trains a tiny student, tests it, and writes down what it saw."""

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from helpers import arguments, picture_dataset, teacher, tiny_student

from trainer.augmentation import EvaluationImages, image_processor, training_images
from trainer.predicting import predict
from trainer.run.student import save_and_test
from trainer.trainer import DeiTLTTrainer


class Recorder(DeiTLTTrainer):
    """Also keeps the keys of the global batch of each step, as far as this rank sees them."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if model.training and inputs["share"]:  # not the row that a rank without any keeps
            self.seen.append([self.state.global_step, inputs["pixel_values"].sum(dim=(1, 2, 3)).tolist()])
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


SHARED = {"num_train_epochs": 3, "base_learning_rate": 0.05, "warmup_epochs": 0, "drw_start_epoch": 1}
# Images per class, and settings. Of 43 images in batches of 8 the last has 3, all on rank 0; 34 in batches of 16 leave
# 2. With accumulation of two, the last step of 43 images in batches of 16 is one batch of 11.
CASES = {
    "plain": ((20, 8, 4), {"mixing_probability": 0.0, "label_smoothing": 0.0, "drw_mean": "step"}),
    "mixed": ((20, 8, 4), {"drw_mean": "step", "drw_mixing": True}),
    "all": ((27, 10, 6), {"drw_mean": "step", "gradient_accumulation_steps": 2, "drw_mixing": True}),
    "device": ((27, 10, 6), {"drw_mean": "step", "gradient_accumulation_steps": 2, "image_pipeline": "device"}),
    "ragged": ((22, 8, 4), {"drw_mean": "step", "repeats": 1}),
    "micro_batch": ((20, 8, 4), {"drw_mean": "micro_batch"}),
}


def main(folder: str, batch_size: str, case: str) -> None:
    counts, settings = CASES[case]
    args = arguments(folder, per_device_train_batch_size=int(batch_size), **SHARED, **settings)
    images = training_images(args.image_pipeline, picture_dataset(counts), ["affine"], 8, args.device, args.seed)
    trainer = Recorder(tiny_student(), args, teacher(), train_dataset=images)
    trainer.seen = []
    trainer.train()
    test = EvaluationImages(picture_dataset((13, 9, 7)), image_processor(8, 1.0))
    prediction = trainer.predict(test)
    reports, evaluation = save_and_test(trainer, test)
    predicted, labels = predict(trainer.model, test, batch_size=8, use_cpu=True)
    result = {
        "world_size": args.world_size,
        "learning_rate": args.peak_learning_rate,
        "steps": trainer.state.global_step,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "ema": torch.cat([weight.flatten() for weight in trainer.ema_callback.weights.values()]).tolist(),
        "parts": [[row["loss_cls"], row["loss_dist"]] for row in trainer.state.log_history if "loss" in row],
        "weights": torch.cat([p.detach().flatten() for p in trainer.model.parameters()]).tolist(),
        "seen": trainer.seen,
        "labels": prediction.label_ids.tolist(),
        "logits": prediction.predictions[0].tolist(),
        "reports": reports,
        "tested": {expert: [rows.tolist() for rows in found] for expert, found in evaluation.predictions.items()},
        "tested_labels": evaluation.labels.tolist(),
        "predicted": {expert: [rows.tolist() for rows in found] for expert, found in predicted.items()},
        "predicted_labels": labels.tolist(),
    }
    Path(folder, f"rank{args.process_index}.json").write_text(json.dumps(result))
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
