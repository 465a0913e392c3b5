"""Shapes of models whose memory was measured; docs/lab-notes.md has the table."""

from sottovoce.calibrate.forecast import ModelShape


def shape_of(d_model: int, encoder_layers: int, decoder_layers: int, weight_mib: int) -> ModelShape:
    """Return a shape of 80 mel bins and 51,865 tokens; the weights are those of the stateless layout, float32."""
    return ModelShape(
        n_mels=80,
        d_model=d_model,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        vocab_size=51865,
        weight_bytes=weight_mib << 20,
    )


TINY_EN = shape_of(384, 4, 4, 252)
BASE = shape_of(512, 6, 6, 463)
SMALL = shape_of(768, 12, 12, 1453)
TURBO = shape_of(1280, 32, 4, 3690)
LARGE_V3 = shape_of(1280, 32, 32, 8942)
