"""Speech of a domain with words of its own, spoken by espeak-ng: medical sentences, to fine-tune on and to measure with.

    python tests/measure/domain_speech.py OUT

OUT gets train.jsonl (seven voices, 220 sentences, two voices for each), test.jsonl (three other voices, 80 other sentences), their
clips, and terms.txt. Needs the program espeak-ng. The same versions give the same files.
"""

import argparse
import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

TERMS = (
    "amlodipine", "apixaban", "atorvastatin", "azathioprine", "bisoprolol", "candesartan", "carbamazepine", "ceftriaxone",
    "clopidogrel", "colchicine", "dabigatran", "dexamethasone", "digoxin", "empagliflozin", "enoxaparin", "escitalopram",
    "fluconazole", "furosemide", "gabapentin", "hydroxychloroquine", "ivabradine", "lamotrigine", "levetiracetam",
    "levothyroxine", "metformin", "methotrexate", "metoprolol", "mirtazapine", "omeprazole", "ondansetron", "pantoprazole",
    "pregabalin", "ramipril", "rivaroxaban", "rosuvastatin", "sertraline", "spironolactone", "tacrolimus", "tamsulosin",
    "valsartan", "atrial fibrillation", "cholecystitis", "diverticulitis", "endocarditis", "haemochromatosis",
    "hyperkalaemia", "hyponatraemia", "nephrolithiasis", "osteomyelitis", "pericarditis", "polymyalgia rheumatica",
    "pyelonephritis", "sarcoidosis", "thrombocytopenia", "ventricular tachycardia",
)  # fmt: skip

TEMPLATES = (
    "The patient was started on {} after the second visit.",
    "We stopped {} because of the headaches, and she feels better.",
    "Please continue {} in the morning and review it in two weeks.",
    "There is a history of {}, treated in hospital last spring.",
    "He asked whether {} could explain the pain in his side.",
    "The letter mentions {} but gives no date.",
    "Her sister also had {} at the age of forty.",
    "I would not change {} before we have the blood results.",
)

TRAIN_VOICES = (
    "en-us+m3",
    "en-gb+f2",
    "en-us+f4",
    "en-gb-scotland+m1",
    "en-gb-x-rp+m7",
    "en-us+linda",
    "en-gb+edward",
)
TEST_VOICES = ("en-us+steph", "en-gb-x-rp+f3", "en-us+m4")
N_TRAIN, N_TEST = 220, 80
WORDS_A_MINUTE = (140, 155, 170)


def main() -> None:
    """Speak the sentences and write the manifests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    (out / "clips").mkdir(parents=True)
    drawn = sentences()
    train, test = drawn[:N_TRAIN], drawn[N_TRAIN : N_TRAIN + N_TEST]
    write_set(out / "train.jsonl", train, TRAIN_VOICES, n_voices=2)
    write_set(out / "test.jsonl", test, TEST_VOICES, n_voices=1)
    (out / "terms.txt").write_text("".join(f"{term}\n" for term in TERMS), encoding="utf-8")


def sentences() -> list[str]:
    """Return all sentences in an order by chance."""
    found = [template.format(term) for template, term in itertools.product(TEMPLATES, TERMS)]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def write_set(path: Path, texts: Sequence[str], voices: Sequence[str], *, n_voices: int) -> None:
    """Let voices speak each sentence in turns, and write the manifest."""
    turns = itertools.cycle(voices)
    lines = (
        json.dumps(entry)
        for i, text in enumerate(texts)
        for entry in itertools.islice(spoken(path, i, text, turns), n_voices)
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def spoken(manifest: Path, number: int, text: str, voices: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yield the entry of a clip of a sentence for each voice."""
    speed = WORDS_A_MINUTE[number % len(WORDS_A_MINUTE)]
    for voice in voices:
        name = f"{manifest.stem}-{number:03}-{voice}"
        audio = manifest.parent / "clips" / f"{name}.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(audio), text], check=True)
        yield {
            "id": name,
            "audio": f"clips/{audio.name}",
            "text": text,
            "language": "en",
            "speaker": voice,
            "source": "espeak-ng",
        }


if __name__ == "__main__":
    main()
