"""nnU-Net's trainer with a budget in seconds instead of 1000 epochs of 250 steps.

nnU-Net finds this file through the variable nnUNet_extTrainer. Network, loss, optimiser,
augmentation, batch and patch are those of nnUNetTrainer. What differs:

- The clock drives the polynomial decay of the learning rate, step by step: it reaches zero when the
  time is up.
- There is no validation, neither after epochs (by default 50 batches each) nor at the end. nnU-Net
  predicts with its last weights, so no validation would have changed them.

UPSCORE_STARTED and UPSCORE_SECONDS in the environment say when the process was started and how long
it may take. At least one step is made.
"""

import json
import os
import time
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

POWER = 0.9  # of nnU-Net's PolyLRScheduler
SAVING = 2.0  # seconds


class TimedTrainer(nnUNetTrainer):
    def run_training(self) -> None:
        self.on_train_start()
        begin = last = time.time()
        end = float(os.environ["UPSCORE_STARTED"]) + float(os.environ["UPSCORE_SECONDS"]) - SAVING
        self.network.train()
        steps, step = 0, 0.0
        while not steps or last + 1.1 * step < end:
            progress = min(1.0, (last - begin) / max(end - begin, 1e-9))
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - progress) ** POWER
            loss = self.train_step(next(self.dataloader_train))["loss"]
            step, last = time.time() - last, time.time()
            steps += 1
            self.print_to_log_file(f"step {steps}: {step:.1f} s, loss {loss:.4f}")
        self.current_epoch = 1  # on_train_end takes one off
        self.on_train_end()
        facts = {"steps": steps, "batch": self.batch_size}
        facts["patch"] = list(self.configuration_manager.patch_size)
        Path(self.output_folder, "facts.json").write_text(json.dumps(facts))

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        pass
