"""CA-DPO in TRL's DPOTrainer: one row per pair, which keeps its weight through the collator into the loss.

usage: python examples/ca_dpo_in_trl.py

TRL knows pairs, CA-DPO knows samples of one or two weighted pairs. The trainer below takes TRL's rows and adds two
columns: which of `PAIRS` a row is, and how much it weighs. For a vision model hand TRL its processor and `images` as
usual; `jobs/export_trl.py` writes such rows with their weights.
"""

import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import DPOConfig, DPOTrainer

from inbol_ray import PAIRS, RESPONSES, ca_dpo_loss, classify, pair_weights

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "what", "where", "who", "?", "red", "here", "there", "bert", "unsure"]
SAMPLES = [
    {"prompt": "what ?", "correct": " red", "refusal": " unsure", "confidence": 0.9, "answerable": True},
    {
        "prompt": "where ?",
        "correct": " here",
        "incorrect": " there",
        "refusal": " unsure",
        "confidence": 0.4,
        "answerable": True,
    },
    {"prompt": "who ?", "incorrect": " bert", "refusal": " unsure", "confidence": 0.0, "answerable": False},
]


class CaDpoTrainer(DPOTrainer):
    """DPOTrainer with the CA-DPO loss. Needs `remove_unused_columns=False`, so that `pair` and `weight` arrive."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        collate = self.data_collator

        def collate_with_weights(rows: list[dict]) -> dict:
            batch = collate(rows)
            batch["pair"] = torch.tensor([row["pair"] for row in rows])
            batch["weight"] = torch.tensor([row["weight"] for row in rows])
            return batch

        self.data_collator = collate_with_weights

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = dict(inputs)
        pair_B, weight_B = inputs.pop("pair"), inputs.pop("weight")
        completion_mask = inputs.pop("completion_mask")
        with torch.no_grad():
            reference = self.ref_model(**inputs, use_cache=False)
        outputs = model(**inputs, use_cache=False)
        logps_BK = scatter(pair_logps(outputs.logits, inputs["input_ids"], completion_mask), pair_B)
        ref_logps_BK = scatter(pair_logps(reference.logits, inputs["input_ids"], completion_mask), pair_B)
        weights_BP = torch.zeros(len(pair_B), len(PAIRS), device=weight_B.device)
        weights_BP[torch.arange(len(pair_B)), pair_B] = weight_B
        # The weights of a sample sum to 1, so their sum is the number of samples.
        loss = ca_dpo_loss(logps_BK, ref_logps_BK, weights_BP, self.args.beta).sum() / weight_B.sum()
        return (loss, outputs) if return_outputs else loss


def pair_logps(logits_BTV: torch.Tensor, input_ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """[B / 2, 2] summed log-probability of the chosen and the rejected response; TRL stacks the chosen ones first."""
    logps_BTV = logits_BTV[:, :-1].float().log_softmax(-1)
    token_logps_BT = logps_BTV.gather(2, input_ids_BT[:, 1:, None])[..., 0] * mask_BT[:, 1:]
    return torch.stack(token_logps_BT.sum(1).chunk(2), dim=1)


def scatter(logps_B2: torch.Tensor, pair_B: torch.Tensor) -> torch.Tensor:
    """[B, 3]: the two log-probabilities of each pair in the columns of its responses, 0 in the third."""
    columns = torch.tensor([[RESPONSES.index(name) for name in pair] for pair in PAIRS], device=pair_B.device)
    return torch.zeros(len(pair_B), len(RESPONSES), device=pair_B.device).scatter(1, columns[pair_B], logps_B2)


def pair_rows(sample: dict) -> list[dict]:
    """TRL's rows of one sample, one per pair that weighs something."""
    confidence = sample["confidence"]
    weights = pair_weights(classify(confidence, sample["answerable"]), confidence)
    return [
        {
            "prompt": sample["prompt"],
            "chosen": sample[chosen],
            "rejected": sample[rejected],
            "pair": index,
            "weight": weights[f"weight_{chosen}_{rejected}"],
        }
        for index, (chosen, rejected) in enumerate(PAIRS)
        if weights[f"weight_{chosen}_{rejected}"] > 0
    ]


def build_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def main(num_steps: int = 10) -> list[float]:
    """Train on a tiny random Llama, print the loss, and return it for every step."""
    set_seed(0)
    shape = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    policy, reference = LlamaForCausalLM(shape), LlamaForCausalLM(shape)
    reference.load_state_dict(policy.state_dict())
    rows = [row for sample in SAMPLES for row in pair_rows(sample)]
    with tempfile.TemporaryDirectory() as folder:
        trainer = CaDpoTrainer(
            model=policy,
            ref_model=reference,
            args=DPOConfig(
                output_dir=folder,
                beta=0.5,
                learning_rate=1e-2,
                per_device_train_batch_size=len(rows),
                max_steps=num_steps,
                logging_steps=1,
                remove_unused_columns=False,
                disable_dropout=True,
                gradient_checkpointing=False,
                bf16=False,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
            ),
            processing_class=build_tokenizer(),
            train_dataset=Dataset.from_list(rows),
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {len(losses)} steps")
    return losses


if __name__ == "__main__":
    main()
