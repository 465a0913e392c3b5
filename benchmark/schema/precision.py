"""What a variant computes in, as it is read back from its compiled models."""

from pydantic import Field

from sottovoce.storage.documents import Document


class ComponentPrecision(Document):
    """The effective precision of one compiled model.

    Attributes:
        inference: `INFERENCE_PRECISION_HINT` of the compiled model.
        kv_cache: `KV_CACHE_PRECISION`; only a stateful decoder uses it.
        execution_mode: `EXECUTION_MODE_HINT`.
        dynamic_quantization_group_size: 0 where activations are not quantized on the fly.
        nodes: number of nodes of the execution graph by their run-time precision, those that
            compute (convolution, matrix product, attention) only.
    """

    inference: str
    kv_cache: str
    execution_mode: str
    dynamic_quantization_group_size: int
    nodes: dict[str, int]


class Precision(Document):
    """The effective precision of a variant."""

    label: str = Field(description="One word for tables: f32, bf16, int8+f32.")
    components: dict[str, ComponentPrecision] = Field(
        description="Empty where an engine shows no compiled model; the label is then what was requested."
    )
    threads: int
    streams: int

    @property
    def summary(self) -> str:
        """The label; `as requested` follows it where it cannot be read back."""
        return self.label if self.components else f"{self.label}, as requested"
