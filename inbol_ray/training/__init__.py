"""Supervised fine-tuning (instruction, SFT, IDK-IT) and CA-DPO: one FSDP loop under Ray Train, two objectives."""
