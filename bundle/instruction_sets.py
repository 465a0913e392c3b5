"""What a variant needs of a CPU, and what it is quick on."""

from sottovoce.bundle.manifest import Cpu
from sottovoce.runs import VariantFacts
from sottovoce.terms import Format, InstructionSet, Scheme

X86, ARM = "x86_64", "aarch64"

EXACT_X86 = ("avx512_vnni", "avx_vnni", "amx_int8")
"""They add products of INT8 in 32 bits. The older `vpmaddubsw` adds two in 16 bits and saturates where weights take
all 8 bits (oneDNN, "Nuances of int8 computations")."""

QUICK_X86 = (*EXACT_X86, "avx2")
QUICK_ARM = ("i8mm", "asimddp")


def cpu_of(facts: VariantFacts, instruction_set: InstructionSet) -> Cpu:
    """Tell what a variant needs of a CPU.

    Args:
        facts: of the variant.
        instruction_set: that it was quantized for.
    """
    is_exact_only = (
        facts.format is Format.OPENVINO
        and instruction_set is InstructionSet.VNNI
        and any(part.int8_activations > 0 for part in facts.components.values())
    )
    is_quantized = any(part.scheme is not Scheme.FLOAT for part in facts.components.values())
    return Cpu(
        needed={X86: EXACT_X86} if is_exact_only else {},
        recommended={X86: EXACT_X86 if is_quantized else QUICK_X86, ARM: QUICK_ARM},
    )
